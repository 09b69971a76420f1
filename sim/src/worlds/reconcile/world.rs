//! The world `reconcile`.

use std::collections::{BTreeMap, BTreeSet};

use cluster::Plant;
use cluster::reconcile::Ideal;
use cluster::spread::{Candidate, Constraints, place};

use super::minimum::keeps_the_minimum;
use super::node::{ALIVE_MIN, CONTROLLER};
use super::settled::settled;
use super::{Message, Node, Note};
use crate::actor::{Faults, Figures, Plan, Planted, Simulation, World};
use crate::invariant::{Check, require};
use crate::world::{Address, MILLISECOND, Random, SECOND, Weather};
use crate::worlds::PlantGuard;

const RACKS: u64 = 3;
const COPIES: usize = 3;

#[derive(Debug)]
pub struct Reconcile {
    nodes: usize,
    resources: u64,
    changes: u64,
    last_change: u64,
    dropped: u64,
    copied: u64,
    plant: PlantGuard,
}

fn rack_of(node: u64) -> u64 {
    node % RACKS
}

impl Reconcile {
    /// A placement over all nodes but the controller and those that are to be drained.
    fn wanted(&self, drained: &[u64], random: &mut Random) -> BTreeMap<u64, Ideal> {
        let mut loads: BTreeMap<u64, u32> = BTreeMap::new();
        let mut ideal = BTreeMap::new();
        for resource in 0..self.resources {
            let candidates: Vec<Candidate> = (1..self.nodes as u64)
                .map(|node| Candidate {
                    node,
                    rack: rack_of(node).to_string(),
                    load_thousandths: loads.get(&node).copied().unwrap_or(0),
                    free_bytes: 1 << 40,
                    round_trip_micros: 100,
                })
                .collect();
            let constraints = Constraints {
                excluded: drained.to_vec(),
                ..Constraints::default()
            };
            let nodes = place(COPIES, &candidates, &constraints, random.draw());
            nodes.iter().for_each(|node| *loads.entry(*node).or_default() += 10);
            ideal.insert(resource, Ideal { nodes, bytes: 100 });
        }
        ideal
    }

    fn copies(simulation: &Simulation<Node>, nodes: usize) -> BTreeMap<u64, BTreeSet<u64>> {
        let mut copies: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
        for node in 1..nodes {
            // One that is down comes back with its disk.
            let complete = match simulation.actor(node) {
                Some(running) => running.complete(),
                None => simulation.disk(node).complete(),
            };
            for resource in complete {
                copies.entry(*resource).or_default().insert(node as u64);
            }
        }
        copies
    }
}

impl World for Reconcile {
    type Actor = Node;
    type Fault = Plant;
    const FAULTS: &'static [Planted<Plant>] = &[Planted {
        fault: Plant::DropsFirst,
        name: "reconcile: copies are dropped before others are complete",
        budget: 50,
    }];

    fn draw(random: &mut Random, fault: Option<Plant>) -> (Self, Plan) {
        let nodes = random.between(10, 13) as usize;
        let world = Self {
            nodes,
            resources: random.between(5, 15),
            changes: 0,
            last_change: 0,
            dropped: 0,
            copied: 0,
            plant: PlantGuard::new(fault),
        };
        let mut plan = Plan::quiet(nodes, 160 * SECOND);
        plan.weather = Weather {
            loss_ppm: 50_000,
            duplicate_ppm: 20_000,
            reorder: true,
            ..Weather::FAIR
        };
        plan.faults = Faults {
            crash: 2,
            pause: 1,
            partition: 1,
            one_way_cut: 1,
        };
        plan.fault_every = 2 * SECOND;
        plan.faults_until = 40 * SECOND;
        plan.down_max = 5 * SECOND;
        plan.sync_max = 5 * MILLISECOND;
        plan.turn_every = SECOND;
        (world, plan)
    }

    fn actor(&self, _: Address) -> Node {
        Node::default()
    }

    fn begin(&mut self, simulation: &mut Simulation<Node>) {
        // Where the copies are at first: anywhere.
        for resource in 0..self.resources {
            let mut nodes: Vec<Address> = (1..self.nodes).collect();
            simulation.random.shuffle(&mut nodes);
            for node in nodes.into_iter().take(COPIES) {
                simulation.input(node, Message::Has(BTreeSet::from([resource])));
            }
        }
    }

    fn turn(&mut self, simulation: &mut Simulation<Node>) {
        let now = simulation.now();
        if now > simulation.plan.faults_until || now < self.last_change + 8 * SECOND {
            return;
        }
        self.last_change = now;
        self.changes += 1;
        let drained = [simulation.random.between(1, self.nodes as u64 - 1)];
        let mut random = simulation.random.fork();
        let ideal = self.wanted(&drained, &mut random);
        simulation.tell(format_args!("{} is to be drained", drained[0]));
        simulation.input(CONTROLLER, Message::Wanted(ideal));
    }

    fn noted(&mut self, _: Address, note: Note, simulation: &Simulation<Node>) -> Check {
        match note {
            Note::Copied(_) => self.copied += 1,
            Note::Dropped(resource) => {
                self.dropped += 1;
                let copies = Self::copies(simulation, self.nodes);
                let live = copies.get(&resource).map_or(0, BTreeSet::len);
                keeps_the_minimum(resource, live, ALIVE_MIN)?;
            }
        }
        Ok(())
    }

    fn end(&mut self, simulation: &Simulation<Node>) -> Check {
        let Some(controller) = simulation.actor(CONTROLLER) else {
            return require(false, "settled", || "the controller is down".to_owned());
        };
        let copies = Self::copies(simulation, self.nodes);
        settled(controller.ideal(), &copies, rack_of, RACKS as usize)?;
        for (resource, wanted) in controller.ideal() {
            let leads = controller.leaders().get(resource);
            require(leads == wanted.nodes.first(), "settled", || {
                format!("{leads:?} leads resource {resource} of {:?}", wanted.nodes)
            })?;
        }
        Ok(())
    }

    fn operations(&self) -> (u64, u64) {
        (self.changes, self.changes)
    }

    fn figures(&self, _: &Simulation<Node>, figures: &mut Figures) {
        let _guarded = &self.plant;
        figures.mean("copies made", self.copied);
        figures.mean("copies dropped", self.dropped);
    }
}
