//! A controller that makes the actual state the ideal one, while nodes die and its commands are lost.
//!
//! # The idea
//! Gopalakrishna and others, *Untangling Cluster Management with Helix* (2012). `cluster::reconcile` computes the next
//! moves and `cluster::spread` the ideal placement over racks. Here nodes hold copies, copying takes time, the ideal
//! changes, nodes crash with what they were copying, and the controller sees only what nodes report.
//!
//! # What must hold
//! [`minimum`]: no command of the controller takes a resource below its minimum of live complete copies; only deaths may.
//! [`settled`]: long after all is mended, the actual state is the ideal one, leaders too, and no rack holds two copies
//! while another has none. Planted: copies are dropped before others are complete.

mod minimum;
mod node;
mod settled;
mod world;

pub use node::{Message, Node, Note};
pub use world::Reconcile;
