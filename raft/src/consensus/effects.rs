//! What a member wants done.

use std::ops::Range;

use super::config::{HardState, Snapshot};
use super::entry::{Entry, Index, MemberId, Term};
use super::event::{Proposed, ReadReady, Refused};
use super::membership::Membership;
use super::message::{Message, Session};

/// Counts a member's writes from 1 since its start.
pub type WriteId = u64;

/// What a member wants done after a step. Its parts may be carried out in any order and at the same time, but for two
/// rules:
///
/// - writes reach the disk in the order of their ids;
/// - entries are applied in the order of their indexes.
///
/// Messages can leave at once: what promises durability (votes, acknowledgements) is not here before the write that it
/// promises was reported by [`super::Event::Persisted`]; a leader's entries are, so it sends while it syncs.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Effects {
    /// To be sent. A message that carries a [`super::Body::Snapshot`] needs the state beside it, and
    /// [`super::Event::SnapshotSent`] in the end.
    pub messages: Vec<Message>,
    /// To be made durable, then reported by [`super::Event::Persisted`].
    pub write: Option<Write>,
    /// These are now committed and durable here: apply them. Each index is here once, in order. Entries that were written
    /// since the start are had from [`super::Consensus::entry`] until they are reported as applied, older ones from the
    /// log. After a snapshot was installed the range begins behind it.
    pub committed: Range<Index>,
    /// Where accepted proposals stand.
    pub proposed: Vec<Proposed>,
    /// Reads that may be answered.
    pub reads: Vec<ReadReady>,
    /// What was refused, and why.
    pub refused: Vec<Refused>,
    /// Entries that are to be sent and are not in memory.
    pub fetches: Vec<Fetch>,
    /// The term, the role or the known leader is another.
    pub soft_state: Option<SoftState>,
    /// Other members are in force, committed or not.
    pub membership: Option<Membership>,
    /// A peer contradicts what is committed: something is badly wrong with a disk or a program. The message was ignored;
    /// the driver should say so aloud, and stop.
    pub contradiction: Option<Contradiction>,
}

impl Effects {
    /// Empties it and keeps its memory, for the next step.
    pub fn clear(&mut self) {
        self.messages.clear();
        self.write = None;
        self.committed = 0..0;
        self.proposed.clear();
        self.reads.clear();
        self.refused.clear();
        self.fetches.clear();
        self.soft_state = None;
        self.membership = None;
        self.contradiction = None;
    }

    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
            && self.write.is_none()
            && self.committed.is_empty()
            && self.proposed.is_empty()
            && self.reads.is_empty()
            && self.refused.is_empty()
            && self.fetches.is_empty()
            && self.soft_state.is_none()
            && self.membership.is_none()
            && self.contradiction.is_none()
    }
}

/// To be made durable, in this order, all of it or the first parts of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Write {
    pub id: WriteId,
    /// Term and vote, if they changed. Must be durable before anything after it.
    pub hard_state: Option<HardState>,
    /// The state that came with this snapshot replaces the state machine's, and the log is emptied to begin after it.
    /// All or nothing.
    pub install: Option<Snapshot>,
    /// Entries from this index on are cut off first.
    pub truncate_from: Option<Index>,
    /// To append.
    pub entries: Vec<Entry>,
}

/// Entries that are to be read from the log for [`super::Event::Fetched`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetch {
    /// For whom.
    pub to: MemberId,
    pub session: Session,
    /// In which term it was asked.
    pub term: Term,
    /// Which; all of them are durable.
    pub first: Index,
    pub last: Index,
    /// About how many bytes at most; at least one entry.
    pub bytes_max: usize,
}

/// What a member does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RoleName {
    Follower,
    PreCandidate,
    Candidate,
    Leader,
}

/// A member's place among the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SoftState {
    pub term: Term,
    pub role: RoleName,
    pub leader: Option<MemberId>,
}

/// What cannot be if all members keep to the protocol and no disk lost what it had synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contradiction {
    pub from: MemberId,
    /// The entry that is committed here and another there.
    pub index: Index,
}
