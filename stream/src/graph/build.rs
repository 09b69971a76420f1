//! From relations to tasks.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::RecordBatch;

use super::{Node, Output, Step, Target};
use crate::table::TableSpec;

/// Tasks by vertex, upstream first.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    pub vertices: Vec<Vertex>,
}

/// Tasks that do the same: `parallelism` of them.
#[derive(Debug, Clone)]
pub struct Vertex {
    pub origin: Origin,
    pub steps: Vec<Step>,
    pub parallelism: u32,
    /// Where the last step's rows go; none for a vertex that others read.
    pub target: Option<Target>,
    /// Whether its first step is keyed, so that it may have several subtasks.
    pub keyed: bool,
}

/// Where a vertex has its rows from.
#[derive(Debug, Clone)]
pub enum Origin {
    /// A table, and the idle timeout of its splits in milliseconds.
    Table(Arc<TableSpec>, Option<i64>),
    Values(RecordBatch),
    /// The vertices whose rows come over channels.
    Channels(Vec<Input>),
}

/// A vertex whose rows another reads.
#[derive(Debug, Clone)]
pub struct Input {
    pub vertex: usize,
    pub exchange: Exchange,
    /// Which input of the reader's first operator this is.
    pub side: u8,
}

/// Which of the reader's subtasks gets a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exchange {
    /// By the hash of these columns.
    Hash(Vec<usize>),
    /// The first.
    Gather,
}

/// Cuts a job into vertices; keyed ones get `parallelism` subtasks.
pub fn build(outputs: &[Output], parallelism: u32) -> Graph {
    let mut builder = Builder {
        graph: Graph::default(),
        parallelism,
        readers: HashMap::new(),
        built: HashMap::new(),
        closed: HashSet::new(),
    };
    for output in outputs {
        builder.count(&output.node);
    }
    for output in outputs {
        let last = builder.read(&output.node);
        builder.finish(last, &output.target);
    }
    builder.graph
}

struct Builder {
    graph: Graph,
    parallelism: u32,
    /// How many read each node: a node that is used twice is one node with two readers.
    readers: HashMap<*const Node, usize>,
    /// The vertices of the nodes with several readers.
    built: HashMap<*const Node, Vec<usize>>,
    /// The vertices that several read: no step of one reader may be put into them.
    closed: HashSet<usize>,
}

impl Builder {
    fn count(&mut self, node: &Arc<Node>) {
        let readers = self.readers.entry(Arc::as_ptr(node)).or_default();
        *readers += 1;
        if *readers > 1 {
            return;
        }
        match node.as_ref() {
            Node::Scan(..) | Node::Values(_) => {}
            Node::Step(input, _) | Node::Aggregate(input, _) | Node::Rank(input, _) | Node::Over(input, _) => {
                self.count(input)
            }
            Node::Join(inputs, _) | Node::IntervalJoin(inputs, _) | Node::SetOperation(inputs, _) => {
                inputs.iter().for_each(|input| self.count(input))
            }
            Node::Union(inputs) => inputs.iter().for_each(|input| self.count(input)),
        }
    }

    fn is_shared(&self, node: &Arc<Node>) -> bool {
        self.readers.get(&Arc::as_ptr(node)).is_some_and(|readers| *readers > 1)
    }

    /// The vertices of a node, built once however many read it.
    fn read(&mut self, node: &Arc<Node>) -> Vec<usize> {
        if !self.is_shared(node) {
            return self.node(node);
        }
        if let Some(vertices) = self.built.get(&Arc::as_ptr(node)) {
            return vertices.clone();
        }
        let vertices = self.node(node);
        self.built.insert(Arc::as_ptr(node), vertices.clone());
        self.closed.extend(&vertices);
        vertices
    }

