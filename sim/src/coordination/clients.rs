//! Those who put, delete, compare, read, hold leases and compact.

use std::collections::HashMap;

use bytes::Bytes;
use coordinator::machine::{Outcome, Request};
use coordinator_wire::etcdserverpb as pb;
use pb::compare::{CompareResult, CompareTarget, TargetUnion};
use pb::request_op::Request as Step;
use raft::consensus::{Event, MemberId, Proposal, Refusal, Ticket};

use super::expiry::Expiry;
use super::history::Answers;
use super::leases_never_early::LeasesNeverEarly;
use super::machine::{Answered, command, everything};
use super::oracle::{Oracle, Pairs};
use super::{Group, Own};
use crate::cluster::{Happening, Plan, Told};
use crate::invariant::require;
use crate::world::{Address, Fault, MILLISECOND, Micros, Random, SECOND};

const KEYS: u64 = 8;

/// What a client asks for.
#[derive(Debug, Clone)]
pub enum Asked {
    Write(Request),
    /// All pairs, now or as of so many revisions ago.
    Read {
        ago: i64,
    },
    KeepAlive(i64),
}

/// What a client is told.
#[derive(Debug, Clone, Copy)]
pub enum Response {
    Done { revision: i64, lease: Option<(i64, i64)> },
    Refused(Option<MemberId>),
}

#[derive(Debug)]
struct Waiting {
    client: usize,
    turn: u64,
    asked: Asked,
}

#[derive(Debug)]
struct Client {
    /// Counts its turns; what belongs to an earlier one is late.
    turn: u64,
    waits: bool,
    called: Micros,
    asked: Option<Asked>,
    target: MemberId,
    /// A lease that it holds, and the last revision it saw of what.
    lease: i64,
    revision: i64,
}

#[derive(Debug)]
pub struct Clients {
    random: Random,
    clients: Vec<Client>,
    waiting: HashMap<Ticket, Waiting>,
    pub answers: Answers,
    pub leases: LeasesNeverEarly,
    next_value: u64,
    next_lease: i64,
    members: usize,
    think_max: Micros,
    timeout: Micros,
    until: Micros,
    /// Parts per million that clocks may be wrong by.
    drift_ppm: u64,
    /// A fault to be found: renewals are answered without asking whether the member still leads.
    pub hasty_renewals: bool,
    counted_from: u64,
}

impl Clients {
    pub fn new(random: &mut Random, plan: &Plan) -> Self {
        let mut random = random.fork();
        let clients = (0..random.between(3, 6))
            .map(|_| Client {
                turn: 0,
                waits: false,
                called: 0,
                asked: None,
                target: random.below(plan.voters as u64) + 1,
                lease: 0,
                revision: 0,
            })
            .collect();
        Self {
            think_max: *random.pick(&[200, 600, 2_000]).unwrap_or(&600) * MILLISECOND,
            timeout: 2 * plan.election_ms * MILLISECOND,
            random,
            clients,
            waiting: HashMap::new(),
            answers: Answers::default(),
            leases: LeasesNeverEarly::default(),
            next_value: 1,
            next_lease: 1_000,
            members: plan.members,
            until: Micros::MAX,
            drift_ppm: u64::from(plan.drift_ppm),
            hasty_renewals: false,
            counted_from: 0,
        }
    }

    pub fn count(&self) -> usize {
        self.clients.len()
    }

    pub fn begin(&mut self, cluster: &mut Group) {
        for client in 0..self.clients.len() {
            let wait = self.random.below(SECOND);
            cluster.events.after(wait, Happening::Own(Own::Turn(client)));
        }
    }

    pub fn stop_at(&mut self, until: Micros) {
        self.until = until;
        self.counted_from = self.answers.count;
    }

    pub fn counted(&self) -> u64 {
        self.answers.count - self.counted_from
    }

    fn address(&self, client: usize) -> Address {
        self.members + client
    }

    fn key(&mut self) -> Bytes {
        format!("k{}", self.random.below(KEYS)).into()
    }

