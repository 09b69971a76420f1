//! Consensus: one log that several machines agree on.
//!
//! What is here today is what consensus stands on: [`log`], the write-ahead log. The coordinator and the name node write
//! every change to it before they acknowledge it, so a process that was killed finds all of it again. The deciding core
//! (terms, votes, commitment) and the node that drives it come above the log without changing it: an entry of consensus
//! is a record whose payload begins with its term.
//!
//! Deliberately missing until then: replication. A log of one machine is as durable as its disk.

pub mod log;
