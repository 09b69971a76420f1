//! The nodes: number 0 is the controller, the others hold copies.

use std::collections::{BTreeMap, BTreeSet};

use cluster::reconcile::{Actual, Ideal, Move, Rules, next_moves};

use crate::actor::{Actor, Context};
use crate::world::{Address, MILLISECOND, SECOND};

pub const CONTROLLER: Address = 0;
const REPORT: u64 = 200 * MILLISECOND;
/// A node that has not reported for this long counts as dead.
const SILENT: u64 = 3 * SECOND;
/// Copies below which the controller drops nothing.
pub const ALIVE_MIN: usize = 2;

#[derive(Debug, Clone)]
pub enum Message {
    /// To the controller, from outside.
    Wanted(BTreeMap<u64, Ideal>),
    /// A node has copies from the start, from outside.
    Has(BTreeSet<u64>),
    Report {
        complete: BTreeSet<u64>,
        copying: BTreeSet<u64>,
        answered: u64,
    },
    Command {
        next: Move,
        number: u64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timer {
    Report,
    Copied(u64),
}

#[derive(Debug)]
pub enum Note {
    Dropped(u64),
    Copied(u64),
}

#[derive(Debug, Clone, Default)]
pub struct Disk {
    complete: BTreeSet<u64>,
    ideal: BTreeMap<u64, Ideal>,
    leaders: BTreeMap<u64, u64>,
    answered: u64,
}

impl Disk {
    pub fn complete(&self) -> &BTreeSet<u64> {
        &self.complete
    }
}

#[derive(Debug, Default)]
pub struct Node {
    disk: Disk,
    copying: BTreeSet<u64>,
    /// The controller's: the last report of each node, and when it came.
    reports: BTreeMap<Address, (u64, BTreeSet<u64>, BTreeSet<u64>)>,
    /// Drops that were ordered and not seen to be done: they count as done, or a slow one would be ordered twice over.
    ordered: BTreeMap<Address, (u64, BTreeSet<u64>)>,
    next_number: u64,
}

impl Node {
    pub fn complete(&self) -> &BTreeSet<u64> {
        &self.disk.complete
    }

    pub fn ideal(&self) -> &BTreeMap<u64, Ideal> {
        &self.disk.ideal
    }

    pub fn leaders(&self) -> &BTreeMap<u64, u64> {
        &self.disk.leaders
    }

    fn control(&mut self, context: &mut Context<'_, Self>) {
        let now = context.now();
        let mut actual: BTreeMap<u64, Actual> = BTreeMap::new();
        let mut alive = BTreeSet::new();
        for (node, (at, complete, copying)) in &self.reports {
            if at + SILENT > now {
                alive.insert(*node as u64);
            }
            let leaving = self.ordered.get(node).map(|(_, resources)| resources);
            for resource in complete
                .iter()
                .filter(|resource| leaving.is_none_or(|leaving| !leaving.contains(resource)))
            {
                actual.entry(*resource).or_default().complete.insert(*node as u64);
            }
            for resource in copying {
                actual.entry(*resource).or_default().copying.insert(*node as u64);
            }
        }
        for (resource, leader) in &self.disk.leaders {
            actual.entry(*resource).or_default().leader = Some(*leader);
        }
        let rules = Rules {
            moves_a_node: 2,
            alive_min: ALIVE_MIN,
            bytes_under_way: 500,
        };
        for next in next_moves(&self.disk.ideal, &actual, &alive, &rules) {
            self.next_number += 1;
            let number = self.next_number;
            match next {
                Move::Promote(resource, node) => {
                    self.disk.leaders.insert(resource, node);
                }
                Move::Drop(resource, node) => {
                    let ordered = self.ordered.entry(node as Address).or_default();
                    ordered.0 = number;
                    ordered.1.insert(resource);
                    context.send(node as Address, Message::Command { next, number });
                }
                Move::Add(_, node) => context.send(node as Address, Message::Command { next, number }),
            }
        }
        // Orders may be lost, and so may those who got them.
        for (node, (number, resources)) in &self.ordered {
            for resource in resources {
                let next = Move::Drop(*resource, *node as u64);
                context.send(*node, Message::Command { next, number: *number });
            }
        }
        context.write(self.disk.clone());
    }
}

impl Actor for Node {
    type Message = Message;
    type Timer = Timer;
    type Disk = Disk;
    type Note = Note;

    fn start(&mut self, disk: &Disk, context: &mut Context<'_, Self>) {
        self.disk = disk.clone();
        // Numbers go on above those of an earlier life.
        self.next_number = context.now();
        context.after(REPORT, Timer::Report);
    }

    fn message(&mut self, from: Address, message: Message, context: &mut Context<'_, Self>) {
        match message {
            Message::Wanted(ideal) => {
                self.disk.ideal = ideal;
                context.write(self.disk.clone());
            }
            Message::Has(resources) => {
                self.disk.complete.extend(resources);
                context.write(self.disk.clone());
            }
            Message::Report {
                complete,
                copying,
                answered,
            } => {
                if self.ordered.get(&from).is_some_and(|(number, _)| answered >= *number) {
                    self.ordered.remove(&from);
                }
                self.reports.insert(from, (context.now(), complete, copying));
            }
            Message::Command {
                next: Move::Add(resource, _),
                ..
            } if !self.disk.complete.contains(&resource) => {
                self.copying.insert(resource);
                let wait = context.random().between(100, 2_000) * MILLISECOND;
                context.after(wait, Timer::Copied(resource));
            }
            Message::Command {
                next: Move::Drop(resource, _),
                number,
            } if number > self.disk.answered => {
                if self.disk.complete.remove(&resource) {
                    context.note(Note::Dropped(resource));
                }
                self.disk.answered = number;
                context.write(self.disk.clone());
            }
            Message::Command { .. } => {}
        }
    }

    fn timer(&mut self, timer: Timer, context: &mut Context<'_, Self>) {
        match timer {
            Timer::Report if context.id() == CONTROLLER => {
                self.control(context);
                context.after(REPORT, Timer::Report);
            }
            Timer::Report => {
                let (complete, copying) = (self.disk.complete.clone(), self.copying.clone());
                let answered = self.disk.answered;
                context.send_durable(
                    CONTROLLER,
                    Message::Report {
                        complete,
                        copying,
                        answered,
                    },
                );
                context.after(REPORT, Timer::Report);
            }
            Timer::Copied(resource) => {
                self.copying.remove(&resource);
                self.disk.complete.insert(resource);
                context.write(self.disk.clone());
                context.note(Note::Copied(resource));
            }
        }
    }
}
