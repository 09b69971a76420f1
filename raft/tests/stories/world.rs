//! The members, what lies between them, and the commands that a story is made of.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write;

use bytes::Bytes;
use raft::consensus::{
    Body, Config, Event, Index, MemberChange, MemberId, Membership, Message, Millis, Payload, Proposal, Ticket,
};

use crate::member::Member;
use crate::print;

#[derive(Default)]
pub struct World {
    members: BTreeMap<MemberId, Member>,
    network: VecDeque<Message>,
    /// Messages of links that are held back.
    held: Vec<Message>,
    holds: BTreeSet<(MemberId, MemberId)>,
    cuts: BTreeSet<(MemberId, MemberId)>,
    now: Millis,
    tickets: Ticket,
    /// How members that start behave.
    template: Option<Config>,
    /// States as of snapshots.
    snapshots: BTreeMap<Index, Vec<(Index, String)>>,
    shows_messages: bool,
    out: String,
}

const STEP: Millis = 10;

impl World {
    /// Carries out a command and tells what came of it.
    ///
    /// ```text
    /// members 1 2 3 [+ 4]     these voters and learners start  | option NAME VALUE   for members that start after it
    /// start 4                 a member without members starts  | campaign 1          it campaigns now
    /// propose 1 a b           commands, one ticket each        | read 1              asks for a read index
    /// change 1 add-voter 4    also add-learner, promote, remove| transfer 1 2        leadership from 1 to 2
    /// deliver [1>2]           until all is quiet, or one link  | lose 1>2            what is under way on it
    /// hold 1>2, release 1>2   keeps messages back, lets go     | repeat 1>2          what is under way, twice
    /// cut 1, cut 1>2, heal    loses everything on the way      | pass 1000           time passes, messages flow
    /// pause 1, resume 1       gets nothing, then everything    | sleep 1000          time passes, nothing happens
    /// sync 1 no|one|yes       when its writes become durable   | crash 1, restart 1
    /// snapshot 1 [keep 3]     of its state; purges the log     | status, log 1, state
    /// ```
    pub fn run(&mut self, line: &str) -> String {
        self.out.clear();
        let words: Vec<&str> = line.split_whitespace().collect();
        let (quietly, words) = match words.split_first() {
            Some((&"quietly", rest)) => (true, rest),
            _ => (false, &words[..]),
        };
        self.shows_messages = !quietly;
        let (command, rest) = words.split_first().expect("a command");
        match *command {
            "members" | "start" | "option" => self.begin(command, rest),
            "deliver" | "lose" | "hold" | "release" | "repeat" | "cut" | "heal" => self.network(command, rest),
            "pass" | "sleep" => self.time(command, number(rest[0])),
            "status" | "log" | "state" => self.tell(command, rest),
            "pause" | "resume" | "sync" | "crash" | "restart" | "snapshot" => self.machine(command, rest),
            _ => self.request(command, rest),
        }
        if quietly {
            self.out.clear();
        }
        std::mem::take(&mut self.out)
    }

    fn begin(&mut self, command: &str, rest: &[&str]) {
        let mut config = self.template.clone().unwrap_or_else(|| Config::new(1));
        match command {
            "option" => {
                let value = rest[1];
                match rest[0] {
                    "pre-vote" => config.pre_vote = value == "yes",
                    "check-quorum" => config.check_quorum = value == "yes",
                    "forward" => config.forward = value == "yes",
                    "append-bytes" => config.append_bytes_max = number(value) as usize,
                    "inflight" => config.inflight_max = number(value) as usize,
                    "cache-bytes" => config.cache_bytes = number(value) as usize,
                    "uncommitted-bytes" => config.uncommitted_bytes_max = number(value) as usize,
                    other => panic!("no option {other}"),
                }
            }
            "start" => self.start(&config, number(rest[0]), Membership::default()),
            _ => {
                let (voters, learners) = match rest.iter().position(|word| *word == "+") {
                    Some(at) => (&rest[..at], &rest[at + 1..]),
                    None => (rest, &rest[..0]),
                };
                let ids = |words: &[&str]| words.iter().map(|word| number(word)).collect::<Vec<_>>();
                let membership = Membership::new(ids(voters), ids(learners));
                for id in membership.members() {
                    self.start(&config, id, membership.clone());
                }
            }
        }
        self.template = Some(config);
    }

    fn start(&mut self, template: &Config, id: MemberId, membership: Membership) {
        let mut config = template.clone();
        config.id = id;
        config.seed = id;
        config.incarnation = 0;
        self.members.insert(id, Member::start(config, membership, self.now));
    }

