//! Carrying out what the cores want done.

use std::ops::Range;
use std::sync::Arc;

use raft::consensus::{
    Body, Config, Consensus, Effects, Entry, Event, Index, MemberId, Membership, Message, Payload, Refusal, RoleName,
    Session, Snapshot, Standing, Ticket, WriteId,
};

use super::disk::{Kept, Loss, Queued};
use super::host::{Host, Letter, Running};
use super::machine::Machine;
use super::observer::Observer;
use super::plan::Plan;
use crate::invariant::{Bounds, Check, Violation};
use crate::world::{Address, Clock, Events, Fault, MILLISECOND, Micros, Network, Random, SECOND, Tally, Trace};

/// What happens next, to whom.
#[derive(Debug)]
pub enum Happening<M: Machine, E> {
    /// The scenario's own.
    Own(E),
    Tick {
        member: MemberId,
        incarnation: u64,
    },
    Arrive(Box<Letter<M::State>>),
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
    Standing {
        member: MemberId,
        standing: Standing,
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
    told: Vec<Told<M::Answer>>,
    violation: Option<Violation>,
    next_ticket: Ticket,
    seed: u64,
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
                let mut host = Host::new(id, clock, membership);
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

    pub fn has_told(&self) -> bool {
        !self.told.is_empty()
    }

    pub fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        self.next_ticket - 1
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
            .max_by_key(|host| host.running.as_ref().map(|running| running.standing.term))
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
            Happening::Arrive(letter) => self.arrive(*letter),
            Happening::Synced { last, .. } => self.synced(member, last),
            Happening::Persisted { writes, .. } => {
                let (first, last) = writes;
                self.step(member, Event::Persisted { first, last });
            }
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

    // ---- Life and death.

    fn start(&mut self, member: MemberId) {
        let (now, seed, plan) = (self.now(), self.seed, self.plan.clone());
        let host = self.host_mut(member);
        if host.running.is_some() || host.retired {
            return;
        }
        host.incarnation += 1;
        host.paused_until = 0;
        let config = Config {
            election_ms: plan.election_ms,
            heartbeat_ms: plan.heartbeat_ms,
            append_bytes_max: plan.append_bytes_max,
            inflight_max: plan.inflight_max,
            cache_bytes: plan.cache_bytes,
            pre_vote: plan.pre_vote,
            check_quorum: plan.check_quorum,
            forward: plan.forward,
            seed: seed ^ member.rotate_left(17),
            incarnation: host.incarnation,
            ..Config::new(member)
        };
        let restored = host.disk.restored();
        let kept = host.disk.kept().clone();
        let hard_state = host.disk.hard_state();
        let core = Consensus::new(config, restored, host.clock.milliseconds(now));
        let applied = kept.snapshot.last.index;
        host.running = Some(Running {
            membership: core.membership().clone(),
            standing: core.standing(),
            core,
            machine: M::restore(&kept.state),
            applied,
            committed: applied,
            proposed: Default::default(),
            reads: Vec::new(),
            syncing: false,
            tick_at: None,
            compacting: false,
            ready: applied,
            applying: false,
        });
        let check = self.observer.restarted(member, hard_state);
        self.note(check);
        self.trace.step(now, [1, member, 0]);
        self.trace.tell(
            now,
            format_args!("{member} starts with {hard_state:?}, applied {applied}"),
        );
        self.told.push(Told::Started { member });
        self.schedule_tick(member);
    }

    /// The machine stops: what was not durable is lost, or a part of it.
    pub fn crash(&mut self, member: MemberId, loss: Loss) {
        let now = self.now();
        let mut luck = self.random.fork();
        let host = self.host_mut(member);
        if host.running.take().is_none() {
            return;
        }
        host.disk.crash(loss, &mut luck);
        let hard_state = host.disk.hard_state();
        self.tally.count(match loss {
            Loss::All => Fault::CrashBeforeSync,
            Loss::Torn => Fault::CrashTorn,
            Loss::None => Fault::CrashAfterSync,
        });
        let check = self.observer.crashed(member, hard_state);
        self.note(check);
        self.trace.step(now, [2, member, loss as u64]);
        self.trace
            .tell(now, format_args!("{member} crashes, {loss:?} of its writes lost"));
        self.told.push(Told::Crashed { member });
    }

    /// Gives the member an empty disk, as somebody does who replaces a machine. It must not be a member any more.
    pub fn replace_disk(&mut self, member: MemberId) {
        let host = self.host_mut(member);
        host.running = None;
        host.incarnation += 1;
        host.disk = super::disk::Disk::new(super::host::first_state::<M>(Membership::default()));
        self.observer.replaced(member);
        self.tally.count(Fault::LostDisk);
        self.told.push(Told::Crashed { member });
    }

    // ---- Time.

    fn tick(&mut self, member: MemberId) {
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
        } else {
            self.schedule_tick(member);
        }
    }

