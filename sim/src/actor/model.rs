//! A world of actors as a model: every order of messages and timers, with loss, duplication and crashes.
//!
//! The network is the set of all messages that were ever sent. Any of them may arrive at any time, again and again or
//! never, which is loss, duplication and reordering in one. An armed timer may be due at any time. A node may crash, as
//! often as the world allows, between any two steps; its disk keeps what was written.

use std::fmt::Debug;
use std::hash::Hash;

use super::explore::{Explored, Model, Next, explore};
use super::simulation::detached_step;
use super::{Actor, OUTSIDE, World};
use crate::invariant::Check;
use crate::world::Address;

/// An actor whose states can be compared and remembered.
pub trait Small: Actor<Message: Ord + Hash, Timer: Ord + Hash, Disk: Hash> + Clone + Hash + Debug {}

impl<A> Small for A where A: Actor<Message: Ord + Hash, Timer: Ord + Hash, Disk: Hash> + Clone + Hash + Debug {}

/// What comes from outside, to whom.
pub type Inputs<A> = Vec<(Address, <A as Actor>::Message)>;

/// A world that is small enough to be explored.
pub trait Explorable: World<Actor: Small> {
    /// The world, how many nodes it has, and what comes from outside.
    fn small(fault: Option<Self::Fault>) -> (Self, usize, Inputs<Self::Actor>);

    fn crashes_max(&self) -> usize {
        1
    }

    /// States behind this are not looked at: rounds without end, say.
    fn within(&self, actor: &Self::Actor) -> bool;

    /// What holds in every state; a node that is down is none.
    fn holds(&self, nodes: &[Option<Self::Actor>]) -> Check;
}

#[derive(Debug, Clone, Hash)]
pub struct NodeState<A: Small> {
    disk: A::Disk,
    timers: Vec<A::Timer>,
}

/// All nodes and all messages.
#[derive(Debug, Clone, Hash)]
pub struct State<A: Small> {
    actors: Vec<Option<A>>,
    nodes: Vec<NodeState<A>>,
    /// In order, each once.
    sent: Vec<(Address, Address, A::Message)>,
    crashes: usize,
}

struct Worlds<W: Explorable> {
    world: W,
    nodes: usize,
    inputs: Inputs<W::Actor>,
}

/// Explores the small world of `W`.
pub fn explore_world<W: Explorable>(fault: Option<W::Fault>, states_max: usize) -> Explored {
    let (world, nodes, inputs) = W::small(fault);
    explore(&Worlds { world, nodes, inputs }, states_max)
}

impl<W: Explorable> Worlds<W> {
    fn step(
        &self,
        state: &mut State<W::Actor>,
        node: Address,
        take: impl FnOnce(&mut W::Actor, &mut super::Context<'_, W::Actor>),
    ) -> bool {
        let Some(actor) = &mut state.actors[node] else {
            return false;
        };
        let done = detached_step(node, actor, take);
        if !self.world.within(actor) {
            return false;
        }
        if let Some(disk) = done.disk {
            state.nodes[node].disk = disk;
        }
        let timers = &mut state.nodes[node].timers;
        timers.retain(|timer| !done.cancelled.contains(timer));
        timers.extend(done.timers);
        timers.sort_unstable();
        timers.dedup();
        for (to, message) in done.sent {
            let letter = (node, to, message);
            if to < self.nodes
                && let Err(place) = state.sent.binary_search(&letter)
            {
                state.sent.insert(place, letter);
            }
        }
        true
    }

    fn start(&self, state: &mut State<W::Actor>, node: Address) {
        state.actors[node] = Some(self.world.actor(node));
        let disk = state.nodes[node].disk.clone();
        let _within = self.step(state, node, |actor, context| actor.start(&disk, context));
    }
}

impl<W: Explorable> Model for Worlds<W> {
    type State = State<W::Actor>;

    fn initial(&self) -> Vec<Self::State> {
        let mut state = State {
            actors: (0..self.nodes).map(|_| None).collect(),
            nodes: (0..self.nodes)
                .map(|_| NodeState {
                    disk: Default::default(),
                    timers: Vec::new(),
                })
                .collect(),
            sent: self
                .inputs
                .iter()
                .map(|(to, message)| (OUTSIDE, *to, message.clone()))
                .collect(),
            crashes: 0,
        };
        state.sent.sort_unstable();
        for node in 0..self.nodes {
            self.start(&mut state, node);
        }
        vec![state]
    }

    fn next(&self, state: &Self::State, next: &mut Next<Self::State>) {
        for (from, to, message) in &state.sent {
            let mut after = state.clone();
            let (from, to) = (*from, *to);
            if self.step(&mut after, to, |actor, context| {
                actor.message(from, message.clone(), context)
            }) {
                next.push(after, || match from {
                    OUTSIDE => format!("outside -> {to} {message:?}"),
                    _ => format!("{from} -> {to} {message:?}"),
                });
            }
        }
        for node in 0..self.nodes {
            for timer in &state.nodes[node].timers {
                let mut after = state.clone();
                after.nodes[node].timers.retain(|armed| armed != timer);
                if self.step(&mut after, node, |actor, context| actor.timer(*timer, context)) {
                    next.push(after, || format!("{node}: {timer:?} is due"));
                }
            }
            if state.crashes < self.world.crashes_max() {
                let mut after = state.clone();
                after.crashes += 1;
                after.nodes[node].timers.clear();
                self.start(&mut after, node);
                next.push(after, || format!("{node} crashes and starts again"));
            }
        }
    }

    fn check(&self, state: &Self::State) -> Check {
        self.world.holds(&state.actors)
    }
}
