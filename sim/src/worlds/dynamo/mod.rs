//! Dynamo: writes that are never refused, and what it costs to find out what is true.
//!
//! # The idea
//! DeCandia and others, *Dynamo: Amazon's Highly Available Key-value Store* (2007). A key has a preference list on a ring
//! (`cluster::ring`). A write goes to the first N nodes that answer, whoever they are (*sloppy quorum*); a stand-in keeps
//! a *hint* and hands the value over later. A read asks several and *repairs* those that are behind. In the background
//! replicas compare *Merkle trees*. Versions carry what they have seen; two that have not seen each other are kept as
//! *siblings*, and the client merges them: here a shopping cart, whose merge is the union.
//!
//! A version's past is kept as a set of dots (node, number), not as a vector: with a vector of one entry a coordinator,
//! two writes through the same coordinator hide each other although neither saw the other (Preguiça and others, *Dotted
//! Version Vectors*, 2010).
//!
//! # What must hold
//! [`nothing_lost`]: an item whose addition was acknowledged is in the cart in the end. [`converged`]: in the end all
//! nodes of a key's preference list hold the same. Planted: the last writer wins by clocks that are wrong (a write is
//! lost, and it is shown), a hint that is thrown away, repair and comparison that are off.

mod converged;
mod node;
mod nothing_lost;
mod versions;
mod world;

pub use node::{Fault, Message, Node, Note};
pub use versions::{Version, Versions};
pub use world::Dynamo;
