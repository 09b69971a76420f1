//! The KD-tree partitioner: cuts the plane into cells that hold about equally many points.
//!
//! Spatial data is heaped up where people live, so a grid leaves most cells empty and a few overfull. A KD-tree follows
//! the data: take a [`sample`](Sampler), split it at the median of its longer side, and go on with both halves until
//! there are as many cells as wanted. (Where runs of equal values make that cut uneven, the other side is tried.) All of it is f64: neighbouring values in f32 would fall into one.
//!
//! # Invariants
//! - The cells cover the whole plane and do not overlap: each point, also one that the sample did not see or that is not
//!   finite, is in exactly one.
//! - A heap of equal points is never split; cells that it cannot use go to its neighbours.
//! - The same points and seed give the same tree.

mod draw;
mod sample;
mod tree;

pub use draw::svg;
pub use sample::Sampler;
pub use tree::KdTree;

#[cfg(test)]
mod tests;
