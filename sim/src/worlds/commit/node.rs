//! Node 0 coordinates, the others take part.

use std::collections::{BTreeMap, BTreeSet};

use crate::actor::{Actor, Context};
use crate::world::{Address, MILLISECOND};

pub const COORDINATOR: Address = 0;
/// Longer than a message there and back takes, with its write.
const TIMEOUT: u64 = 300 * MILLISECOND;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    TwoPhase,
    ThreePhase,
    Saga,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    ToldBeforeSync,
    DecidesAlone,
    CutNetwork,
    ForwardCompensation,
}

#[derive(Debug, Clone)]
pub enum Message {
    /// From outside.
    Begin(u64),
    Prepare(u64),
    Vote {
        tx: u64,
        yes: bool,
    },
    PreCommit(u64),
    PreCommitted(u64),
    Decide {
        tx: u64,
        commits: bool,
    },
    /// What became of it?
    Ask(u64),
    Do {
        tx: u64,
    },
    Undo {
        tx: u64,
    },
    /// A step is done, undone or refused.
    Stepped {
        tx: u64,
        done: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timer {
    Waits(u64),
}

#[derive(Debug)]
pub enum Note {
    VotedNo(u64),
    Prepared(u64),
    Decided { tx: u64, commits: bool },
    Done { tx: u64, step: u64 },
    Undone { tx: u64, step: u64 },
}

/// Where a transaction stands, at the coordinator or a participant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Prepared,
    PreCommitted,
    Decided(bool),
    /// A saga at its coordinator: so many steps are done; whether it goes back.
    Step {
        done: u64,
        back: bool,
    },
    Undone,
}

pub type Disk = BTreeMap<u64, State>;

#[derive(Debug)]
pub struct Node {
    nodes: usize,
    protocol: Protocol,
    fault: Option<Fault>,
    states: Disk,
    votes: BTreeMap<u64, BTreeSet<Address>>,
    /// It crashed: what it had prepared it may not decide by a timeout.
    recovering: BTreeSet<u64>,
}

type Ctx<'a> = Context<'a, Node>;

impl Node {
    pub fn new(nodes: usize, protocol: Protocol, fault: Option<Fault>) -> Self {
        let (states, votes, recovering) = Default::default();
        Self {
            nodes,
            protocol,
            fault,
            states,
            votes,
            recovering,
        }
    }

    pub fn open(&self) -> usize {
        let is_open = |state: &&State| matches!(state, State::Prepared | State::PreCommitted);
        self.states.values().filter(is_open).count()
    }

    fn set(&mut self, tx: u64, state: State, context: &mut Ctx<'_>) {
        self.states.insert(tx, state);
        context.write(self.states.clone());
    }

    fn tell_all(&self, message: &Message, context: &mut Ctx<'_>) {
        for to in 1..self.nodes {
            if self.fault == Some(Fault::ToldBeforeSync) {
                context.send(to, message.clone());
            } else {
                context.send_durable(to, message.clone());
            }
        }
    }

    /// The coordinator's decision, or a participant's own.
    fn decide(&mut self, tx: u64, commits: bool, context: &mut Ctx<'_>) {
        if matches!(self.states.get(&tx), Some(State::Decided(_))) {
            return;
        }
        self.set(tx, State::Decided(commits), context);
        self.recovering.remove(&tx);
        self.votes.remove(&tx);
        if context.id() == COORDINATOR {
            self.tell_all(&Message::Decide { tx, commits }, context);
        } else {
            context.cancel(Timer::Waits(tx));
            context.note(Note::Decided { tx, commits });
        }
    }

    fn ask(&self, tx: u64, context: &mut Ctx<'_>) {
        context.send(COORDINATOR, Message::Ask(tx));
        if self.protocol == Protocol::ThreePhase {
            let me = context.id();
            for peer in (1..self.nodes).filter(|peer| *peer != me) {
                context.send(peer, Message::Ask(tx));
            }
        }
        context.after(TIMEOUT, Timer::Waits(tx));
    }

    /// The coordinator of a saga sends what is next.
    fn saga_goes_on(&mut self, tx: u64, context: &mut Ctx<'_>) {
        let Some(State::Step { done, back }) = self.states.get(&tx).copied() else {
            return;
        };
        let last = self.nodes as u64 - 1;
        let forward = self.fault == Some(Fault::ForwardCompensation);
        let message = match (back, done) {
            (false, done) if done == last => return self.set(tx, State::Decided(true), context),
            (true, 0) => return self.set(tx, State::Decided(false), context),
            (false, done) => (done + 1, Message::Do { tx }),
            // Of the steps that still stand, in the wrong order: the first one.
            (true, done) if forward => (self.undone_so_far(tx, done) + 1, Message::Undo { tx }),
            (true, done) => (done, Message::Undo { tx }),
        };
        context.send_durable(message.0 as Address, message.1);
        context.after(TIMEOUT, Timer::Waits(tx));
    }

    fn undone_so_far(&self, tx: u64, done: u64) -> u64 {
        let all = self.votes.get(&tx).map_or(done, |all| all.len() as u64);
        all - done.min(all)
    }

    fn stepped(&mut self, from: Address, tx: u64, ok: bool, context: &mut Ctx<'_>) {
        let Some(State::Step { done, back }) = self.states.get(&tx).copied() else {
            return;
        };
        let step = from as u64;
        let state = match (back, ok) {
            (false, true) if step == done + 1 => State::Step { done: done + 1, back },
            (false, false) if step == done + 1 => {
                self.votes.insert(tx, (1..=done as Address).collect());
                State::Step { done, back: true }
            }
            (true, false) if done > 0 && (step == done || self.fault == Some(Fault::ForwardCompensation)) => {
                State::Step { done: done - 1, back }
            }
            _ => return,
        };
        self.set(tx, state, context);
        self.saga_goes_on(tx, context);
    }
}

impl Actor for Node {
    type Message = Message;
    type Timer = Timer;
    type Disk = Disk;
    type Note = Note;

