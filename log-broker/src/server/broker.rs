//! What all connections share.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use disk::Disk;
use host::Shutdown;
use log_broker_wire::ErrorCode;

use super::coordinator::Coordinator;
use super::dispatch::Client;
use super::flusher::Flusher;
use super::gate::Gate;
use super::metrics::Metrics;
use super::partition::{Partition, Refused, lock};
use super::purgatory::Reached;
use super::request_memory::RequestMemory;
use super::topics::Topics;
use super::{Error, now_ms, transactions};
use crate::Flush;
use crate::log::Log;
use crate::property::BrokerProperties;

/// Compressed batches that are checked at a time; each may take as much memory as its codec's window, 128 MB at most.
const INFLATING_MAX: usize = 4;

/// The shortest pause between two looks at what has to be compacted.
const COMPACTION_PAUSE_MIN: Duration = Duration::from_millis(100);

/// The broker: topics, groups, and what they need.
#[derive(Debug)]
pub struct Broker {
    pub(super) properties: BrokerProperties,
    pub(super) node_id: i32,
    /// The host and port that clients are given; without a host, the address that a client came in on.
    pub(super) advertised: (Option<String>, u16),
    /// The address that is listened on.
    pub(super) listen: String,
    pub(super) topics: Topics,
    pub(super) groups: Coordinator,
    pub(super) transactions: transactions::Coordinator,
    pub(super) request_memory: RequestMemory,
    /// Through which compressed batches are checked.
    pub(super) inflating: Gate,
    flush: Flush,
    metrics: Arc<Metrics>,
    /// `None` once closed.
    flusher: RwLock<Option<Flusher>>,
    producer_ids: Mutex<std::ops::Range<i64>>,
    data: std::path::PathBuf,
}

impl Broker {
    /// Opens everything in `dir`. Blocks on the disk.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        properties: BrokerProperties,
        flush: Flush,
        advertised: (Option<String>, u16),
        listen: String,
    ) -> Result<Arc<Self>, Error> {
        let storage = |reason: String| Error::Storage {
            path: dir.display().to_string(),
            reason,
        };
        let metrics = Arc::new(Metrics::new().map_err(|error| storage(error.to_string()))?);
        let topics = Topics::open(Arc::clone(&disk), dir, properties.clone()).map_err(&storage)?;
        let groups = Coordinator::new(&properties);
        let flusher = Flusher::start(&metrics).map_err(|error| storage(error.to_string()))?;
        let broker = Self {
            transactions: transactions::Coordinator::new(&properties),
            node_id: properties.number("node.id") as i32,
            properties,
            advertised,
            listen,
            topics,
            groups,
            request_memory: RequestMemory::shared(),
            inflating: Gate::new(INFLATING_MAX),
            flush,
            metrics,
            flusher: RwLock::new(Some(flusher)),
            producer_ids: Mutex::new(0..0),
            data: dir.to_owned(),
        };
        let broker = Arc::new(broker);
        broker.groups.start(&broker, &disk, dir).map_err(storage)?;
        broker.measure();
        Ok(broker)
    }

    /// Where `client` reaches this broker.
    pub(super) fn advertised_to(&self, client: &Client) -> (String, u16) {
        let (host, port) = &self.advertised;
        (host.clone().unwrap_or_else(|| client.reached.to_string()), *port)
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    /// Whether everything can be served.
    ///
    /// # Errors
    /// Which partitions cannot.
    pub fn health(&self) -> Result<(), String> {
        let failures: Vec<String> = self.failures().collect();
        if failures.is_empty() {
            Ok(())
        } else {
            Err(failures.join("\n"))
        }
    }

    fn failures(&self) -> impl Iterator<Item = String> {
        let partitions = self
            .topics
            .all()
            .into_iter()
            .flat_map(|(_, topic)| topic.partitions.clone());
        partitions.filter_map(|partition| {
            partition
                .failure()
                .map(|reason| format!("{}/{}: {reason}", partition.topic, partition.index))
        })
    }

    /// Sets the gauges that nothing else keeps.
    pub(super) fn measure(&self) {
        let topics = self.topics.all();
        self.metrics.topics.set(topics.len() as i64);
        self.metrics
            .partitions
            .set(topics.iter().map(|(_, topic)| topic.partitions.len() as i64).sum());
        self.metrics.partitions_offline.set(self.failures().count() as i64);
        self.metrics.group_members.set(self.groups.member_count() as i64);
    }

    /// Sees to it that an appended batch becomes durable and visible; where that is `awaited`, the receiver tells when the
    /// high watermark has reached `end`.
    pub(super) fn settle(&self, partition: &Arc<Partition>, end: i64, awaited: bool) -> Option<Reached> {
        match self.flush {
            // The page cache counts as stable storage: Kafka's own policy.
            Flush::Os => {
                partition.flushed(end);
                awaited.then(|| partition.reached(end))
            }
            Flush::Sync => {
                let reached = awaited.then(|| partition.reached(end));
                let flusher = self.flusher.read().unwrap_or_else(PoisonError::into_inner);
                match &*flusher {
                    Some(flusher) => flusher.queue(partition),
                    None => partition.fail(&ErrorCode::NOT_LEADER_OR_FOLLOWER.into()), // The broker is closing.
                }
                reached
            }
        }
    }

    /// A producer id that was never given before. Blocks on the disk now and then.
    pub(super) fn next_producer_id(&self) -> Result<i64, Refused> {
        let mut block = lock(&self.producer_ids);
        if block.is_empty() {
            *block = self.topics.reserve_producer_ids()?;
        }
        block.next().ok_or_else(|| ErrorCode::UNKNOWN_SERVER_ERROR.into())
    }

    /// Syncs and closes everything. Blocks on the disk.
    pub(super) fn close(&self) {
        self.groups.close();
        let flusher = self.flusher.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(flusher) = flusher {
            flusher.close();
        }
        for (name, topic) in self.topics.all() {
            for partition in &topic.partitions {
                if let Err(refused) = partition.with_log(Log::close) {
                    tracing::warn!(
                        topic = name,
                        partition = partition.index,
                        ?refused,
                        "not closed in order"
                    );
                }
            }
        }
    }
}

