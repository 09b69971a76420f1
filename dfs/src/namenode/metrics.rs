//! Gauges for `/metrics`.

use std::sync::Arc;

use host::metrics::{Gauge, register};
use prometheus::Registry;

use super::state::NameNode;

const GAUGES: &[Gauge<NameNode>] = &[
    ("dfs_namenode_files", "Files in the namespace.", |node| {
        node.lock().names.file_count()
    }),
    ("dfs_namenode_inodes", "Files and directories.", |node| {
        node.lock().names.inode_count()
    }),
    ("dfs_namenode_blocks", "Blocks.", |node| node.lock().blocks.len() as u64),
    ("dfs_namenode_open_files", "Files that are being written.", |node| {
        node.lock().names.leases().open_files() as u64
    }),
    (
        "dfs_namenode_live_datanodes",
        "Data nodes that were heard of.",
        |node| node.lock().blocks.live_nodes().count() as u64,
    ),
    (
        "dfs_namenode_under_replicated_blocks",
        "Blocks with fewer replicas than wanted.",
        |node| node.lock().blocks.health().under_replicated,
    ),
    (
        "dfs_namenode_corrupt_blocks",
        "Blocks with a corrupt replica.",
        |node| node.lock().blocks.health().corrupt,
    ),
    (
        "dfs_namenode_missing_blocks",
        "Blocks without a good replica.",
        |node| node.lock().blocks.health().missing,
    ),
    (
        "dfs_namenode_future_replicas",
        "Replicas with a block id or generation stamp that was never given out.",
        |node| node.lock().blocks.future().0,
    ),
    ("dfs_namenode_safe_mode", "1 in safe mode.", |node| {
        u64::from(node.lock().blocks.in_safe_mode())
    }),
    (
        "dfs_namenode_capacity_bytes",
        "Bytes that live data nodes have.",
        |node| node.lock().blocks.usage().capacity,
    ),
    ("dfs_namenode_used_bytes", "Bytes of replicas.", |node| {
        node.lock().blocks.usage().used
    }),
    ("dfs_namenode_changes", "Changes that were asked for.", |node| {
        node.operations.load(std::sync::atomic::Ordering::Relaxed)
    }),
    ("dfs_namenode_edit_syncs", "Times the edit log was synced.", |node| {
        node.journal_stats().groups
    }),
    ("dfs_namenode_edit_bytes", "Bytes written to the edit log.", |node| {
        node.journal_stats().bytes
    }),
];

pub fn registry(node: &Arc<NameNode>) -> Result<Registry, prometheus::Error> {
    let registry = Registry::new();
    register(&registry, node, GAUGES)?;
    Ok(registry)
}