    fn draw(&mut self, client: usize, oracle: &Oracle, cluster: &mut Group) -> Asked {
        let key = self.key();
        self.next_value += 1;
        let value: Bytes = format!("v{}", self.next_value).into();
        let (lease, revision) = (self.clients[client].lease, self.clients[client].revision);
        let put = |lease| pb::PutRequest {
            key: key.clone(),
            value: value.clone(),
            lease,
            ..Default::default()
        };
        match self.random.below(100) {
            0..25 => Asked::Write(Request::Put(put(0))),
            25..35 if lease != 0 => Asked::Write(Request::Put(put(lease))),
            35..45 => Asked::Write(Request::DeleteRange(pb::DeleteRangeRequest {
                range_end: if self.random.percent(20) {
                    "k9".into()
                } else {
                    Bytes::new()
                },
                key,
                ..Default::default()
            })),
            45..60 => {
                // Half of them guess right.
                let known = oracle.pairs(oracle.revision()).and_then(|pairs| pairs.get(&key));
                let known = known.map_or(0, |kv| kv.mod_revision);
                let wanted = if self.random.percent(50) { known } else { revision };
                Asked::Write(Request::Txn(transaction(&put(0), wanted)))
            }
            60..65 => {
                self.next_lease += 1;
                self.clients[client].lease = self.next_lease;
                let ttl = self.random.between(2, 6) as i64;
                let id = self.next_lease;
                Asked::Write(Request::LeaseGrant(pb::LeaseGrantRequest { id, ttl }))
            }
            65..78 if lease != 0 => Asked::KeepAlive(lease),
            78..80 if lease != 0 => {
                self.leases.given_up(lease);
                self.clients[client].lease = 0;
                Asked::Write(Request::LeaseRevoke(pb::LeaseRevokeRequest { id: lease }))
            }
            80..83 => {
                cluster.tally.count(Fault::Compaction);
                let revision = oracle.revision() - self.random.below(10) as i64;
                Asked::Write(Request::Compaction(pb::CompactionRequest {
                    revision,
                    physical: false,
                }))
            }
            n => Asked::Read {
                ago: if n % 3 == 0 { self.random.below(12) as i64 } else { 0 },
            },
        }
    }

    pub fn turn(&mut self, cluster: &mut Group, oracle: &Oracle, client: usize) {
        let now = cluster.now();
        if now >= self.until {
            return;
        }
        self.answers.operations += 1;
        let asked = self.draw(client, oracle, cluster);
        let known = &mut self.clients[client];
        known.turn += 1;
        known.waits = true;
        known.called = now;
        known.asked = Some(asked);
        let (turn, member) = (known.turn, known.target);
        let (from, to) = (self.address(client), member as Address - 1);
        let arrivals = cluster
            .network
            .send(from, to, now, &mut cluster.random, &mut cluster.tally);
        if let Some(arrival) = arrivals[0] {
            let request = Own::Request { client, turn, member };
            cluster.events.at(arrival, Happening::Own(request));
        }
        cluster
            .events
            .after(self.timeout, Happening::Own(Own::Timeout { client, turn }));
    }

    pub fn timeout(&mut self, cluster: &mut Group, client: usize, turn: u64) {
        let known = &mut self.clients[client];
        if known.turn == turn && known.waits {
            known.target = self.random.below(self.members as u64) + 1;
            self.go_on(cluster, client);
        }
    }

    fn go_on(&mut self, cluster: &mut Group, client: usize) {
        self.clients[client].waits = false;
        let wait = self.random.between(MILLISECOND, self.think_max);
        cluster.events.after(wait, Happening::Own(Own::Turn(client)));
    }

    pub fn request(&mut self, cluster: &mut Group, expiry: &mut Expiry, client: usize, turn: u64, member: MemberId) {
        let now = cluster.now();
        let host = cluster.host(member);
        if host.running.is_none() || self.clients[client].turn != turn {
            return;
        }
        if host.paused_until > now {
            let until = host.paused_until;
            cluster
                .events
                .at(until, Happening::Own(Own::Request { client, turn, member }));
            return;
        }
        let Some(asked) = self.clients[client].asked.clone() else {
            return;
        };
        let leader = host.running.as_ref().and_then(|running| running.standing.leader);
        let ticket = cluster.ticket();
        let event = match &asked {
            Asked::Write(request) => Event::Propose(vec![Proposal {
                ticket,
                command: command(request.clone()),
            }]),
            Asked::KeepAlive(_) if !expiry.is_leading(member) => {
                return self.respond(cluster, member, client, turn, Response::Refused(leader));
            }
            Asked::KeepAlive(id) if self.hasty_renewals => {
                let id = *id;
                return self.renew(cluster, expiry, member, client, turn, id);
            }
            Asked::KeepAlive(_) | Asked::Read { .. } => {
                cluster.observer.read_asked(ticket);
                Event::ReadIndex(vec![ticket])
            }
        };
        self.waiting.insert(ticket, Waiting { client, turn, asked });
        cluster.step(member, event);
    }

    fn renew(&mut self, cluster: &mut Group, expiry: &mut Expiry, member: MemberId, client: usize, turn: u64, id: i64) {
        let renewed = expiry.renew(cluster, member, id);
        let Some(running) = &cluster.host(member).running else {
            return;
        };
        let revision = running.machine.machine.store().revision();
        let lease = renewed.map(|ttl| (id, ttl));
        let response = match expiry.is_leading(member) {
            true => Response::Done { revision, lease },
            false => Response::Refused(None),
        };
        self.respond(cluster, member, client, turn, response);
    }

