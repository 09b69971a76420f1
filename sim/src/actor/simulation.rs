//! Carrying out what actors want, and harming them.

use std::collections::VecDeque;
use std::fmt;

use super::context::{Action, Context};
use super::story::{Cause, Story};
use super::{Actor, OUTSIDE, Plan};
use crate::world::{Address, Clock, Events, Fault, Micros, Network, Random, Tally, Trace, Weather};

/// What happens next.
#[derive(Debug)]
pub(super) enum Happening<A: Actor> {
    Arrive {
        from: Address,
        to: Address,
        message: A::Message,
        cause: Cause,
    },
    Timer {
        node: Address,
        incarnation: u64,
        timer: A::Timer,
        number: u64,
    },
    Synced {
        node: Address,
        incarnation: u64,
        write: u64,
    },
    Start(Address),
    Harm,
    Heal,
    Turn,
    /// A paused process goes on.
    Resume(Address),
}

/// A message that waits for a write.
#[derive(Debug)]
struct Waiting<A: Actor> {
    write: u64,
    to: Address,
    message: A::Message,
    cause: Cause,
}

#[derive(Debug)]
struct Node<A: Actor> {
    actor: Option<A>,
    incarnation: u64,
    clock: Clock,
    disk: A::Disk,
    /// Writes that are not durable yet, oldest first.
    writes: VecDeque<A::Disk>,
    written: u64,
    synced: u64,
    waiting: VecDeque<Waiting<A>>,
    timers: Vec<(A::Timer, u64)>,
    paused_until: Micros,
    /// What arrived or was due while it was paused, in order.
    held: VecDeque<Happening<A>>,
    /// Gone for good: it is not started again.
    left: bool,
}

/// The nodes and the world around them.
#[derive(Debug)]
pub struct Simulation<A: Actor> {
    pub plan: Plan,
    pub network: Network,
    pub random: Random,
    pub tally: Tally,
    pub trace: Trace,
    pub(super) events: Events<Happening<A>>,
    pub(super) story: Option<Story>,
    /// What actors noted since the world looked last.
    pub(super) notes: Vec<(Address, A::Note)>,
    nodes: Vec<Node<A>>,
    spare: Vec<Action<A>>,
    next_timer: u64,
    /// Messages that were sent, lost ones too.
    pub messages: u64,
}

impl<A: Actor> Simulation<A> {
    pub fn new(plan: Plan, mut random: Random, trace: Trace, tells: bool) -> Self {
        let nodes = (0..plan.nodes).map(|_| Node {
            actor: None,
            incarnation: 0,
            clock: if plan.drift_ppm == 0 {
                Clock::exact()
            } else {
                Clock::skewed(&mut random, plan.drift_ppm)
            },
            disk: A::Disk::default(),
            writes: VecDeque::new(),
            written: 0,
            synced: 0,
            waiting: VecDeque::new(),
            timers: Vec::new(),
            paused_until: 0,
            held: VecDeque::new(),
            left: false,
        });
        let nodes: Vec<_> = nodes.collect();
        let mut network = Network::new(plan.nodes);
        network.weather = plan.weather;
        let mut simulation = Self {
            network,
            random,
            tally: Tally::default(),
            trace,
            events: Events::default(),
            story: tells.then(|| Story::new(plan.nodes)),
            notes: Vec::new(),
            nodes,
            spare: Vec::new(),
            next_timer: 0,
            messages: 0,
            plan,
        };
        if simulation.plan.faults.weights().iter().sum::<u32>() > 0 {
            simulation.events.after(simulation.plan.fault_every, Happening::Harm);
        }
        if simulation.plan.turn_every > 0 {
            simulation.events.after(simulation.plan.turn_every, Happening::Turn);
        }
        simulation
    }

    pub fn now(&self) -> Micros {
        self.events.now()
    }

    /// A node's actor; none while it is down.
    pub fn actor(&self, node: Address) -> Option<&A> {
        self.nodes[node].actor.as_ref()
    }

    /// All that run, paused ones too.
    pub fn actors(&self) -> impl Iterator<Item = (Address, &A)> {
        let all = self.nodes.iter().enumerate();
        all.filter_map(|(node, inside)| Some((node, inside.actor.as_ref()?)))
    }

    pub fn is_paused(&self, node: Address) -> bool {
        self.nodes[node].paused_until > self.now()
    }

    pub fn disk(&self, node: Address) -> &A::Disk {
        &self.nodes[node].disk
    }

    pub fn clock(&self, node: Address) -> &Clock {
        &self.nodes[node].clock
    }