/// Removes what retention no longer keeps, now and then.
pub(super) async fn retention(broker: Arc<Broker>, shutdown: Shutdown) {
    let pause = broker.properties.number("log.retention.check.interval.ms");
    let pause = Duration::from_millis(u64::try_from(pause).unwrap_or(1));
    while !shutdown.is_requested() {
        tokio::time::sleep(pause).await;
        let broker = Arc::clone(&broker);
        let round = tokio::task::spawn_blocking(move || {
            for (name, topic) in broker.topics.all() {
                for partition in &topic.partitions {
                    match partition.with_log(|log| log.apply_retention(now_ms())) {
                        Ok(0) => {}
                        Ok(segments) => {
                            tracing::info!(
                                topic = name,
                                partition = partition.index,
                                segments,
                                "removed by retention"
                            );
                        }
                        Err(refused) => {
                            tracing::warn!(topic = name, partition = partition.index, ?refused, "retention failed");
                        }
                    }
                }
            }
            broker.measure();
        });
        let _ = round.await;
    }
}

/// Compacts the logs of compacted topics, one after the other, where it is due.
pub(super) async fn compaction(broker: Arc<Broker>, shutdown: Shutdown) {
    let pause = broker.properties.number("log.cleaner.backoff.ms");
    let pause = Duration::from_millis(u64::try_from(pause).unwrap_or(0)).max(COMPACTION_PAUSE_MIN);
    while !shutdown.is_requested() {
        tokio::time::sleep(pause).await;
        let (broker, shutdown) = (Arc::clone(&broker), shutdown.clone());
        let round = tokio::task::spawn_blocking(move || {
            let compacted = broker
                .topics
                .all()
                .into_iter()
                .filter(|(_, topic)| topic.limits.keys_required);
            for (name, topic) in compacted {
                for partition in &topic.partitions {
                    if shutdown.is_requested() {
                        return;
                    }
                    compact(&name, partition);
                }
            }
        });
        let _ = round.await;
    }
}

fn compact(topic: &str, partition: &Partition) {
    match partition.with_log(|log| log.compact(now_ms())) {
        Ok(None) => {}
        Ok(Some(done)) => {
            let (before, after) = (done.bytes_before, done.bytes_after);
            tracing::info!(topic, partition = partition.index, before, after, "compacted");
        }
        Err(refused) => tracing::warn!(topic, partition = partition.index, ?refused, "compaction failed"),
    }
}
