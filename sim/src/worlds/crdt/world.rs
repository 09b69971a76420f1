//! The world `crdt`.

use super::converged::converged;
use super::intent::Intent;
use super::laws::laws;
use super::node::Message;
use super::{Fault, Node, Note, Replica};
use crate::actor::{Figures, Plan, Planted, Simulation, World};
use crate::invariant::Check;
use crate::world::{Address, MILLISECOND, Random, SECOND, Weather};

#[derive(Debug)]
pub struct Crdts {
    nodes: usize,
    fault: Option<Fault>,
    intent: Intent,
    changes: u64,
}

impl World for Crdts {
    type Actor = Node;
    type Fault = Fault;
    const FAULTS: &'static [Planted<Fault>] = &[
        Planted {
            fault: Fault::MergeReplaces,
            name: "crdt: a merge takes the other's value",
            budget: 20,
        },
        Planted {
            fault: Fault::RemovesUnseen,
            name: "crdt: a set removes what the remover has not seen",
            budget: 100,
        },
        Planted {
            fault: Fault::OrderOfArrival,
            name: "crdt: a text is in the order of arrival",
            budget: 20,
        },
    ];

    fn draw(random: &mut Random, fault: Option<Fault>) -> (Self, Plan) {
        let nodes = random.between(2, 6) as usize;
        let mut plan = Plan::draw(nodes, random);
        plan.weather = Weather {
            loss_ppm: 200_000,
            duplicate_ppm: 100_000,
            reorder: true,
            ..plan.weather
        };
        // A change that is noted is on the disk.
        plan.sync_max = 0;
        plan.turn_every = 100 * MILLISECOND;
        (
            Self {
                nodes,
                fault,
                intent: Intent::default(),
                changes: 0,
            },
            plan,
        )
    }

    fn actor(&self, _: Address) -> Node {
        Node::new(self.nodes, self.fault)
    }

    fn turn(&mut self, simulation: &mut Simulation<Node>) {
        if simulation.now() < 12 * SECOND {
            self.changes += 1;
            let node = simulation.random.below(self.nodes as u64) as Address;
            simulation.input(node, Message::Change);
        }
    }

    fn noted(&mut self, _: Address, note: Note, _: &Simulation<Node>) -> Check {
        let intent = &mut self.intent;
        match note {
            Note::Grown(more) => intent.grown += more,
            Note::Counted(more) => intent.counted += more,
            Note::Added(element, tag) => {
                intent.added.entry(element).or_default().insert(tag);
            }
            Note::Removed(tags) => intent.removed.extend(tags),
            Note::Typed(tag) => {
                intent.typed.insert(tag);
            }
            Note::Deleted(tag) => {
                intent.deleted.insert(tag);
            }
        }
        Ok(())
    }

    fn stepped(&mut self, node: Address, simulation: &Simulation<Node>) -> Check {
        // The laws cost much: on some states of each world.
        if !simulation.now().is_multiple_of(97) {
            return Ok(());
        }
        let replica = |node: Address| simulation.actor(node % self.nodes).map(|actor| &actor.replica);
        let (a, b, c): (Option<&Replica>, _, _) = (replica(node), replica(node + 1), replica(node + 2));
        match (a, b, c) {
            (Some(a), Some(b), Some(c)) => laws(a, b, c, self.fault),
            _ => Ok(()),
        }
    }

    fn end(&mut self, simulation: &Simulation<Node>) -> Check {
        let replicas = || simulation.actors().map(|(node, actor)| (node, &actor.replica));
        converged(replicas(), self.fault)?;
        for (_, replica) in replicas() {
            self.intent.holds(replica, self.fault)?;
        }
        Ok(())
    }

    fn operations(&self) -> (u64, u64) {
        (self.changes, self.changes)
    }

    fn figures(&self, _: &Simulation<Node>, figures: &mut Figures) {
        figures.mean("characters typed", self.intent.typed.len() as u64);
        figures.mean("characters deleted", self.intent.deleted.len() as u64);
        figures.mean("tags of removed elements", self.intent.removed.len() as u64);
    }
}