    fn request(&mut self, command: &str, rest: &[&str]) {
        let id = number(rest[0]);
        let event = match command {
            "campaign" => Event::Campaign,
            "step-down" => Event::StepDown,
            "propose" => {
                let proposals = rest[1..].iter().map(|word| Proposal {
                    ticket: self.next_ticket(),
                    command: Bytes::copy_from_slice(word.as_bytes()),
                });
                Event::Propose(proposals.collect())
            }
            "read" => Event::ReadIndex(vec![self.next_ticket()]),
            "unreachable" => Event::Unreachable { peer: number(rest[1]) },
            "transfer" => Event::TransferLeadership {
                ticket: self.next_ticket(),
                to: number(rest[1]),
            },
            "change" => {
                let member = number(rest[2]);
                let change = match rest[1] {
                    "add-voter" => MemberChange::AddVoter(member),
                    "add-learner" => MemberChange::AddLearner(member),
                    "promote" => MemberChange::Promote(member),
                    "remove" => MemberChange::Remove(member),
                    "update" => MemberChange::Update(member),
                    other => panic!("no change {other}"),
                };
                Event::ChangeMembers {
                    ticket: self.next_ticket(),
                    change,
                    context: Bytes::new(),
                }
            }
            other => panic!("no command {other}"),
        };
        self.step(id, event);
    }

    fn next_ticket(&mut self) -> Ticket {
        self.tickets += 1;
        self.tickets
    }

    fn network(&mut self, command: &str, rest: &[&str]) {
        let links: Vec<_> = rest.iter().flat_map(|word| self.links(word)).collect();
        let is_meant = |message: &Message| links.contains(&(message.from, message.to));
        match command {
            "deliver" if links.is_empty() => self.deliver_all(),
            "deliver" => {
                let (meant, others) = self.network.drain(..).partition::<Vec<_>, _>(is_meant);
                self.network.extend(others);
                for message in meant {
                    self.deliver(message);
                }
            }
            "lose" => self.network.retain(|message| !is_meant(message)),
            "hold" => self.holds.extend(links),
            "release" => {
                self.holds.retain(|link| !links.contains(link));
                let (meant, others) = self.held.drain(..).partition::<Vec<_>, _>(is_meant);
                self.held = others;
                self.network.extend(meant);
            }
            "repeat" => {
                let copies: Vec<_> = self
                    .network
                    .iter()
                    .filter(|message| is_meant(message))
                    .cloned()
                    .collect();
                self.network.extend(copies);
            }
            "cut" => self.cuts.extend(links),
            _ => self.cuts.clear(),
        }
    }

    /// `1>2` is one link, `1` all from and to that member.
    fn links(&self, word: &str) -> Vec<(MemberId, MemberId)> {
        if let Some((from, to)) = word.split_once('>') {
            return vec![(number(from), number(to))];
        }
        let id = number(word);
        self.members
            .keys()
            .flat_map(|other| [(id, *other), (*other, id)])
            .collect()
    }

    fn deliver_all(&mut self) {
        let mut waiting = Vec::new();
        for _ in 0..10_000 {
            let Some(message) = self.network.pop_front() else {
                self.network.extend(waiting);
                return;
            };
            match self.members.get(&message.to).is_some_and(|member| member.is_paused) {
                true => waiting.push(message),
                false => self.deliver(message),
            }
        }
        panic!("they talk without end");
    }

    fn deliver(&mut self, message: Message) {
        let link = (message.from, message.to);
        if self.holds.contains(&link) {
            self.held.push(message);
            return;
        }
        let is_up = self
            .members
            .get(&message.to)
            .is_some_and(|member| member.core.is_some());
        let is_lost = self.cuts.contains(&link) || !is_up;
        if self.shows_messages {
            let lost = if is_lost { " (lost)" } else { "" };
            writeln!(self.out, "{}{lost}", print::message(&message)).expect("a string grows");
        }
        let sent = match message.body {
            Body::Snapshot { session, .. } => Some(Event::SnapshotSent {
                to: message.to,
                session,
                delivered: !is_lost,
            }),
            _ => None,
        };
        if !is_lost {
            self.step(link.1, Event::Message(message));
        }
        if let Some(sent) = sent {
            self.step(link.0, sent);
        }
    }

    fn time(&mut self, command: &str, millis: Millis) {
        let end = self.now + millis;
        if command == "sleep" {
            self.now = end;
            return;
        }
        self.shows_messages = false;
        while self.now < end {
            self.now += STEP;
            for id in self.members.keys().copied().collect::<Vec<_>>() {
                let member = &self.members[&id];
                let is_due = member.core.as_ref().is_some_and(|core| core.deadline() <= self.now);
                if is_due && !member.is_paused {
                    self.step(id, Event::Tick);
                }
            }
            self.deliver_all();
        }
    }

