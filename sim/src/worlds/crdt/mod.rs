//! Data types that converge without coordination: counters, sets, maps, text.
//!
//! # The idea
//! Shapiro, Preguiça, Baquero, Zawirski, *Conflict-free Replicated Data Types* (2011); Roh and others, *Replicated
//! abstract data types* (RGA, 2011). Each replica changes its own copy at once and sends its state to others now and
//! then. Merging is commutative, associative and idempotent, so loss, repetition and reordering only cost time. The
//! counter and the last-writer-wins map are those of `cluster::member`; beside them are a PN-counter, an OR-set (an
//! element that is added and removed at once stays: only tags that were seen are removed) and an RGA text.
//!
//! # What must hold
//! [`converged`]: replicas that have heard the same are equal, in the end all are. [`intent`]: the counter is the sum of
//! all that was counted; what was added and never removed is in the set; the text has every character that was inserted
//! and not deleted, each once. [`laws`]: the merge laws, on states of the world itself. Planted: a merge that takes the
//! other's value, a set that removes what it has not seen, a text whose order depends on arrival.

mod converged;
mod intent;
mod laws;
mod node;
mod types;
mod world;

pub use node::{Node, Note};
pub use types::{Fault, OrSet, PnCounter, Replica, Text};
pub use world::Crdts;