    /// Takes in what members say of proposals and reads.
    pub fn hear(&mut self, cluster: &mut Group, oracle: &Oracle, expiry: &mut Expiry, told: Told<Answered>) {
        match told {
            Told::Answer {
                member,
                ticket,
                index,
                answer,
            } => {
                let check = oracle.check(index, &answer);
                cluster.note(check);
                let Some(Waiting { client, turn, .. }) = self.waiting.remove(&ticket) else {
                    return;
                };
                let lease = match &answer.outcome {
                    Ok(Outcome::LeaseGrant(granted)) => Some((granted.id, granted.ttl)),
                    _ => None,
                };
                let revision = answer.revision;
                self.respond(cluster, member, client, turn, Response::Done { revision, lease });
            }
            Told::Read { member, ticket } => {
                let Some(Waiting { client, turn, asked }) = self.waiting.remove(&ticket) else {
                    return;
                };
                match asked {
                    Asked::KeepAlive(id) => self.renew(cluster, expiry, member, client, turn, id),
                    Asked::Read { ago } => {
                        if let Some(revision) = read(cluster, oracle, member, ago) {
                            self.respond(cluster, member, client, turn, Response::Done { revision, lease: None });
                        }
                    }
                    Asked::Write(_) => {}
                }
            }
            Told::Refused {
                why: Refusal::OutcomeUnknown,
                ticket,
                ..
            } => {
                self.waiting.remove(&ticket);
            }
            Told::Refused { member, ticket, why } => {
                let leader = match why {
                    Refusal::NotLeader { leader } => Some(leader),
                    _ => None,
                };
                self.refuse(cluster, member, ticket, leader);
            }
            Told::Lost { member, ticket } => self.refuse(cluster, member, ticket, None),
            _ => {}
        }
    }

    fn refuse(&mut self, cluster: &mut Group, member: MemberId, ticket: Ticket, leader: Option<MemberId>) {
        if let Some(Waiting { client, turn, .. }) = self.waiting.remove(&ticket) {
            self.respond(cluster, member, client, turn, Response::Refused(leader));
        }
    }

    fn respond(&mut self, cluster: &mut Group, member: MemberId, client: usize, turn: u64, response: Response) {
        let to = self.address(client);
        cluster.send(member as Address - 1, to, || Own::Response { client, turn, response });
    }

    pub fn response(&mut self, cluster: &mut Group, client: usize, turn: u64, response: Response) {
        let now = cluster.now();
        let known = &mut self.clients[client];
        if known.turn != turn || !known.waits {
            return;
        }
        match response {
            Response::Done { revision, lease } => {
                known.revision = revision;
                let called = known.called;
                let check = self.answers.answered(called, now, revision, "an operation");
                cluster.note(check);
                if let Some((id, ttl)) = lease {
                    let ttl = ttl as u64 * (SECOND - self.drift_ppm);
                    self.leases.promised(id, called, ttl.saturating_sub(MILLISECOND));
                }
            }
            Response::Refused(leader) => {
                let anyone = self.random.below(self.members as u64) + 1;
                known.target = leader.unwrap_or(anyone);
            }
        }
        cluster.trace.step(now, [8, client as u64, turn]);
        self.go_on(cluster, client);
    }
}

/// If the key was changed last at `wanted`, puts it; otherwise deletes it.
fn transaction(put: &pb::PutRequest, wanted: i64) -> pb::TxnRequest {
    let step = |request| pb::RequestOp { request: Some(request) };
    let delete = pb::DeleteRangeRequest {
        key: put.key.clone(),
        ..Default::default()
    };
    pb::TxnRequest {
        compare: vec![pb::Compare {
            result: CompareResult::Equal.into(),
            target: CompareTarget::Mod.into(),
            key: put.key.clone(),
            target_union: Some(TargetUnion::ModRevision(wanted)),
            ..Default::default()
        }],
        success: vec![step(Step::RequestPut(put.clone()))],
        failure: vec![step(Step::RequestDeleteRange(delete))],
    }
}

/// Reads all pairs on a member, and compares them with what they must be at that revision.
fn read(cluster: &mut Group, oracle: &Oracle, member: MemberId, ago: i64) -> Option<i64> {
    let running = cluster.host(member).running.as_ref()?;
    let store = running.machine.machine.store();
    let now = store.revision();
    let revision = if ago == 0 || now - ago < store.compacted().max(1) {
        now
    } else {
        now - ago
    };
    let found = store.select(&everything(), revision, 0).load();
    let told = |found: &dyn std::fmt::Debug, wanted: &dyn std::fmt::Debug| {
        format!("member {member} reads revision {revision} as {found:?}, and it was {wanted:?}")
    };
    let wanted = oracle.pairs(revision);
    let check = match &found {
        Ok(versions) => {
            let found: Pairs = versions
                .iter()
                .map(|version| (version.kv.key.clone(), version.kv.clone()))
                .collect();
            require(Some(&found) == wanted, "revision_replay", || told(&found, &wanted))
        }
        Err(error) => require(false, "revision_replay", || told(error, &wanted)),
    };
    cluster.note(check);
    Some(now)
}
