//! Textbook elections and breadth-first search, counted against the textbook's bounds.
//!
//! # The idea
//! Lynch, *Distributed Algorithms* (1996), chapters 3, 4 and 15.
//! - *FloodMax* on any graph: in each round everyone tells its neighbours the largest number it has heard; after as many
//!   rounds as the graph's diameter the owner of the largest is the leader. Diameter × directed edges messages.
//! - *LCR* (Le Lann, Chang, Roberts) on a ring: a number travels until a larger node swallows it. At most n(n+1)/2
//!   messages.
//! - *HS* (Hirschberg, Sinclair) on a ring in both directions: numbers travel 1, 2, 4, … hops and back. At most 8n(1+⌈log
//!   n⌉) messages.
//! - *Layered BFS* without rounds: the root asks for one layer after the other, and goes on when all of the last is
//!   known, so that distances are right although messages take any time. A flood that does not wait gets wrong ones.
//!
//! # What must hold
//! [`one_leader`]: exactly one node leads, and all know which. [`within_bounds`]: messages and rounds are within the
//! bound above. [`true_distances`]: a node's depth in the tree is its distance from the root. Planted: a
//! round too few, a node that takes a larger number for its own, smaller numbers that pass, layers that are not waited for.

mod graph;
mod node;
mod one_leader;
mod true_distances;
mod within_bounds;
mod world;

pub use graph::Graph;
pub use node::{Algorithm, Fault, Message, Node, Note};
pub use world::Elections;
