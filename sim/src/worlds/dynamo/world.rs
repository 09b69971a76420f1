//! The world `dynamo`: carts that are filled while nodes fail and clocks differ.

use std::collections::{BTreeMap, BTreeSet};

use cluster::ring::{POINTS, Ring};

use super::converged::converged;
use super::node::COPIES;
use super::nothing_lost::nothing_lost;
use super::{Fault, Message, Node, Note, Versions};
use crate::actor::{Figures, Plan, Planted, Simulation, World};
use crate::invariant::Check;
use crate::world::{Address, MILLISECOND, Random, SECOND};

#[derive(Debug)]
pub struct Dynamo {
    nodes: usize,
    keys: u64,
    ring: Ring,
    fault: Option<Fault>,
    asked: u64,
    acknowledged: BTreeMap<u64, BTreeSet<u64>>,
    siblings_most: usize,
    hinted: u64,
    repaired: u64,
}

impl World for Dynamo {
    type Actor = Node;
    type Fault = Fault;
    const FAULTS: &'static [Planted<Fault>] = &[
        Planted {
            fault: Fault::LastWriterWins,
            name: "dynamo: the last writer wins, by clocks that are wrong",
            budget: 20,
        },
        Planted {
            fault: Fault::HintThrownAway,
            name: "dynamo: a stand-in throws its hints away",
            budget: 1_000,
        },
        Planted {
            fault: Fault::NothingRepaired,
            name: "dynamo: neither read repair nor comparison of trees",
            budget: 50,
        },
    ];

    fn draw(random: &mut Random, fault: Option<Fault>) -> (Self, Plan) {
        let nodes = random.between(5, 8) as usize;
        let mut plan = Plan::draw(nodes, random);
        plan.turn_every = 40 * MILLISECOND;
        plan.down_max = SECOND;
        plan.drift_ppm = 50_000;
        let world = Self {
            nodes,
            keys: random.between(2, 12),
            ring: Ring::new(0..nodes as u64, POINTS, random.draw()),
            fault,
            asked: 0,
            acknowledged: BTreeMap::new(),
            siblings_most: 0,
            hinted: 0,
            repaired: 0,
        };
        (world, plan)
    }

    fn actor(&self, _: Address) -> Node {
        Node::new(self.nodes, self.ring.clone(), self.fault)
    }

    fn turn(&mut self, simulation: &mut Simulation<Node>) {
        // Some are still half done when all is mended: what is behind must be found, not written over.
        if simulation.now() < 9 * SECOND {
            self.asked += 1;
            let key = simulation.random.below(self.keys);
            let node = simulation.random.below(self.nodes as u64) as Address;
            simulation.input(node, Message::Add { key, item: self.asked });
        }
    }

    fn noted(&mut self, _: Address, note: Note, _: &Simulation<Node>) -> Check {
        match note {
            Note::Acknowledged { key, item } => {
                self.acknowledged.entry(key).or_default().insert(item);
            }
            Note::Siblings(count) => self.siblings_most = self.siblings_most.max(count),
            Note::Hinted => self.hinted += 1,
            Note::Repaired => self.repaired += 1,
        }
        Ok(())
    }

    fn end(&mut self, simulation: &Simulation<Node>) -> Check {
        let nothing = Versions::default();
        for key in 0..self.keys {
            let homes = self.ring.owners(key, COPIES);
            let held = homes.iter().filter_map(|home| simulation.actor(*home as Address));
            let replicas: Vec<&Versions> = held.map(|node| node.disk.store.get(&key).unwrap_or(&nothing)).collect();
            if let Some(first) = replicas.first() {
                let acknowledged = self.acknowledged.entry(key).or_default();
                nothing_lost(key, acknowledged, &first.read().0)?;
            }
            converged(key, &replicas)?;
        }
        Ok(())
    }

    fn operations(&self) -> (u64, u64) {
        let acknowledged = self.acknowledged.values().map(BTreeSet::len).sum::<usize>();
        (self.asked, acknowledged as u64)
    }

    fn figures(&self, _: &Simulation<Node>, figures: &mut Figures) {
        figures.most("siblings of a value, at most", self.siblings_most as u64);
        figures.mean("writes that a stand-in kept", self.hinted);
        figures.mean("replicas repaired by reads", self.repaired);
    }
}
