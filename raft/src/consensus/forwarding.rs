//! Forwarding: a follower sends the reads and proposals of its own clients to the leader.
//!
//! Every ticket is answered once. What the leader cannot have seen, or what changes nothing, is refused as such; of a
//! proposal that was sent to a leader that did not answer, no one here knows.

use std::collections::VecDeque;

use super::entry::{Index, MemberId, Millis, Position, Term, Ticket};
use super::event::{Proposal, Proposed, ReadReady, Refusal};
use super::message::{Batch, Body, ReadContext};
use super::replica::Replica;

/// How many reads a follower lets wait.
const READS_MAX: usize = 1 << 16;
/// How many batches of proposals a follower lets wait for the leader's answer.
const BATCHES_MAX: usize = 1_024;

/// Requests that wait for the leader.
#[derive(Debug, Default)]
pub(super) struct Forwarding {
    /// Reads of the next attempt: one is on its way at a time, and takes along all that came meanwhile.
    reads: Vec<Ticket>,
    asked: Option<Asked>,
    sent: VecDeque<Sent>,
}

#[derive(Debug)]
struct Asked {
    context: ReadContext,
    tickets: Vec<Ticket>,
    /// When to ask again.
    deadline: Millis,
}

#[derive(Debug)]
struct Sent {
    batch: Batch,
    tickets: Vec<Ticket>,
    /// When to give up.
    deadline: Millis,
}

impl Forwarding {
    /// When [`Forwarding::tick`] has something to do.
    pub fn deadline(&self) -> Millis {
        let asked = self.asked.as_ref().map_or(Millis::MAX, |asked| asked.deadline);
        let sent = self.sent.front().map_or(Millis::MAX, |sent| sent.deadline);
        asked.min(sent)
    }

    /// Asks the leader again what it did not answer, and gives up on proposals.
    pub fn tick(&mut self, replica: &mut Replica, leader: Option<MemberId>) {
        if let Some(asked) = self.asked.take_if(|asked| asked.deadline <= replica.now) {
            // A new attempt gets a new context; the old answer, should it come, is for no one.
            self.reads.extend(asked.tickets);
            if let Some(leader) = leader {
                self.ask(replica, leader);
            }
        }
        while let Some(sent) = self.sent.pop_front_if(|sent| sent.deadline <= replica.now) {
            for ticket in sent.tickets {
                replica.refuse(ticket, Refusal::OutcomeUnknown);
            }
        }
    }

    /// The leader is gone: nothing more will be answered.
    pub fn fail(&mut self, replica: &mut Replica) {
        let asked = self.asked.take().map(|asked| asked.tickets).unwrap_or_default();
        for ticket in asked.into_iter().chain(self.reads.drain(..)) {
            replica.refuse(ticket, Refusal::LeaderChanged);
        }
        for ticket in self.sent.drain(..).flat_map(|sent| sent.tickets) {
            replica.refuse(ticket, Refusal::OutcomeUnknown);
        }
    }

    pub fn read(&mut self, replica: &mut Replica, leader: MemberId, tickets: Vec<Ticket>) {
        for ticket in tickets {
            if self.reads.len() < READS_MAX {
                self.reads.push(ticket);
            } else {
                replica.refuse(ticket, Refusal::Overloaded);
            }
        }
        if self.asked.is_none() {
            self.ask(replica, leader);
        }
    }

    fn ask(&mut self, replica: &mut Replica, leader: MemberId) {
        if self.reads.is_empty() {
            return;
        }
        let context = ReadContext {
            incarnation: replica.config.incarnation,
            attempt: replica.next_attempt(),
        };
        self.asked = Some(Asked {
            context,
            tickets: std::mem::take(&mut self.reads),
            deadline: replica.now + replica.config.election_ms,
        });
        replica.send(leader, Body::ReadIndex { context });
    }

    pub fn read_answered(
        &mut self,
        replica: &mut Replica,
        leader: MemberId,
        context: ReadContext,
        outcome: Result<Index, Refusal>,
    ) {
        let Some(asked) = self.asked.take_if(|asked| asked.context == context) else {
            return;
        };
        for ticket in asked.tickets {
            match outcome {
                Ok(index) => replica.effects.reads.push(ReadReady { ticket, index }),
                Err(why) => replica.refuse(ticket, why),
            }
        }
        self.ask(replica, leader);
    }

    pub fn propose(&mut self, replica: &mut Replica, leader: MemberId, proposals: Vec<Proposal>) {
        if self.sent.len() >= BATCHES_MAX {
            for proposal in proposals {
                replica.refuse(proposal.ticket, Refusal::Overloaded);
            }
            return;
        }
        if proposals.is_empty() {
            return;
        }
        let batch = Batch {
            incarnation: replica.config.incarnation,
            number: replica.next_attempt(),
        };
        let (tickets, commands) = proposals
            .into_iter()
            .map(|proposal| (proposal.ticket, proposal.command))
            .unzip();
        self.sent.push_back(Sent {
            batch,
            tickets,
            deadline: replica.now + 2 * replica.config.election_ms,
        });
        replica.send(leader, Body::Forward { batch, commands });
    }

    pub fn proposals_answered(
        &mut self,
        replica: &mut Replica,
        term: Term,
        batch: Batch,
        outcome: Result<Index, Refusal>,
    ) {
        let Ok(at) = self.sent.binary_search_by_key(&batch, |sent| sent.batch) else {
            return;
        };
        let Some(sent) = self.sent.remove(at) else {
            return;
        };
        for (ticket, offset) in sent.tickets.into_iter().zip(0..) {
            match outcome {
                Ok(first) => {
                    let index = first.saturating_add(offset);
                    let position = Position { term, index };
                    replica.effects.proposed.push(Proposed { ticket, position });
                }
                Err(why) => replica.refuse(ticket, why),
            }
        }
    }
}
