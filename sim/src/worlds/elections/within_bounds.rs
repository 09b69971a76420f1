//! No more messages than the textbook allows.

use super::Algorithm;
use crate::invariant::{Check, require};

/// The bound, announcements of the winner included.
pub fn bound(algorithm: Algorithm, nodes: u64, diameter: u64, directed_edges: u64) -> u64 {
    let log = u64::from(nodes.next_power_of_two().trailing_zeros());
    match algorithm {
        Algorithm::FloodMax => diameter * directed_edges,
        Algorithm::Lcr => nodes * (nodes + 1) / 2 + nodes,
        Algorithm::Hs => 8 * nodes * (1 + log) + nodes,
        // Each edge is explored and answered once from each end; each layer goes down the tree and back, and once more to
        // end.
        Algorithm::LayeredBfs => 2 * directed_edges + 2 * nodes * (diameter + 2),
    }
}

pub fn within_bounds(algorithm: Algorithm, messages: u64, bound: u64) -> Check {
    require(messages <= bound, "within_bounds", || {
        format!("{algorithm:?} took {messages} messages, the bound is {bound}")
    })
}
