//! Gossip: `cluster::member` in clusters of some to thousands of members.
//!
//! # The idea
//! Das, Gupta, Motivala, *SWIM* (2002), and Lifeguard (Dadgar, Phillips, Currey, 2017); see `cluster::member` for what
//! each does. The claim: a death is detected in a time that does not depend on the size, all hear of it in a time that
//! grows with its logarithm, and what a member sends does not depend on the size at all. `sim measure --scenario gossip`
//! prints it.
//!
//! # What must hold
//! [`completeness`]: long after a death every living member knows. [`accuracy`]: nobody who runs is declared dead while
//! the network loses no more than one packet in fifty and no process is paused. [`same_view`]: in the end all living
//! members agree on who lives: who was declared dead while it was paused or cut off has refuted. Packets never exceed
//! their limit.
//!
//! # Planted
//! A member that is suspected at the first missed answer, and one that never refutes: lines of the production core.

mod accuracy;
mod completeness;
mod measure;
mod node;
mod same_view;
mod world;

pub use measure::{Row, measure, measure_one};
pub use node::{Note, Swimmer};
pub use world::{Fault, Gossip};
