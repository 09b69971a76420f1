//! Gauges for `/metrics`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use host::metrics::{Gauge, register};
use prometheus::Registry;

use super::DataNode;

const GAUGES: &[Gauge<DataNode>] = &[
    ("dfs_datanode_replicas", "Replicas on disk.", |node| {
        node.store.len() as u64
    }),
    ("dfs_datanode_used_bytes", "Bytes of replicas.", |node| {
        node.store.used()
    }),
    ("dfs_datanode_capacity_bytes", "Bytes of the disk.", |node| {
        node.store.space().0
    }),
    (
        "dfs_datanode_remaining_bytes",
        "Bytes of the disk that are left.",
        |node| node.store.space().1,
    ),
    ("dfs_datanode_connections", "Connections for block contents.", |node| {
        node.connections.load(Ordering::Relaxed).into()
    }),
    (
        "dfs_datanode_transfers",
        "Copies to other data nodes under way.",
        |node| node.transfers.load(Ordering::Relaxed).into(),
    ),
    ("dfs_datanode_read_bytes", "Bytes of replicas that were read.", |node| {
        node.read_bytes.load(Ordering::Relaxed)
    }),
    ("dfs_datanode_registered", "1 while the name node answers.", |node| {
        node.is_registered().into()
    }),
];

pub fn registry(node: &Arc<DataNode>) -> Result<Registry, prometheus::Error> {
    let registry = Registry::new();
    register(&registry, node, GAUGES)?;
    Ok(registry)
}
