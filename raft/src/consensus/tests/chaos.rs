//! Random worlds: messages lost, repeated, late and out of order; disks that are slow and lose what was not synced;
//! members that come, go, learn and fall behind the log. The simulated world does this for longer and with more; this one
//! is quick and next to the code.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::consensus::jitter::Jitter;
use crate::consensus::{
    Body, Config, Consensus, Entry, Event, HardState, Index, MemberChange, MemberId, Membership, Message, Millis,
    Payload, Position, Proposal, Restored, RoleName, Snapshot, Term, Ticket, Write,
};

#[derive(Clone, Default)]
struct Disk {
    hard_state: HardState,
    snapshot: Snapshot,
    purged: Position,
    log: BTreeMap<Index, Entry>,
}

struct Node {
    core: Option<Consensus>,
    config: Config,
    durable: Disk,
    /// As it will be once all writes are done.
    written: Disk,
    pending: Vec<Write>,
    applied: Index,
}

/// What is known about the whole world, by looking at every member.
#[derive(Default)]
struct Truth {
    leaders: BTreeMap<Term, MemberId>,
    committed: BTreeMap<Index, Entry>,
    /// Reads that wait: what was committed when they were asked.
    reads: BTreeMap<Ticket, Index>,
    reads_answered: usize,
    elections: usize,
    installs: usize,
    changes: usize,
}

struct World {
    seed: u64,
    dice: Jitter,
    now: Millis,
    nodes: BTreeMap<MemberId, Node>,
    network: Vec<Message>,
    truth: Truth,
    tickets: Ticket,
    cut: Option<MemberId>,
}

impl Disk {
    fn carry_out(&mut self, write: &Write) {
        if let Some(hard_state) = write.hard_state {
            assert!(hard_state.term >= self.hard_state.term);
            self.hard_state = hard_state;
        }
        if let Some(snapshot) = &write.install {
            self.snapshot = snapshot.clone();
            self.purged = snapshot.last;
            self.log.clear();
        }
        if let Some(from) = write.truncate_from {
            self.log.split_off(&from);
        }
        for entry in &write.entries {
            self.log.insert(entry.index, entry.clone());
        }
    }

