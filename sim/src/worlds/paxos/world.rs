//! The worlds `paxos` and `multi-paxos`.

use super::agreement::Agreement;
use super::learned::learned;
use super::validity::valid;
use super::{Fault, Message, Note, Paxos, Requests, Slot, Value};
use crate::actor::{Explorable, Figures, Plan, Planted, Simulation, World};
use crate::invariant::Check;
use crate::world::{Address, MILLISECOND, Random, SECOND};

const NODES: usize = 5;

/// What both worlds hold.
#[derive(Debug)]
struct Log {
    slots: Slot,
    fault: Option<Fault>,
    nodes: usize,
    agreement: Agreement,
    requests: Requests,
    leaders: u64,
}

impl Log {
    fn new(slots: Slot, nodes: usize, fault: Option<Fault>) -> Self {
        let (agreement, requests) = (Agreement::default(), Requests::default());
        Self {
            slots,
            fault,
            nodes,
            agreement,
            requests,
            leaders: 0,
        }
    }

    fn actor(&self, node: Address) -> Paxos {
        Paxos::new(node, self.nodes, self.slots, self.fault)
    }

    fn turn(&mut self, simulation: &mut Simulation<Paxos>) {
        // The last requests are asked early enough to be decided.
        if simulation.now() + 3 * SECOND > simulation.plan.end {
            return;
        }
        let node = simulation.random.below(self.nodes as u64) as Address;
        let value = self.requests.ask(simulation.now());
        simulation.input(node, Message::Request(value));
    }

    fn noted(&mut self, node: Address, note: Note, simulation: &Simulation<Paxos>) -> Check {
        match note {
            Note::Leads(_) => self.leaders += 1,
            Note::Decided(slot, value) => {
                self.agreement.decided(node, slot, value)?;
                valid(value, self.requests.last())?;
                self.requests.decided(value, simulation.now());
            }
        }
        Ok(())
    }

    fn end(&self, simulation: &Simulation<Paxos>, least: u64) -> Check {
        learned(simulation.actors().map(|(node, paxos)| (node, paxos.decided())), least)
    }

    fn figures(&self, simulation: &Simulation<Paxos>, figures: &mut Figures) {
        figures.mean("leaders of a world", self.leaders);
        figures.mean("slots decided in a world", self.agreement.slots());
        self.requests.figures(simulation.messages, figures);
    }
}

const fn planted(fault: Fault, name: &'static str, budget: u64) -> Planted<Fault> {
    Planted { fault, name, budget }
}

/// One value.
#[derive(Debug)]
pub struct Single(Log);

/// A log of values under a leader.
#[derive(Debug)]
pub struct Multi(Log);

impl World for Single {
    type Actor = Paxos;
    type Fault = Fault;
    const FAULTS: &'static [Planted<Fault>] = &[
        planted(
            Fault::PromiseForgotten,
            "paxos: a promise is forgotten at a restart",
            20_000,
        ),
        planted(
            Fault::ValueNotTakenOver,
            "paxos: the accepted value is not taken over",
            500,
        ),
        planted(
            Fault::OwnVoteTwice,
            "paxos: the proposer's own vote counts twice",
            2_000,
        ),
    ];

    fn draw(random: &mut Random, fault: Option<Fault>) -> (Self, Plan) {
        let nodes = if random.percent(50) { 3 } else { NODES };
        let mut plan = Plan::draw(nodes, random);
        // One decision takes milliseconds: faults come as quickly, and many crash a node.
        plan.faults.crash += 6;
        plan.fault_every = 20 * MILLISECOND;
        plan.down_max = 100 * MILLISECOND;
        plan.faults_until = 3 * SECOND;
        plan.end = 6 * SECOND;
        (Self(Log::new(1, nodes, fault)), plan)
    }

    fn actor(&self, node: Address) -> Paxos {
        self.0.actor(node)
    }

    fn turn(&mut self, simulation: &mut Simulation<Paxos>) {
        self.0.turn(simulation);
    }

    fn noted(&mut self, node: Address, note: Note, simulation: &Simulation<Paxos>) -> Check {
        self.0.noted(node, note, simulation)
    }

    fn end(&mut self, simulation: &Simulation<Paxos>) -> Check {
        self.0.end(simulation, 1)
    }

    fn operations(&self) -> (u64, u64) {
        self.0.requests.counts()
    }
}

impl Explorable for Single {
    fn small(fault: Option<Fault>) -> (Self, usize, Vec<(Address, Message)>) {
        let nodes = 3;
        let inputs: [(Address, Value); 2] = [(0, 1), (1, 2)];
        let inputs = inputs.map(|(node, value)| (node, Message::Request(value)));
        (Self(Log::new(1, nodes, fault)), nodes, inputs.to_vec())
    }

    fn within(&self, paxos: &Paxos) -> bool {
        // Two proposers, one round each.
        paxos.ballot() < 2 * self.0.nodes as u64 - 1
    }

    fn holds(&self, nodes: &[Option<Paxos>]) -> Check {
        let mut agreement = Agreement::default();
        for (node, paxos) in nodes.iter().enumerate() {
            for (slot, value) in paxos.iter().flat_map(|paxos| paxos.decided()) {
                agreement.decided(node, *slot, *value)?;
            }
        }
        Ok(())
    }
}

impl World for Multi {
    type Actor = Paxos;
    type Fault = Fault;
    const FAULTS: &'static [Planted<Fault>] = &[
        planted(
            Fault::PromiseForgotten,
            "multi-paxos: a promise is forgotten at a restart",
            5_000,
        ),
        planted(
            Fault::ValueNotTakenOver,
            "multi-paxos: accepted values are not taken over",
            200,
        ),
        planted(
            Fault::OwnVoteTwice,
            "multi-paxos: the proposer's own vote counts twice",
            2_000,
        ),
        planted(Fault::ToldBeforeSync, "multi-paxos: answers before the sync", 5_000),
    ];

    fn draw(random: &mut Random, fault: Option<Fault>) -> (Self, Plan) {
        let nodes = if random.percent(50) { 3 } else { NODES };
        (Self(Log::new(Slot::MAX, nodes, fault)), Plan::draw(nodes, random))
    }

    fn actor(&self, node: Address) -> Paxos {
        self.0.actor(node)
    }

    fn turn(&mut self, simulation: &mut Simulation<Paxos>) {
        self.0.turn(simulation);
    }

    fn noted(&mut self, node: Address, note: Note, simulation: &Simulation<Paxos>) -> Check {
        self.0.noted(node, note, simulation)
    }

    fn end(&mut self, simulation: &Simulation<Paxos>) -> Check {
        self.0.end(simulation, 50)
    }

    fn operations(&self) -> (u64, u64) {
        self.0.requests.counts()
    }

    fn figures(&self, simulation: &Simulation<Paxos>, figures: &mut Figures) {
        self.0.figures(simulation, figures);
    }
}
