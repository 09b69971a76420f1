//! Rings, trees and random graphs.

use std::collections::VecDeque;

use crate::world::{Address, Random};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    pub neighbours: Vec<Vec<Address>>,
}

impl Graph {
    /// Each node's first neighbour is the one behind it, the second the one before it.
    pub fn ring(nodes: usize) -> Self {
        let neighbours = (0..nodes)
            .map(|node| vec![(node + 1) % nodes, (node + nodes - 1) % nodes])
            .collect();
        Self { neighbours }
    }

    /// A random tree, and some edges more.
    pub fn random(nodes: usize, more: usize, random: &mut Random) -> Self {
        let mut graph = Self {
            neighbours: vec![Vec::new(); nodes],
        };
        for node in 1..nodes {
            let other = random.below(node as u64) as Address;
            graph.connect(node, other);
        }
        for _ in 0..more {
            let (one, other) = (
                random.below(nodes as u64) as Address,
                random.below(nodes as u64) as Address,
            );
            if one != other && !graph.neighbours[one].contains(&other) {
                graph.connect(one, other);
            }
        }
        graph
    }

    fn connect(&mut self, one: Address, other: Address) {
        self.neighbours[one].push(other);
        self.neighbours[other].push(one);
    }

    pub fn directed_edges(&self) -> u64 {
        self.neighbours.iter().map(|of| of.len() as u64).sum()
    }

    pub fn distances(&self, from: Address) -> Vec<u64> {
        let mut distances = vec![u64::MAX; self.neighbours.len()];
        distances[from] = 0;
        let mut queue = VecDeque::from([from]);
        while let Some(node) = queue.pop_front() {
            for other in &self.neighbours[node] {
                if distances[*other] == u64::MAX {
                    distances[*other] = distances[node] + 1;
                    queue.push_back(*other);
                }
            }
        }
        distances
    }

    pub fn diameter(&self) -> u64 {
        let farthest = |from| self.distances(from).into_iter().max().unwrap_or(0);
        (0..self.neighbours.len()).map(farthest).max().unwrap_or(0)
    }
}
