//! A node: coordinator of requests, replica of some keys, stand-in for others.

use std::collections::{BTreeMap, BTreeSet};

use cluster::ring::Ring;

use super::versions::{Version, Versions};
use crate::actor::{Actor, Context};
use crate::world::{Address, MILLISECOND};

/// Copies of a key, and answers that a read and a write wait for.
pub const COPIES: usize = 3;
const READ: usize = 2;
const WRITE: usize = 2;
const TIMEOUT: u64 = 60 * MILLISECOND;
const BACKGROUND: u64 = 200 * MILLISECOND;
/// Leaves of the Merkle tree under its root.
const LEAVES: u64 = 8;
/// An operation that gets no quorum in as many timeouts is given up: it was not acknowledged.
const TRIES_MAX: usize = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    LastWriterWins,
    HintThrownAway,
    NothingRepaired,
}

#[derive(Debug, Clone)]
pub enum Message {
    /// From outside: put an item into a cart.
    Add {
        key: u64,
        item: u64,
    },
    Get {
        operation: u64,
        key: u64,
    },
    Got {
        operation: u64,
        versions: Versions,
    },
    Put {
        operation: u64,
        key: u64,
        versions: Versions,
        hint: Option<Address>,
    },
    Stored {
        operation: u64,
    },
    Handed {
        key: u64,
        versions: Versions,
        from: Address,
    },
    HandedOver {
        key: u64,
        hash: u64,
    },
    /// The root of what both should hold; then the leaves; then what differs.
    Root(u64),
    Leaves(Vec<u64>),
    Contents {
        contents: BTreeMap<u64, Versions>,
        answer: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timer {
    Operation(u64),
    Background,
}

#[derive(Debug)]
pub enum Note {
    Acknowledged { key: u64, item: u64 },
    Siblings(usize),
    Hinted,
    Repaired,
}

#[derive(Debug, Clone, Default)]
pub struct Disk {
    pub store: BTreeMap<u64, Versions>,
    /// What is kept for others.
    pub hints: BTreeMap<(Address, u64), Versions>,
    next: u64,
}

/// A request that is under way here.
#[derive(Debug)]
struct Operation {
    key: u64,
    item: u64,
    read: BTreeMap<Address, Versions>,
    stored: BTreeSet<Address>,
    asked: BTreeSet<Address>,
    /// Set when enough was read.
    writes: Option<Versions>,
    tries: usize,
}

#[derive(Debug)]
pub struct Node {
    nodes: usize,
    ring: Ring,
    fault: Option<Fault>,
    pub disk: Disk,
    operations: BTreeMap<u64, Operation>,
}

type Ctx<'a> = Context<'a, Node>;

impl Node {
    pub fn new(nodes: usize, ring: Ring, fault: Option<Fault>) -> Self {
        Self {
            nodes,
            ring,
            fault,
            disk: Disk::default(),
            operations: BTreeMap::new(),
        }
    }

    fn preference(&self, key: u64) -> Vec<Address> {
        self.ring
            .owners(key, self.nodes)
            .into_iter()
            .map(|node| node as Address)
            .collect()
    }

    fn merges(&self) -> bool {
        self.fault == Some(Fault::LastWriterWins)
    }

    fn keep(&mut self, key: u64, versions: &Versions, context: &mut Ctx<'_>) {
        let last_writer_wins = self.merges();
        let kept = self.disk.store.entry(key).or_default();
        kept.merge(versions, last_writer_wins);
        context.note(Note::Siblings(kept.0.len()));
        context.write(self.disk.clone());
    }

    fn get(&mut self, number: u64, context: &mut Ctx<'_>) {
        let Some(operation) = self.operations.get(&number) else {
            return;
        };
        let key = operation.key;
        for to in self.preference(key).into_iter().take(COPIES + operation.tries) {
            context.send(to, Message::Get { operation: number, key });
        }
        context.after(TIMEOUT, Timer::Operation(number));
    }

    /// Writes to those of the list that were not asked yet, up to as many as it takes.
    fn put(&mut self, number: u64, context: &mut Ctx<'_>) {
        let Some(operation) = self.operations.get(&number) else {
            return;
        };
        let (key, tries) = (operation.key, operation.tries);
        let preference = self.preference(key);
        let missing: Vec<Address> = preference
            .iter()
            .take(COPIES)
            .copied()
            .filter(|home| !operation.stored.contains(home))
            .collect();
        let Some(operation) = self.operations.get_mut(&number) else {
            return;
        };
        let Some(versions) = operation.writes.clone() else {
            return;
        };
        for (place, to) in preference.into_iter().enumerate().take(COPIES + tries) {
            if operation.stored.contains(&to) {
                continue;
            }
            operation.asked.insert(to);
            // A stand-in keeps it for one of those that did not answer.
            let hint = (place >= COPIES)
                .then(|| missing.get((place - COPIES) % missing.len().max(1)).copied())
                .flatten();
            let versions = versions.clone();
            context.send(
                to,
                Message::Put {
                    operation: number,
                    key,
                    versions,
                    hint,
                },
            );
        }
        context.after(TIMEOUT, Timer::Operation(number));
    }

    fn got(&mut self, from: Address, number: u64, versions: Versions, context: &mut Ctx<'_>) {
        let last_writer_wins = self.merges();
        let Some(operation) = self.operations.get_mut(&number) else {
            return;
        };
        operation.read.insert(from, versions);
        if operation.writes.is_some() || operation.read.len() < READ {
            return;
        }
        let mut merged = Versions::default();
        for versions in operation.read.values() {
            merged.merge(versions, last_writer_wins);
        }
        // Read repair: those that answered and are behind.
        let behind: Vec<Address> = operation
            .read
            .iter()
            .filter(|(_, versions)| **versions != merged)
            .map(|(node, _)| *node)
            .collect();
        let (key, item) = (operation.key, operation.item);
        let (mut items, past) = merged.read();
        items.insert(item);
        let dot = (context.id(), number);
        let version = Version {
            dot,
            past,
            items,
            written_at: context.now(),
        };
        operation.writes = Some(Versions(BTreeSet::from([version])));
        if self.fault != Some(Fault::NothingRepaired) {
            for to in behind {
                context.note(Note::Repaired);
                let versions = merged.clone();
                context.send(
                    to,
                    Message::Put {
                        operation: 0,
                        key,
                        versions,
                        hint: None,
                    },
                );
            }
        }
        self.put(number, context);
    }

    /// Keys that this node and another should both hold, by leaf of the tree.
    fn leaves(&self, with: Address) -> Vec<u64> {
        let mut leaves = vec![0; LEAVES as usize];
        for (key, versions) in self.shared(with) {
            leaves[(key % LEAVES) as usize] ^= cluster::mix(key ^ versions.hash());
        }
        leaves
    }

    fn shared(&self, with: Address) -> impl Iterator<Item = (u64, &Versions)> {
        let me_and_other = move |key: &u64| {
            let homes = &self.preference(*key)[..COPIES];
            homes.contains(&with)
        };
        self.disk
            .store
            .iter()
            .filter(move |(key, _)| me_and_other(key))
            .map(|(key, versions)| (*key, versions))
    }

    fn background(&mut self, context: &mut Ctx<'_>) {
        let me = context.id();
        for ((target, key), versions) in &self.disk.hints {
            context.send(
                *target,
                Message::Handed {
                    key: *key,
                    versions: versions.clone(),
                    from: me,
                },
            );
        }
        if self.fault != Some(Fault::NothingRepaired) {
            let step = context.random().between(1, self.nodes as u64 - 1) as usize;
            let with = (me + step) % self.nodes;
            let root = self.leaves(with).iter().fold(0, |root, leaf| cluster::mix(root ^ leaf));
            context.send(with, Message::Root(root));
        }
        context.after(BACKGROUND, Timer::Background);
    }
}

impl Actor for Node {
    type Message = Message;
    type Timer = Timer;
    type Disk = Disk;
    type Note = Note;

    fn start(&mut self, disk: &Disk, context: &mut Ctx<'_>) {
        self.disk = disk.clone();
        // Numbers that may have been used and were not written are passed over.
        self.disk.next = disk.next + 1_000;
        context.write(self.disk.clone());
        context.after(BACKGROUND, Timer::Background);
    }

    fn message(&mut self, from: Address, message: Message, context: &mut Ctx<'_>) {
        match message {
            Message::Add { key, item } => {
                self.disk.next += 1;
                let number = self.disk.next;
                context.write(self.disk.clone());
                let operation = Operation {
                    key,
                    item,
                    read: BTreeMap::new(),
                    stored: BTreeSet::new(),
                    asked: BTreeSet::new(),
                    writes: None,
                    tries: 0,
                };
                self.operations.insert(number, operation);
                self.get(number, context);
            }
            Message::Get { operation, key } => {
                let mut versions = self.disk.store.get(&key).cloned().unwrap_or_default();
                // A stand-in answers with what it keeps for others.
                let last_writer_wins = self.merges();
                for ((_, hinted), kept) in &self.disk.hints {
                    if *hinted == key {
                        versions.merge(kept, last_writer_wins);
                    }
                }
                context.send_durable(from, Message::Got { operation, versions });
            }
            Message::Got { operation, versions } => self.got(from, operation, versions, context),
            Message::Put {
                operation,
                key,
                versions,
                hint,
            } => {
                match hint {
                    Some(_) if self.fault == Some(Fault::HintThrownAway) => {}
                    Some(target) => {
                        let last_writer_wins = self.merges();
                        context.note(Note::Hinted);
                        self.disk
                            .hints
                            .entry((target, key))
                            .or_default()
                            .merge(&versions, last_writer_wins);
                        context.write(self.disk.clone());
                    }
                    None => self.keep(key, &versions, context),
                }
                context.send_durable(from, Message::Stored { operation });
            }
            Message::Stored { operation: number } => {
                let Some(operation) = self.operations.get_mut(&number) else {
                    return;
                };
                operation.stored.insert(from);
                if operation.stored.len() >= WRITE {
                    context.note(Note::Acknowledged {
                        key: operation.key,
                        item: operation.item,
                    });
                    self.operations.remove(&number);
                    context.cancel(Timer::Operation(number));
                }
            }
            Message::Handed {
                key,
                versions,
                from: keeper,
            } => {
                self.keep(key, &versions, context);
                context.send_durable(
                    keeper,
                    Message::HandedOver {
                        key,
                        hash: versions.hash(),
                    },
                );
            }
            Message::HandedOver { key, hash } => {
                // Only what was handed over is forgotten: more may have come for it since.
                if self
                    .disk
                    .hints
                    .get(&(from, key))
                    .is_some_and(|versions| versions.hash() == hash)
                {
                    self.disk.hints.remove(&(from, key));
                    context.write(self.disk.clone());
                }
            }
            Message::Root(root) => {
                let leaves = self.leaves(from);
                if leaves.iter().fold(0, |root, leaf| cluster::mix(root ^ leaf)) != root {
                    context.send(from, Message::Leaves(leaves));
                }
            }
            Message::Leaves(theirs) => {
                let mine = self.leaves(from);
                let differs = |key: &u64| mine.get((key % LEAVES) as usize) != theirs.get((key % LEAVES) as usize);
                let contents = self.shared(from).filter(|(key, _)| differs(key));
                let contents = contents.map(|(key, versions)| (key, versions.clone())).collect();
                context.send(
                    from,
                    Message::Contents {
                        contents,
                        answer: false,
                    },
                );
            }
            Message::Contents { contents, answer } => {
                for (key, versions) in &contents {
                    self.keep(*key, versions, context);
                }
                if !answer {
                    // All that both should hold: the other may lack keys that it cannot name.
                    let contents = self
                        .shared(from)
                        .map(|(key, versions)| (key, versions.clone()))
                        .collect();
                    context.send_durable(from, Message::Contents { contents, answer: true });
                }
            }
        }
    }

    fn timer(&mut self, timer: Timer, context: &mut Ctx<'_>) {
        match timer {
            Timer::Background => self.background(context),
            Timer::Operation(number) => {
                let Some(operation) = self.operations.get_mut(&number) else {
                    return;
                };
                operation.tries += 1;
                if operation.tries > TRIES_MAX {
                    self.operations.remove(&number);
                } else if operation.writes.is_some() {
                    self.put(number, context);
                } else {
                    self.get(number, context);
                }
            }
        }
    }
}
