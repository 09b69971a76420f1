//! The scenario `coordinator`: the coordinator's whole machine on consensus.
//!
//! What runs is the coordinator's own code: the store with its index, compaction and archive, transactions, leases and
//! their deadlines, the feed and the watchers, restored from snapshots and fed by the log. What is simulated is the server
//! around it: who asks whether it leads before it renews a lease, when a stream looks for news.
//!
//! # What must hold, beside what must hold of consensus
//! - `revision_replay` ([`oracle`]): every answer is true of the state that its revision names.
//! - `real_time` ([`history`]): revisions never fall behind what was answered before.
//! - `watch_promises` ([`watch_promises`]): ordered, unique, atomic, reliable, resumable.
//! - `leases_never_early` ([`leases_never_early`]): not before what its holder was promised.
//! - `permissions_in_force` ([`permissions_in_force`]): a caller may what users and roles allow where the entry stands.
//! - `tokens_in_force` ([`tokens_in_force`]): no token outlives the password that it was given for.
//! - `alarms_stand` ([`alarms_stand`]): NOSPACE and CORRUPT refuse what they must, from entry to entry, on all members.
//! - `equal_states`: the same pairs, leases, users, alarms and revisions on all members, however they came to them.
//!
//! Deliberately missing: permissions of watches, the time that tokens live, bcrypt, and the server's threads.

mod accounts;
mod alarms_stand;
mod clients;
mod edge;
mod expiry;
mod history;
mod leases_never_early;
mod machine;
mod operator;
mod oracle;
mod permissions_in_force;
mod streams;
mod tokens_in_force;
mod watch_promises;
mod wishes;

use coordinator::machine::Request;
use coordinator::watch::Answer;
use raft::consensus::{Index, MemberId, Payload, RoleName};

use clients::Clients;
use edge::{Edge, Response};
use expiry::Expiry;
use machine::{Entry, Replicated};
use oracle::Oracle;
use streams::Streams;

use crate::cluster::{Cluster, Happening, Plan, Told};
use crate::invariant::require;
use crate::outcome::Outcome;
use crate::world::{MILLISECOND, Random, Trace};

/// What happens beside consensus.
#[derive(Debug)]
pub enum Own {
    Turn(usize),
    Request {
        client: usize,
        turn: u64,
        member: MemberId,
    },
    Response {
        client: usize,
        turn: u64,
        response: Response,
    },
    Timeout {
        client: usize,
        turn: u64,
    },
    Expire {
        member: MemberId,
        incarnation: u64,
    },
    Connect(usize),
    Disconnect(u64),
    Pull(u64),
    Tell {
        stream: u64,
        answers: Vec<Answer>,
    },
}

type Group = Cluster<Replicated, Own>;

/// What is wrong with the world's own rules on purpose.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wrong {
    /// Leases are renewed without asking a quorum.
    pub hasty_renewals: bool,
}

/// Runs the world of a seed.
pub fn run(seed: u64, trace: Trace) -> (Outcome, Trace) {
    run_with(seed, trace, Wrong::default())
}

pub fn run_with(seed: u64, trace: Trace, wrong: Wrong) -> (Outcome, Trace) {
    let mut random = Random::new(seed);
    let mut plan = Plan::draw(&mut random.fork());
    // Snapshots and restarts are where a store can go wrong.
    plan.snapshot_every = plan.snapshot_every.min(200);
    let clients = Clients::new(&mut random.fork(), &plan);
    let mut edge = Edge::new(&mut random.fork(), plan.members);
    edge.hasty_renewals = wrong.hasty_renewals;
    let streams = Streams::new(&mut random.fork(), plan.members, plan.members + clients.count());
    let addresses = clients.count() + Streams::COUNT;
    let mut world = World {
        cluster: Cluster::new(seed, plan, random, trace, addresses),
        clients,
        edge,
        streams,
        expiry: Expiry::default(),
        oracle: Oracle::default(),
    };
    world.run();
    world.outcome()
}

struct World {
    cluster: Group,
    clients: Clients,
    edge: Edge,
    streams: Streams,
    expiry: Expiry,
    oracle: Oracle,
}

impl World {
    fn run(&mut self) {
        let plan = self.cluster.plan.clone();
        self.clients.begin(&mut self.cluster);
        self.streams.begin(&mut self.cluster);
        self.run_until(plan.faults_until);
        self.cluster.mend();
        // Clients and leases come to rest early enough for the last change to reach everyone.
        self.clients.stop_at(plan.end - 8 * plan.election_ms * MILLISECOND);
        let rest = 12_000 * MILLISECOND;
        self.expiry.rest_from(plan.end);
        self.run_until(plan.end + rest);
        if self.cluster.violation().is_none() {
            self.check_convergence();
        }
    }

