//! Clients: they ask one member after the other, one thing at a time, and remember what they were told.
//!
//! The first two are operators ([`super::operator`]) in worlds that have something to look after. A client that is told that
//! its token is no good, or that no one is no one, authenticates next; sometimes with a password of yesterday.

use std::collections::VecDeque;

use coordinator::Error;
use raft::consensus::MemberId;

use super::edge::{Asked, Order, Response, Session};
use super::history::Answers;
use super::leases_never_early::LeasesNeverEarly;
use super::operator::{self, Duties};
use super::oracle::Oracle;
use super::wishes;
use super::{Group, Own};
use crate::cluster::{Happening, Plan};
use crate::world::{Address, MILLISECOND, Micros, Random, SECOND};

/// This many of the clients are operators.
const OPERATORS: usize = 2;
/// Of a hundred requests, this many show a token that was replaced since.
const OLD_TOKEN_PERCENT: u32 = 15;
/// This many of those it remembers.
const OLD_TOKENS_MAX: usize = 3;

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
    /// Its token, and whether it was told that it needs one.
    session: Option<Session>,
    needs_session: bool,
    /// The tokens that it had before, the last few of them, and which of them it shows this time.
    sessions_before: VecDeque<Session>,
    shows_before: Option<usize>,
}

#[derive(Debug)]
pub struct Clients {
    random: Random,
    clients: Vec<Client>,
    pub answers: Answers,
    pub leases: LeasesNeverEarly,
    duties: Duties,
    next_value: u64,
    next_lease: i64,
    members: usize,
    think_max: Micros,
    timeout: Micros,
    until: Micros,
    /// Parts per million that clocks may be wrong by.
    drift_ppm: u64,
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
                session: None,
                needs_session: false,
                sessions_before: VecDeque::new(),
                shows_before: None,
            })
            .collect();
        Self {
            think_max: *random.pick(&[200, 600, 2_000]).unwrap_or(&600) * MILLISECOND,
            timeout: 2 * plan.election_ms * MILLISECOND,
            duties: Duties::draw(&mut random),
            random,
            clients,
            answers: Answers::default(),
            leases: LeasesNeverEarly::default(),
            next_value: 1,
            next_lease: 1_000,
            members: plan.members,
            until: Micros::MAX,
            drift_ppm: u64::from(plan.drift_ppm),
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

    fn name(&self, client: usize) -> String {
        match client.checked_sub(OPERATORS) {
            Some(client) => operator::user(client as u64),
            None => coordinator::auth::ROOT.to_owned(),
        }
    }

    fn draw(&mut self, client: usize, oracle: &Oracle, cluster: &mut Group) -> Asked {
        let known = &self.clients[client];
        if known.needs_session && self.random.percent(70) {
            let user = self.name(client);
            let right = oracle.accounts_now().password(&user).map(str::to_owned);
            let wrong = operator::password(self.random.below(1_000));
            let password = right.filter(|_| self.random.percent(90)).unwrap_or(wrong);
            return Asked::Authenticate { user, password };
        }
        if client < OPERATORS {
            let wish = self
                .duties
                .wish(&mut self.random, oracle, self.members, &mut cluster.tally);
            if let Some(request) = wish {
                return Asked::Write(request);
            }
        }
        self.next_value += 1;
        let known = &mut self.clients[client];
        let mut wishes = wishes::Wishes {
            random: &mut self.random,
            oracle,
            tally: &mut cluster.tally,
            lease: &mut known.lease,
            next_lease: &mut self.next_lease,
            leases: &mut self.leases,
            revision: known.revision,
        };
        wishes.draw(self.next_value)
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
        let (turn, mut member) = (known.turn, known.target);
        known.shows_before = None;
        if !known.sessions_before.is_empty() && self.random.percent(OLD_TOKEN_PERCENT) {
            // To anybody: one member may have missed why it is good no more.
            known.shows_before = Some(self.random.below(known.sessions_before.len() as u64) as usize);
            member = self.random.below(self.members as u64) + 1;
        }
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

    /// What a client has asked for, unless it has gone on since.
    pub fn order(&self, client: usize, turn: u64) -> Option<Order> {
        let known = self.clients.get(client).filter(|known| known.turn == turn)?;
        Some(Order {
            client,
            turn,
            asked: known.asked.clone()?,
            session: match known.shows_before {
                Some(before) => known.sessions_before.get(before).cloned(),
                None => known.session.clone(),
            },
        })
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

    pub fn response(&mut self, cluster: &mut Group, client: usize, turn: u64, response: Response) {
        let now = cluster.now();
        let known = &mut self.clients[client];
        if known.turn != turn || !known.waits {
            return;
        }
        match response {
            Response::Done {
                revision,
                lease,
                refusal,
            } => {
                known.revision = revision;
                let called = known.called;
                if let Some(refusal) = refusal {
                    known.refused(&refusal);
                }
                let check = self.answers.answered(called, now, revision, "an operation");
                cluster.note(check);
                if let Some((id, ttl)) = lease {
                    let ttl = ttl as u64 * (SECOND - self.drift_ppm);
                    self.leases.promised(id, called, ttl.saturating_sub(MILLISECOND));
                }
            }
            Response::Session(session) => {
                self.answers.count += 1;
                known.sessions_before.extend(known.session.replace(session));
                if known.sessions_before.len() > OLD_TOKENS_MAX {
                    known.sessions_before.pop_front();
                }
                known.needs_session = false;
            }
            Response::Denied(refusal) => {
                self.answers.count += 1;
                known.refused(&refusal);
            }
            Response::Failed(leader) => {
                let anyone = self.random.below(self.members as u64) + 1;
                known.target = leader.unwrap_or(anyone);
            }
        }
        cluster.trace.step(now, [8, client as u64, turn]);
        self.go_on(cluster, client);
    }
}

impl Client {
    fn refused(&mut self, refusal: &Error) {
        match refusal {
            _ if self.shows_before.is_some() => {}
            Error::InvalidAuthToken | Error::AuthOldRevision | Error::UserEmpty => self.needs_session = true,
            Error::AuthNotEnabled => self.needs_session = false,
            _ => {}
        }
    }
}