    /// Gives a node another clock.
    pub fn set_clock(&mut self, node: Address, clock: Clock) {
        self.nodes[node].clock = clock;
    }

    /// Something from outside reaches a node now.
    pub fn input(&mut self, to: Address, message: A::Message) {
        let cause = Cause::default();
        self.events.after(
            0,
            Happening::Arrive {
                from: OUTSIDE,
                to,
                message,
                cause,
            },
        );
    }

    /// Starts a node that is down, after `wait`.
    pub fn start_after(&mut self, node: Address, wait: Micros) {
        self.nodes[node].left = false;
        self.events.after(wait, Happening::Start(node));
    }

    /// A process stops and goes on later; what arrives meanwhile waits.
    pub fn pause(&mut self, node: Address, wait: Micros) {
        self.tally.count(Fault::Pause);
        let until = self.nodes[node].paused_until.max(self.now() + wait);
        self.nodes[node].paused_until = until;
        self.events.at(until, Happening::Resume(node));
        self.tell(format_args!("{node} is paused for {} ms", wait / 1_000));
    }

    /// A process ends at once. What was not durable is there in part.
    pub fn crash(&mut self, node: Address) {
        let inside = &mut self.nodes[node];
        if inside.actor.take().is_none() {
            return;
        }
        inside.incarnation += 1;
        inside.timers.clear();
        inside.waiting.clear();
        inside.held.clear();
        let kept = self.random.below(inside.writes.len() as u64 + 1) as usize;
        let lost = inside.writes.len() - kept;
        if let Some(disk) = inside.writes.drain(..kept).next_back() {
            inside.disk = disk;
        }
        inside.writes.clear();
        inside.synced = inside.written;
        let kind = if lost > 0 {
            Fault::CrashBeforeSync
        } else {
            Fault::CrashAfterSync
        };
        self.tally.count(kind);
        self.trace.step(self.events.now(), [5, node as u64, lost as u64]);
        self.tell(format_args!("{node} crashes, {lost} writes are lost"));
        self.note_story(node, Cause::default(), format_args!("crash"));
    }

    /// The node ends and never comes back.
    pub fn leave(&mut self, node: Address) {
        self.crash(node);
        self.nodes[node].left = true;
    }

    pub(super) fn place(&mut self, node: Address, actor: A) {
        if self.nodes[node].actor.is_some() || self.nodes[node].left {
            return;
        }
        self.nodes[node].actor = Some(actor);
        self.nodes[node].paused_until = 0;
        self.trace
            .step(self.events.now(), [0, node as u64, self.nodes[node].incarnation]);
        let disk = self.nodes[node].disk.clone();
        self.step(node, Cause::default(), format_args!("start"), |actor, context| {
            actor.start(&disk, context)
        });
    }

    /// Lets something happen. Says to whom, if it was a node's step.
    pub(super) fn handle(&mut self, happening: Happening<A>) -> Option<Address> {
        let (node, incarnation) = match &happening {
            Happening::Arrive { to, .. } => (*to, None),
            Happening::Timer { node, incarnation, .. } | Happening::Synced { node, incarnation, .. } => {
                (*node, Some(*incarnation))
            }
            Happening::Harm => {
                self.harm();
                return None;
            }
            Happening::Heal => {
                self.network.heal();
                return None;
            }
            Happening::Resume(node) => return self.resume(*node),
            Happening::Start(_) | Happening::Turn => return None,
        };
        let inside = &self.nodes[node];
        if inside.actor.is_none() || incarnation.is_some_and(|incarnation| incarnation != inside.incarnation) {
            return None;
        }
        // Behind what is held even if the pause is over: a channel keeps its order.
        let waits = inside.paused_until > self.events.now() || !inside.held.is_empty();
        if waits && !matches!(happening, Happening::Synced { .. }) {
            self.nodes[node].held.push_back(happening);
            return None;
        }
        self.deliver(node, happening)
    }

    /// All that was held, in one go.
    fn resume(&mut self, node: Address) -> Option<Address> {
        if self.nodes[node].paused_until > self.events.now() {
            return None;
        }
        let mut held = std::mem::take(&mut self.nodes[node].held);
        let any = held.pop_front().map(|first| self.deliver(node, first));
        while let Some(next) = held.pop_front() {
            self.deliver(node, next);
        }
        any.map(|_| node)
    }