    fn schedule_tick(&mut self, member: MemberId) {
        let now = self.now();
        let host = self.host_mut(member);
        let clock = host.clock;
        let incarnation = host.incarnation;
        let Some(running) = &mut host.running else { return };
        let wait = running.core.deadline().saturating_sub(clock.milliseconds(now));
        let at = now + clock.world_time_for(wait).max(100);
        // A tick that comes too early finds out by itself.
        if running.tick_at.is_none_or(|scheduled| scheduled > at) {
            running.tick_at = Some(at);
            self.events.at(at, Happening::Tick { member, incarnation });
        }
    }

    // ---- Steps.

    /// Steps a member's core and carries out what it wants.
    pub fn step(&mut self, member: MemberId, event: Event) {
        if self.violation.is_some() {
            return;
        }
        self.step_with(member, event, None);
        self.schedule_tick(member);
        self.check_bounds(member);
    }

    fn step_with(&mut self, member: MemberId, event: Event, state: Option<Arc<M::State>>) {
        let now = self.now();
        let host = &mut self.hosts[member as usize - 1];
        let time = host.clock.milliseconds(now);
        let Some(running) = &mut host.running else { return };
        if self.trace.tells() {
            self.trace.tell(now, format_args!("{member} <- {event:?}"));
        }
        let effects = running.core.step(event, time);
        self.trace.step(now, [3, member, digest_of_effects(&effects)]);
        if !effects.is_empty() {
            if self.trace.tells() {
                self.trace.tell(now, format_args!("{member} -> {effects:?}"));
            }
            self.carry_out(member, effects, state);
        }
    }

    fn carry_out(&mut self, member: MemberId, effects: Effects, state: Option<Arc<M::State>>) {
        let Effects {
            messages,
            write,
            committed,
            proposed,
            reads,
            refused,
            fetches,
            standing,
            membership,
            contradiction,
        } = effects;
        if let Some(contradiction) = contradiction {
            let told = format!("member {member} says {contradiction:?}");
            self.note(crate::invariant::require(false, "committed_is_final", || told));
        }
        if let Some(membership) = membership {
            self.change_membership(member, membership);
        }
        if let Some(write) = write {
            self.write(member, Queued { write, state });
        }
        if let Some(standing) = standing {
            self.change_standing(member, standing);
        }
        for message in messages {
            self.post(member, message);
        }
        for proposed in proposed {
            if let Some(running) = &mut self.host_mut(member).running {
                let position = proposed.position;
                running
                    .proposed
                    .insert(position.index, (position.term, proposed.ticket));
            }
        }
        for refused in refused {
            self.observer.read_over(refused.ticket);
            self.told.push(Told::Refused {
                member,
                ticket: refused.ticket,
                why: refused.why,
            });
        }
        for ready in reads {
            let check = self.observer.read_ready(member, ready.ticket, ready.index);
            self.note(check);
            let Some(running) = &mut self.host_mut(member).running else {
                continue;
            };
            if running.applied >= ready.index {
                self.told.push(Told::Read {
                    member,
                    ticket: ready.ticket,
                });
            } else {
                running.reads.push((ready.index, ready.ticket));
            }
        }
        for fetch in fetches {
            let host = self.host(member);
            let mut entries: Vec<Entry> = Vec::new();
            for index in fetch.first..=fetch.last {
                match host.disk.entry(index) {
                    Some(entry) => entries.push(entry.clone()),
                    None => break,
                }
            }
            self.step_with(member, Event::Fetched { fetch, entries }, None);
        }
        self.ready(member, committed);
    }

