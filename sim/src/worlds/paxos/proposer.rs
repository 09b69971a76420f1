//! A node: acceptor, proposer and learner in one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::acceptor::Acceptor;
use super::{Ballot, NOTHING, Slot, Value};
use crate::actor::{Actor, Context};
use crate::world::{Address, MILLISECOND};

const HEARTBEAT: u64 = 50 * MILLISECOND;
const ELECTION_MIN: u64 = 200 * MILLISECOND;
const ELECTION_MAX: u64 = 500 * MILLISECOND;
/// Decisions that one answer repeats, and values that wait for a leader.
const BATCH_MAX: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Message {
    /// From outside: agree upon this.
    Request(Value),
    Prepare {
        ballot: Ballot,
        from: Slot,
    },
    Promise {
        ballot: Ballot,
        accepted: Vec<(Slot, Ballot, Value)>,
    },
    Accept {
        ballot: Ballot,
        slot: Slot,
        value: Value,
    },
    Accepted {
        ballot: Ballot,
        slot: Slot,
    },
    Refused {
        promised: Ballot,
    },
    Decided {
        slot: Slot,
        value: Value,
    },
    /// The leader is there, and everything below `decided` is decided.
    Heartbeat {
        ballot: Ballot,
        decided: Slot,
    },
    /// What was decided from here on?
    Learn {
        from: Slot,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    Election,
    Heartbeat,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    Leads(Ballot),
    Decided(Slot, Value),
}

/// Lines that are made wrong to see whether it is caught.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    PromiseForgotten,
    ValueNotTakenOver,
    OwnVoteTwice,
    ToldBeforeSync,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Role {
    Follower,
    Preparing {
        promises: BTreeMap<Address, Vec<(Slot, Ballot, Value)>>,
    },
    Leader,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Proposal {
    value: Value,
    accepted: BTreeSet<Address>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Paxos {
    id: Address,
    nodes: usize,
    /// Slots there are: one, or as many as are needed.
    slots: Slot,
    fault: Option<Fault>,
    acceptor: Acceptor,
    role: Role,
    ballot: Ballot,
    leader: Option<Address>,
    proposals: BTreeMap<Slot, Proposal>,
    next_slot: Slot,
    waiting: VecDeque<Value>,
    decided: BTreeMap<Slot, Value>,
}

type Ctx<'a> = Context<'a, Paxos>;

impl Paxos {
    pub fn new(id: Address, nodes: usize, slots: Slot, fault: Option<Fault>) -> Self {
        Self {
            id,
            nodes,
            slots,
            fault,
            acceptor: Acceptor::default(),
            role: Role::Follower,
            ballot: 0,
            leader: None,
            proposals: BTreeMap::new(),
            next_slot: 0,
            waiting: VecDeque::new(),
            decided: BTreeMap::new(),
        }
    }

    pub fn decided(&self) -> &BTreeMap<Slot, Value> {
        &self.decided
    }

    pub fn ballot(&self) -> Ballot {
        self.ballot.max(self.acceptor.promised)
    }

    /// The first slot that is not known to be decided.
    fn undecided(&self) -> Slot {
        let run = self
            .decided
            .keys()
            .zip(0..)
            .take_while(|(slot, expected)| **slot == *expected);
        run.count() as Slot
    }

    fn broadcast(&self, context: &mut Ctx<'_>, message: &Message) {
        for to in 0..self.nodes {
            context.send(to, message.clone());
        }
    }

    /// Answers when what the acceptor knows is durable.
    fn answer_durably(&self, context: &mut Ctx<'_>, to: Address, message: Message) {
        context.write(self.acceptor.clone());
        if self.fault == Some(Fault::ToldBeforeSync) {
            context.send(to, message);
        } else {
            context.send_durable(to, message);
        }
    }

    fn wait_for_a_leader(&self, context: &mut Ctx<'_>) {
        let wait = context.random().between(ELECTION_MIN, ELECTION_MAX);
        context.after(wait, Timer::Election);
    }

    fn is_majority(&self, votes: usize, with_own: bool) -> bool {
        let twice = self.fault == Some(Fault::OwnVoteTwice) && with_own;
        2 * (votes + usize::from(twice)) > self.nodes
    }

    fn campaign(&mut self, context: &mut Ctx<'_>) {
        let round = self.ballot() / self.nodes as u64 + 1;
        self.ballot = round * self.nodes as u64 + self.id as u64;
        self.role = Role::Preparing {
            promises: BTreeMap::new(),
        };
        self.proposals.clear();
        context.cancel(Timer::Heartbeat);
        self.wait_for_a_leader(context);
        let (ballot, from) = (self.ballot, self.undecided());
        self.broadcast(context, &Message::Prepare { ballot, from });
    }

    fn promised(&mut self, from: Address, accepted: Vec<(Slot, Ballot, Value)>, context: &mut Ctx<'_>) {
        let Role::Preparing { promises } = &mut self.role else {
            return;
        };
        promises.insert(from, accepted);
        let (votes, own) = (promises.len(), promises.contains_key(&self.id));
        if !self.is_majority(votes, own) {
            return;
        }
        let Role::Preparing { promises } = std::mem::replace(&mut self.role, Role::Leader) else {
            return;
        };
        self.leader = Some(self.id);
        context.cancel(Timer::Election);
        context.note(Note::Leads(self.ballot));
        // Of each slot the value of the highest ballot: it may have been chosen, and then no other may be.
        let mut newest: BTreeMap<Slot, (Ballot, Value)> = BTreeMap::new();
        for (slot, ballot, value) in promises.into_values().flatten() {
            let known = newest.entry(slot).or_insert((ballot, value));
            *known = (*known).max((ballot, value));
        }
        if self.fault == Some(Fault::ValueNotTakenOver) {
            newest.clear();
        }
        let first = self.undecided();
        let last = newest.keys().next_back().max(self.decided.keys().next_back());
        let end = last.map_or(first, |last| first.max(last + 1));
        self.next_slot = end;
        for slot in first..end {
            let known = self.decided.get(&slot).copied();
            let value = known.or(newest.get(&slot).map(|(_, value)| *value)).unwrap_or(NOTHING);
            self.propose(slot, value, context);
        }
        self.propose_waiting(context);
        self.beat(context);
    }

    fn propose(&mut self, slot: Slot, value: Value, context: &mut Ctx<'_>) {
        self.proposals.insert(
            slot,
            Proposal {
                value,
                accepted: BTreeSet::new(),
            },
        );
        let ballot = self.ballot;
        self.broadcast(context, &Message::Accept { ballot, slot, value });
    }

    fn propose_waiting(&mut self, context: &mut Ctx<'_>) {
        while self.role == Role::Leader && self.next_slot < self.slots {
            let Some(value) = self.waiting.pop_front() else { return };
            self.next_slot += 1;
            self.propose(self.next_slot - 1, value, context);
        }
    }

    fn accepted(&mut self, from: Address, slot: Slot, context: &mut Ctx<'_>) {
        let Some(proposal) = self.proposals.get_mut(&slot) else {
            return;
        };
        proposal.accepted.insert(from);
        let (value, votes, own) = (
            proposal.value,
            proposal.accepted.len(),
            proposal.accepted.contains(&self.id),
        );
        if self.is_majority(votes, own) {
            self.proposals.remove(&slot);
            self.broadcast(context, &Message::Decided { slot, value });
        }
    }

    fn beat(&mut self, context: &mut Ctx<'_>) {
        let (ballot, decided) = (self.ballot, self.undecided());
        for to in (0..self.nodes).filter(|to| *to != self.id) {
            context.send(to, Message::Heartbeat { ballot, decided });
        }
        // What was lost on the way is sent again.
        for (slot, proposal) in self.proposals.iter().take(BATCH_MAX) {
            let (slot, value) = (*slot, proposal.value);
            for to in (0..self.nodes).filter(|to| !proposal.accepted.contains(to)) {
                context.send(to, Message::Accept { ballot, slot, value });
            }
        }
        context.after(HEARTBEAT, Timer::Heartbeat);
    }

    fn step_down(&mut self, context: &mut Ctx<'_>) {
        self.role = Role::Follower;
        self.proposals.clear();
        context.cancel(Timer::Heartbeat);
        self.wait_for_a_leader(context);
    }
}

impl Actor for Paxos {
    type Message = Message;
    type Timer = Timer;
    type Disk = Acceptor;
    type Note = Note;

    fn start(&mut self, disk: &Acceptor, context: &mut Ctx<'_>) {
        self.acceptor = disk.clone();
        if self.fault == Some(Fault::PromiseForgotten) {
            self.acceptor.promised = 0;
        }
        self.wait_for_a_leader(context);
    }

    fn message(&mut self, from: Address, message: Message, context: &mut Ctx<'_>) {
        match message {
            Message::Request(value) => match (&self.role, self.leader) {
                (Role::Follower, Some(leader)) if leader != self.id => context.send(leader, Message::Request(value)),
                _ if self.waiting.len() < BATCH_MAX => {
                    self.waiting.push_back(value);
                    self.propose_waiting(context);
                }
                _ => {}
            },
            Message::Prepare { ballot, from: slot } => {
                if !self.acceptor.prepare(ballot) {
                    return context.send(
                        from,
                        Message::Refused {
                            promised: self.acceptor.promised,
                        },
                    );
                }
                if ballot > self.ballot && self.role != Role::Follower {
                    self.step_down(context);
                }
                if from != self.id {
                    self.wait_for_a_leader(context);
                }
                let accepted = self.acceptor.accepted_from(slot);
                self.answer_durably(context, from, Message::Promise { ballot, accepted });
            }
            Message::Promise { ballot, accepted } if ballot == self.ballot => self.promised(from, accepted, context),
            Message::Accept { ballot, slot, value } => {
                if self.acceptor.accept(ballot, slot, value) {
                    self.answer_durably(context, from, Message::Accepted { ballot, slot });
                } else {
                    context.send(
                        from,
                        Message::Refused {
                            promised: self.acceptor.promised,
                        },
                    );
                }
            }
            Message::Accepted { ballot, slot } if ballot == self.ballot && self.role == Role::Leader => {
                self.accepted(from, slot, context);
            }
            Message::Refused { promised } if promised > self.ballot && self.role != Role::Follower => {
                self.acceptor.promised = self.acceptor.promised.max(promised);
                self.step_down(context);
            }
            Message::Decided { slot, value } => {
                if self.decided.insert(slot, value) != Some(value) {
                    context.note(Note::Decided(slot, value));
                }
            }
            Message::Heartbeat { ballot, decided } if ballot >= self.acceptor.promised => {
                self.leader = Some(from);
                if ballot > self.ballot && self.role != Role::Follower {
                    self.step_down(context);
                }
                self.wait_for_a_leader(context);
                for value in std::mem::take(&mut self.waiting) {
                    context.send(from, Message::Request(value));
                }
                let known = self.undecided();
                if known < decided {
                    context.send(from, Message::Learn { from: known });
                }
            }
            Message::Heartbeat { .. } => context.send(
                from,
                Message::Refused {
                    promised: self.acceptor.promised,
                },
            ),
            Message::Learn { from: slot } => {
                for (slot, value) in self.decided.range(slot..).take(BATCH_MAX) {
                    context.send(
                        from,
                        Message::Decided {
                            slot: *slot,
                            value: *value,
                        },
                    );
                }
            }
            Message::Promise { .. } | Message::Accepted { .. } | Message::Refused { .. } => {}
        }
    }

    fn timer(&mut self, timer: Timer, context: &mut Ctx<'_>) {
        match timer {
            Timer::Election => self.campaign(context),
            Timer::Heartbeat if self.role == Role::Leader => self.beat(context),
            Timer::Heartbeat => {}
        }
    }
}
