//! How a member behaves, and what it remembers when it starts.

use super::entry::{Entry, Index, MemberId, Millis, Payload, Position, Term};
use super::membership::Membership;

/// How a member behaves. The defaults are etcd's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// This member.
    pub id: MemberId,
    /// How long a follower waits for its leader before it campaigns, at least; at most half as long again, by chance.
    pub election_ms: Millis,
    /// How often a leader says that it is there. A tenth of `election_ms` is usual.
    pub heartbeat_ms: Millis,
    /// Ask whether an election could be won before counting up the term (thesis §9.6), so that a member that comes back
    /// from a cut does not depose a leader that the others are content with.
    pub pre_vote: bool,
    /// A leader that has not heard from a quorum for `election_ms` steps down, and members that hear from a leader refuse
    /// votes (thesis §6.2, §4.2.3).
    pub check_quorum: bool,
    /// How many bytes of entries go into one message; a single larger entry goes alone.
    pub append_bytes_max: usize,
    /// How many messages of entries may be on their way to one member.
    pub inflight_max: usize,
    /// How many bytes of entries may be appended by a leader and not committed; above it, proposals are refused.
    pub uncommitted_bytes_max: usize,
    /// How many bytes of entries stay in memory beyond those that are not yet durable, committed and applied.
    pub cache_bytes: usize,
    /// A follower passes proposals on to its leader. Otherwise it refuses them, and says who leads.
    pub forward: bool,
    /// Where the chance in the length of elections comes from. Members should differ.
    pub seed: u64,
    /// Tells this start of the member from all others, ideally by being greater: a count of starts, or the wall clock's
    /// milliseconds. Reads that are forwarded to the leader carry it, so that an answer from before a restart is not taken
    /// for one to a later question.
    pub incarnation: u64,
}

impl Config {
    /// The defaults for this member.
    pub fn new(id: MemberId) -> Self {
        Self {
            id,
            election_ms: 1_000,
            heartbeat_ms: 100,
            pre_vote: true,
            check_quorum: true,
            append_bytes_max: 1 << 20,
            inflight_max: 256,
            uncommitted_bytes_max: 256 << 20,
            cache_bytes: 16 << 20,
            forward: true,
            seed: id,
            incarnation: 0,
        }
    }
}

/// What must survive a restart beside the log (Raft paper, figure 2), and the commit index, which need not but may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct HardState {
    pub term: Term,
    pub vote: Option<MemberId>,
    /// May lag behind: a member learns it again.
    pub commit: Index,
}

/// What a snapshot of the state machine stands for; the state itself is the driver's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// The last entry in it.
    pub last: Position,
    /// Who was a member as of that entry.
    pub membership: Membership,
}

/// What a member remembers when it starts. All of it counts as durable: a driver that reads what a killed process may have
/// written and not synced has to sync it first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    pub hard_state: HardState,
    /// The latest snapshot. Before there is one: index 0, and the members that the cluster begins with. A member that
    /// joins a cluster begins with no one, and is told.
    pub snapshot: Snapshot,
    /// The last entry that was purged from the log, at most the snapshot's; index 0 if the log is whole.
    pub purged: Position,
    /// Up to where the state machine is. At least the snapshot's index.
    pub applied: Index,
    /// The log's entries after `purged`: where each term begins.
    pub(super) terms: Vec<(Index, Term)>,
    /// The log's last index.
    pub(super) last_index: Index,
    /// The memberships among the entries.
    pub(super) memberships: Vec<(Index, Membership)>,
}

impl Restored {
    /// A member's first start, in a cluster of these members.
    pub fn first_start(membership: Membership) -> Self {
        let snapshot = Snapshot {
            last: Position::default(),
            membership,
        };
        Self::new(HardState::default(), snapshot, Position::default(), 0)
    }

    /// Without entries yet; [`Restored::push`] adds them.
    pub fn new(hard_state: HardState, snapshot: Snapshot, purged: Position, applied: Index) -> Self {
        Self {
            hard_state,
            applied: applied.max(snapshot.last.index),
            snapshot,
            purged,
            terms: Vec::new(),
            last_index: purged.index,
            memberships: Vec::new(),
        }
    }

    /// Adds the log's next entry after `purged`. Whether it follows the one before.
    pub fn push(&mut self, entry: &Entry) -> bool {
        let membership = match &entry.payload {
            Payload::Membership(change) => Some(change.membership.clone()),
            _ => None,
        };
        self.push_position(entry.position(), membership)
    }

    /// As [`Restored::push`], for a driver that has not the entry at hand.
    pub fn push_position(&mut self, position: Position, membership: Option<Membership>) -> bool {
        let last_term = self.terms.last().map_or(self.purged.term, |run| run.1);
        if position.index != self.last_index + 1 || position.term < last_term {
            return false;
        }
        if position.term > last_term || self.terms.is_empty() {
            self.terms.push((position.index, position.term));
        }
        self.last_index = position.index;
        if let Some(membership) = membership {
            self.memberships.push((position.index, membership));
        }
        true
    }

    /// The last index so far.
    pub fn last_index(&self) -> Index {
        self.last_index
    }
}