    fn change_membership(&mut self, member: MemberId, membership: Membership) {
        let Some(running) = &mut self.hosts[member as usize - 1].running else {
            return;
        };
        let before = std::mem::replace(&mut running.membership, membership.clone());
        // A leader puts its own changes in force one by one; a follower takes several at once, or takes them back.
        if running.standing.role == RoleName::Leader && !before.is_empty() {
            let check = self.observer.membership(member, &before, &membership);
            self.note(check);
        }
    }

    fn change_standing(&mut self, member: MemberId, standing: Standing) {
        let now = self.now();
        let host = self.host_mut(member);
        let durable = host.disk.hard_state();
        let Some(running) = &mut host.running else { return };
        let before = std::mem::replace(&mut running.standing, standing);
        let elected =
            standing.role == RoleName::Leader && (before.role != RoleName::Leader || before.term != standing.term);
        if elected {
            let (index, _) = self.observer.committed();
            let held = self.host(member).held_term(index);
            let check = self.observer.elected(member, standing.term, durable, held);
            self.note(check);
        }
        self.trace.step(now, [4, member, standing.term]);
        self.told.push(Told::Standing { member, standing });
    }

    /// Hands a message to the network, and looks at what it promises.
    fn post(&mut self, member: MemberId, message: Message) {
        let now = self.now();
        let host = self.host(member);
        let durable = host.disk.hard_state();
        let check = match &message.body {
            Body::VoteReply { granted: true } => self.observer.voted(member, message.term, message.to, durable),
            Body::AppendAck { matched, .. } => {
                let last = host.disk.last_index();
                self.observer
                    .acknowledged(member, message.term, *matched, last, durable)
            }
            _ => Ok(()),
        };
        self.note(check);
        if message.to == 0 || message.to as usize > self.hosts.len() {
            return;
        }
        let (from, to) = (member as Address - 1, message.to as Address - 1);
        if let Body::Snapshot { session, snapshot } = &message.body {
            let (session, snapshot) = (*session, snapshot.clone());
            return self.post_snapshot(member, message, session, &snapshot);
        }
        let message = self.through_the_codec(message);
        let [first, second] = self.network.send(from, to, now, &mut self.random, &mut self.tally);
        if let Some(at) = second {
            let letter = Letter {
                message: message.clone(),
                state: None,
            };
            self.events.at(at, Happening::Arrive(Box::new(letter)));
        }
        if let Some(at) = first {
            self.events
                .at(at, Happening::Arrive(Box::new(Letter { message, state: None })));
        }
    }

    /// Some messages travel as bytes, so that what is tested is what is sent.
    fn through_the_codec(&mut self, message: Message) -> Message {
        message
    }

    fn post_snapshot(&mut self, member: MemberId, message: Message, session: Session, snapshot: &Snapshot) {
        let now = self.now();
        let transfer = self.random.between(MILLISECOND, self.plan.snapshot_transfer_max);
        let host = self.host(member);
        let incarnation = host.incarnation;
        let (from, to) = (member as Address - 1, message.to as Address - 1);
        let kept = host.disk.kept();
        let there = kept.snapshot.last == snapshot.last;
        let state = Arc::clone(&kept.state);
        let arrivals = self.network.send(from, to, now, &mut self.random, &mut self.tally);
        let to_id = message.to;
        let arrival = arrivals[0].filter(|_| there).map(|at| at + transfer);
        let letter = Letter {
            message,
            state: Some(state),
        };
        // The transfer can come twice as well: a driver that retries.
        for at in arrivals.into_iter().flatten().filter(|_| there) {
            self.events
                .at(at + transfer, Happening::Arrive(Box::new(letter.clone())));
        }
        let report = Happening::SnapshotSent {
            from: member,
            incarnation,
            to: to_id,
            session,
            delivered: arrival.is_some(),
        };
        let delay = self.random.between(1, 10) * MILLISECOND;
        self.events.at(arrival.unwrap_or(now + transfer) + delay, report);
    }

