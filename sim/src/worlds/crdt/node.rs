//! A replica that changes itself and sends its state about.

use std::collections::BTreeSet;

use super::types::Tag;
use super::{Fault, Replica};
use crate::actor::{Actor, Context};
use crate::world::{Address, MILLISECOND};

const GOSSIP: u64 = 100 * MILLISECOND;

#[derive(Debug, Clone)]
pub enum Message {
    /// From outside: change something.
    Change,
    State(Box<Replica>),
}

#[derive(Debug)]
pub enum Note {
    Grown(u64),
    Counted(i64),
    Added(u64, Tag),
    Removed(BTreeSet<Tag>),
    Typed(Tag),
    Deleted(Tag),
}

#[derive(Debug)]
pub struct Node {
    nodes: usize,
    fault: Option<Fault>,
    pub replica: Replica,
    changes: u64,
}

impl Node {
    pub fn new(nodes: usize, fault: Option<Fault>) -> Self {
        Self {
            nodes,
            fault,
            replica: Replica::default(),
            changes: 0,
        }
    }

    fn change(&mut self, context: &mut Context<'_, Self>) {
        let me = context.id() as u64;
        self.changes += 1;
        let tag = (me, self.changes);
        let luck = context.random().below(100);
        match context.random().below(7) {
            0 => {
                self.replica.grows.add(me, luck);
                context.note(Note::Grown(luck));
            }
            1 => {
                let more = luck as i64 - 50;
                self.replica.counter.add(me, more);
                context.note(Note::Counted(more));
            }
            2 => {
                self.replica.set.add(luck % 8, tag);
                context.note(Note::Added(luck % 8, tag));
            }
            3 => context.note(Note::Removed(self.replica.set.remove(luck % 8))),
            4 => self.replica.put(me, self.changes, luck % 4),
            5 => {
                let visible = self.replica.text.visible(self.fault);
                let after = context.random().pick(&visible).copied();
                let tag = self.replica.text.next_tag(me);
                self.replica
                    .text
                    .insert(tag, char::from(b'a' + (luck % 26) as u8), after);
                context.note(Note::Typed(tag));
            }
            _ => {
                let visible = self.replica.text.visible(self.fault);
                if let Some(tag) = context.random().pick(&visible).copied() {
                    self.replica.text.delete(tag);
                    context.note(Note::Deleted(tag));
                }
            }
        }
        context.write((self.replica.clone(), self.changes));
    }
}

impl Actor for Node {
    type Message = Message;
    type Timer = ();
    type Disk = (Replica, u64);
    type Note = Note;

    fn start(&mut self, disk: &Self::Disk, context: &mut Context<'_, Self>) {
        (self.replica, self.changes) = disk.clone();
        context.after(GOSSIP, ());
    }

    fn message(&mut self, _: Address, message: Message, context: &mut Context<'_, Self>) {
        match message {
            Message::Change => self.change(context),
            Message::State(other) => {
                self.replica.merge(&other, self.fault);
                context.write((self.replica.clone(), self.changes));
            }
        }
    }

    fn timer(&mut self, (): (), context: &mut Context<'_, Self>) {
        let step = context.random().between(1, self.nodes as u64 - 1) as usize;
        let to = (context.id() + step) % self.nodes;
        context.send(to, Message::State(Box::new(self.replica.clone())));
        context.after(GOSSIP, ());
    }
}
