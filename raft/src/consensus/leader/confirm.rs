//! Heartbeats: they tell the others who leads, and their answers that this member still does.

use super::Leader;
use super::reads::Reader;
use crate::consensus::entry::{Index, MemberId, Ticket};
use crate::consensus::event::{ReadReady, Refusal};
use crate::consensus::member::Member;
use crate::consensus::message::{Body, ReadContext, Session};
use crate::consensus::plant::{Plant, is_planted};

impl Member<Leader> {
    /// Sends a new round of heartbeats; reads that wait are confirmed by it.
    pub(super) fn heartbeat(&mut self) {
        let Self { replica, role } = self;
        if !is_planted(Plant::ReadRoundReused) || role.round == 0 {
            role.round += 1;
        }
        let round = role.round;
        if replica.has_committed_in_term() || is_planted(Plant::ReadBeforeOwnTerm) {
            role.reads.ask(round, replica.commit);
        }
        for peer in &mut role.peers {
            let heartbeat = Body::Heartbeat {
                session: peer.session,
                commit: replica.commit.min(peer.match_index),
                round,
            };
            replica.send(peer.id, heartbeat);
        }
    }

    pub(super) fn heartbeat_acknowledged(&mut self, from: MemberId, session: Session, round: u64, received: Index) {
        let Self { replica, role } = self;
        let last_round = role.round;
        let Some(peer) = role.peer(from).filter(|peer| peer.is_current(session)) else {
            return;
        };
        peer.hear(replica.now);
        if round > last_round {
            return;
        }
        peer.answered(round, received);
    }

    pub(super) fn read(&mut self, tickets: Vec<Ticket>) {
        for ticket in tickets {
            if !self.role.reads.push(Reader::Local(ticket)) {
                self.replica.refuse(ticket, Refusal::Overloaded);
            }
        }
    }

    pub(super) fn read_for(&mut self, from: MemberId, context: ReadContext) {
        if !self.role.reads.push(Reader::Remote { from, context }) {
            let outcome = Err(Refusal::Overloaded);
            self.replica.send(from, Body::ReadIndexReply { context, outcome });
        }
    }

    /// Answers the reads that are confirmed, and begins a round for those that wait. A leader that alone is the quorum
    /// needs no one.
    pub(super) fn confirm_reads(&mut self) {
        self.answer_reads();
        if self.role.reads.needs_round() && self.replica.has_committed_in_term() {
            self.heartbeat();
            self.answer_reads();
        }
    }

    fn answer_reads(&mut self) {
        let Self { replica, role } = self;
        if !role.reads.is_asked() {
            return;
        }
        let id = replica.id();
        let confirmed = match is_planted(Plant::ReadUnconfirmed) {
            true => role.round,
            false => replica.membership().reached_by_quorum(|member| match member == id {
                true => role.round,
                false => role.peer_index(member).map_or(0, |at| role.peers[at].round),
            }),
        };
        while let Some((index, readers)) = role.reads.confirmed(confirmed) {
            for reader in readers {
                match reader {
                    Reader::Local(ticket) => replica.effects.reads.push(ReadReady { ticket, index }),
                    Reader::Remote { from, context } => {
                        let outcome = Ok(index);
                        replica.send(from, Body::ReadIndexReply { context, outcome });
                    }
                }
            }
        }
    }

    /// Whether no quorum was heard from for so long that the others may have elected someone else (check-quorum).
    pub(super) fn has_lost_quorum(&self) -> bool {
        let Self { replica, role } = self;
        if !replica.config.check_quorum || is_planted(Plant::QuorumUnchecked) {
            return false;
        }
        let id = replica.id();
        let last_contact = replica.membership().reached_by_quorum(|member| match member == id {
            true => replica.now,
            false => role.peer_index(member).map_or(0, |at| role.peers[at].last_contact),
        });
        replica.now >= last_contact.saturating_add(replica.config.election_ms)
    }
}
