//! A world of actors, from its seed to its outcome.

use super::simulation::Happening;
use super::{Actor, Plan, Simulation, Story};
use crate::invariant::{Check, Violation};
use crate::outcome::Outcome;
use crate::world::{Address, Random, Trace};

/// How a figure of many worlds becomes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    Total,
    Mean,
    Most,
}

/// What a world measured: its claim in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures(Vec<(&'static str, Measure, u64)>);

impl Figures {
    pub fn total(&mut self, name: &'static str, value: u64) {
        self.put(name, Measure::Total, value);
    }

    pub fn mean(&mut self, name: &'static str, value: u64) {
        self.put(name, Measure::Mean, value);
    }

    pub fn most(&mut self, name: &'static str, value: u64) {
        self.put(name, Measure::Most, value);
    }

    fn put(&mut self, name: &'static str, measure: Measure, value: u64) {
        match self.0.iter_mut().find(|(known, ..)| *known == name) {
            Some((_, Measure::Most, sum)) => *sum = (*sum).max(value),
            Some((_, _, sum)) => *sum += value,
            None => self.0.push((name, measure, value)),
        }
    }

    pub fn add(&mut self, other: &Self) {
        for (name, measure, value) in &other.0 {
            self.put(name, *measure, *value);
        }
    }

    /// Each figure over `worlds` worlds.
    pub fn over(&self, worlds: u64) -> impl Iterator<Item = (&'static str, u64)> {
        let worlds = worlds.max(1);
        self.0.iter().map(move |(name, measure, value)| match measure {
            Measure::Mean => (*name, value / worlds),
            Measure::Total | Measure::Most => (*name, *value),
        })
    }

    pub fn get(&self, name: &str) -> Option<u64> {
        self.0
            .iter()
            .find(|(known, ..)| *known == name)
            .map(|(.., value)| *value)
    }
}

/// A fault that a world must catch.
#[derive(Debug, Clone, Copy)]
pub struct Planted<F> {
    pub fault: F,
    pub name: &'static str,
    /// Worlds within which it must be caught.
    pub budget: u64,
}

/// What nodes there are, what is asked of them, and what must hold.
pub trait World: Sized {
    type Actor: Actor;
    type Fault: Copy + 'static;

    /// Known faults, each of which the invariants below must catch.
    const FAULTS: &'static [Planted<Self::Fault>];

    /// Draws a world, sound or with one fault in it.
    fn draw(random: &mut Random, fault: Option<Self::Fault>) -> (Self, Plan);

    /// A node's actor before its start.
    fn actor(&self, node: Address) -> Self::Actor;

    /// Before the first event.
    fn begin(&mut self, _simulation: &mut Simulation<Self::Actor>) {}

    /// The world's turn, every [`Plan::turn_every`]: requests from outside, changes of members.
    fn turn(&mut self, _simulation: &mut Simulation<Self::Actor>) {}

    /// A node noted something.
    fn noted(
        &mut self,
        node: Address,
        note: <Self::Actor as Actor>::Note,
        simulation: &Simulation<Self::Actor>,
    ) -> Check;

    /// After each step of a node.
    fn stepped(&mut self, _node: Address, _simulation: &Simulation<Self::Actor>) -> Check {
        Ok(())
    }

    /// Long after everything was mended.
    fn end(&mut self, simulation: &Simulation<Self::Actor>) -> Check;

    /// What was asked and answered.
    fn operations(&self) -> (u64, u64) {
        (0, 0)
    }

    fn figures(&self, _simulation: &Simulation<Self::Actor>, _figures: &mut Figures) {}
}

/// Runs the world of a seed; keeps its story if `tells`.
pub fn run<W: World>(seed: u64, trace: Trace, fault: Option<W::Fault>, tells: bool) -> (Outcome, Trace, Option<Story>) {
    let mut random = Random::new(seed);
    let (mut world, plan) = W::draw(&mut random.fork(), fault);
    run_drawn(&mut world, plan, random, trace, tells)
}

/// Runs a world that was not drawn: to measure one thing. Gives what was violated.
pub fn run_as<W: World>(world: &mut W, plan: Plan, seed: u64) -> Outcome {
    run_drawn(world, plan, Random::new(seed), Trace::default(), false).0
}

fn run_drawn<W: World>(
    world: &mut W,
    plan: Plan,
    random: Random,
    trace: Trace,
    tells: bool,
) -> (Outcome, Trace, Option<Story>) {
    let mut simulation = Simulation::new(plan, random, trace, tells);
    for node in 0..simulation.plan.nodes {
        simulation.events.after(0, Happening::Start(node));
    }
    world.begin(&mut simulation);
    let (mended_at, end) = (simulation.plan.faults_until, simulation.plan.end);
    let mut check = drive(world, &mut simulation, mended_at.min(end));
    if check.is_ok() && mended_at < end {
        simulation.mend();
        check = drive(world, &mut simulation, end);
    }
    let check = check.and_then(|()| world.end(&simulation));
    let violation: Option<Violation> = check.err();
    if let Some(violation) = &violation {
        simulation.tell(format_args!("violated: {violation}"));
    }
    let mut figures = Figures::default();
    figures.mean("messages of a world", simulation.messages);
    world.figures(&simulation, &mut figures);
    let (operations, answered) = world.operations();
    let outcome = Outcome {
        violation,
        tally: simulation.tally,
        digest: simulation.trace.digest(),
        steps: simulation.trace.steps(),
        simulated: simulation.events.now(),
        operations,
        answered,
        leaders: 0,
        committed: 0,
        undecided: 0,
        real_log: false,
        figures,
    };
    (outcome, simulation.trace, simulation.story)
}

fn drive<W: World>(world: &mut W, simulation: &mut Simulation<W::Actor>, end: u64) -> Check {
    while let Some(happening) = simulation.events.next_before(end) {
        let stepped = match happening {
            Happening::Start(node) => {
                let actor = world.actor(node);
                simulation.place(node, actor);
                Some(node)
            }
            Happening::Turn => {
                world.turn(simulation);
                simulation.events.after(simulation.plan.turn_every, Happening::Turn);
                None
            }
            other => simulation.handle(other),
        };
        if !simulation.notes.is_empty() {
            let mut notes = std::mem::take(&mut simulation.notes);
            for (node, note) in notes.drain(..) {
                world.noted(node, note, simulation)?;
            }
            simulation.notes = notes;
        }
        if let Some(node) = stepped {
            world.stepped(node, simulation)?;
        }
    }
    Ok(())
}
