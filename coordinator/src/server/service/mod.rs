//! gRPC's services, one file each: they translate between the protocol and the node.
//!
//! [`lock`] and [`election`] stand on the [`lock_queue`], which stands on [`kv`] and [`lease`].

pub(in crate::server) mod auth;
pub(in crate::server) mod cluster;
pub(in crate::server) mod downgrade;
pub(in crate::server) mod election;
pub(in crate::server) mod health;
pub(in crate::server) mod kv;
pub(in crate::server) mod lease;
pub(in crate::server) mod lock;
pub(in crate::server) mod lock_queue;
pub(in crate::server) mod maintenance;
pub(in crate::server) mod snapshot;
pub(in crate::server) mod watch;
