//! Three kinds of clocks on nodes whose time is wrong: physical, logical, hybrid.
//!
//! # The idea
//! Lamport, *Time, Clocks, and the Ordering of Events* (1978); Kulkarni, Demirbas and others, *Logical Physical Clocks*
//! (2014). Nodes write to each other's registers and read them; clocks differ by up to a quarter of a second and run too
//! fast or too slow, as NTP leaves them. Each event is stamped by all three clocks. Physical stamps say that effects came
//! before their causes (counted, not hidden). Logical ones never do, but say nothing of the time. Hybrid stamps
//! (`cluster::hlc`) keep the order and stay within the clocks' difference of real time.
//!
//! # What must hold
//! [`causal_order`]: a hybrid and a logical stamp is above those of all that it may have been caused by.
//! [`bounded_drift`]: a hybrid stamp is no farther from real time than the worst clock. [`read_your_writes`]: a replica
//! that has not reached the stamp in a client's token makes the client wait, so it reads what it wrote. Planted: stamps
//! that are not merged, and a replica that ignores the token.

mod bounded_drift;
mod causal_order;
mod node;
mod read_your_writes;
mod world;

pub use node::{Message, Node, Note};
pub use world::{Clocks, Fault};