    fn start(&mut self, disk: &Disk, context: &mut Ctx<'_>) {
        self.states = disk.clone();
        for (tx, state) in disk {
            match state {
                State::Prepared | State::PreCommitted => {
                    self.recovering.insert(*tx);
                    context.after(TIMEOUT, Timer::Waits(*tx));
                }
                State::Step { .. } if context.id() == COORDINATOR => context.after(TIMEOUT, Timer::Waits(*tx)),
                _ => {}
            }
        }
    }

    fn message(&mut self, from: Address, message: Message, context: &mut Ctx<'_>) {
        match message {
            Message::Begin(tx) if self.protocol == Protocol::Saga => {
                self.set(tx, State::Step { done: 0, back: false }, context);
                self.saga_goes_on(tx, context);
            }
            Message::Begin(tx) => {
                self.votes.insert(tx, BTreeSet::new());
                for to in 1..self.nodes {
                    context.send(to, Message::Prepare(tx));
                }
                context.after(TIMEOUT, Timer::Waits(tx));
            }
            Message::Prepare(tx) if !self.states.contains_key(&tx) => {
                // Of the transaction, not of chance: asked again after a crash, it votes the same.
                let yes = !(31 * tx + context.id() as u64).is_multiple_of(20);
                if yes {
                    self.set(tx, State::Prepared, context);
                    context.note(Note::Prepared(tx));
                    context.after(TIMEOUT, Timer::Waits(tx));
                } else {
                    context.note(Note::VotedNo(tx));
                    self.decide(tx, false, context);
                }
                context.send_durable(COORDINATOR, Message::Vote { tx, yes });
            }
            Message::Prepare(_) => {}
            Message::Vote { tx, yes: false } => self.decide(tx, false, context),
            Message::Vote { tx, yes: true } => {
                let Some(votes) = self.votes.get_mut(&tx) else { return };
                votes.insert(from);
                if votes.len() + 1 < self.nodes {
                    return;
                }
                if self.protocol == Protocol::TwoPhase {
                    return self.decide(tx, true, context);
                }
                votes.clear();
                self.set(tx, State::PreCommitted, context);
                self.tell_all(&Message::PreCommit(tx), context);
                context.after(TIMEOUT, Timer::Waits(tx));
            }
            Message::PreCommit(tx) => {
                if self.states.get(&tx) == Some(&State::Prepared) {
                    self.set(tx, State::PreCommitted, context);
                    self.recovering.remove(&tx);
                    context.after(TIMEOUT, Timer::Waits(tx));
                    context.send_durable(COORDINATOR, Message::PreCommitted(tx));
                }
            }
            Message::PreCommitted(tx) => {
                let Some(votes) = self.votes.get_mut(&tx) else { return };
                votes.insert(from);
                if votes.len() + 1 == self.nodes {
                    self.decide(tx, true, context);
                }
            }
            Message::Decide { tx, commits } => {
                if self.states.contains_key(&tx) {
                    self.decide(tx, commits, context);
                }
            }
            Message::Ask(tx) => match self.states.get(&tx) {
                Some(State::Decided(commits)) => {
                    let commits = *commits;
                    context.send_durable(from, Message::Decide { tx, commits });
                }
                // Presumed abort: the coordinator knows nothing of it, so no one can have been told to commit.
                None if context.id() == COORDINATOR && !self.votes.contains_key(&tx) => self.decide(tx, false, context),
                _ => {}
            },
            Message::Do { tx } => {
                let step = context.id() as u64;
                let done = match self.states.get(&tx) {
                    Some(State::Decided(done)) => *done,
                    Some(_) => false,
                    None => {
                        let done = !(31 * tx + step).is_multiple_of(7);
                        self.set(tx, State::Decided(done), context);
                        if done {
                            context.note(Note::Done { tx, step });
                        }
                        done
                    }
                };
                context.send_durable(from, Message::Stepped { tx, done });
            }
            Message::Undo { tx } => {
                let step = context.id() as u64;
                if self.states.get(&tx) == Some(&State::Decided(true)) {
                    self.set(tx, State::Undone, context);
                    context.note(Note::Undone { tx, step });
                }
                context.send_durable(from, Message::Stepped { tx, done: false });
            }
            Message::Stepped { tx, done } => self.stepped(from, tx, done, context),
        }
    }

    fn timer(&mut self, Timer::Waits(tx): Timer, context: &mut Ctx<'_>) {
        let is_coordinator = context.id() == COORDINATOR;
        match (self.states.get(&tx).copied(), is_coordinator) {
            (Some(State::Step { .. }), true) => self.saga_goes_on(tx, context),
            // Votes are missing.
            (None, true) => self.decide(tx, false, context),
            // It may have crashed before anyone heard of it, and then they aborted.
            (Some(State::PreCommitted), true) if self.recovering.contains(&tx) => self.ask(tx, context),
            // A participant that is missing will ask.
            (Some(State::PreCommitted), true) => self.decide(tx, true, context),
            (Some(State::Prepared), false) if self.fault == Some(Fault::DecidesAlone) => {
                self.decide(tx, false, context)
            }
            (Some(State::Prepared | State::PreCommitted), false)
                if self.protocol == Protocol::TwoPhase || self.recovering.contains(&tx) =>
            {
                self.ask(tx, context);
            }
            (Some(State::Prepared), false) => self.decide(tx, false, context),
            (Some(State::PreCommitted), false) => self.decide(tx, true, context),
            _ => {}
        }
    }
}
