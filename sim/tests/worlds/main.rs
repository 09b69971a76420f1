//! Worlds, some seconds of them.
//!
//! First of all, a seed must be a world: the same one twice gives the same trace. Then come the seeds that ever failed,
//! then fresh ones. A fresh seed that fails is printed with the command that replays it; it goes into `seeds.txt`.
#![allow(clippy::unwrap_used, reason = "a test")]

mod claims;
mod determinism;
mod explored;
mod fresh;
mod net;
mod past;
