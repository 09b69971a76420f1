//! The coordinator: etcd's v3 API on a multi-version store.
//!
//! # Rooms
//! - [`store`]: every key at every revision since the last compaction.
//! - [`lease`]: times to live that keys are attached to.
//! - [`watch`]: who is told what, in which order.
//! - [`auth`]: users, roles and permissions on ranges of keys.
//! - [`compaction`]: when history is forgotten without being asked.
//! - [`corruption`]: whose copy of the keys is wrong, by the hashes of all members.
//! - [`snapshot`]: the whole state as one file of etcd's format, written and read.
//! - [`members`]: who belongs to the cluster, and which changes of that are wise.
//! - [`machine`]: the replicated state machine of these, changed only by entries of the log.
//! - [`server`]: sockets, disk, clock, threads; the only room with any.
//!
//! # How a put moves
//! `server` checks it and proposes it to consensus (`raft::node`), which sends it to the other members and makes it durable
//! together with whatever else waits; once a majority has it, the applier, one thread, gives it to the machine in the log's
//! order, its change to the watchers and the answer to the client. A member that does not lead forwards it to the one that
//! does. Reads look at the machine and wait for no one's disk; with several members they ask first whether their leader
//! still is one, many reads with one question. Every second or so the persister, another thread, moves
//! what is new into a `redb` file together with the index of the last entry in it, and the log behind it is purged.
//!
//! # Where it stops
//! Members are changed one at a time. What is not served answers gRPC's UNIMPLEMENTED.

pub mod auth;
pub mod compaction;
pub mod corruption;
mod duration;
mod error;
pub mod lease;
pub mod machine;
pub mod members;
mod plant;
pub mod server;
pub mod snapshot;
pub mod store;
pub mod watch;

use std::ffi::OsString;
use std::process::ExitCode;

pub use error::Error;
#[cfg(feature = "planted-faults")]
pub use plant::{Plant, plant};

/// The program's entry point; the first argument is the program's name.
pub fn main(argv: impl IntoIterator<Item = OsString>) -> ExitCode {
    server::main(argv)
}
