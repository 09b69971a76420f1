//! Those who write and read registers, and remember what they saw.

use std::collections::BTreeMap;

use bytes::Bytes;
use raft::consensus::{Event, MemberId, Proposal, Refusal, Ticket};

use super::machine::{REGISTERS, Registers, command};
use crate::cluster::{Cluster, Plan, Told};
use crate::history::{History, Operation, Register, RegisterOperation, Verdict};
use crate::world::{Address, MILLISECOND, Micros, Random, SECOND};

/// What happens to clients.
#[derive(Debug)]
pub enum Own {
    /// The client does something.
    Turn(usize),
    /// A request reaches a member.
    Request { client: usize, at: usize, member: MemberId },
    /// An answer reaches a client.
    Response { client: usize, at: usize, answer: Response },
    /// It has waited long enough.
    Timeout { client: usize, at: usize },
}

#[derive(Debug, Clone, Copy)]
pub enum Response {
    Done(u64),
    Refused(Option<MemberId>),
}

/// What is asked of one register.
#[derive(Debug, Clone, Copy)]
struct Asked {
    register: usize,
    operation: RegisterOperation,
}

/// A request that a member works on.
#[derive(Debug)]
struct Waiting {
    client: usize,
    at: usize,
    asked: Asked,
    command: Option<Bytes>,
}

#[derive(Debug)]
struct Client {
    /// The operation that it waits for.
    at: Option<usize>,
    /// Whom it asks next.
    target: MemberId,
    /// What it read last of each register.
    known: [u64; REGISTERS],
}

#[derive(Debug)]
pub struct Clients {
    random: Random,
    clients: Vec<Client>,
    history: History<Asked>,
    waiting: BTreeMap<Ticket, Waiting>,
    next_value: u64,
    members: usize,
    think_max: Micros,
    timeout: Micros,
    until: Micros,
    /// Answers since [`Clients::count_from_here`].
    counted: u64,
    reads_percent: u64,
}

type Group = Cluster<Registers, Own>;

impl Clients {
    pub fn new(random: &mut Random, plan: &Plan) -> Self {
        let mut random = random.fork();
        let count = random.between(2, 5) as usize;
        let clients = (0..count)
            .map(|_| Client {
                at: None,
                target: random.below(plan.voters as u64) + 1,
                known: [0; REGISTERS],
            })
            .collect();
        Self {
            think_max: *random.pick(&[200, 1_000, 3_000]).unwrap_or(&1_000) * MILLISECOND,
            timeout: 2 * plan.election_ms * MILLISECOND,
            reads_percent: *random.pick(&[20, 50, 80]).unwrap_or(&50),
            random,
            clients,
            history: History::default(),
            waiting: BTreeMap::new(),
            next_value: 1,
            members: plan.members,
            until: Micros::MAX,
            counted: 0,
        }
    }

    pub fn count(&self) -> usize {
        self.clients.len()
    }

    pub fn begin(&mut self, cluster: &mut Group) {
        for client in 0..self.clients.len() {
            let wait = self.random.below(SECOND);
            cluster
                .events
                .after(wait, crate::cluster::Happening::Own(Own::Turn(client)));
        }
    }

    pub fn stop_at(&mut self, until: Micros) {
        self.until = until;
    }

    pub fn count_from_here(&mut self) {
        self.counted = 0;
    }

    pub fn counted(&self) -> u64 {
        self.counted
    }

    pub fn operations(&self) -> u64 {
        self.history.operations().len() as u64
    }

    pub fn answered(&self) -> u64 {
        self.history.answered() as u64
    }

    /// One for each register.
    pub fn verdicts(&self) -> Vec<Verdict> {
        let of_register = |register: usize| -> Vec<Operation<RegisterOperation>> {
            let all = self
                .history
                .remaining()
                .filter(|operation| operation.what.register == register);
            all.map(|operation| Operation {
                client: operation.client,
                called: operation.called,
                answered: operation.answered,
                what: operation.what.operation,
            })
            .collect()
        };
        (0..REGISTERS)
            .map(|register| Register::check(&of_register(register)))
            .collect()
    }

    pub fn happen(&mut self, cluster: &mut Group, own: Own) {
        match own {
            Own::Turn(client) => self.turn(cluster, client),
            Own::Request { client, at, member } => self.request(cluster, client, at, member),
            Own::Response { client, at, answer } => self.response(cluster, client, at, answer),
            Own::Timeout { client, at } => {
                if self.clients[client].at == Some(at) {
                    self.clients[client].target = self.random.below(self.members as u64) + 1;
                    self.go_on(cluster, client);
                }
            }
        }
    }

    fn address(&self, client: usize) -> Address {
        self.members + client
    }

