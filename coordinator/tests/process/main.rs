//! The real program as a process of its own: killed, given garbage, refused.

mod catching_up;
mod client;
mod cluster;
mod compaction;
mod coordination;
mod corruption;
mod downgrade;
mod equal_hashes;
mod force_new_cluster;
mod garbage;
mod gateway;
mod handover;
mod kill;
mod lease_checkpoints;
mod maintenance;
mod many_watchers;
mod members;
mod moving;
mod peer_security;
mod program;
mod require_leader;
mod security;
mod start;
