//! The simulated world: whole clusters in one thread, broken on purpose, replayed by a seed.
//!
//! # What it is
//! The parts of Bonsai that decide are pure: they are told what happened and the time, and say what is to be done. So a
//! cluster of them needs no threads and no waiting: [`world`] has a heap of events, a network, clocks and chance, all drawn
//! from one seed; [`cluster`] drives members of `raft::consensus` in it; a scenario puts a state machine on top and
//! clients in front. Minutes of a cluster's life take milliseconds, and whatever goes wrong goes wrong again with the
//! same seed.
//!
//! # How it finds out
//! [`invariant`] has one file for each thing that must always hold, asked after every step. [`history`] searches what
//! clients saw for an order that explains it. [`planted`] turns the question around: known faults are planted, and the net
//! must catch each of them.
//!
//! # Rooms
//! - [`world`]: time, chance, network, clocks, the trace.
//! - [`cluster`]: members with their disks, and the harm done to them.
//! - [`invariant`], [`history`]: what must hold.
//! - [`registers`]: the scenario `raft`; [`coordination`]: the scenario `coordinator`.
//! - [`actor`]: a step for a message, a step for a timer, a disk; any core, in a world of its own. [`worlds`]: those
//!   worlds.
//! - [`soak`], [`planted`], [`cli`]: running many worlds; the only rooms with a real clock.
//!
//! # Where it stops
//! What runs here is the deciding code, not its drivers: sockets, threads and the kernel's disk are tested with real
//! processes. Nothing of ours depends on this crate but for tests.

pub mod actor;
pub mod cli;
pub mod cluster;
pub mod coordination;
pub mod history;
pub mod invariant;
pub mod outcome;
pub mod planted;
pub mod registers;
pub mod scenario;
pub mod soak;
pub mod world;
pub mod worlds;
