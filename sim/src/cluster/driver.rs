//! The cluster: what happens to whom, and when the clock ticks.

use raft::consensus::{Effects, Event, Index, MemberId, Membership, Refusal, Session, SoftState, Ticket, WriteId};

use super::disk::Kept;
use super::host::{Host, Letter};
use super::machine::Machine;
use super::observer::Observer;
use super::plan::Plan;
use crate::invariant::{self, Check, Violation};
use crate::world::{Address, Clock, Events, MILLISECOND, Micros, Network, Random, Tally, Trace};

/// What happens next, to whom.
#[derive(Debug)]
pub enum Happening<M: Machine, E> {
    /// The scenario's own.
    Own(E),
    Tick {
        member: MemberId,
        incarnation: u64,
    },
    Arrive(Letter<M::State>),
    /// The disk has synced up to this write.
    Synced {
        member: MemberId,
        incarnation: u64,
        last: WriteId,
    },
    /// The core learns of it.
    Persisted {
        member: MemberId,
        incarnation: u64,
        writes: (WriteId, WriteId),
    },
    Apply {
        member: MemberId,
        incarnation: u64,
    },
    Compacted {
        member: MemberId,
        incarnation: u64,
        kept: Box<Kept<M::State>>,
    },
    SnapshotSent {
        from: MemberId,
        incarnation: u64,
        to: MemberId,
        session: Session,
        delivered: bool,
    },
    Start(MemberId),
    /// The next fault is due.
    Harm,
    /// The network is whole again.
    Heal,
}

/// What the scenario is told.
#[derive(Debug)]
pub enum Told<A> {
    /// A command that was proposed at this member was applied there.
    Answer {
        member: MemberId,
        ticket: Ticket,
        index: Index,
        answer: A,
    },
    /// A read that was asked at this member may be made there now.
    Read {
        member: MemberId,
        ticket: Ticket,
    },
    Refused {
        member: MemberId,
        ticket: Ticket,
        why: Refusal,
    },
    /// Another entry stands where this one was proposed: it never happens.
    Lost {
        member: MemberId,
        ticket: Ticket,
    },
    Applied {
        member: MemberId,
        index: Index,
    },
    SoftState {
        member: MemberId,
        soft_state: SoftState,
    },
    Started {
        member: MemberId,
    },
    Crashed {
        member: MemberId,
    },
    /// A snapshot replaced its state machine.
    Installed {
        member: MemberId,
    },
}

/// All members and the world around them.
#[derive(Debug)]
pub struct Cluster<M: Machine, E> {
    pub events: Events<Happening<M, E>>,
    pub network: Network,
    pub random: Random,
    pub tally: Tally,
    pub trace: Trace,
    pub observer: Observer,
    pub hosts: Vec<Host<M>>,
    pub plan: Plan,
    pub(super) told: Vec<Told<M::Answer>>,
    /// Memory for the next step's effects.
    pub(super) spare_effects: Option<Box<Effects>>,
    pub(super) violation: Option<Violation>,
    pub(super) next_ticket: Ticket,
    pub(super) seed: u64,
}

impl<M: Machine, E> Cluster<M, E> {
    /// A cluster whose first `plan.voters` members vote; the others wait to be added. Clients have the addresses behind
    /// the members'.
    pub fn new(seed: u64, plan: Plan, mut random: Random, trace: Trace, clients: usize) -> Self {
        let voters = Membership::new(1..=plan.voters as MemberId, []);
        let hosts = (1..=plan.members as MemberId)
            .map(|id| {
                let clock = Clock::skewed(&mut random, plan.drift_ppm);
                let is_first = id <= plan.voters as MemberId;
                let membership = if is_first {
                    voters.clone()
                } else {
                    Membership::default()
                };
                let mut host = Host::new(id, clock, membership, plan.real_log);
                host.retired = !is_first;
                host
            })
            .collect();
        let mut cluster = Self {
            events: Events::default(),
            network: Network::new(plan.members + clients),
            random,
            tally: Tally::default(),
            trace,
            observer: Observer::new(plan.members),
            hosts,
            plan,
            told: Vec::new(),
            spare_effects: None,
            violation: None,
            next_ticket: 1,
            seed,
        };
        cluster.network.weather = cluster.plan.weather;
        cluster.events.after(cluster.plan.fault_every, Happening::Harm);
        for id in 1..=cluster.plan.voters as MemberId {
            let delay = cluster.random.below(50 * MILLISECOND);
            cluster.events.after(delay, Happening::Start(id));
        }
        cluster
    }

    pub fn now(&self) -> Micros {
        self.events.now()
    }

    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// Notes what a check says; the first violation stays.
    pub fn note(&mut self, check: Check) {
        if let Err(violation) = check {
            self.violation.get_or_insert(violation);
        }
    }

    pub fn take_told(&mut self) -> Vec<Told<M::Answer>> {
        std::mem::take(&mut self.told)
    }

    /// Takes the memory back of what [`Cluster::take_told`] gave.
    pub fn heard(&mut self, mut told: Vec<Told<M::Answer>>) {
        if self.told.is_empty() {
            told.clear();
            self.told = told;
        }
    }

