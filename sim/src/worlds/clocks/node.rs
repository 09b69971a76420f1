//! Node 0 takes writes, the others are its replicas; clients are outside and carry tokens.

use cluster::hlc::{Clock, Stamp};

use super::Fault;
use crate::actor::{Actor, Context};
use crate::world::{Address, MILLISECOND};

pub const PRIMARY: Address = 0;
/// Clocks that are farther ahead than this are not believed.
pub const BOUND_MS: u64 = 1_000;
/// Reads that wait at a replica; more are refused.
const WAITING_MAX: usize = 64;

/// All three stamps of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamps {
    pub hybrid: Stamp,
    pub logical: u64,
    pub physical_ms: u64,
}

#[derive(Debug, Clone)]
pub enum Message {
    Write {
        client: usize,
    },
    /// With the stamp of the client's last write.
    Read {
        client: usize,
        token: Stamp,
    },
    Replicate {
        value: Stamp,
        stamps: Stamps,
    },
}

#[derive(Debug)]
pub enum Note {
    /// An event, and the event of another node that may have caused it.
    Event {
        stamps: Stamps,
        cause: Option<Stamps>,
    },
    Wrote {
        client: usize,
        stamp: Stamp,
    },
    Read {
        client: usize,
        token: Stamp,
        found: Stamp,
    },
    Waits,
}

#[derive(Debug)]
pub struct Node {
    nodes: usize,
    fault: Option<Fault>,
    hybrid: Clock,
    logical: u64,
    /// The stamp of the newest write that is known here.
    value: Stamp,
    waiting: Vec<(usize, Stamp)>,
}

impl Node {
    pub fn new(nodes: usize, fault: Option<Fault>) -> Self {
        Self {
            nodes,
            fault,
            hybrid: Clock::new(BOUND_MS),
            logical: 0,
            value: Stamp::default(),
            waiting: Vec::new(),
        }
    }

    fn stamp(&mut self, cause: Option<Stamps>, context: &mut Context<'_, Self>) -> Stamps {
        let now_ms = context.now() / MILLISECOND;
        let hybrid = match cause {
            // The worlds' clocks differ by less than the bound; one that is refused would show as a broken order.
            Some(cause) => self.hybrid.receive(cause.hybrid, now_ms).unwrap_or_default(),
            None => self.hybrid.tick(now_ms),
        };
        self.logical = self.logical.max(cause.map_or(0, |cause| cause.logical)) + 1;
        let stamps = Stamps {
            hybrid,
            logical: self.logical,
            physical_ms: now_ms,
        };
        context.write((hybrid, self.logical));
        context.note(Note::Event { stamps, cause });
        stamps
    }

    fn answer(&mut self, client: usize, token: Stamp, context: &mut Context<'_, Self>) {
        context.note(Note::Read {
            client,
            token,
            found: self.value,
        });
    }
}

impl Actor for Node {
    type Message = Message;
    type Timer = ();
    type Disk = (Stamp, u64);
    type Note = Note;

    fn start(&mut self, disk: &Self::Disk, _: &mut Context<'_, Self>) {
        self.hybrid = Clock::resume(BOUND_MS, disk.0);
        self.logical = disk.1;
    }

    fn message(&mut self, _: Address, message: Message, context: &mut Context<'_, Self>) {
        match message {
            Message::Write { client } => {
                let stamps = self.stamp(None, context);
                self.value = stamps.hybrid;
                for to in (0..self.nodes).filter(|to| *to != PRIMARY) {
                    context.send(
                        to,
                        Message::Replicate {
                            value: stamps.hybrid,
                            stamps,
                        },
                    );
                }
                context.note(Note::Wrote {
                    client,
                    stamp: stamps.hybrid,
                });
            }
            Message::Replicate { value, stamps } => {
                self.stamp(Some(stamps), context);
                self.value = self.value.max(value);
                for (client, token) in std::mem::take(&mut self.waiting) {
                    if token <= self.value {
                        self.answer(client, token, context);
                    } else {
                        self.waiting.push((client, token));
                    }
                }
            }
            Message::Read { client, token } => {
                if token <= self.value || self.fault == Some(Fault::TokenIgnored) {
                    self.answer(client, token, context);
                } else if self.waiting.len() < WAITING_MAX {
                    context.note(Note::Waits);
                    self.waiting.push((client, token));
                }
            }
        }
    }

    fn timer(&mut self, (): (), _: &mut Context<'_, Self>) {}
}