    fn turn(&mut self, cluster: &mut Group, client: usize) {
        let now = cluster.now();
        if now >= self.until {
            return;
        }
        let register = self.random.below(REGISTERS as u64) as usize;
        let value = self.next_value;
        self.next_value += 1;
        let operation = if self.random.below(100) < self.reads_percent {
            RegisterOperation::Read(0)
        } else if self.random.percent(40) {
            RegisterOperation::CompareAndSet {
                expected: self.clients[client].known[register],
                new: value,
                found: 0,
            }
        } else {
            RegisterOperation::Write(value)
        };
        let at = self.history.call(client, now, Asked { register, operation });
        self.clients[client].at = Some(at);
        let member = self.clients[client].target;
        // A request that arrived twice would be two requests.
        let (from, to) = (self.address(client), member as Address - 1);
        let arrivals = cluster
            .network
            .send(from, to, now, &mut cluster.random, &mut cluster.tally);
        if let Some(arrival) = arrivals[0] {
            let request = Own::Request { client, at, member };
            cluster.events.at(arrival, crate::cluster::Happening::Own(request));
        }
        let timeout = Own::Timeout { client, at };
        cluster
            .events
            .after(self.timeout, crate::cluster::Happening::Own(timeout));
    }

    fn request(&mut self, cluster: &mut Group, client: usize, at: usize, member: MemberId) {
        let now = cluster.now();
        let host = cluster.host(member);
        if host.running.is_none() {
            return;
        }
        if host.paused_until > now {
            let until = host.paused_until;
            let request = Own::Request { client, at, member };
            cluster.events.at(until, crate::cluster::Happening::Own(request));
            return;
        }
        let asked = self.history.get(at).what;
        let ticket = cluster.ticket();
        let command = command(asked.register, asked.operation);
        let event = match &command {
            Some(command) => Event::Propose(vec![Proposal {
                ticket,
                command: command.clone(),
            }]),
            None => {
                cluster.observer.read_asked(ticket);
                Event::ReadIndex(vec![ticket])
            }
        };
        let waiting = Waiting {
            client,
            at,
            asked,
            command,
        };
        self.waiting.insert(ticket, waiting);
        cluster.step(member, event);
    }

    /// Takes in what members say, and answers clients.
    pub fn hear(&mut self, cluster: &mut Group) {
        let mut told = cluster.take_told();
        for told in told.drain(..) {
            match told {
                Told::Answer {
                    member, ticket, answer, ..
                } => self.answer(cluster, member, ticket, Response::Done(answer)),
                Told::Read { member, ticket } => {
                    let register = self.waiting.get(&ticket).map(|waiting| waiting.asked.register);
                    let running = cluster.host(member).running.as_ref();
                    if let (Some(register), Some(running)) = (register, running) {
                        let value = running.machine.read(register);
                        self.answer(cluster, member, ticket, Response::Done(value));
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
        cluster.heard(told);
    }

    fn refuse(&mut self, cluster: &mut Group, member: MemberId, ticket: Ticket, leader: Option<MemberId>) {
        if let Some(command) = self.waiting.get(&ticket).and_then(|waiting| waiting.command.as_ref()) {
            cluster.observer.refused(command);
        }
        self.answer(cluster, member, ticket, Response::Refused(leader));
    }

    fn answer(&mut self, cluster: &mut Group, member: MemberId, ticket: Ticket, answer: Response) {
        let Some(waiting) = self.waiting.remove(&ticket) else {
            return;
        };
        let (client, at) = (waiting.client, waiting.at);
        let to = self.address(client);
        cluster.send(member as Address - 1, to, || Own::Response { client, at, answer });
    }

    fn response(&mut self, cluster: &mut Group, client: usize, at: usize, answer: Response) {
        let now = cluster.now();
        // A late answer is one that no one waits for any more.
        if self.clients[client].at != Some(at) {
            return;
        }
        match answer {
            Response::Done(value) => {
                let asked = self.history.get(at).what;
                self.clients[client].known[asked.register] = match asked.operation {
                    RegisterOperation::Write(new) => new,
                    RegisterOperation::CompareAndSet { expected, new, .. } if expected == value => new,
                    _ => value,
                };
                self.counted += 1;
                self.history.answer(at, now, |asked| match &mut asked.operation {
                    RegisterOperation::Read(found) | RegisterOperation::CompareAndSet { found, .. } => *found = value,
                    RegisterOperation::Write(_) => {}
                });
                if cluster.trace.tells() {
                    let told = self.history.get(at);
                    cluster.trace.tell(now, format_args!("client {client}: {told:?}"));
                }
            }
            Response::Refused(leader) => {
                self.history.withdraw(at);
                let anyone = self.random.below(self.members as u64) + 1;
                self.clients[client].target = leader.unwrap_or(anyone);
            }
        }
        cluster.trace.step(now, [8, client as u64, at as u64]);
        self.go_on(cluster, client);
    }

    fn go_on(&mut self, cluster: &mut Group, client: usize) {
        self.clients[client].at = None;
        let wait = self.random.between(MILLISECOND, self.think_max);
        cluster
            .events
            .after(wait, crate::cluster::Happening::Own(Own::Turn(client)));
    }
}
