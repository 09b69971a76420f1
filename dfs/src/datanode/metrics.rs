//! Numbers for `/metrics`, gathered when asked for.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGauge, Registry};

use super::DataNode;

/// Where a number comes from.
type Source = fn(&DataNode) -> u64;
/// A name, what it says, and where it comes from.
type Number = (&'static str, &'static str, Source);

const NUMBERS: &[Number] = &[
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

struct Numbers {
    node: Arc<DataNode>,
    gauges: Vec<(IntGauge, Source)>,
}

impl Collector for Numbers {
    fn desc(&self) -> Vec<&Desc> {
        self.gauges.iter().flat_map(|(gauge, _)| gauge.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        for (gauge, number) in &self.gauges {
            gauge.set(number(&self.node) as i64);
        }
        self.gauges.iter().flat_map(|(gauge, _)| gauge.collect()).collect()
    }
}

pub fn registry(node: &Arc<DataNode>) -> Result<Registry, prometheus::Error> {
    let registry = Registry::new();
    let gauges = NUMBERS
        .iter()
        .map(|(name, help, number)| Ok((IntGauge::new(*name, *help)?, *number)))
        .collect::<Result<Vec<_>, prometheus::Error>>()?;
    registry.register(Box::new(Numbers {
        node: Arc::clone(node),
        gauges,
    }))?;
    Ok(registry)
}
