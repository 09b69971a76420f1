//! Changing the members: rules 2, 3, 5, 7, 8 and 9 of [`crate::consensus::Membership`]'s module.

use bytes::Bytes;

use super::Leader;
use super::progress::Progress;
use crate::consensus::entry::{Index, MemberId, Millis, Payload, Position, Ticket};
use crate::consensus::event::{Proposed, Refusal};
use crate::consensus::follower::Follower;
use crate::consensus::member::Member;
use crate::consensus::membership::{MemberChange, Membership};
use crate::consensus::message::Body;
use crate::consensus::plant::{Plant, is_planted};

/// For how many election timeouts after its removal was committed a member is still sent to, so that it hears of it.
const DEPARTURE_ELECTIONS: Millis = 4;

impl Member<Leader> {
    pub(super) fn change_members(&mut self, ticket: Ticket, change: MemberChange, context: Bytes) {
        match self.next_membership(change) {
            Err(why) => self.replica.refuse(ticket, why),
            Ok(membership) => {
                let index = self.replica.log.last_index() + 1;
                let term = self.replica.term;
                let entry = crate::consensus::MembershipEntry { membership, context };
                self.append_all(std::iter::once(Payload::Membership(Box::new(entry))));
                self.meet_members();
                let position = Position { term, index };
                self.replica.effects.proposed.push(Proposed { ticket, position });
                // With fewer voters, less may suffice.
                self.advance_commit();
            }
        }
    }

    fn next_membership(&self, change: MemberChange) -> Result<Membership, Refusal> {
        if let Some(why) = self.refusal() {
            return Err(why);
        }
        let replica = &self.replica;
        if replica.memberships.latest_index() > replica.commit && !is_planted(Plant::ChangesOverlap) {
            return Err(Refusal::ChangePending);
        }
        if !replica.has_committed_in_term() && !is_planted(Plant::ChangeBeforeOwnTerm) {
            return Err(Refusal::NotReady);
        }
        let next = replica.membership().changed(change).map_err(Refusal::BadChange)?;
        match change {
            MemberChange::Promote(id) if !self.has_caught_up(id) => Err(Refusal::LearnerBehind),
            _ => Ok(next),
        }
    }

    /// Whether it holds nine tenths of the log, as etcd asks of a learner.
    fn has_caught_up(&self, id: MemberId) -> bool {
        let match_index = self.role.peer_index(id).map_or(0, |at| self.role.peers[at].match_index);
        u128::from(match_index) * 10 >= u128::from(self.replica.commit) * 9
    }

    /// Begins to send to those who are members now, and lets go of those who are not.
    pub(super) fn meet_members(&mut self) {
        let Self { replica, role } = self;
        let next = replica.log.last_index() + 1;
        let members: Vec<MemberId> = replica
            .membership()
            .members()
            .filter(|id| *id != replica.id())
            .collect();
        for peer in &mut role.peers {
            if !members.contains(&peer.id) {
                peer.departs_at.get_or_insert(Millis::MAX);
            }
        }
        for id in members {
            let at = role.peers.binary_search_by_key(&id, |peer| peer.id);
            let is_met = at.is_ok_and(|at| role.peers[at].departs_at.is_none());
            if is_met {
                continue;
            }
            role.sessions += 1;
            let progress = Progress::new(id, role.sessions, next, replica.now);
            match at {
                Ok(at) if is_planted(Plant::SessionIgnored) => role.peers[at].departs_at = None,
                Ok(at) => role.peers[at] = progress,
                Err(at) => role.peers.insert(at, progress),
            }
        }
        if let Some(transfer) = &role.transfer
            && !replica.membership().is_voter(transfer.to)
        {
            self.abort_transfer();
        }
    }

    /// Something was committed; perhaps a removal.
    pub(super) fn membership_committed(&mut self) {
        let Self { replica, role } = self;
        if replica.memberships.latest_index() > replica.commit {
            return;
        }
        let departs_at = replica.now + DEPARTURE_ELECTIONS * replica.config.election_ms;
        for peer in &mut role.peers {
            if peer.departs_at == Some(Millis::MAX) {
                peer.departs_at = Some(departs_at);
            }
        }
    }

    /// Whether this leader's own removal is committed.
    pub(super) fn is_removed(&self) -> bool {
        let replica = &self.replica;
        let is_committed = replica.memberships.latest_index() <= replica.commit;
        is_committed && !replica.membership().is_voter(replica.id()) && !is_planted(Plant::RemovedLeaderStays)
    }

    /// Leaves after its own removal, and asks the voter that is furthest to take over at once.
    pub(super) fn bow_out(mut self) -> Member<Follower> {
        let voters = self
            .role
            .peers
            .iter()
            .filter(|peer| self.replica.membership().is_voter(peer.id));
        let furthest: Option<(Index, MemberId)> = voters.map(|peer| (peer.match_index, peer.id)).max();
        if let Some((_, heir)) = furthest {
            self.replica.send(heir, Body::TimeoutNow);
        }
        self.into_follower(None)
    }
}
