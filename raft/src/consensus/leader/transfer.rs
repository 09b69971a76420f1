//! Handing leadership over (thesis §3.10): bring the other up to date, tell it to campaign at once, append nothing
//! meanwhile; and go on as before if it does not take over in time.

use super::Leader;
use crate::consensus::entry::{MemberId, Millis, Ticket};
use crate::consensus::event::Refusal;
use crate::consensus::member::Member;
use crate::consensus::message::Body;

/// A transfer that is under way.
#[derive(Debug)]
pub(super) struct Transfer {
    pub to: MemberId,
    pub deadline: Millis,
    ticket: Ticket,
}

impl Member<Leader> {
    pub(super) fn begin_transfer(&mut self, ticket: Ticket, to: MemberId) {
        if self.role.transfer.as_ref().is_some_and(|transfer| transfer.to == to) {
            return self.replica.refuse(ticket, Refusal::Transferring);
        }
        if to == self.replica.id() || !self.replica.membership().is_voter(to) {
            return self.replica.refuse(ticket, Refusal::NotVoter);
        }
        // As in etcd, the latest wish counts.
        self.abort_transfer();
        let deadline = self.replica.now + self.replica.config.election_ms;
        self.role.transfer = Some(Transfer { to, deadline, ticket });
        self.transferee_caught_up(to);
    }

    /// If this is who takes over and it holds everything, it is told to campaign.
    pub(super) fn transferee_caught_up(&mut self, id: MemberId) {
        let Self { replica, role } = self;
        let is_heir = role.transfer.as_ref().is_some_and(|transfer| transfer.to == id);
        let last = replica.log.last_index();
        if is_heir && role.peer(id).is_some_and(|peer| peer.match_index == last) {
            replica.send(id, Body::TimeoutNow);
        }
    }

    pub(super) fn expire_transfer(&mut self) {
        let now = self.replica.now;
        if self
            .role
            .transfer
            .as_ref()
            .is_some_and(|transfer| transfer.deadline <= now)
        {
            self.abort_transfer();
        }
    }

    pub(super) fn abort_transfer(&mut self) {
        if let Some(transfer) = self.role.transfer.take() {
            self.replica.refuse(transfer.ticket, Refusal::TransferTimedOut);
        }
    }
}