    fn restored(&self) -> Restored {
        let mut restored = Restored::new(self.hard_state, self.snapshot.clone(), self.purged, 0);
        for entry in self.log.values() {
            assert!(restored.push(entry), "a gap at {}", entry.index);
        }
        restored
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            seed,
            dice: Jitter::new(seed),
            now: 0,
            nodes: BTreeMap::new(),
            network: Vec::new(),
            truth: Truth::default(),
            tickets: 0,
            cut: None,
        };
        let voters = 1 + world.dice.below(5);
        let membership = Membership::new(1..=voters, []);
        for id in 1..=7 {
            world.start(
                id,
                if id <= voters {
                    membership.clone()
                } else {
                    Membership::default()
                },
            );
        }
        world
    }

    fn start(&mut self, id: MemberId, membership: Membership) {
        let mut config = Config::new(id);
        config.seed = self.seed.wrapping_mul(31).wrapping_add(id);
        config.pre_vote = self.seed % 4 != 3;
        config.check_quorum = self.seed % 5 != 4;
        config.append_bytes_max = [1, 100, 1 << 20][(self.seed % 3) as usize];
        config.inflight_max = [1, 3, 256][(self.seed / 3 % 3) as usize];
        config.cache_bytes = [0, 1 << 20][(self.seed / 9 % 2) as usize];
        let snapshot = Snapshot {
            last: Position::default(),
            membership,
        };
        let disk = Disk {
            snapshot,
            ..Disk::default()
        };
        let node = Node {
            core: None,
            config,
            durable: disk.clone(),
            written: disk,
            pending: Vec::new(),
            applied: 0,
        };
        self.nodes.insert(id, node);
        self.restart(id);
    }

    fn restart(&mut self, id: MemberId) {
        let now = self.now;
        let node = self.nodes.get_mut(&id).expect("a node");
        if node.core.is_none() {
            node.config.incarnation += 1;
            node.pending.clear();
            node.written = node.durable.clone();
            node.applied = node.durable.snapshot.last.index;
            node.core = Some(Consensus::new(node.config.clone(), node.durable.restored(), now));
        }
    }

    /// Does the first write that waits, and reports it: sometimes later than others after it.
    fn sync(&mut self, id: MemberId) {
        let node = self.nodes.get_mut(&id).expect("a node");
        if node.core.is_none() || node.pending.is_empty() {
            return;
        }
        let count = 1 + self.dice.below(node.pending.len() as u64) as usize;
        let done: Vec<Write> = node.pending.drain(..count).collect();
        for write in &done {
            node.durable.carry_out(write);
        }
        let mut ids: Vec<_> = done.iter().map(|write| write.id).collect();
        if self.dice.below(3) == 0 {
            ids.reverse();
        } else {
            let (first, last) = (ids[0], ids[ids.len() - 1]);
            return self.step(id, Event::Persisted { first, last });
        }
        for write in ids {
            self.step(
                id,
                Event::Persisted {
                    first: write,
                    last: write,
                },
            );
        }
    }

    fn step(&mut self, id: MemberId, event: Event) {
        let (now, seed) = (self.now, self.seed);
        let node = self.nodes.get_mut(&id).expect("a node");
        let Some(core) = &mut node.core else {
            return;
        };
        let (term, commit) = (core.term(), core.commit());
        let effects = core.step(event, now);
        assert!(
            core.term() >= term && core.commit() >= commit,
            "seed {seed}: term or commit went back"
        );
        assert_eq!(effects.contradiction, None, "seed {seed}: {id} is contradicted");
        if let Some(soft_state) = effects.soft_state
            && soft_state.role == RoleName::Leader
        {
            let leader = *self.truth.leaders.entry(soft_state.term).or_insert(id);
            assert_eq!(leader, id, "seed {seed}: two leaders in term {}", soft_state.term);
            self.truth.elections += 1;
        }
        if let Some(write) = effects.write {
            if let Some(snapshot) = &write.install {
                self.truth.installs += 1;
                node.applied = snapshot.last.index;
            }
            node.written.carry_out(&write);
            node.pending.push(write);
        }
        for index in effects.committed.clone() {
            assert_eq!(index, node.applied + 1, "seed {seed}: {id} applies out of order");
            let entry = node.written.log[&index].clone();
            assert!(
                node.durable.log.contains_key(&index),
                "seed {seed}: applied before durable"
            );
            node.applied = index;
            let truth = self.truth.committed.entry(index).or_insert_with(|| entry.clone());
            assert_eq!(*truth, entry, "seed {seed}: {id} applies another entry");
        }
        let applied = node.applied;
        for read in &effects.reads {
            let asked = self.truth.reads.remove(&read.ticket).expect("answered once");
            assert!(read.index >= asked, "seed {seed}: {id} answers a stale read");
            self.truth.reads_answered += 1;
        }
        for refused in &effects.refused {
            self.truth.reads.remove(&refused.ticket);
        }
        self.network.extend(effects.messages);
        if !effects.committed.is_empty() {
            self.step(id, Event::Applied { index: applied });
        }
        for fetch in effects.fetches {
            let log = &self.nodes[&id].written.log;
            let entries = log.range(fetch.first..=fetch.last).map(|(_, entry)| entry.clone());
            let entries = entries.take(1 + self.dice.below(5) as usize).collect();
            self.step(id, Event::Fetched { fetch, entries });
        }
    }

    fn deliver(&mut self) {
        if self.network.is_empty() {
            return;
        }
        let in_order = self.dice.below(4) > 0;
        let at = if in_order {
            0
        } else {
            self.dice.below(self.network.len() as u64) as usize
        };
        let message = match self.dice.below(20) {
            0 => self.network[at].clone(),
            _ => self.network.remove(at),
        };
        let is_cut = self.cut.is_some_and(|cut| message.from == cut || message.to == cut);
        let is_lost = is_cut || self.dice.below(12) == 0;
        let sent = match message.body {
            Body::Snapshot { session, .. } => Some((message.from, message.to, session)),
            _ => None,
        };
        if !is_lost {
            self.step(message.to, Event::Message(message));
        }
        if let Some((from, to, session)) = sent {
            let delivered = !is_lost;
            self.step(from, Event::SnapshotSent { to, session, delivered });
        }
    }

    fn snapshot(&mut self, id: MemberId) {
        let keep = self.dice.below(4);
        let node = self.nodes.get_mut(&id).expect("a node");
        let Some(core) = &node.core else {
            return;
        };
        let index = node.applied;
        // As a driver would: once everything up to the snapshot is on the disk.
        if index <= node.durable.snapshot.last.index || !node.pending.is_empty() {
            return;
        }
        let purged = index.saturating_sub(keep).max(node.durable.purged.index);
        let position = |index| {
            let term = core.term_at(index).expect("in the log");
            Position { term, index }
        };
        node.durable.snapshot = Snapshot {
            last: position(index),
            membership: core.membership_at(index).expect("known").clone(),
        };
        node.durable.purged = position(purged);
        node.durable.log = node.durable.log.split_off(&(purged + 1));
        node.written = node.durable.clone();
        self.step(
            id,
            Event::Compacted {
                snapshot: index,
                purged,
            },
        );
    }

    fn client(&mut self) {
        let id = 1 + self.dice.below(7);
        self.tickets += 1;
        let ticket = self.tickets;
        match self.dice.below(12) {
            0 => {
                let member = 1 + self.dice.below(7);
                let change = match self.dice.below(4) {
                    0 => MemberChange::AddVoter(member),
                    1 => MemberChange::AddLearner(member),
                    2 => MemberChange::Promote(member),
                    _ => MemberChange::Remove(member),
                };
                self.truth.changes += 1;
                let context = Bytes::new();
                self.step(
                    id,
                    Event::ChangeMembers {
                        ticket,
                        change,
                        context,
                    },
                );
            }
            1 => self.step(
                id,
                Event::TransferLeadership {
                    ticket,
                    to: 1 + self.tickets % 7,
                },
            ),
            2..6 => {
                let committed = self.truth.committed.last_key_value().map_or(0, |(index, _)| *index);
                self.truth.reads.insert(ticket, committed);
                self.step(id, Event::ReadIndex(vec![ticket]));
            }
            _ => {
                let command = Bytes::copy_from_slice(&ticket.to_be_bytes());
                self.step(id, Event::Propose(vec![Proposal { ticket, command }]));
            }
        }
    }

    fn turn(&mut self) {
        let id = 1 + self.dice.below(7);
        match self.dice.below(100) {
            0..50 => self.deliver(),
            50..72 => self.sync(id),
            72..90 => {
                self.now += self.dice.below(60);
                for id in 1..=7 {
                    let core = self.nodes[&id].core.as_ref();
                    if core.is_some_and(|core| core.deadline() <= self.now) {
                        self.step(id, Event::Tick);
                    }
                }
            }
            90..95 => self.client(),
            95 => {
                let is_down = self.dice.below(3) == 0;
                let node = self.nodes.get_mut(&id).expect("a node");
                if is_down {
                    node.core = None;
                }
            }
            96..98 => self.restart(id),
            98 => self.snapshot(id),
            _ => self.cut = if self.dice.below(3) == 0 { Some(id) } else { None },
        }
        // What no one hears is forgotten some time.
        if self.network.len() > 300 {
            for message in self.network.drain(..50).collect::<Vec<_>>() {
                // Also of a snapshot that is lost its driver knows.
                if let Body::Snapshot { session, .. } = message.body {
                    let (to, delivered) = (message.to, false);
                    self.step(message.from, Event::SnapshotSent { to, session, delivered });
                }
            }
        }
    }

    /// Everything works again: all that are members must come to agree.
    fn heal(&mut self) {
        self.cut = None;
        for id in 1..=7 {
            self.restart(id);
        }
        for _ in 0..2_000 {
            self.now += 20;
            for id in 1..=7 {
                if self.nodes[&id]
                    .core
                    .as_ref()
                    .is_some_and(|core| core.deadline() <= self.now)
                {
                    self.step(id, Event::Tick);
                }
                while !self.nodes[&id].pending.is_empty() {
                    self.sync(id);
                }
            }
            for message in std::mem::take(&mut self.network) {
                let sent = match message.body {
                    Body::Snapshot { session, .. } => Some((message.from, message.to, session)),
                    _ => None,
                };
                self.step(message.to, Event::Message(message));
                if let Some((from, to, session)) = sent {
                    let delivered = true;
                    self.step(from, Event::SnapshotSent { to, session, delivered });
                }
            }
        }
        let seed = self.seed;
        let config = &self.nodes[&1].config;
        if !config.pre_vote && !config.check_quorum {
            // Then a member that was removed and does not know may depose leaders for ever; both options exist for that.
            return;
        }
        let core = |id: &MemberId| self.nodes[id].core.as_ref().expect("up");
        let leads = |id: &MemberId| core(id).soft_state().role == RoleName::Leader;
        let leader = (1..=7).filter(leads).max_by_key(|id| core(id).term());
        let all = || (1..=7).map(|id| core(&id).status()).collect::<Vec<_>>();
        let leader = leader.unwrap_or_else(|| panic!("seed {seed}: nobody leads: {:#?}", all()));
        let committed = core(&leader).commit();
        for id in core(&leader).membership().members() {
            let told = (core(&leader).status(), core(&id).status());
            let applied = self.nodes[&id].applied;
            assert_eq!(applied, committed, "seed {seed}: {id} did not catch up: {told:#?}");
        }
    }
}

fn live(seed: u64, turns: usize) -> Truth {
    let mut world = World::new(seed);
    for _ in 0..turns {
        world.turn();
    }
    world.heal();
    let commands = |entry: &&Entry| matches!(entry.payload, Payload::Command(_));
    assert!(world.truth.committed.values().filter(commands).count() > 0 || world.truth.elections > 0);
    world.truth
}

#[test]
fn whatever_happens_members_agree_and_reads_are_not_stale() {
    let worlds = std::env::var("CHAOS_WORLDS")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(120);
    let first = std::env::var("CHAOS_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(0);
    let (mut commits, mut reads, mut installs, mut elections) = (0, 0, 0, 0);
    for seed in first..first + worlds {
        let truth = live(seed, 6_000);
        commits += truth.committed.len();
        reads += truth.reads_answered;
        installs += truth.installs;
        elections += truth.elections;
    }
    eprintln!("{commits} committed, {reads} reads, {installs} snapshots, {elections} elections");
    if worlds > 100 {
        assert!(
            commits > 1_000 && reads > 500 && installs > 20 && elections > 200,
            "these worlds are too quiet"
        );
    }
}
