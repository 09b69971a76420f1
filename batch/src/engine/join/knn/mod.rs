//! Nearest-neighbour joins: `… JOIN s ON ST_KNN(q.g, s.g, k [, use_sphere])`.
//!
//! For each row of the side of the first geometry (the queries) the k nearest rows of the side of the second (the
//! objects). What is near depends on all objects, so a filter must not sink beneath the join: [`KnnRule`] replaces the
//! join by a node of its own, [`KnnJoin`], before the optimizer runs, and puts what else the condition and the WHERE
//! say above it. A filter inside a subquery of the objects applies before, as it is written.
//!
//! Supported are inner joins, and outer joins that keep the queries.

mod exec;
mod node;
mod rule;

pub use node::KnnJoin;
pub use rule::{KnnRule, Planner};
