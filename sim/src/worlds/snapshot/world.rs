//! The world `snapshot`.

use std::collections::BTreeMap;

use super::complete::complete;
use super::conserved::conserved;
use super::node::START_BALANCE;
use super::{Fault, Message, Node, Note};
use crate::actor::{Figures, Plan, Planted, Simulation, World};
use crate::invariant::Check;
use crate::world::{Address, MILLISECOND, Random, SECOND, Weather};

#[derive(Debug)]
pub struct Snapshot {
    nodes: usize,
    fault: Option<Fault>,
    begun: u64,
    ended: u64,
    /// Of cuts under way: parts, money on nodes, money on channels.
    parts: BTreeMap<u64, (usize, u64, u64)>,
    /// What a naive cut would have lost, over all cuts.
    on_channels: u64,
}

impl World for Snapshot {
    type Actor = Node;
    type Fault = Fault;
    const FAULTS: &'static [Planted<Fault>] = &[
        Planted {
            fault: Fault::ChannelsIgnored,
            name: "snapshot: what is on its way is not noted",
            budget: 10,
        },
        Planted {
            fault: Fault::MarkersOvertaken,
            name: "snapshot: markers are sent too late",
            budget: 10,
        },
    ];

    fn draw(random: &mut Random, fault: Option<Fault>) -> (Self, Plan) {
        let nodes = random.between(2, 7) as usize;
        let mut plan = Plan::quiet(nodes, 10 * SECOND);
        // Order is kept on each channel, and nothing is lost: the algorithm demands it of its channels.
        plan.weather = Weather {
            delay_max: random.between(5, 100) * MILLISECOND,
            ..Weather::FAIR
        };
        plan.faults.pause = 1;
        plan.faults_until = 8 * SECOND;
        plan.down_max = 300 * MILLISECOND;
        plan.turn_every = 500 * MILLISECOND;
        let world = Self {
            nodes,
            fault,
            begun: 0,
            ended: 0,
            parts: BTreeMap::new(),
            on_channels: 0,
        };
        (world, plan)
    }

    fn actor(&self, _: Address) -> Node {
        Node::new(self.nodes, self.fault)
    }

    fn turn(&mut self, simulation: &mut Simulation<Node>) {
        if simulation.now() < 8 * SECOND {
            self.begun += 1;
            let node = simulation.random.below(self.nodes as u64) as Address;
            simulation.input(node, Message::Begin(self.begun));
        }
    }

    fn noted(&mut self, _: Address, note: Note, _: &Simulation<Node>) -> Check {
        let Note::Part { cut, balance, channels } = note;
        let parts = self.parts.entry(cut).or_default();
        *parts = (parts.0 + 1, parts.1 + balance, parts.2 + channels);
        let (count, on_nodes, on_channels) = *parts;
        if count < self.nodes {
            return Ok(());
        }
        self.parts.remove(&cut);
        self.ended += 1;
        self.on_channels += on_channels;
        conserved(cut, on_nodes + on_channels, self.nodes as u64 * START_BALANCE)
    }

    fn end(&mut self, _: &Simulation<Node>) -> Check {
        complete(self.begun, self.ended)
    }

    fn operations(&self) -> (u64, u64) {
        (self.begun, self.ended)
    }

    fn figures(&self, _: &Simulation<Node>, figures: &mut Figures) {
        figures.total("cuts", self.ended);
        let all = self.nodes as u64 * START_BALANCE * self.ended.max(1);
        figures.mean(
            "on its way at a cut, percent: lost by a naive one",
            100 * self.on_channels / all,
        );
    }
}
