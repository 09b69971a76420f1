//! TiKV's.

use std::collections::VecDeque;

use theirs::eraftpb::{ConfState, Message};
use theirs::storage::MemStorage;
use theirs::{Config, RawNode, StateRole};

use crate::{Links, Operation, Outcome, World};

pub struct Theirs {
    members: Vec<RawNode<MemStorage>>,
    disks: Vec<MemStorage>,
    network: VecDeque<Message>,
    links: Links,
    pre_vote: bool,
    commands: u64,
}

impl Theirs {
    pub fn new(members: u64, pre_vote: bool) -> Self {
        let voters = || ConfState::from(((1..=members).collect::<Vec<_>>(), Vec::new()));
        let disks: Vec<_> = (1..=members)
            .map(|_| MemStorage::new_with_conf_state(voters()))
            .collect();
        let mut world = Self {
            members: Vec::new(),
            disks,
            network: VecDeque::new(),
            links: Links::default(),
            pre_vote,
            commands: 0,
        };
        for id in 1..=members {
            let member = world.start(id);
            world.members.push(member);
        }
        world
    }

    fn start(&self, id: u64) -> RawNode<MemStorage> {
        let config = Config {
            id,
            election_tick: 10,
            heartbeat_tick: 1,
            max_size_per_msg: 1 << 20,
            max_inflight_msgs: 256,
            pre_vote: self.pre_vote,
            check_quorum: false,
            ..Config::default()
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        RawNode::new(&config, self.disks[id as usize - 1].clone(), &logger).expect("a sound config")
    }

    /// Carries out what the members want done, until they are quiet.
    fn settle(&mut self) {
        loop {
            for id in 1..=self.members.len() as u64 {
                self.drive(id);
            }
            let Some(message) = self.network.pop_front() else {
                return;
            };
            if self.links.is_open(message.from, message.to) {
                let member = &mut self.members[message.to as usize - 1];
                // It refuses what it does not expect; that is its answer.
                let _ = member.step(message);
            }
        }
    }

    fn drive(&mut self, id: u64) {
        let at = id as usize - 1;
        while self.members[at].has_ready() {
            let mut ready = self.members[at].ready();
            self.network.extend(ready.take_messages());
            if let Some(hard_state) = ready.hs() {
                self.disks[at].wl().set_hardstate(hard_state.clone());
            }
            self.disks[at].wl().append(ready.entries()).expect("entries follow");
            self.network.extend(ready.take_persisted_messages());
            let mut light = self.members[at].advance(ready);
            if let Some(commit) = light.commit_index() {
                self.disks[at].wl().mut_hard_state().commit = commit;
            }
            self.network.extend(light.take_messages());
            self.members[at].advance_apply();
        }
    }

    fn leads(&self, id: u64) -> bool {
        self.members[id as usize - 1].raft.state == StateRole::Leader
    }

    fn leader(&self) -> Option<u64> {
        let ids = 1..=self.members.len() as u64;
        ids.filter(|id| self.leads(*id))
            .max_by_key(|id| self.members[*id as usize - 1].raft.term)
    }
}

impl World for Theirs {
    fn carry_out(&mut self, operation: &Operation) {
        match *operation {
            Operation::Campaign(id) => self.members[id as usize - 1].campaign().expect("told"),
            Operation::Propose(id, count) => {
                let first = self.commands;
                self.commands += count;
                if self.leads(id) {
                    for command in first..self.commands {
                        let data = command.to_be_bytes().to_vec();
                        let member = &mut self.members[id as usize - 1];
                        member.propose(Vec::new(), data).expect("a leader appends");
                    }
                }
            }
            Operation::Cut(one, other) => self.links.cut(one, other),
            Operation::Isolate(id) => self.links.isolate(id, self.members.len() as u64),
            Operation::Heal => self.links.heal(),
            Operation::Restart(id) => self.members[id as usize - 1] = self.start(id),
            Operation::Transfer(to) => {
                if let Some(leader) = self.leader() {
                    self.members[leader as usize - 1].transfer_leader(to);
                }
            }
        }
        self.settle();
        for _ in 0..3 {
            for id in 1..=self.members.len() as u64 {
                if self.leads(id) {
                    self.members[id as usize - 1].ping();
                }
            }
            self.settle();
        }
    }

    fn outcome(&self) -> Vec<Outcome> {
        let outcome = |member: &RawNode<MemStorage>| Outcome {
            term: member.raft.term,
            leads: member.raft.state == StateRole::Leader,
            commit: member.raft.raft_log.committed,
            log: member
                .raft
                .raft_log
                .all_entries()
                .into_iter()
                .map(|entry| (entry.term, entry.data))
                .collect(),
        };
        self.members.iter().map(outcome).collect()
    }
}
