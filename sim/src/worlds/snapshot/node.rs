//! A bank that sends money about, and takes part in cuts.

use std::collections::{BTreeMap, BTreeSet};

use crate::actor::{Actor, Context};
use crate::world::{Address, MILLISECOND};

pub const START_BALANCE: u64 = 1_000;
const TRANSFER_MAX: u64 = 20 * MILLISECOND;

#[derive(Debug, Clone)]
pub enum Message {
    Money(u64),
    Marker(u64),
    /// From outside.
    Begin(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timer {
    Transfer,
    LateMarkers(u64),
}

#[derive(Debug)]
pub enum Note {
    /// This node's part of a cut: its balance, and what was on its way to it.
    Part { cut: u64, balance: u64, channels: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    ChannelsIgnored,
    MarkersOvertaken,
}

/// A cut that is under way here.
#[derive(Debug)]
struct Cut {
    balance: u64,
    channels: u64,
    /// Channels whose marker has not come.
    open: BTreeSet<Address>,
}

#[derive(Debug)]
pub struct Node {
    nodes: usize,
    fault: Option<Fault>,
    balance: u64,
    cuts: BTreeMap<u64, Cut>,
    newest: u64,
}

impl Node {
    pub fn new(nodes: usize, fault: Option<Fault>) -> Self {
        Self {
            nodes,
            fault,
            balance: START_BALANCE,
            cuts: BTreeMap::new(),
            newest: 0,
        }
    }

    fn others(&self, id: Address) -> impl Iterator<Item = Address> + use<> {
        (0..self.nodes).filter(move |other| *other != id)
    }

    /// Notes the own state; the markers must be the next thing on every channel.
    fn record(&mut self, cut: u64, context: &mut Context<'_, Self>) {
        self.newest = cut;
        let open = self.others(context.id()).collect();
        self.cuts.insert(
            cut,
            Cut {
                balance: self.balance,
                channels: 0,
                open,
            },
        );
        if self.fault == Some(Fault::MarkersOvertaken) {
            return context.after(30 * MILLISECOND, Timer::LateMarkers(cut));
        }
        self.send_markers(cut, context);
    }

    fn send_markers(&self, cut: u64, context: &mut Context<'_, Self>) {
        for to in self.others(context.id()) {
            context.send(to, Message::Marker(cut));
        }
    }

    fn marker(&mut self, from: Address, cut: u64, context: &mut Context<'_, Self>) {
        if cut > self.newest {
            self.record(cut, context);
        }
        let Some(under_way) = self.cuts.get_mut(&cut) else {
            return;
        };
        under_way.open.remove(&from);
        if under_way.open.is_empty()
            && let Some(Cut { balance, channels, .. }) = self.cuts.remove(&cut)
        {
            context.note(Note::Part { cut, balance, channels });
        }
    }
}

impl Actor for Node {
    type Message = Message;
    type Timer = Timer;
    type Disk = ();
    type Note = Note;

    fn start(&mut self, (): &(), context: &mut Context<'_, Self>) {
        context.after(TRANSFER_MAX, Timer::Transfer);
    }

    fn message(&mut self, from: Address, message: Message, context: &mut Context<'_, Self>) {
        match message {
            Message::Money(amount) => {
                self.balance += amount;
                let notes = self.fault != Some(Fault::ChannelsIgnored);
                for cut in self.cuts.values_mut().filter(|cut| notes && cut.open.contains(&from)) {
                    cut.channels += amount;
                }
            }
            Message::Begin(cut) if cut > self.newest => self.record(cut, context),
            Message::Begin(_) => {}
            Message::Marker(cut) => self.marker(from, cut, context),
        }
    }

    fn timer(&mut self, timer: Timer, context: &mut Context<'_, Self>) {
        match timer {
            Timer::LateMarkers(cut) => self.send_markers(cut, context),
            Timer::Transfer => {
                let amount = context.random().below(self.balance / 4 + 1);
                let step = context.random().between(1, self.nodes as u64 - 1) as usize;
                let to = (context.id() + step) % self.nodes;
                self.balance -= amount;
                context.send(to, Message::Money(amount));
                let wait = context.random().between(1, TRANSFER_MAX);
                context.after(wait, Timer::Transfer);
            }
        }
    }
}
