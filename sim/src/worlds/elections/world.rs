//! The world `elections`: one algorithm on one graph.

use super::node::ROOT;
use super::one_leader::one_leader;
use super::true_distances::true_distances;
use super::within_bounds::{bound, within_bounds};
use super::{Algorithm, Fault, Graph, Node, Note};
use crate::actor::{Figures, Plan, Planted, Simulation, World};
use crate::invariant::Check;
use crate::world::{Address, MILLISECOND, Random, SECOND, Weather};

#[derive(Debug)]
pub struct Elections {
    algorithm: Algorithm,
    graph: Graph,
    numbers: Vec<u64>,
    diameter: u64,
    fault: Option<Fault>,
    sent: u64,
    claims: Vec<Address>,
}

impl World for Elections {
    type Actor = Node;
    type Fault = Fault;
    const FAULTS: &'static [Planted<Fault>] = &[
        Planted {
            fault: Fault::RoundTooFew,
            name: "elections: FloodMax ends a round too early",
            budget: 100,
        },
        Planted {
            fault: Fault::LargerIsOwn,
            name: "elections: LCR takes a larger number for its own",
            budget: 50,
        },
        Planted {
            fault: Fault::SmallerPass,
            name: "elections: HS lets smaller numbers pass",
            budget: 50,
        },
        Planted {
            fault: Fault::LayersNotAwaited,
            name: "elections: BFS does not wait for layers",
            budget: 200,
        },
    ];

    fn draw(random: &mut Random, fault: Option<Fault>) -> (Self, Plan) {
        let all = [
            Algorithm::FloodMax,
            Algorithm::Lcr,
            Algorithm::Hs,
            Algorithm::LayeredBfs,
        ];
        let drawn = random.pick(&all).copied().unwrap_or(Algorithm::Lcr);
        let algorithm = match fault {
            None => drawn,
            Some(Fault::RoundTooFew) => Algorithm::FloodMax,
            Some(Fault::LargerIsOwn) => Algorithm::Lcr,
            Some(Fault::SmallerPass) => Algorithm::Hs,
            Some(Fault::LayersNotAwaited) => Algorithm::LayeredBfs,
        };
        let nodes = random.between(15, 40) as usize;
        let is_ring = matches!(algorithm, Algorithm::Lcr | Algorithm::Hs);
        let more = *random.pick(&[0, nodes / 2, 2 * nodes]).unwrap_or(&0);
        let graph = if is_ring {
            Graph::ring(nodes)
        } else {
            Graph::random(nodes, more, random)
        };
        let mut numbers: Vec<u64> = (1..=nodes as u64).collect();
        random.shuffle(&mut numbers);
        let mut plan = Plan::quiet(nodes, 20 * SECOND);
        plan.weather = Weather {
            delay_max: 15 * MILLISECOND,
            reorder: true,
            ..Weather::FAIR
        };
        let diameter = graph.diameter();
        let world = Self {
            algorithm,
            graph,
            numbers,
            diameter,
            fault,
            sent: 0,
            claims: Vec::new(),
        };
        (world, plan)
    }

    fn actor(&self, node: Address) -> Node {
        let neighbours = self.graph.neighbours[node].clone();
        Node::new(
            self.algorithm,
            neighbours,
            self.numbers[node],
            self.diameter,
            self.fault,
        )
    }

    fn noted(&mut self, node: Address, note: Note, _: &Simulation<Node>) -> Check {
        match note {
            Note::Sent => {
                self.sent += 1;
                let (nodes, edges) = (self.numbers.len() as u64, self.graph.directed_edges());
                within_bounds(
                    self.algorithm,
                    self.sent,
                    bound(self.algorithm, nodes, self.diameter, edges),
                )
            }
            Note::Leads => {
                self.claims.push(node);
                Ok(())
            }
        }
    }

    fn end(&mut self, simulation: &Simulation<Node>) -> Check {
        if self.algorithm == Algorithm::LayeredBfs {
            let depths: Vec<_> = simulation.actors().map(|(_, node)| node.depth).collect();
            return true_distances(&depths, &self.graph.distances(ROOT));
        }
        let known: Vec<_> = simulation.actors().map(|(_, node)| node.leader).collect();
        one_leader(&known, &self.claims)
    }

    fn operations(&self) -> (u64, u64) {
        (1, 1)
    }

    fn figures(&self, _: &Simulation<Node>, figures: &mut Figures) {
        let bound = bound(
            self.algorithm,
            self.numbers.len() as u64,
            self.diameter,
            self.graph.directed_edges(),
        );
        let percent = 100 * self.sent / bound.max(1);
        match self.algorithm {
            Algorithm::FloodMax => figures.most("FloodMax, messages in percent of the bound, at most", percent),
            Algorithm::Lcr => figures.most("LCR, messages in percent of the bound, at most", percent),
            Algorithm::Hs => figures.most("HS, messages in percent of the bound, at most", percent),
            Algorithm::LayeredBfs => figures.most("layered BFS, messages in percent of the bound, at most", percent),
        }
    }
}