    fn arrive(&mut self, letter: Letter<M::State>) {
        let member = letter.message.to;
        if self.violation.is_some() {
            return;
        }
        self.step_with(member, Event::Message(letter.message), letter.state);
        self.schedule_tick(member);
        self.check_bounds(member);
    }

    // ---- The disk.

    fn write(&mut self, member: MemberId, queued: Queued<M::State>) {
        // What is written comes from the leader's memory or from a message: it must match before it is durable.
        let truncated = queued.write.truncate_from;
        let mut check = Ok(());
        let host = &self.hosts[member as usize - 1];
        if let Some(running) = &host.running {
            for entry in &queued.write.entries {
                let before = running.core.term_at(entry.index - 1);
                check = check.and_then(|()| self.observer.appended(member, entry, before));
            }
        }
        if let Some(hard_state) = queued.write.hard_state {
            self.trace.step(self.events.now(), [5, member, hard_state.term]);
        }
        self.trace.step(
            self.events.now(),
            [6, truncated.unwrap_or(0), queued.write.entries.len() as u64],
        );
        self.note(check);
        let host = self.host_mut(member);
        host.disk.queue(queued);
        self.sync(member);
    }

    /// Starts a sync of all that waits, unless one is under way.
    fn sync(&mut self, member: MemberId) {
        let now = self.now();
        let latency = self.random.between(self.plan.sync_min, self.plan.sync_max);
        let host = self.host_mut(member);
        let incarnation = host.incarnation;
        let Some(last) = host.disk.newest() else { return };
        let (times, until) = host.slow;
        let latency = if until > now { latency * times } else { latency };
        let full_until = host.full_until;
        let Some(running) = &mut host.running else { return };
        if std::mem::replace(&mut running.syncing, true) {
            return;
        }
        // A full disk refuses, and the driver tries again until there is room.
        let at = (now + latency).max(full_until);
        self.events.at(
            at,
            Happening::Synced {
                member,
                incarnation,
                last,
            },
        );
    }

    fn synced(&mut self, member: MemberId, last: WriteId) {
        let now = self.now();
        if self.plan.lying_disk && self.random.percent(50) {
            return self.lie(member, last);
        }
        let host = &mut self.hosts[member as usize - 1];
        let incarnation = host.incarnation;
        let done = host.disk.sync(last);
        let hard_state = host.disk.hard_state();
        let kept = host.disk.kept().clone();
        let Some(running) = &mut host.running else { return };
        running.syncing = false;
        let check = self.observer.promised(member, hard_state);
        self.note(check);
        let Some((first, last, installed)) = done else { return };
        if installed {
            self.install(member, &kept);
        }
        // Reports may overtake each other.
        let split = first < last && self.random.percent(30);
        let ranges = if split {
            vec![(first + 1, last), (first, first)]
        } else {
            vec![(first, last)]
        };
        for writes in ranges {
            let delay = if self.plan.late_reports {
                self.random.below(3 * MILLISECOND)
            } else {
                0
            };
            self.events.at(
                now + delay,
                Happening::Persisted {
                    member,
                    incarnation,
                    writes,
                },
            );
        }
        self.sync(member);
    }

