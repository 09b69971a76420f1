//! Checkpoints: a job's state at one consistent cut, and the point at which it counts.
//!
//! The protocol is Chandy-Lamport with aligned barriers. The runtime asks every source for epoch `e`; each source notes
//! its position and sends a barrier behind the rows it has emitted; each task takes its snapshot when the barrier has
//! come on all its inputs; a sink makes its files durable but invisible and hands back a *committable*. When all tasks
//! have answered, everything is written into one directory, which a rename **publishes**: that is the commit point.
//! Only then are the committables committed, which may happen again after a restart and must change nothing then.
//!
//! - [`Coordinator`] decides, purely: it takes what tasks report and says what to do next.
//! - [`Store`] writes and reads epochs through [`disk::Disk`]. A manifest has a checksum of itself and of each file, so a
//!   damaged newest epoch is passed over for the one before. An old epoch goes only after a newer one is durable.
//! - An *incarnation* number fences: a process that has been replaced cannot publish.

mod coordinator;
mod manifest;
mod store;
#[cfg(test)]
mod stories;

pub use coordinator::{Coordinator, Effect, Happened};
pub use manifest::{TaskId, TaskState};
pub use store::Store;