    /// Returns the vertices whose rows together are the node's.
    fn node(&mut self, node: &Node) -> Vec<usize> {
        match node {
            Node::Scan(table, idle_ms) => {
                vec![self.add(Origin::Table(Arc::clone(table), *idle_ms), Vec::new(), 1, false)]
            }
            Node::Values(batch) => vec![self.add(Origin::Values(batch.clone()), Vec::new(), 1, false)],
            Node::Union(inputs) => inputs.iter().flat_map(|input| self.read(input)).collect(),
            Node::Step(input, step) => {
                let inputs = self.read(input);
                self.step(inputs, step)
            }
            Node::Aggregate(input, plan) => {
                let inputs = self.read(input);
                self.keyed(vec![(inputs, plan.keys.clone())], Step::Aggregate(plan.clone()))
            }
            Node::Rank(input, plan) => {
                let inputs = self.read(input);
                self.keyed(vec![(inputs, plan.partition.clone())], Step::Rank(plan.clone()))
            }
            Node::Over(input, plan) => {
                let inputs = self.read(input);
                self.keyed(vec![(inputs, plan.partition.clone())], Step::Over(plan.clone()))
            }
            Node::Join(inputs, plan) => {
                let inputs = inputs.iter().zip(&plan.keys);
                let inputs = inputs.map(|(input, keys)| (self.read(input), keys.clone())).collect();
                self.keyed(inputs, Step::Join(plan.clone()))
            }
            Node::IntervalJoin(inputs, plan) => {
                let inputs = inputs.iter().zip(&plan.keys);
                let inputs = inputs.map(|(input, keys)| (self.read(input), keys.clone())).collect();
                self.keyed(inputs, Step::IntervalJoin(plan.clone()))
            }
            Node::SetOperation(inputs, plan) => {
                let keys: Vec<usize> = (0..plan.schema.fields().len()).collect();
                let inputs = inputs.iter().map(|input| (self.read(input), keys.clone())).collect();
                self.keyed(inputs, Step::SetOperation(plan.clone()))
            }
        }
    }

    /// A vertex in which the rows of all sides meet by their keys.
    fn keyed(&mut self, sides: Vec<(Vec<usize>, Vec<usize>)>, step: Step) -> Vec<usize> {
        let mut parallelism = self.parallelism;
        let mut channels = Vec::new();
        for (side, (vertices, keys)) in sides.into_iter().enumerate() {
            let exchange = if keys.is_empty() {
                parallelism = 1;
                Exchange::Gather
            } else {
                Exchange::Hash(keys)
            };
            channels.extend(vertices.into_iter().map(|vertex| Input {
                vertex,
                exchange: exchange.clone(),
                side: side as u8,
            }));
        }
        vec![self.add(Origin::Channels(channels), vec![step], parallelism, true)]
    }

    /// All rows of these vertices, in one task.
    fn gathered(inputs: Vec<usize>) -> Origin {
        let input = |vertex| Input {
            vertex,
            exchange: Exchange::Gather,
            side: 0,
        };
        Origin::Channels(inputs.into_iter().map(input).collect())
    }

    /// Puts a step behind its inputs: in their own tasks, unless all rows must meet or others read the inputs too.
    fn step(&mut self, inputs: Vec<usize>, step: &Step) -> Vec<usize> {
        let shared = inputs.iter().any(|input| self.closed.contains(input));
        let meets = step.gathers() && !self.is_single(&inputs);
        if meets || shared {
            return vec![self.add(Self::gathered(inputs), vec![step.clone()], 1, false)];
        }
        for input in &inputs {
            self.graph.vertices[*input].steps.push(step.clone());
        }
        inputs
    }

    /// A vertex of its own for the target: reading and writing overlap, and the graph has the same vertices whatever
    /// the parallelism, so that an epoch of one fits the other.
    fn finish(&mut self, inputs: Vec<usize>, target: &Target) {
        let vertex = self.add(Self::gathered(inputs), Vec::new(), 1, false);
        self.graph.vertices[vertex].target = Some(target.clone());
    }

    fn is_single(&self, inputs: &[usize]) -> bool {
        matches!(inputs, [one] if !self.graph.vertices[*one].keyed)
    }

    fn add(&mut self, origin: Origin, steps: Vec<Step>, parallelism: u32, keyed: bool) -> usize {
        self.graph.vertices.push(Vertex {
            origin,
            steps,
            parallelism,
            target: None,
            keyed,
        });
        self.graph.vertices.len() - 1
    }
}