    fn deliver(&mut self, node: Address, happening: Happening<A>) -> Option<Address> {
        match happening {
            Happening::Arrive {
                from, message, cause, ..
            } => {
                self.trace.step(self.events.now(), [1, node as u64, from as u64]);
                if self.trace.tells() {
                    match from {
                        OUTSIDE => self.tell(format_args!("     > {node:<4} {message:?}")),
                        _ => self.tell(format_args!("{from:>4} -> {node:<4} {message:?}")),
                    }
                }
                let text = self.story.as_ref().map(|_| format!("{message:?}")).unwrap_or_default();
                self.step(node, cause, format_args!("{text}"), |actor, context| {
                    actor.message(from, message, context)
                });
            }
            Happening::Timer { timer, number, .. } => {
                let place = self.nodes[node]
                    .timers
                    .iter()
                    .position(|armed| *armed == (timer, number))?;
                self.nodes[node].timers.swap_remove(place);
                self.trace.step(self.events.now(), [2, node as u64, number]);
                if self.trace.tells() {
                    self.tell(format_args!("        {node:<4} {timer:?} is due"));
                }
                self.step(node, Cause::default(), format_args!("{timer:?}"), |actor, context| {
                    actor.timer(timer, context)
                });
            }
            Happening::Synced { write, .. } => self.synced(node, write),
            Happening::Start(_) | Happening::Harm | Happening::Heal | Happening::Turn | Happening::Resume(_) => {
                return None;
            }
        }
        Some(node)
    }

