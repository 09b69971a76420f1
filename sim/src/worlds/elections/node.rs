//! A node of the graph, which runs one of the algorithms.

use std::collections::BTreeSet;

use crate::actor::{Actor, Context};
use crate::world::{Address, MILLISECOND};

/// A round is longer than any message takes.
pub const ROUND: u64 = 20 * MILLISECOND;
pub const ROOT: Address = 0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    FloodMax,
    Lcr,
    Hs,
    LayeredBfs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    RoundTooFew,
    LargerIsOwn,
    SmallerPass,
    LayersNotAwaited,
}

#[derive(Debug, Clone)]
pub enum Message {
    Largest(u64),
    Token(u64),
    Leader(u64),
    /// HS: a number on its way out, with the hops left; and on its way back.
    Out {
        number: u64,
        hops: u64,
    },
    Back {
        number: u64,
    },
    /// BFS: explore the next layer; you would be at this depth; yes or no; all of this layer is done below me, some of it
    /// new.
    Pulse,
    Explore(u64),
    Accept,
    Reject,
    Done {
        new: bool,
    },
}

#[derive(Debug)]
pub enum Note {
    Leads,
    Sent,
}

#[derive(Debug)]
pub struct Node {
    algorithm: Algorithm,
    fault: Option<Fault>,
    neighbours: Vec<Address>,
    pub number: u64,
    pub leader: Option<u64>,
    largest: u64,
    rounds_left: u64,
    /// HS: which phase, and from how many sides the number came back.
    phase: u32,
    back: u32,
    /// BFS.
    pub depth: Option<u64>,
    parent: Option<Address>,
    children: BTreeSet<Address>,
    awaited: usize,
    explored: bool,
    any_new: bool,
}

type Ctx<'a> = Context<'a, Node>;

impl Node {
    pub fn new(
        algorithm: Algorithm,
        neighbours: Vec<Address>,
        number: u64,
        diameter: u64,
        fault: Option<Fault>,
    ) -> Self {
        let short = u64::from(fault == Some(Fault::RoundTooFew));
        Self {
            algorithm,
            fault,
            neighbours,
            number,
            leader: None,
            largest: number,
            rounds_left: diameter - short.min(diameter),
            phase: 0,
            back: 0,
            depth: None,
            parent: None,
            children: BTreeSet::new(),
            awaited: 0,
            explored: false,
            any_new: false,
        }
    }

    fn send(&self, to: Address, message: Message, context: &mut Ctx<'_>) {
        context.note(Note::Sent);
        context.send(to, message);
    }

    fn leads(&mut self, context: &mut Ctx<'_>) {
        self.leader = Some(self.number);
        context.note(Note::Leads);
        if self.algorithm != Algorithm::FloodMax {
            self.send(self.neighbours[0], Message::Leader(self.number), context);
        }
    }

    fn send_out(&self, context: &mut Ctx<'_>) {
        let hops = 1 << self.phase;
        for to in &self.neighbours {
            self.send(
                *to,
                Message::Out {
                    number: self.number,
                    hops,
                },
                context,
            );
        }
    }

    /// On a ring: the neighbour on the other side.
    fn beyond(&self, from: Address) -> Address {
        if self.neighbours[0] == from {
            self.neighbours[1]
        } else {
            self.neighbours[0]
        }
    }

    /// The next layer, as far as it lies below this node.
    fn pulse(&mut self, context: &mut Ctx<'_>) {
        self.any_new = false;
        let targets: Vec<Address> = if self.explored {
            self.children.iter().copied().collect()
        } else {
            self.neighbours
                .iter()
                .copied()
                .filter(|to| Some(*to) != self.parent)
                .collect()
        };
        self.awaited = targets.len();
        for to in targets {
            let explore = Message::Explore(self.depth.unwrap_or(0) + 1);
            self.send(to, if self.explored { Message::Pulse } else { explore }, context);
        }
        self.explored = true;
        self.answered(context);
    }

    fn answered(&mut self, context: &mut Ctx<'_>) {
        if self.awaited > 0 {
            return;
        }
        match self.parent {
            Some(parent) => self.send(parent, Message::Done { new: self.any_new }, context),
            // The root: another layer, as long as there was something new.
            None if self.any_new => self.pulse(context),
            None => {}
        }
    }
}

impl Actor for Node {
    type Message = Message;
    type Timer = ();
    type Disk = ();
    type Note = Note;

    fn start(&mut self, (): &(), context: &mut Ctx<'_>) {
        match self.algorithm {
            Algorithm::FloodMax => context.after(ROUND, ()),
            Algorithm::Lcr => self.send(self.neighbours[0], Message::Token(self.number), context),
            Algorithm::Hs => self.send_out(context),
            // All others must have started.
            Algorithm::LayeredBfs if context.id() == ROOT => context.after(ROUND, ()),
            Algorithm::LayeredBfs => {}
        }
    }

    fn message(&mut self, from: Address, message: Message, context: &mut Ctx<'_>) {
        match message {
            Message::Largest(number) => self.largest = self.largest.max(number),
            Message::Token(number) => {
                let own = number == self.number || (self.fault == Some(Fault::LargerIsOwn) && number > self.number);
                if own && self.leader.is_none() {
                    self.leads(context);
                } else if number > self.number {
                    self.send(self.neighbours[0], Message::Token(number), context);
                }
            }
            Message::Leader(number) => {
                if self.leader.is_none() {
                    self.leader = Some(number);
                    self.send(self.neighbours[0], Message::Leader(number), context);
                }
            }
            Message::Out { number, .. } if number == self.number => {
                if self.leader.is_none() {
                    self.leads(context);
                }
            }
            Message::Out { number, hops } if number > self.number || self.fault == Some(Fault::SmallerPass) => {
                let (to, message) = match hops.saturating_sub(1) {
                    0 => (from, Message::Back { number }),
                    hops => (self.beyond(from), Message::Out { number, hops }),
                };
                self.send(to, message, context);
            }
            Message::Out { .. } => {}
            Message::Back { number } if number != self.number => {
                self.send(self.beyond(from), Message::Back { number }, context);
            }
            Message::Back { .. } => {
                self.back += 1;
                if self.back == 2 {
                    self.back = 0;
                    self.phase += 1;
                    self.send_out(context);
                }
            }
            Message::Pulse => self.pulse(context),
            Message::Explore(depth) => {
                if self.depth.is_some() {
                    return self.send(from, Message::Reject, context);
                }
                self.depth = Some(depth);
                self.parent = Some(from);
                self.send(from, Message::Accept, context);
                if self.fault == Some(Fault::LayersNotAwaited) {
                    self.pulse(context);
                }
            }
            Message::Accept | Message::Reject => {
                self.awaited = self.awaited.saturating_sub(1);
                if matches!(message, Message::Accept) {
                    self.children.insert(from);
                    self.any_new = true;
                }
                self.answered(context);
            }
            Message::Done { new } => {
                self.awaited = self.awaited.saturating_sub(1);
                self.any_new |= new;
                self.answered(context);
            }
        }
    }

    fn timer(&mut self, (): (), context: &mut Ctx<'_>) {
        if self.algorithm == Algorithm::LayeredBfs {
            self.depth = Some(0);
            return self.pulse(context);
        }
        if self.rounds_left == 0 {
            self.leader = Some(self.largest);
            if self.largest == self.number {
                context.note(Note::Leads);
            }
            return;
        }
        self.rounds_left -= 1;
        for to in &self.neighbours {
            self.send(*to, Message::Largest(self.largest), context);
        }
        context.after(ROUND, ());
    }
}
