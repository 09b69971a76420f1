//! One member: the core, its disk, its state machine, its clock.

use std::collections::BTreeMap;
use std::sync::Arc;

use raft::consensus::{Consensus, Index, MemberId, Membership, Millis, RoleName, SoftState, Term, Ticket};

use super::disk::{Disk, Kept};
use super::machine::Machine;
use crate::world::{Clock, Micros};

/// What is in memory, and gone after a crash.
#[derive(Debug)]
pub struct Running<M: Machine> {
    pub core: Consensus,
    pub machine: M,
    pub applied: Index,
    /// The core's commit index after the last step.
    pub committed: Index,
    pub soft_state: SoftState,
    pub membership: Membership,
    /// The index of its entry.
    pub membership_index: Index,
    /// When it began to lead or changed members, and when each member answered it last.
    pub leads_since: Micros,
    pub heard: Vec<Micros>,
    /// Proposals that wait for an index to be applied, with the term that it must have.
    pub proposed: BTreeMap<Index, (Term, Ticket)>,
    /// Reads that wait for an index to be applied.
    pub reads: Vec<(Index, Ticket)>,
    /// Writes that are durable and not reported yet, and whether a sync is under way.
    pub syncing: bool,
    /// The moment for which a tick is scheduled.
    pub tick_at: Option<Micros>,
    /// The core's deadline for which it was.
    pub tick_for: Millis,
    /// Whether a snapshot is being written.
    pub compacting: bool,
    /// Entries that are committed and wait for the state machine.
    pub ready: Index,
    pub applying: bool,
}

/// A member, running or not.
#[derive(Debug)]
pub struct Host<M: Machine> {
    pub id: MemberId,
    /// Counts its starts, and the replacements of its disk.
    pub incarnation: u64,
    pub clock: Clock,
    pub disk: Disk<M::State>,
    pub running: Option<Running<M>>,
    /// It is stopped by the operating system until then.
    pub paused_until: Micros,
    /// Its disk takes this many times as long until then.
    pub slow: (u64, Micros),
    /// Its disk is full until then.
    pub full_until: Micros,
    /// It was removed, or never was a member: it does not start by itself.
    pub retired: bool,
}

impl<M: Machine> Host<M> {
    pub fn new(id: MemberId, clock: Clock, membership: Membership, writes_bytes: bool) -> Self {
        Self {
            id,
            incarnation: 0,
            clock,
            disk: Disk::new(first_state::<M>(membership), writes_bytes),
            running: None,
            paused_until: 0,
            slow: (1, 0),
            full_until: 0,
            retired: false,
        }
    }

    pub fn is_leader(&self) -> bool {
        self.running
            .as_ref()
            .is_some_and(|running| running.soft_state.role == RoleName::Leader)
    }

    /// The term of the entry at `index`, in its log in memory or its snapshot.
    pub fn held_term(&self, index: Index) -> Option<Term> {
        self.running
            .as_ref()
            .and_then(|running| running.core.term_at(index))
            .or_else(|| self.disk.term(index))
    }

    /// Whether its disk holds entry `index` of `term`, or a snapshot with it.
    pub fn holds_durably(&self, index: Index, term: Term) -> bool {
        self.disk.kept().snapshot.last.index >= index || self.disk.term(index) == Some(term)
    }
}

/// What a member's disk holds before its first start.
pub fn first_state<M: Machine>(membership: Membership) -> Kept<M::State> {
    Kept {
        snapshot: raft::consensus::Snapshot {
            last: Default::default(),
            membership,
        },
        state: M::new().state(),
    }
}

/// What travels: a message, and beside it the state that a snapshot stands for.
#[derive(Debug)]
pub struct Letter<S> {
    pub message: raft::consensus::Message,
    pub state: Option<Arc<S>>,
}

impl<S> Clone for Letter<S> {
    fn clone(&self) -> Self {
        Self {
            message: self.message.clone(),
            state: self.state.clone(),
        }
    }
}
