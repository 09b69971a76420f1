//! Gauges for `/metrics`.

use std::sync::Arc;

use host::metrics::{Gauge, register};
use prometheus::Registry;

use super::state::NameNode;

const GAUGES: &[Gauge<NameNode>] = &[
    ("dfs_namenode_files", "Files in the namespace.", |node| {
        node.lock().replicated.names.file_count()
    }),
    ("dfs_namenode_inodes", "Files and directories.", |node| {
        node.lock().replicated.names.inode_count()
    }),
    ("dfs_namenode_blocks", "Blocks.", |node| {
        node.lock().soft.blocks.len() as u64
    }),
    ("dfs_namenode_open_files", "Files under construction.", |node| {
        node.lock().replicated.names.leases().open_files() as u64
    }),
    ("dfs_namenode_live_datanodes", "Live data nodes.", |node| {
        node.lock().soft.blocks.live_nodes().count() as u64
    }),
    (
        "dfs_namenode_under_replicated_blocks",
        "Under-replicated blocks.",
        |node| node.lock().soft.blocks.health().under_replicated,
    ),
    (
        "dfs_namenode_corrupt_blocks",
        "Blocks with a corrupt replica.",
        |node| node.lock().soft.blocks.health().corrupt,
    ),
    (
        "dfs_namenode_missing_blocks",
        "Missing blocks: no live replica is intact.",
        |node| node.lock().soft.blocks.health().missing,
    ),
    (
        "dfs_namenode_future_replicas",
        "Replicas with a block id or generation stamp that was never given out.",
        |node| node.lock().soft.blocks.future().0,
    ),
    ("dfs_namenode_safe_mode", "1 in safe mode.", |node| {
        u64::from(node.lock().soft.blocks.in_safe_mode())
    }),
    ("dfs_namenode_capacity_bytes", "Capacity of live data nodes.", |node| {
        node.lock().soft.blocks.usage().capacity
    }),
    ("dfs_namenode_used_bytes", "Bytes of replicas.", |node| {
        node.lock().soft.blocks.usage().used
    }),
    ("dfs_namenode_changes", "Transactions requested.", |node| {
        node.operations.load(std::sync::atomic::Ordering::Relaxed)
    }),
    ("dfs_namenode_edit_syncs", "Edit log syncs.", |node| {
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
