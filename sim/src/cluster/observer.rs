//! Who looks on: all invariants of consensus, told of every step.

use std::collections::BTreeMap;

use raft::consensus::{Entry, HardState, Index, MemberId, Membership, Payload, Term, Ticket};

use crate::invariant::{
    Bounds, Check, CommittedIsFinal, ElectionSafety, EqualStates, LogMatching, Majority, NeverBack, OneVote, Promise,
    RefusedIsRefused, Seen, StateMachineSafety, check_bounds, check_fresh_read, committed_on_quorum,
    leader_completeness, one_change_at_a_time, require,
};
use crate::world::split_mix;

/// What the invariants remember.
#[derive(Debug, Default)]
pub struct Observer {
    elections: ElectionSafety,
    logs: LogMatching,
    machines: StateMachineSafety,
    committed: CommittedIsFinal,
    votes: OneVote,
    pasts: Vec<NeverBack>,
    refused: RefusedIsRefused,
    states: EqualStates,
    /// What was committed when each read was asked for.
    reads: BTreeMap<Ticket, Index>,
    /// The last membership that was committed, and where.
    membership: Option<(Index, Membership)>,
    /// How often a leader was elected.
    pub leaders: u64,
}

pub fn majority(membership: &Membership) -> Majority {
    Majority {
        voters: membership.voters().to_vec(),
        outgoing: Vec::new(),
    }
}

/// Of an entry's kind and payload.
pub fn digest_of(payload: &Payload) -> u64 {
    match payload {
        Payload::Blank => 1,
        Payload::Command(command) => digest_of_bytes(command),
        Payload::Membership(entry) => digest_of_bytes(&payload_bytes(entry.membership.members())) ^ 0x5555,
    }
}

fn payload_bytes(members: impl Iterator<Item = MemberId>) -> Vec<u8> {
    members.flat_map(u64::to_le_bytes).collect()
}

pub fn digest_of_bytes(bytes: &[u8]) -> u64 {
    let mut digest = bytes.len() as u64;
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        digest ^= u64::from_le_bytes(word);
        digest = split_mix(&mut digest);
    }
    digest
}

pub fn seen(entry: &Entry) -> Seen {
    Seen {
        term: entry.term,
        digest: digest_of(&entry.payload),
    }
}

pub fn promise(hard_state: HardState) -> Promise {
    Promise {
        term: hard_state.term,
        vote: hard_state.vote,
    }
}

impl Observer {
    pub fn new(members: usize) -> Self {
        Self {
            pasts: vec![NeverBack::default(); members + 1],
            ..Self::default()
        }
    }

    /// Index and term of the last entry that anybody committed.
    pub fn committed(&self) -> (Index, Term) {
        self.committed.last()
    }

    pub fn elected(&mut self, member: MemberId, term: Term, durable: HardState, held: Option<Term>) -> Check {
        self.leaders += 1;
        self.elections.elected(member, term)?;
        self.voted(member, term, member, durable)?;
        leader_completeness(member, term, self.committed.last(), held)
    }

    /// A vote left a member, or counted for itself.
    pub fn voted(&mut self, member: MemberId, term: Term, candidate: MemberId, durable: HardState) -> Check {
        self.votes.granted(member, term, candidate)?;
        crate::invariant::vote_is_durable(member, term, candidate, promise(durable))
    }

    pub fn acknowledged(&self, member: MemberId, term: Term, index: Index, last: Index, durable: HardState) -> Check {
        crate::invariant::acknowledgement_is_durable(member, term, index, last, promise(durable))
    }

    pub fn appended(&mut self, member: MemberId, entry: &Entry, before: Option<Term>) -> Check {
        self.logs.appended(member, entry.index, seen(entry), before)
    }

    pub fn promised(&mut self, member: MemberId, hard_state: HardState) -> Check {
        self.pasts[member as usize].promised(member, promise(hard_state))
    }

    pub fn restarted(&mut self, member: MemberId, hard_state: HardState) -> Check {
        self.pasts[member as usize].restarted(member, promise(hard_state), 0)
    }

    /// A crash left what it left: term and vote may be further than anybody was told, never behind.
    pub fn crashed(&mut self, member: MemberId, hard_state: HardState) -> Check {
        self.promised(member, hard_state)
    }

    /// A member's disk was replaced by an empty one.
    pub fn replaced(&mut self, member: MemberId) {
        self.pasts[member as usize] = NeverBack::default();
        self.votes.forget(member);
    }

    /// A member takes an entry for committed, and applies it; it had applied everything up to `before`. `memberships` are
    /// those that may have decided it.
    pub fn committed_and_applied<'m>(
        &mut self,
        member: MemberId,
        before: Index,
        entry: &Entry,
        memberships: impl Iterator<Item = &'m Membership>,
        durable_on: impl Fn(MemberId) -> bool,
    ) -> Check {
        let seen = seen(entry);
        self.pasts[member as usize].committed(member, entry.index)?;
        if self.committed.committed(member, entry.index, seen)? {
            let majorities: Vec<Majority> = memberships.map(majority).collect();
            if !majorities.iter().any(|majority| majority.reached(&durable_on)) {
                let last = majorities.last().cloned().unwrap_or_default();
                committed_on_quorum(member, entry.index, entry.term, &last, &durable_on)?;
            }
            self.refused.committed(member, entry.index, seen.digest)?;
            if let Payload::Membership(change) = &entry.payload {
                self.membership = Some((entry.index, change.membership.clone()));
            }
        }
        self.machines.applied(member, before, entry.index, seen)
    }

    pub fn state(&mut self, member: MemberId, index: Index, digest: u64) -> Check {
        self.states.state(member, index, digest)
    }

    pub fn refused(&mut self, command: &[u8]) {
        self.refused.refused(digest_of_bytes(command));
    }

    pub fn read_asked(&mut self, ticket: Ticket) {
        let committed = self.committed.last_index();
        self.reads.insert(ticket, committed);
    }

    pub fn read_ready(&mut self, member: MemberId, ticket: Ticket, index: Index) -> Check {
        let asked = self.reads.remove(&ticket);
        require(asked.is_some(), "fresh_reads", || {
            format!("member {member} answers a read twice, or one that nobody asked for")
        })?;
        check_fresh_read(member, index, asked.unwrap_or_default())
    }

    pub fn read_over(&mut self, ticket: Ticket) {
        self.reads.remove(&ticket);
    }

    pub fn membership(&self, member: MemberId, before: &Membership, after: &Membership) -> Check {
        one_change_at_a_time(member, &majority(before), &majority(after))
    }

    pub fn bounds(&self, member: MemberId, bounds: Bounds) -> Check {
        check_bounds(member, bounds)
    }

    pub fn membership_committed(&self) -> Option<(Index, &Membership)> {
        self.membership.as_ref().map(|(index, membership)| (*index, membership))
    }

    /// The entry that was committed at an index.
    pub fn entry(&self, index: Index) -> Option<Seen> {
        self.committed.get(index)
    }
}
