//! One member of the cluster: the [`node`] that all services share, and what moves it.
//!
//! A request becomes an entry ([`propose`]), consensus agrees on it (`raft::node`), the [`applier`] carries it out and answers.
//! [`state_machine`] is where consensus hands over. Tasks beside that: leases that expire ([`expiry`]) or are renewed
//! ([`renewal`]), snapshots for members that are far behind ([`snapshot_transfer`]), comparison of the members' keys
//! ([`corruption`]).

pub(in crate::server) mod applier;
pub(in crate::server) mod auto_compaction;
pub(in crate::server) mod corruption;
pub(in crate::server) mod expiry;
pub(in crate::server) mod force_new_cluster;
pub(in crate::server) mod hashes;
pub(in crate::server) mod hashing;
pub(in crate::server) mod node;
pub(in crate::server) mod peer_streams;
pub(in crate::server) mod peer_traffic;
pub(in crate::server) mod peers;
pub(in crate::server) mod propose;
pub(in crate::server) mod quota;
pub(in crate::server) mod refusal;
pub(in crate::server) mod renewal;
pub(in crate::server) mod snapshot_transfer;
pub(in crate::server) mod state_machine;
pub(in crate::server) mod work;
