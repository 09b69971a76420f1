//! Hadoop RPC over TCP: the server that name node and data node answer on, and the client that data nodes call with.
//!
//! A connection opens with a preamble, maybe a SASL negotiation (answered with "not needed"), and a context that names the
//! user; then calls come, many at a time, and are answered in the order in which they are done. The server trusts the
//! user's name, as HDFS does without Kerberos.

mod client;
mod server;

pub use client::{CallError, Client};
pub use server::{Call, Service, serve};

/// What clients of the name node speak.
pub const CLIENT_PROTOCOL: &str = "org.apache.hadoop.hdfs.protocol.ClientProtocol";
/// What clients ask a data node's IPC port.
pub const CLIENT_DATANODE_PROTOCOL: &str = "org.apache.hadoop.hdfs.protocol.ClientDatanodeProtocol";
/// Between HDFS' name nodes; a benchmark asks it for the version.
pub const NAMENODE_PROTOCOL: &str = "org.apache.hadoop.hdfs.server.protocol.NamenodeProtocol";
/// Users and their groups, for administrators.
pub const REFRESH_USER_MAPPINGS_PROTOCOL: &str = "org.apache.hadoop.security.RefreshUserMappingsProtocol";
pub const GET_USER_MAPPINGS_PROTOCOL: &str = "org.apache.hadoop.tools.GetUserMappingsProtocol";
/// Hadoop's question which methods a server has.
pub const PROTOCOL_INFO: &str = "org.apache.hadoop.ipc.ProtocolMetaInfoPB";
/// Data node to name node, data node to data node: our own.
pub const CLUSTER_PROTOCOL: &str = "bonsai.dfs.ClusterProtocol";