    fn machine(&mut self, command: &str, rest: &[&str]) {
        let id = number(rest[0]);
        let now = self.now;
        let member = self.members.get_mut(&id).expect("a member");
        match (command, rest.get(1)) {
            ("pause", _) => member.is_paused = true,
            ("resume", _) => member.is_paused = false,
            ("crash", _) => member.crash(),
            ("restart", _) => member.restart(now),
            ("snapshot", _) => self.snapshot(id, rest.get(2).map_or(0, |word| number(word))),
            (_, Some(&"no")) => member.syncs = false,
            (_, Some(&"one")) => self.sync_one(id),
            _ => {
                member.syncs = true;
                while !self.members[&id].unsynced.is_empty() {
                    self.sync_one(id);
                }
            }
        }
    }

    fn sync_one(&mut self, id: MemberId) {
        if let Some(write) = self.members.get_mut(&id).and_then(Member::sync_one) {
            self.step(
                id,
                Event::Persisted {
                    first: write,
                    last: write,
                },
            );
        }
    }

    fn snapshot(&mut self, id: MemberId, keep: u64) {
        let member = self.members.get_mut(&id).expect("a member");
        let core = member.core.as_ref().expect("it is up");
        let index = core.status().applied;
        let purged = index.saturating_sub(keep);
        let term_at = |index| core.term_at(index).expect("in the log");
        member.disk.snapshot.last.index = index;
        member.disk.snapshot.last.term = term_at(index);
        member.disk.snapshot.membership = core.membership_at(index).expect("known").clone();
        member.disk.purged.index = purged;
        member.disk.purged.term = term_at(purged);
        member.disk.log = member.disk.log.split_off(&(purged + 1));
        self.snapshots.insert(index, member.state.clone());
        self.step(
            id,
            Event::Compacted {
                snapshot: index,
                purged,
            },
        );
    }

    /// One step of one member, and its effects.
    fn step(&mut self, id: MemberId, event: Event) {
        let now = self.now;
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let Some(core) = &mut member.core else {
            return;
        };
        let effects = core.step(event, now);
        self.out.push_str(&print::effects(id, &effects));
        self.network.extend(effects.messages.iter().cloned());
        let mut syncs = false;
        if let Some(write) = effects.write {
            if let Some(snapshot) = &write.install {
                member.state = self.snapshots[&snapshot.last.index].clone();
            }
            member.unsynced.push_back(write);
            syncs = member.syncs;
        }
        if !effects.committed.is_empty() {
            let log = member.disk_to_come().log;
            let mut applied = Vec::new();
            for index in effects.committed.clone() {
                member.apply(&log[&index]);
                if !matches!(log[&index].payload, Payload::Blank) {
                    applied.push(print::entry(&log[&index]));
                }
            }
            if !applied.is_empty() {
                writeln!(self.out, "{id}: applies {}", applied.join(", ")).expect("a string grows");
            }
        }
        if syncs {
            self.sync_one(id);
        }
        if !effects.committed.is_empty() {
            let index = effects.committed.end - 1;
            self.step(id, Event::Applied { index });
        }
        for fetch in effects.fetches {
            let log = self.members[&id].disk_to_come().log;
            let entries = log
                .range(fetch.first..=fetch.last)
                .map(|(_, entry)| entry.clone())
                .collect();
            self.step(id, Event::Fetched { fetch, entries });
        }
    }

    fn tell(&mut self, command: &str, rest: &[&str]) {
        for (id, member) in &self.members {
            if rest.first().is_some_and(|word| number(word) != *id) {
                continue;
            }
            let Some(core) = &member.core else {
                writeln!(self.out, "{id} is down").expect("a string grows");
                continue;
            };
            let line = match command {
                "status" => {
                    let status = core.status();
                    let (last, commit) = (print::position(status.last), status.commit);
                    let members = print::membership(core.membership());
                    let soft_state = print::soft_state(status.soft_state);
                    // Only a leader has peers.
                    let peers = status.peers.iter().map(|peer| {
                        let snapshot = if peer.needs_snapshot { " (snapshot)" } else { "" };
                        format!(", {} has {}{snapshot}", peer.id, peer.match_index)
                    });
                    let peers: String = peers.collect();
                    format!("{soft_state}, has {last}, commit {commit}, members {members}{peers}")
                }
                "log" => {
                    let disk = member.disk_to_come();
                    let log: Vec<_> = disk.log.into_values().collect();
                    format!("after {} {}", print::position(disk.purged), print::entries(&log))
                }
                _ => {
                    let commands: Vec<&str> = member.state.iter().map(|(_, command)| command.as_str()).collect();
                    commands.join(" ")
                }
            };
            writeln!(self.out, "{id}: {line}").expect("a string grows");
        }
    }
}

fn number(word: &str) -> u64 {
    word.parse().unwrap_or_else(|_| panic!("{word} is no number"))
}
