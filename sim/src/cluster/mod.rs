//! A cluster: members that run the consensus of `raft` over a simulated network, disk and clock.
//!
//! # What it is
//! The driver of the core, as the real node is one, but with the world's events in place of sockets and threads: it
//! carries out every effect, late, twice or never where the world says so, and keeps to the two rules of
//! `raft::consensus::Effects` and to nothing more. Writes become durable some time after they were queued, several at
//! once as group commit does, and are reported in any order; entries are applied later than they are committed; snapshots
//! travel slowly.
//!
//! # How it moves
//! A scenario takes the next [`Happening`] from the heap and hands it back to [`Cluster::handle`], except its own. What a
//! scenario must know (an answer, a refusal, a start) is collected in [`Cluster::take_told`]. Each step of each member is
//! shown to the [`Observer`], which holds all invariants; the first that breaks ends the world.
//!
//! # Where it stops
//! The node's code on tokio is not run here; real processes test that. The disk of most worlds keeps entries, not bytes; in
//! one in eight the real log runs beside it.

mod applying;
mod chaos;
mod disk;
mod driver;
mod effects;
mod host;
mod life;
mod machine;
mod observer;
mod plan;
mod stable;
mod storage;

pub use disk::Loss;
pub use driver::{Cluster, Happening, Told};
pub use host::{Host, Letter};
pub use machine::Machine;
pub use observer::{Observer, digest_of_bytes};
pub use plan::{Faults, Plan, weather};
