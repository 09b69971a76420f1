//! What /metrics shows.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Buckets of an fdatasync, in seconds: from a fast NVMe to a disk in trouble.
const SYNC_BUCKETS: &[f64] = &[0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0];

#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    pub(super) requests: IntCounterVec,
    pub(super) connections: IntGauge,
    pub(super) produced_bytes: IntCounter,
    pub(super) produced_batches: IntCounter,
    pub(super) fetched_bytes: IntCounter,
    pub(super) sync_seconds: Histogram,
    pub(super) topics: IntGauge,
    pub(super) partitions: IntGauge,
    pub(super) partitions_offline: IntGauge,
    pub(super) group_members: IntGauge,
}

impl Metrics {
    pub(super) fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let metrics = Self {
            requests: IntCounterVec::new(Opts::new("log_broker_requests_total", "Requests by call"), &["api"])?,
            connections: IntGauge::new("log_broker_connections", "Open client connections")?,
            produced_bytes: IntCounter::new("log_broker_produced_bytes_total", "Bytes of batches that were appended")?,
            produced_batches: IntCounter::new("log_broker_produced_batches_total", "Batches that were appended")?,
            fetched_bytes: IntCounter::new("log_broker_fetched_bytes_total", "Bytes of batches that were read")?,
            sync_seconds: Histogram::with_opts(
                HistogramOpts::new("log_broker_sync_seconds", "Time of an fdatasync").buckets(SYNC_BUCKETS.to_vec()),
            )?,
            topics: IntGauge::new("log_broker_topics", "Topics")?,
            partitions: IntGauge::new("log_broker_partitions", "Partitions")?,
            partitions_offline: IntGauge::new("log_broker_partitions_offline", "Partitions that cannot be used")?,
            group_members: IntGauge::new("log_broker_group_members", "Members of consumer groups")?,
            registry,
        };
        let registry = &metrics.registry;
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.connections.clone()))?;
        registry.register(Box::new(metrics.produced_bytes.clone()))?;
        registry.register(Box::new(metrics.produced_batches.clone()))?;
        registry.register(Box::new(metrics.fetched_bytes.clone()))?;
        registry.register(Box::new(metrics.sync_seconds.clone()))?;
        registry.register(Box::new(metrics.topics.clone()))?;
        registry.register(Box::new(metrics.partitions.clone()))?;
        registry.register(Box::new(metrics.partitions_offline.clone()))?;
        registry.register(Box::new(metrics.group_members.clone()))?;
        Ok(metrics)
    }

    pub(super) fn registry(&self) -> Registry {
        self.registry.clone()
    }
}
