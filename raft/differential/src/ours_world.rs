//! Our core.

use std::collections::VecDeque;

use bytes::Bytes;
use ours::consensus::{
    Config, Consensus, Entry, Event, HardState, Membership, Message, Payload, Position, Proposal, Restored, RoleName,
    Snapshot,
};

use crate::{Links, Operation, Outcome, World};

struct Member {
    core: Consensus,
    hard_state: HardState,
    log: Vec<Entry>,
}

pub struct Ours {
    members: Vec<Member>,
    network: VecDeque<Message>,
    links: Links,
    membership: Membership,
    pre_vote: bool,
    now: u64,
    commands: u64,
}

impl Ours {
    pub fn new(members: u64, pre_vote: bool) -> Self {
        let mut world = Self {
            members: Vec::new(),
            network: VecDeque::new(),
            links: Links::default(),
            membership: Membership::new(1..=members, []),
            pre_vote,
            now: 0,
            commands: 0,
        };
        for id in 1..=members {
            let core = world.start(id, HardState::default(), &[]);
            world.members.push(Member {
                core,
                hard_state: HardState::default(),
                log: Vec::new(),
            });
        }
        world
    }

    fn start(&self, id: u64, hard_state: HardState, log: &[Entry]) -> Consensus {
        let mut config = Config::new(id);
        config.pre_vote = self.pre_vote;
        config.check_quorum = false;
        let snapshot = Snapshot {
            last: Position::default(),
            membership: self.membership.clone(),
        };
        let mut restored = Restored::new(hard_state, snapshot, Position::default(), 0);
        assert!(log.iter().all(|entry| restored.push(entry)));
        Consensus::new(config, restored, self.now)
    }

    fn step(&mut self, id: u64, event: Event) {
        let now = self.now;
        let member = &mut self.members[id as usize - 1];
        let effects = member.core.step(event, now);
        assert_eq!(effects.contradiction, None);
        self.network.extend(effects.messages);
        if let Some(write) = effects.write {
            if let Some(hard_state) = write.hard_state {
                member.hard_state = hard_state;
            }
            if let Some(from) = write.truncate_from {
                member.log.truncate(from as usize - 1);
            }
            member.log.extend(write.entries);
            let (first, last) = (write.id, write.id);
            self.step(id, Event::Persisted { first, last });
        }
        if !effects.committed.is_empty() {
            let index = effects.committed.end - 1;
            self.step(id, Event::Applied { index });
        }
        for fetch in effects.fetches {
            let log = &self.members[id as usize - 1].log;
            let entries = log[fetch.first as usize - 1..fetch.last as usize].to_vec();
            self.step(id, Event::Fetched { fetch, entries });
        }
    }

    fn settle(&mut self) {
        while let Some(message) = self.network.pop_front() {
            if self.links.is_open(message.from, message.to) {
                self.step(message.to, Event::Message(message));
            }
        }
    }

    fn leads(&self, id: u64) -> bool {
        self.members[id as usize - 1].core.soft_state().role == RoleName::Leader
    }

    fn leader(&self) -> Option<u64> {
        let ids = 1..=self.members.len() as u64;
        ids.filter(|id| self.leads(*id))
            .max_by_key(|id| self.members[*id as usize - 1].core.term())
    }
}

impl World for Ours {
    fn carry_out(&mut self, operation: &Operation) {
        match *operation {
            Operation::Campaign(id) => self.step(id, Event::Campaign),
            Operation::Propose(id, count) => {
                let first = self.commands;
                self.commands += count;
                let proposals = (first..self.commands).map(|ticket| Proposal {
                    ticket,
                    command: Bytes::copy_from_slice(&ticket.to_be_bytes()),
                });
                if self.leads(id) {
                    let event = Event::Propose(proposals.collect());
                    self.step(id, event);
                }
            }
            Operation::Cut(one, other) => self.links.cut(one, other),
            Operation::Isolate(id) => self.links.isolate(id, self.members.len() as u64),
            Operation::Heal => self.links.heal(),
            Operation::Restart(id) => {
                let member = &self.members[id as usize - 1];
                let mut hard_state = member.hard_state;
                hard_state.commit = member.core.commit();
                let core = self.start(id, hard_state, &member.log);
                self.members[id as usize - 1].core = core;
            }
            Operation::Transfer(to) => {
                if let Some(leader) = self.leader() {
                    self.step(leader, Event::TransferLeadership { ticket: 0, to });
                }
            }
        }
        self.settle();
        for _ in 0..3 {
            self.now += 100;
            for id in 1..=self.members.len() as u64 {
                if self.leads(id) {
                    self.step(id, Event::Tick);
                }
            }
            self.settle();
        }
    }

    fn outcome(&self) -> Vec<Outcome> {
        let outcome = |member: &Member| Outcome {
            term: member.core.term(),
            leads: member.core.soft_state().role == RoleName::Leader,
            commit: member.core.commit(),
            log: member.log.iter().map(|entry| (entry.term, command(entry))).collect(),
        };
        self.members.iter().map(outcome).collect()
    }
}

fn command(entry: &Entry) -> Vec<u8> {
    match &entry.payload {
        Payload::Command(command) => command.to_vec(),
        _ => Vec::new(),
    }
}
