//! The world `commit`: one of the protocols, while nodes crash.

use std::collections::BTreeMap;

use super::atomic::Atomic;
use super::compensated::Compensated;
use super::decided::decided;
use super::node::COORDINATOR;
use super::{Fault, Message, Node, Note, Protocol};
use crate::actor::{Faults, Figures, Plan, Planted, Simulation, World};
use crate::invariant::Check;
use crate::world::{Address, MILLISECOND, Micros, Random, SECOND, Weather};

#[derive(Debug)]
pub struct Commit {
    nodes: usize,
    protocol: Protocol,
    fault: Option<Fault>,
    begun: u64,
    ended: u64,
    atomic: Atomic,
    compensated: Compensated,
    prepared: BTreeMap<(Address, u64), Micros>,
    /// Longest time that a participant that had voted yes waited for the decision.
    blocked_most: Micros,
    undone: u64,
}

impl World for Commit {
    type Actor = Node;
    type Fault = Fault;
    const FAULTS: &'static [Planted<Fault>] = &[
        Planted {
            fault: Fault::ToldBeforeSync,
            name: "commit: a decision is told before it is durable",
            budget: 10_000,
        },
        Planted {
            fault: Fault::DecidesAlone,
            name: "commit: a participant decides alone after two phases",
            budget: 200,
        },
        Planted {
            fault: Fault::CutNetwork,
            name: "commit: three phases in a network that is cut",
            budget: 500,
        },
        Planted {
            fault: Fault::ForwardCompensation,
            name: "commit: a saga is compensated first step first",
            budget: 50,
        },
    ];

    fn draw(random: &mut Random, fault: Option<Fault>) -> (Self, Plan) {
        let nodes = random.between(3, 6) as usize;
        let drawn = [Protocol::TwoPhase, Protocol::ThreePhase, Protocol::Saga];
        let protocol = match fault {
            None => random.pick(&drawn).copied().unwrap_or(Protocol::TwoPhase),
            Some(Fault::ToldBeforeSync | Fault::DecidesAlone) => Protocol::TwoPhase,
            Some(Fault::CutNetwork) => Protocol::ThreePhase,
            Some(Fault::ForwardCompensation) => Protocol::Saga,
        };
        let mut plan = Plan::quiet(nodes, 30 * SECOND);
        plan.faults.crash = 1;
        plan.fault_every = 400 * MILLISECOND;
        plan.faults_until = 15 * SECOND;
        plan.down_max = 3 * SECOND;
        plan.turn_every = 100 * MILLISECOND;
        plan.sync_max = 20 * MILLISECOND;
        match protocol {
            // Crashes only, never of all, and every message in time: what three phases demand.
            Protocol::ThreePhase if fault.is_none() => plan.faulty = 2,
            Protocol::ThreePhase => {
                plan.faults = Faults {
                    partition: 3,
                    one_way_cut: 3,
                    ..Faults::default()
                }
            }
            Protocol::TwoPhase | Protocol::Saga => {
                plan.faults = Faults {
                    crash: 3,
                    pause: 1,
                    partition: 1,
                    one_way_cut: 1,
                };
                plan.weather = Weather {
                    loss_ppm: 20_000,
                    duplicate_ppm: 20_000,
                    reorder: true,
                    ..Weather::FAIR
                };
            }
        }
        if protocol == Protocol::Saga {
            // A step is its write: one that is noted is durable.
            plan.sync_max = 0;
        }
        let world = Self {
            nodes,
            protocol,
            fault,
            begun: 0,
            ended: 0,
            atomic: Atomic::default(),
            compensated: Compensated::default(),
            prepared: BTreeMap::new(),
            blocked_most: 0,
            undone: 0,
        };
        (world, plan)
    }

    fn actor(&self, _: Address) -> Node {
        Node::new(self.nodes, self.protocol, self.fault)
    }

    fn turn(&mut self, simulation: &mut Simulation<Node>) {
        if simulation.now() < 15 * SECOND {
            self.begun += 1;
            simulation.input(COORDINATOR, Message::Begin(self.begun));
        }
    }

    fn noted(&mut self, node: Address, note: Note, simulation: &Simulation<Node>) -> Check {
        match note {
            Note::VotedNo(tx) => self.atomic.voted_no(tx),
            Note::Prepared(tx) => {
                self.prepared.insert((node, tx), simulation.now());
            }
            Note::Decided { tx, commits } => {
                self.ended += 1;
                if let Some(since) = self.prepared.remove(&(node, tx)) {
                    self.blocked_most = self.blocked_most.max(simulation.now() - since);
                }
                self.atomic.decided(node, tx, commits)?;
            }
            Note::Done { tx, step } => {
                self.ended += 1;
                self.compensated.done(tx, step);
            }
            Note::Undone { tx, step } => {
                self.undone += 1;
                self.compensated.undone(tx, step)?;
            }
        }
        Ok(())
    }

    fn end(&mut self, simulation: &Simulation<Node>) -> Check {
        for (node, actor) in simulation.actors() {
            decided(node, actor.open())?;
        }
        self.compensated.whole(self.nodes as u64 - 1)
    }

    fn operations(&self) -> (u64, u64) {
        (self.begun, self.ended / (self.nodes as u64 - 1))
    }

    fn figures(&self, _: &Simulation<Node>, figures: &mut Figures) {
        let blocked = self.blocked_most / MILLISECOND;
        match self.protocol {
            Protocol::TwoPhase => figures.most("two phases: blocked at most, milliseconds", blocked),
            Protocol::ThreePhase => figures.most("three phases: blocked at most, milliseconds", blocked),
            Protocol::Saga => figures.total("saga: steps compensated", self.undone),
        }
    }
}
