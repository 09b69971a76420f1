//! The real name node and data nodes, as clients, operators and attackers see them.

#![allow(clippy::unwrap_used, reason = "the helpers of a test are test code")]

mod cluster;
mod hdfs_native;
mod hygiene;
mod recovery;
mod webhdfs;