    fn run_until(&mut self, end: u64) {
        while let Some(happening) = self.cluster.events.next_before(end) {
            match happening {
                Happening::Own(own) => self.happen(own),
                other => self.cluster.handle(other),
            }
            while self.cluster.has_told() {
                // The oracle first: machines are further than what is told of them one by one.
                let (applied, rest): (Vec<_>, Vec<_>) = self
                    .cluster
                    .take_told()
                    .into_iter()
                    .partition(|told| matches!(told, Told::Applied { .. }));
                for told in applied.into_iter().chain(rest) {
                    self.hear(told);
                }
            }
            if self.cluster.violation().is_some() {
                return;
            }
        }
    }

    fn happen(&mut self, own: Own) {
        let cluster = &mut self.cluster;
        match own {
            Own::Turn(client) => self.clients.turn(cluster, &self.oracle, client),
            Own::Request { client, turn, member } => {
                if let Some(order) = self.clients.order(client, turn) {
                    self.edge
                        .request(cluster, &mut self.expiry, &self.oracle, member, order);
                }
            }
            Own::Response { client, turn, response } => self.clients.response(cluster, client, turn, response),
            Own::Timeout { client, turn } => self.clients.timeout(cluster, client, turn),
            Own::Expire { member, incarnation } => self.expiry.expire(cluster, member, incarnation),
            Own::Connect(watcher) => self.streams.connect(cluster, watcher),
            Own::Disconnect(stream) => self.streams.disconnect(cluster, stream),
            Own::Pull(stream) => self.streams.pull(cluster, stream),
            Own::Tell { stream, answers } => self.streams.tell(cluster, &self.oracle, stream, answers),
        }
    }

    fn hear(&mut self, told: Told<machine::Answered>) {
        match told {
            Told::Applied { member, index } => self.applied(member, index),
            Told::SoftState { member, soft_state } => match soft_state.role {
                RoleName::Leader => self.expiry.lead(&mut self.cluster, member),
                _ => self.expiry.stop(member),
            },
            Told::Crashed { member } => {
                self.expiry.stop(member);
                self.streams.crashed(&mut self.cluster, member);
            }
            Told::Started { .. } | Told::Installed { .. } => {}
            other => self.edge.hear(&mut self.cluster, &self.oracle, &mut self.expiry, other),
        }
    }

    /// A member has applied an entry; for the first of them it is news.
    fn applied(&mut self, member: MemberId, index: Index) {
        let is_news = index > self.oracle.index;
        if (is_news || self.expiry.is_leading(member))
            && let Some(entry) = self.entry_at(member, index)
        {
            if is_news {
                self.agreed(index, entry.as_ref());
            }
            if let Some(request) = entry.and_then(|entry| entry.request) {
                self.expiry.applied(&self.cluster, member, &request);
            }
        }
        let running = self.cluster.host_mut(member).running.as_mut();
        if let Some(verdict) = running.and_then(|running| running.machine.verdict(index)) {
            let check = self.oracle.check(member, &verdict);
            self.cluster.note(check);
        }
    }

    fn agreed(&mut self, index: Index, entry: Option<&Entry>) {
        let revoked = match entry.and_then(|entry| entry.request.as_ref()) {
            Some(Request::LeaseRevoke(revoke)) if self.oracle.lease_exists(revoke.id) => Some(revoke.id),
            _ => None,
        };
        self.oracle.agreed(index, entry);
        if let Some(id) = revoked.filter(|id| !self.oracle.lease_exists(*id)) {
            let check = self.clients.leases.ended(id, self.cluster.now());
            self.cluster.note(check);
        }
    }

    /// What entry `index` asks for, from the member that has just applied it: none in it where it holds no command.
    fn entry_at(&mut self, member: MemberId, index: Index) -> Option<Option<Entry>> {
        let host = self.cluster.host(member);
        let running = host.running.as_ref()?;
        let entry = running.core.entry(index).or_else(|| host.disk.entry(index));
        let Some(entry) = entry else {
            let check = require(false, "state_machine_safety", || {
                format!("entry {index} is gone as it is applied")
            });
            self.cluster.note(check);
            return None;
        };
        Some(match &entry.payload {
            Payload::Command(command) => machine::entry(command),
            _ => None,
        })
    }

    fn check_convergence(&mut self) {
        self.cluster.check_convergence(self.clients.counted());
        let behind = self.streams.behind(&self.oracle);
        let check = require(behind.is_none(), "watch_promises", || {
            format!(
                "long after the last change a watcher is behind: {}",
                behind.unwrap_or_default()
            )
        });
        self.cluster.note(check);
    }

    fn outcome(self) -> (Outcome, Trace) {
        let cluster = self.cluster;
        let outcome = Outcome {
            violation: cluster.violation().cloned(),
            digest: cluster.trace.digest(),
            steps: cluster.trace.steps(),
            simulated: cluster.events.now(),
            operations: self.clients.answers.operations,
            answered: self.clients.answers.count,
            leaders: cluster.observer.leaders,
            committed: cluster.observer.committed().0,
            tally: cluster.tally,
            undecided: 0,
            real_log: cluster.plan.real_log,
            figures: Default::default(),
        };
        (outcome, cluster.trace)
    }
}
