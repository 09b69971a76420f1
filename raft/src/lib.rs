//! Consensus: one log that several machines agree on.
//!
//! [`consensus`] decides: a pure core, told what happens and answering with what is to be done. [`log`] is the write-ahead
//! log under it. The coordinator and the name node write every change to a log before they acknowledge it, so a process that
//! was killed finds all of it again. [`node`] drives both on threads and sockets, and is the only room that meets any.

pub mod consensus;
pub mod log;
pub mod node;
