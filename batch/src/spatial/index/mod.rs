//! What a spatial join asks of its build side.
//!
//! [`Candidates`] answers "which rows' boxes meet this box": each build row is put into exactly one cell of a KD-tree
//! (that of its box's centre), and each cell keeps a packed R-tree over its rows' whole boxes. A probe box visits the
//! cells whose *actual* bounds it meets, so a build row that reaches over a border is found there too, and once only:
//! no pair is lost and none comes twice, without any removal of duplicates.
//!
//! [`Neighbors`] answers "which k rows are nearest", in the plane or on the sphere, exactly, ties in a fixed order.

mod candidates;
mod neighbors;
#[cfg(test)]
mod tests;

pub use candidates::Candidates;
pub use neighbors::{Metric, Neighbors};
