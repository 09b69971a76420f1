//! The world `clocks`.

use cluster::Plant;
use cluster::hlc::Stamp;

use super::bounded_drift::near;
use super::causal_order::ordered;
use super::node::PRIMARY;
use super::read_your_writes::reads_its_own;
use super::{Message, Node, Note};
use crate::actor::{Figures, Plan, Planted, Simulation, World};
use crate::invariant::Check;
use crate::world::{Address, Clock, MILLISECOND, Random, SECOND, Weather};
use crate::worlds::PlantGuard;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    StampNotMerged,
    TokenIgnored,
}

const NODES: usize = 4;
/// As NTP leaves clocks on a bad day: up to this much ahead, with a drift of 100 ppm.
const SKEW: u64 = 250 * MILLISECOND;
const DRIFT_PPM: i64 = 100;

#[derive(Debug)]
pub struct Clocks {
    fault: Option<Fault>,
    /// Of each client, its last write.
    written: [Stamp; 3],
    events: u64,
    physical_wrong: u64,
    farthest_ms: u64,
    reads: u64,
    waits: u64,
    plant: PlantGuard,
}

impl World for Clocks {
    type Actor = Node;
    type Fault = Fault;
    const FAULTS: &'static [Planted<Fault>] = &[
        Planted {
            fault: Fault::StampNotMerged,
            name: "clocks: a stamp that arrives is not merged",
            budget: 20,
        },
        Planted {
            fault: Fault::TokenIgnored,
            name: "clocks: a replica ignores the client's token",
            budget: 20,
        },
    ];

    fn draw(random: &mut Random, fault: Option<Fault>) -> (Self, Plan) {
        let _drawn = random.draw();
        let plant = (fault == Some(Fault::StampNotMerged)).then_some(Plant::StampNotMerged);
        let mut plan = Plan::quiet(NODES, 20 * SECOND);
        plan.weather = Weather {
            delay_max: 30 * MILLISECOND,
            reorder: true,
            ..Weather::FAIR
        };
        plan.turn_every = 10 * MILLISECOND;
        let world = Self {
            fault,
            written: Default::default(),
            events: 0,
            physical_wrong: 0,
            farthest_ms: 0,
            reads: 0,
            waits: 0,
            plant: PlantGuard::new(plant),
        };
        (world, plan)
    }

    fn actor(&self, _: Address) -> Node {
        Node::new(NODES, self.fault)
    }

    fn begin(&mut self, simulation: &mut Simulation<Node>) {
        for node in 0..NODES {
            let offset = simulation.random.below(SKEW);
            let drift = simulation.random.between(0, 2 * DRIFT_PPM as u64) as i64 - DRIFT_PPM;
            simulation.set_clock(node, Clock::ahead(offset, drift));
        }
    }

    fn turn(&mut self, simulation: &mut Simulation<Node>) {
        let client = simulation.random.below(self.written.len() as u64) as usize;
        if simulation.random.percent(40) {
            return simulation.input(PRIMARY, Message::Write { client });
        }
        let node = simulation.random.between(1, NODES as u64 - 1) as Address;
        simulation.input(
            node,
            Message::Read {
                client,
                token: self.written[client],
            },
        );
    }

    fn noted(&mut self, _: Address, note: Note, simulation: &Simulation<Node>) -> Check {
        match note {
            Note::Event { stamps, cause } => {
                self.events += 1;
                let real_ms = simulation.now() / MILLISECOND;
                self.farthest_ms = self.farthest_ms.max(stamps.hybrid.millis.abs_diff(real_ms));
                near(stamps.hybrid, real_ms, (SKEW / MILLISECOND) + 10)?;
                if let Some(cause) = cause {
                    self.physical_wrong += u64::from(stamps.physical_ms < cause.physical_ms);
                    ordered((cause.hybrid, cause.logical), (stamps.hybrid, stamps.logical))?;
                }
                Ok(())
            }
            Note::Wrote { client, stamp } => {
                self.written[client] = stamp;
                Ok(())
            }
            Note::Read { token, found, .. } => {
                self.reads += 1;
                reads_its_own(token, found)
            }
            Note::Waits => {
                self.waits += 1;
                Ok(())
            }
        }
    }

    fn end(&mut self, _: &Simulation<Node>) -> Check {
        Ok(())
    }

    fn operations(&self) -> (u64, u64) {
        (self.events, self.reads)
    }

    fn figures(&self, _: &Simulation<Node>, figures: &mut Figures) {
        let _guarded = &self.plant;
        figures.total("events stamped", self.events);
        figures.total("effects before their causes, by physical clocks", self.physical_wrong);
        figures.most("hybrid stamp from real time, milliseconds", self.farthest_ms);
        figures.total("reads that waited for the client's own write", self.waits);
    }
}
