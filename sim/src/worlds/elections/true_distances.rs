//! Depth in the tree is distance in the graph.

use crate::invariant::{Check, require};

pub fn true_distances(depths: &[Option<u64>], distances: &[u64]) -> Check {
    for (node, (depth, distance)) in depths.iter().zip(distances).enumerate() {
        require(*depth == Some(*distance), "true_distances", || {
            format!("{node} is {distance} from the root and takes itself to be {depth:?} away")
        })?;
    }
    Ok(())
}