    pub fn has_told(&self) -> bool {
        !self.told.is_empty()
    }

    pub fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        self.next_ticket - 1
    }

    /// Whether all is well long after everything was mended; clients had `answered` answers since then.
    pub fn check_convergence(&mut self, answered: u64) {
        let leader = self.leader();
        let running = leader.and_then(|leader| self.host(leader).running.as_ref());
        let last = running.map_or(0, |running| running.core.last().index);
        let members = running.into_iter().flat_map(|running| running.membership.members());
        let standings: Vec<invariant::SoftState> = members
            .map(|member| {
                let running = self.host(member).running.as_ref();
                invariant::SoftState {
                    member,
                    running: running.is_some(),
                    applied: running.map_or(0, |running| running.applied),
                }
            })
            .collect();
        self.note(invariant::converged(leader, last, answered, &standings));
    }

    pub fn host(&self, member: MemberId) -> &Host<M> {
        &self.hosts[member as usize - 1]
    }

    pub fn host_mut(&mut self, member: MemberId) -> &mut Host<M> {
        &mut self.hosts[member as usize - 1]
    }

    /// The leader of the latest term that has one.
    pub fn leader(&self) -> Option<MemberId> {
        let leaders = self.hosts.iter().filter(|host| host.is_leader());
        leaders
            .max_by_key(|host| host.running.as_ref().map(|running| running.soft_state.term))
            .map(|host| host.id)
    }

    /// Sends something between two addresses that is no message of consensus.
    pub fn send(&mut self, from: Address, to: Address, mut make: impl FnMut() -> E) {
        let now = self.now();
        let arrivals = self.network.send(from, to, now, &mut self.random, &mut self.tally);
        for at in arrivals.into_iter().flatten() {
            self.events.at(at, Happening::Own(make()));
        }
    }

    /// Lets something happen that is not the scenario's own.
    pub fn handle(&mut self, happening: Happening<M, E>) {
        let (member, incarnation) = match &happening {
            Happening::Own(_) => return,
            Happening::Harm => return self.harm(),
            Happening::Heal => return self.network.heal(),
            Happening::Start(member) => return self.start(*member),
            Happening::Arrive(letter) => (letter.message.to, None),
            Happening::Tick { member, incarnation }
            | Happening::Synced {
                member, incarnation, ..
            }
            | Happening::Persisted {
                member, incarnation, ..
            }
            | Happening::Apply { member, incarnation }
            | Happening::Compacted {
                member, incarnation, ..
            }
            | Happening::SnapshotSent {
                from: member,
                incarnation,
                ..
            } => (*member, Some(*incarnation)),
        };
        let now = self.now();
        let host = self.host(member);
        if host.running.is_none() || incarnation.is_some_and(|incarnation| incarnation != host.incarnation) {
            return;
        }
        // A stopped process sees what happened when it goes on. Its disk works meanwhile.
        let waits = host.paused_until > now && !matches!(happening, Happening::Synced { .. });
        if waits {
            let until = host.paused_until;
            self.events.at(until, happening);
            return;
        }
        match happening {
            Happening::Tick { .. } => self.tick(member),
            Happening::Arrive(letter) => self.arrive(letter),
            Happening::Synced { last, .. } => self.synced(member, last),
            Happening::Persisted { writes, .. } => self.persisted(member, writes),
            Happening::Apply { .. } => self.apply(member),
            Happening::Compacted { kept, .. } => self.compacted(member, *kept),
            Happening::SnapshotSent {
                to, session, delivered, ..
            } => {
                self.step(member, Event::SnapshotSent { to, session, delivered });
            }
            Happening::Own(_) | Happening::Start(_) | Happening::Harm | Happening::Heal => {}
        }
    }

    pub(super) fn tick(&mut self, member: MemberId) {
        let now = self.now();
        let host = self.host_mut(member);
        let time = host.clock.milliseconds(now);
        let Some(running) = &mut host.running else { return };
        if running.tick_at.is_none_or(|at| at > now) {
            return; // An earlier one took its place.
        }
        running.tick_at = None;
        if running.core.deadline() <= time {
            self.step(member, Event::Tick);
            self.check_quorum(member);
        } else {
            self.schedule_tick(member);
        }
    }

    pub(super) fn schedule_tick(&mut self, member: MemberId) {
        let now = self.now();
        let host = self.host_mut(member);
        let clock = host.clock;
        let incarnation = host.incarnation;
        let Some(running) = &mut host.running else { return };
        let deadline = running.core.deadline();
        // A tick that comes too early finds out by itself.
        if running.tick_at.is_some() && running.tick_for <= deadline {
            return;
        }
        let wait = deadline.saturating_sub(clock.milliseconds(now));
        let at = now + clock.world_time_for(wait).max(100);
        running.tick_for = deadline;
        if running.tick_at.is_none_or(|scheduled| scheduled > at) {
            running.tick_at = Some(at);
            self.events.at(at, Happening::Tick { member, incarnation });
        }
    }
}