    /// Says that everything up to `last` is durable, and makes it so a while later.
    fn lie(&mut self, member: MemberId, last: WriteId) {
        let host = self.host(member);
        let incarnation = host.incarnation;
        let Some(first) = host.disk.oldest() else { return };
        let now = self.now();
        let writes = (first, last);
        self.events.at(
            now,
            Happening::Persisted {
                member,
                incarnation,
                writes,
            },
        );
        self.events.after(
            SECOND,
            Happening::Synced {
                member,
                incarnation,
                last,
            },
        );
    }

    fn install(&mut self, member: MemberId, kept: &Kept<M::State>) {
        let now = self.now();
        let index = kept.snapshot.last.index;
        let Some(running) = &mut self.hosts[member as usize - 1].running else {
            return;
        };
        running.machine = M::restore(&kept.state);
        running.applied = running.applied.max(index);
        running.ready = running.ready.max(index);
        running.committed = running.committed.max(index);
        let digest = running.machine.digest(index);
        // Whether these proposals happened is in the snapshot, and nobody can tell.
        let behind = running.proposed.split_off(&(index + 1));
        running.proposed = behind;
        let reads = std::mem::take(&mut running.reads);
        let (due, later): (Vec<_>, Vec<_>) = reads.into_iter().partition(|(at, _)| *at <= index);
        running.reads = later;
        for (_, ticket) in due {
            self.told.push(Told::Read { member, ticket });
        }
        if let Some(digest) = digest {
            let check = self.observer.state(member, index, digest);
            self.note(check);
        }
        self.trace
            .tell(now, format_args!("{member} holds the snapshot of {index}"));
        self.told.push(Told::Installed { member });
    }

    // ---- The state machine.

    fn ready(&mut self, member: MemberId, committed: Range<Index>) {
        if committed.is_empty() {
            return;
        }
        let now = self.now();
        let delay = if self.plan.apply_max == 0 {
            0
        } else {
            self.random.below(self.plan.apply_max)
        };
        let host = self.host_mut(member);
        let incarnation = host.incarnation;
        let Some(running) = &mut host.running else { return };
        running.ready = committed.end - 1;
        if delay == 0 && !running.applying {
            return self.apply(member);
        }
        if !std::mem::replace(&mut running.applying, true) {
            self.events.at(now + delay, Happening::Apply { member, incarnation });
        }
    }

    fn apply(&mut self, member: MemberId) {
        let Some(running) = &mut self.host_mut(member).running else {
            return;
        };
        running.applying = false;
        let (from, to) = (running.applied + 1, running.ready);
        for index in from..=to {
            self.apply_one(member, index);
            if self.violation.is_some() {
                return;
            }
        }
        if from <= to {
            self.step_with(member, Event::Applied { index: to }, None);
            self.compact(member);
        }
    }

    fn apply_one(&mut self, member: MemberId, index: Index) {
        let host = &self.hosts[member as usize - 1];
        let Some(running) = &host.running else { return };
        let entry = running.core.entry(index).or_else(|| host.disk.entry(index)).cloned();
        let Some(entry) = entry else {
            let told = format!("member {member} has nothing to apply as entry {index}");
            return self.note(crate::invariant::require(false, "state_machine_safety", || told));
        };
        let check = self.observe_commit(member, &entry);
        self.note(check);
        let Some(running) = &mut self.hosts[member as usize - 1].running else {
            return;
        };
        running.applied = index;
        running.committed = index;
        let answer = match &entry.payload {
            Payload::Command(command) => Some(running.machine.apply(index, command)),
            _ => {
                running.machine.skip(index);
                None
            }
        };
        if let Some(digest) = running.machine.digest(index) {
            let check = self.observer.state(member, index, digest);
            self.note(check);
        }
        self.told.push(Told::Applied { member, index });
        self.answer(member, &entry, answer);
    }

