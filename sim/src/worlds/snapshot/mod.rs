//! A consistent cut of a network in which money is always on its way.
//!
//! # The idea
//! Chandy and Lamport, *Distributed Snapshots* (1985). Whoever begins notes its state and sends a marker on each channel;
//! who gets a first marker does the same, and from then on notes what arrives on every other channel until that channel's
//! marker. Channels keep order, so the notes of all nodes and channels together are a state that the network could have
//! been in: no money is missing, none is there twice. A naive cut asks everyone for the balance and loses what is on its
//! way.
//!
//! # The bridge to stream
//! `stream`'s barriers are these markers, in a graph without cycles: aligned barriers hold a channel back instead of
//! noting what arrives on it, unaligned ones note it.
//!
//! # What must hold
//! [`conserved`]: the money of a cut is all the money there is. [`complete`]: every cut that was begun ends. Planted:
//! channels are not noted (the naive cut), and markers that are overtaken.

mod complete;
mod conserved;
mod node;
mod world;

pub use node::{Fault, Message, Node, Note};
pub use world::Snapshot;
