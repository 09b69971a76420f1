//! What a member is told.

use bytes::Bytes;

use super::effects::{Fetch, WriteId};
use super::entry::{Entry, Index, MemberId, Position, Ticket};
use super::membership::{ChangeError, MemberChange};
use super::message::{Message, Session};

/// What a member is told. Nothing in it can make [`super::Consensus::step`] fail or block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Time has passed; due when [`super::Consensus::deadline`] says so, harmless at any other time.
    Tick,
    /// A message of another member arrived. Of a [`super::Body::Snapshot`]: with all of its state.
    Message(Message),
    /// Append these commands. Every ticket is answered once: in [`super::Effects::proposed`] or
    /// [`super::Effects::refused`].
    Propose(Vec<Proposal>),
    /// From which index on may these reads be answered? Every ticket is answered once: in [`super::Effects::reads`] or
    /// [`super::Effects::refused`].
    ReadIndex(Vec<Ticket>),
    /// Change the members. Answered as a proposal is.
    ChangeMembers {
        ticket: Ticket,
        change: MemberChange,
        /// For the state machine, see [`super::MembershipEntry::context`].
        context: Bytes,
    },
    /// Hand leadership to this voter. Refused ([`super::Effects::refused`]) at once or after `election_ms`; otherwise it
    /// shows as a change of leader.
    TransferLeadership { ticket: Ticket, to: MemberId },
    /// These writes are durable, each of them. Writes may be reported in any order; one counts when all before it have
    /// been reported too.
    Persisted { first: WriteId, last: WriteId },
    /// The state machine has applied everything up to this index.
    Applied { index: Index },
    /// There is a durable snapshot of the state machine as of `snapshot`, and the log is purged up to and including
    /// `purged`, which is at most the snapshot's index. Either may be what it was before.
    Compacted { snapshot: Index, purged: Index },
    /// The entries that [`super::Effects::fetches`] asked for, or as many of the first of them as the driver saw fit; none
    /// if they cannot be had.
    Fetched { fetch: Fetch, entries: Vec<Entry> },
    /// The driver has handed a [`super::Body::Snapshot`] and its state over to this member, or given up.
    SnapshotSent {
        to: MemberId,
        session: Session,
        delivered: bool,
    },
    /// The connection to this member broke; messages to it may be lost.
    Unreachable { peer: MemberId },
    /// Campaign now, whatever the time.
    Campaign,
    /// If leading, stop; for a driver whose disk is full, or that shuts down.
    StepDown,
}

/// A command to append, and who waits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    pub ticket: Ticket,
    pub command: Bytes,
}

/// Where a proposal stands in the log. It has happened once an entry at this index is committed **and has this term**; if
/// an entry of another term is committed there, it never happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proposed {
    pub ticket: Ticket,
    pub position: Position,
}

/// The answer to a read: good once the state machine has applied `index`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadReady {
    pub ticket: Ticket,
    pub index: Index,
}

/// What was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    pub ticket: Ticket,
    pub why: Refusal,
}

/// Why a request was refused. But for [`Refusal::OutcomeUnknown`], nothing came of it and nothing will.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// There is no leader that this member knows of: retry later.
    NoLeader,
    /// Ask this one instead.
    NotLeader { leader: MemberId },
    /// The leader is handing over: retry soon.
    Transferring,
    /// Too much is waiting already: retry later.
    Overloaded,
    /// A change of members is not committed yet: retry later.
    ChangePending,
    /// The leader has not committed an entry of its own term yet: retry soon.
    NotReady,
    /// The learner has not caught up: retry later.
    LearnerBehind,
    /// The members cannot be changed like that.
    BadChange(ChangeError),
    /// Leadership can only go to another voter.
    NotVoter,
    /// Leadership was not taken over in time, or was to go to another meanwhile.
    TransferTimedOut,
    /// The leader changed before it answered: retry.
    LeaderChanged,
    /// It was forwarded to a leader that has not answered in time or has changed: it may happen or not.
    OutcomeUnknown,
}