    fn answer(&mut self, member: MemberId, entry: &Entry, answer: Option<M::Answer>) {
        let Some(running) = &mut self.hosts[member as usize - 1].running else {
            return;
        };
        if let Some((term, ticket)) = running.proposed.remove(&entry.index) {
            self.told.push(match answer {
                Some(answer) if term == entry.term => Told::Answer { member, ticket, answer },
                _ => Told::Lost { member, ticket },
            });
        }
        while let Some(at) = running.reads.iter().position(|(index, _)| *index <= entry.index) {
            let (_, ticket) = running.reads.swap_remove(at);
            self.told.push(Told::Read { member, ticket });
        }
    }

    fn observe_commit(&mut self, member: MemberId, entry: &Entry) -> Check {
        let host = &self.hosts[member as usize - 1];
        let Some(running) = &host.running else { return Ok(()) };
        // The one who decided has this entry's membership in force, or a later one that it has begun.
        let mut memberships: Vec<&Membership> = vec![&running.membership];
        let others = self.hosts.iter().filter(|other| other.id != member);
        memberships.extend(
            others
                .filter_map(|other| other.running.as_ref())
                .filter(|other| other.standing.role == RoleName::Leader)
                .map(|other| &other.membership),
        );
        if let Some(at) = running.core.membership_at(entry.index) {
            memberships.push(at);
        }
        let hosts = &self.hosts;
        let durable_on = |id: MemberId| hosts[id as usize - 1].holds_durably(entry.index, entry.term);
        self.observer
            .committed_and_applied(member, running.applied, entry, &memberships, durable_on)
    }

    /// Writes a snapshot when there is enough behind the last.
    fn compact(&mut self, member: MemberId) {
        let delay = self.random.between(MILLISECOND, 50 * MILLISECOND);
        let every = self.plan.snapshot_every;
        let host = self.host_mut(member);
        let (incarnation, last) = (host.incarnation, host.disk.kept().snapshot.last.index);
        let Some(running) = &mut host.running else { return };
        let index = running.applied;
        if running.compacting || index < last + every {
            return;
        }
        let Some(term) = running.core.term_at(index) else {
            return;
        };
        let Some(membership) = running.core.membership_at(index).cloned() else {
            return;
        };
        running.compacting = true;
        let kept = Kept {
            snapshot: Snapshot {
                last: raft::consensus::Position { term, index },
                membership,
            },
            state: running.machine.state(),
        };
        let kept = Box::new(kept);
        self.events.after(
            delay,
            Happening::Compacted {
                member,
                incarnation,
                kept,
            },
        );
    }

    fn compacted(&mut self, member: MemberId, kept: Kept<M::State>) {
        let keep = self.random.below(self.plan.keep_behind_snapshot + 1);
        let host = self.host_mut(member);
        let Some(running) = &mut host.running else { return };
        running.compacting = false;
        let index = kept.snapshot.last.index;
        if index <= host.disk.kept().snapshot.last.index {
            return; // One from the leader came first.
        }
        // What is not in the log on the disk yet cannot be purged from it; what is applied is.
        host.disk.compact(kept, index.saturating_sub(keep));
        let purged = host.disk.purged().index;
        self.tally.count(Fault::Compaction);
        self.step(
            member,
            Event::Compacted {
                snapshot: index,
                purged,
            },
        );
    }

    fn check_bounds(&mut self, member: MemberId) {
        let host = self.host(member);
        let Some(running) = &host.running else { return };
        let bounds = Bounds {
            purged: host.disk.purged().index,
            snapshot: host.disk.kept().snapshot.last.index,
            applied: running.applied,
            committed: running.ready,
            last: running.core.last().index,
        };
        let check = self.observer.bounds(member, bounds);
        self.note(check);
    }
}

fn digest_of_effects(effects: &Effects) -> u64 {
    let mut digest = effects.messages.len() as u64;
    for message in &effects.messages {
        digest = digest.wrapping_mul(31) ^ message.to ^ (message.term << 8);
    }
    digest = digest.wrapping_mul(31) ^ effects.committed.end;
    digest.wrapping_mul(31) ^ effects.write.as_ref().map_or(0, |write| write.id)
}
