//! Members that talk through queues which a test empties, in the order that it likes.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::consensus::{
    Config, Consensus, Effects, Entry, Event, Index, MemberId, Membership, Message, Millis, Proposal, Restored,
    RoleName, Snapshot, Ticket, Write,
};

/// One member and what its driver keeps.
pub struct Node {
    pub core: Consensus,
    /// The log, as it is once all writes are done; index 1 first.
    pub log: BTreeMap<Index, Entry>,
    /// Writes that are not reported as durable.
    pub unsynced: VecDeque<u64>,
    pub applied: Vec<Entry>,
    pub effects: Vec<Effects>,
    pub installed: Option<Snapshot>,
}

/// Some members, at one time.
pub struct Cluster {
    pub nodes: BTreeMap<MemberId, Node>,
    pub network: VecDeque<Message>,
    pub now: Millis,
    /// Whether writes are durable at once.
    pub syncs: bool,
}

impl Cluster {
    pub fn new(voters: u64) -> Self {
        Self::with(Membership::new(1..=voters, []), |_| {})
    }

    pub fn with(membership: Membership, configure: impl Fn(&mut Config)) -> Self {
        let mut cluster = Self {
            nodes: BTreeMap::new(),
            network: VecDeque::new(),
            now: 0,
            syncs: true,
        };
        for id in membership.members().collect::<Vec<_>>() {
            cluster.start(id, membership.clone(), &configure);
        }
        cluster
    }

    /// A member's first start.
    pub fn start(&mut self, id: MemberId, membership: Membership, configure: impl Fn(&mut Config)) {
        let mut config = Config::new(id);
        configure(&mut config);
        let node = Node {
            core: Consensus::new(config, Restored::first_start(membership), self.now),
            log: BTreeMap::new(),
            unsynced: VecDeque::new(),
            applied: Vec::new(),
            effects: Vec::new(),
            installed: None,
        };
        self.nodes.insert(id, node);
    }

    /// One step of one member; its effects are carried out and kept.
    pub fn step(&mut self, id: MemberId, event: Event) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(&id) else {
            return;
        };
        let effects = node.core.step(event, now);
        self.network.extend(effects.messages.iter().cloned());
        let mut sync = None;
        if let Some(write) = &effects.write {
            node.write(write);
            match self.syncs {
                true => sync = Some(write.id),
                false => node.unsynced.push_back(write.id),
            }
        }
        for index in effects.committed.clone() {
            node.applied.push(node.log[&index].clone());
        }
        node.effects.push(effects);
        if let Some(id_of_write) = sync {
            self.step(
                id,
                Event::Persisted {
                    first: id_of_write,
                    last: id_of_write,
                },
            );
        }
    }

    /// Delivers everything that is under way and what comes of it.
    pub fn deliver(&mut self) {
        self.deliver_if(|_| true);
    }

    /// Delivers what the condition lets through; the rest is lost.
    pub fn deliver_if(&mut self, lets_through: impl Fn(&Message) -> bool) {
        let mut count = 0;
        while let Some(message) = self.network.pop_front() {
            count += 1;
            assert!(count < 100_000, "they talk without end");
            if lets_through(&message) {
                self.step(message.to, Event::Message(message));
            }
        }
    }

    /// Lets time pass in small pieces, with ticks where they are due.
    pub fn run(&mut self, millis: Millis, lets_through: impl Fn(&Message) -> bool) {
        let end = self.now + millis;
        while self.now < end {
            self.now += 10;
            for id in self.nodes.keys().copied().collect::<Vec<_>>() {
                if self.nodes[&id].core.deadline() <= self.now {
                    self.step(id, Event::Tick);
                }
            }
            self.deliver_if(&lets_through);
        }
    }

    /// Elects this member.
    pub fn elect(&mut self, id: MemberId) {
        self.step(id, Event::Campaign);
        self.deliver();
        assert_eq!(self.leader(), Some(id));
    }

    /// The leader of the greatest term.
    pub fn leader(&self) -> Option<MemberId> {
        let leads = |node: &&Node| node.core.soft_state().role == RoleName::Leader;
        let leader = self.nodes.values().filter(leads).max_by_key(|node| node.core.term());
        leader.map(|node| node.core.id())
    }

    pub fn propose(&mut self, id: MemberId, ticket: Ticket, command: &str) {
        let command = Bytes::copy_from_slice(command.as_bytes());
        self.step(id, Event::Propose(vec![Proposal { ticket, command }]));
    }

    /// Everything that one member's steps said since this was asked last.
    pub fn take_effects(&mut self, id: MemberId) -> Vec<Effects> {
        std::mem::take(&mut self.nodes.get_mut(&id).expect("a member").effects)
    }

    pub fn node(&self, id: MemberId) -> &Node {
        &self.nodes[&id]
    }
}

impl Node {
    fn write(&mut self, write: &Write) {
        if let Some(snapshot) = &write.install {
            self.log.clear();
            self.installed = Some(snapshot.clone());
        }
        if let Some(from) = write.truncate_from {
            self.log.split_off(&from);
        }
        for entry in &write.entries {
            self.log.insert(entry.index, entry.clone());
        }
    }
}
