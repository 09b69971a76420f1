//! How fast the core is by itself: `cargo run --release -p raft --example consensus_speed`.
//!
//! Members in one thread, a network that is a queue, a disk that is done at once. What it prints is the upper bound that the
//! core sets; disks and sockets set lower ones.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use raft::consensus::{Config, Consensus, Effects, Event, Membership, Message, Proposal, Restored};

const PROPOSALS: u64 = 1_000_000;
const IDLE_SECONDS: u64 = 20_000;

struct Cluster {
    members: Vec<Consensus>,
    network: VecDeque<Message>,
    effects: Box<Effects>,
    now: u64,
    steps: u64,
    committed: u64,
    reads: u64,
}

impl Cluster {
    fn new(count: u64) -> Self {
        let membership = Membership::new(1..=count, []);
        let start = |id| Consensus::new(Config::new(id), Restored::first_start(membership.clone()), 0);
        let mut cluster = Self {
            members: (1..=count).map(start).collect(),
            network: VecDeque::new(),
            effects: Box::default(),
            now: 0,
            steps: 0,
            committed: 0,
            reads: 0,
        };
        cluster.step(1, Event::Campaign);
        cluster.settle();
        cluster
    }

    fn step(&mut self, id: u64, event: Event) {
        let member = &mut self.members[(id - 1) as usize];
        member.step_into(event, self.now, &mut self.effects);
        self.steps += 1;
        self.network.extend(self.effects.messages.drain(..));
        let committed = self.effects.committed.clone();
        self.reads += self.effects.reads.len() as u64;
        if id == 1 {
            self.committed += committed.end - committed.start;
        }
        if let Some(write) = self.effects.write.take() {
            let (first, last) = (write.id, write.id);
            self.step(id, Event::Persisted { first, last });
        }
        if !committed.is_empty() {
            let index = committed.end - 1;
            self.step(id, Event::Applied { index });
        }
    }

    fn settle(&mut self) {
        while let Some(message) = self.network.pop_front() {
            self.step(message.to, Event::Message(message));
        }
    }
}

fn main() {
    println!("{:<44} {:>12} {:>10}", "what", "a second", "ns a step");
    for (members, batch) in [(1, 1), (3, 1), (3, 64), (5, 64)] {
        let mut cluster = Cluster::new(members);
        let command = Bytes::from_static(&[7; 256]);
        let (before, began) = (cluster.steps, Instant::now());
        for _ in 0..PROPOSALS / batch {
            let proposals = (0..batch).map(|ticket| Proposal {
                ticket,
                command: command.clone(),
            });
            let event = Event::Propose(proposals.collect());
            cluster.step(1, event);
            cluster.settle();
        }
        let what = format!("proposals, {members} members, {batch} at a time");
        print(&what, cluster.committed, cluster.steps - before, began);
    }
    let mut cluster = Cluster::new(3);
    let (before, began) = (cluster.steps, Instant::now());
    for ticket in 0..PROPOSALS / 4 {
        cluster.step(1, Event::ReadIndex(vec![ticket]));
        cluster.settle();
    }
    print(
        "reads, 3 members, 1 at a time",
        cluster.reads,
        cluster.steps - before,
        began,
    );
    let mut cluster = Cluster::new(5);
    let (before, began) = (cluster.steps, Instant::now());
    while cluster.now < IDLE_SECONDS * 1_000 {
        cluster.now = cluster.members.iter().map(Consensus::deadline).min().unwrap_or(0);
        for id in 1..=5 {
            if cluster.members[(id - 1) as usize].deadline() <= cluster.now {
                cluster.step(id, Event::Tick);
            }
        }
        cluster.settle();
    }
    print("idle seconds, 5 members", IDLE_SECONDS, cluster.steps - before, began);
}

fn print(what: &str, count: u64, steps: u64, began: Instant) {
    let seconds = began.elapsed().as_secs_f64();
    let (rate, step) = (count as f64 / seconds, seconds * 1e9 / steps as f64);
    println!("{what:<44} {rate:>12.0} {step:>10.0}");
}