    fn step(
        &mut self,
        node: Address,
        cause: Cause,
        text: fmt::Arguments<'_>,
        take: impl FnOnce(&mut A, &mut Context<'_, A>),
    ) {
        let cause = self.note_story(node, cause, text);
        let now = self.events.now();
        let inside = &mut self.nodes[node];
        let Some(actor) = &mut inside.actor else { return };
        let mut context = Context {
            id: node,
            now: inside.clock.microseconds(now),
            random: &mut self.random,
            actions: std::mem::take(&mut self.spare),
        };
        take(actor, &mut context);
        let mut actions = context.actions;
        for action in actions.drain(..) {
            self.carry_out(node, cause, action);
        }
        self.spare = actions;
    }

    fn carry_out(&mut self, node: Address, cause: Cause, action: Action<A>) {
        let inside = &mut self.nodes[node];
        let incarnation = inside.incarnation;
        match action {
            Action::Send { to, message } => self.send(node, to, message, cause),
            Action::SendDurable { to, message } => {
                if inside.writes.is_empty() {
                    return self.send(node, to, message, cause);
                }
                let write = inside.written;
                inside.waiting.push_back(Waiting {
                    write,
                    to,
                    message,
                    cause,
                });
            }
            Action::Write(disk) => {
                if self.plan.sync_max == 0 {
                    inside.disk = disk;
                    return;
                }
                inside.writes.push_back(disk);
                inside.written += 1;
                let write = inside.written;
                let wait = self.random.between(1, self.plan.sync_max);
                self.events.after(
                    wait,
                    Happening::Synced {
                        node,
                        incarnation,
                        write,
                    },
                );
            }
            Action::Timer { timer, after } => {
                self.next_timer += 1;
                let number = self.next_timer;
                inside.timers.retain(|(armed, _)| *armed != timer);
                inside.timers.push((timer, number));
                let wait = inside.clock.world_time(after);
                self.events.after(
                    wait,
                    Happening::Timer {
                        node,
                        incarnation,
                        timer,
                        number,
                    },
                );
            }
            Action::Cancel(timer) => inside.timers.retain(|(armed, _)| *armed != timer),
            Action::Note(note) => {
                if self.trace.tells() {
                    self.tell(format_args!("        {node:<4} notes {note:?}"));
                }
                if let Some(story) = &mut self.story {
                    story.add_text(cause, format_args!("{note:?}"));
                }
                self.notes.push((node, note));
            }
        }
    }

    fn send(&mut self, from: Address, to: Address, message: A::Message, cause: Cause) {
        self.messages += 1;
        if to == OUTSIDE || to >= self.nodes.len() {
            return;
        }
        if from == to {
            return self.events.after(
                1,
                Happening::Arrive {
                    from,
                    to,
                    message,
                    cause,
                },
            );
        }
        let now = self.events.now();
        let [first, second] = self.network.send(from, to, now, &mut self.random, &mut self.tally);
        if let Some(at) = second {
            let message = message.clone();
            self.events.at(
                at,
                Happening::Arrive {
                    from,
                    to,
                    message,
                    cause,
                },
            );
        }
        if let Some(at) = first {
            self.events.at(
                at,
                Happening::Arrive {
                    from,
                    to,
                    message,
                    cause,
                },
            );
        }
    }

    fn synced(&mut self, node: Address, write: u64) {
        self.trace.step(self.events.now(), [3, node as u64, write]);
        let inside = &mut self.nodes[node];
        // A later write took the earlier ones with it.
        while inside.synced < write {
            inside.synced += 1;
            if let Some(disk) = inside.writes.pop_front() {
                inside.disk = disk;
            }
        }
        let synced = inside.synced;
        while let Some(waiting) = self.nodes[node].waiting.pop_front_if(|waiting| waiting.write <= synced) {
            self.send(node, waiting.to, waiting.message, waiting.cause);
        }
    }

    fn harm(&mut self) {
        let plan = &self.plan;
        if self.events.now() >= plan.faults_until {
            return;
        }
        let (weights, down_max) = (plan.faults.weights(), plan.down_max.max(1));
        let wait = self.random.between(1, 2 * plan.fault_every);
        let node = self.random.below(plan.faulty as u64) as Address;
        self.events.after(wait, Happening::Harm);
        let down = self.random.between(1, down_max);
        let mut luck = self.random.below(weights.iter().map(|weight| u64::from(*weight)).sum());
        let mut kind = 0;
        while luck >= u64::from(weights[kind]) {
            luck -= u64::from(weights[kind]);
            kind += 1;
        }
        self.trace.step(self.events.now(), [4, kind as u64, node as u64]);
        match kind {
            0 if self.nodes[node].actor.is_some() => {
                self.crash(node);
                self.events.after(down, Happening::Start(node));
            }
            0 => {}
            1 => self.pause(node, down),
            2 => {
                self.tally.count(Fault::Partition);
                let salt = self.random.draw();
                self.network.split_by(|address| (salt >> (address % 61)) & 1 == 1);
                self.tell(format_args!("the network is split"));
                self.events.after(down, Happening::Heal);
            }
            _ => {
                self.tally.count(Fault::LinkCut);
                let other = self.random.below(self.plan.nodes as u64) as Address;
                self.network.set_cut(node, other, true);
                self.tell(format_args!("nothing from {node} reaches {other}"));
                self.events.after(down, Happening::Heal);
            }
        }
    }

    /// The end of all faults: everyone runs, nothing is cut or lost. A world without faults keeps its weather.
    pub(super) fn mend(&mut self) {
        if self.plan.faults_until == 0 {
            return;
        }
        self.network.heal();
        self.network.weather = Weather::FAIR;
        for node in 0..self.nodes.len() {
            self.nodes[node].paused_until = 0;
            self.events.after(0, Happening::Resume(node));
            if self.nodes[node].actor.is_none() && !self.nodes[node].left {
                self.events.after(0, Happening::Start(node));
            }
        }
    }

    /// Puts numbers of the world's own into the trace's digest.
    pub fn mark(&mut self, one: u64, other: u64) {
        self.trace.step(self.events.now(), [6, one, other]);
    }

    pub fn tell(&mut self, line: fmt::Arguments<'_>) {
        self.trace.tell(self.events.now(), line);
    }

    fn note_story(&mut self, node: Address, cause: Cause, text: fmt::Arguments<'_>) -> Cause {
        let now = self.events.now();
        let step = |story: &mut Story| story.step(now, node, cause, text);
        self.story.as_mut().map(step).unwrap_or_default()
    }
}

/// What came of a step outside a simulation.
#[derive(Debug)]
pub(super) struct Detached<A: Actor> {
    pub disk: Option<A::Disk>,
    pub timers: Vec<A::Timer>,
    pub cancelled: Vec<A::Timer>,
    pub sent: Vec<(Address, A::Message)>,
}

/// One step without a world: time stands still, chance is always the same, writes are durable at once.
pub(super) fn detached_step<A: Actor>(
    id: Address,
    actor: &mut A,
    take: impl FnOnce(&mut A, &mut Context<'_, A>),
) -> Detached<A> {
    let mut random = Random::new(id as u64);
    let mut context = Context {
        id,
        now: 0,
        random: &mut random,
        actions: Vec::new(),
    };
    take(actor, &mut context);
    let mut done = Detached {
        disk: None,
        timers: Vec::new(),
        cancelled: Vec::new(),
        sent: Vec::new(),
    };
    for action in context.actions {
        match action {
            Action::Send { to, message } | Action::SendDurable { to, message } => done.sent.push((to, message)),
            Action::Write(disk) => done.disk = Some(disk),
            Action::Timer { timer, .. } => done.timers.push(timer),
            Action::Cancel(timer) => {
                done.timers.retain(|armed| *armed != timer);
                done.cancelled.push(timer);
            }
            Action::Note(_) => {}
        }
    }
    done
}
