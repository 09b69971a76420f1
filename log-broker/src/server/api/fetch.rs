//! Fetch: batches as they lie in the segments, and the long poll.
//!
//! The batches of an answer stay in their files until its turn to be sent comes: here only their places are found, by the
//! index and a few headers. Where those are not in the page cache, this worker's other tasks move to another thread.

use std::sync::Arc;
use std::time::Duration;

use log_broker_wire::messages::fetch::{
    AbortedTransaction as WireAborted, FetchRequest, FetchResponse, FetchTopic, FetchableTopicResponse, PartitionData,
};
use log_broker_wire::{ErrorCode, Records};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::super::broker::Broker;
use super::super::off_worker;
use super::super::partition::{Partition, Refused};
use crate::log::{AbortedTransaction, Extent, LogError, locate_batches};

/// From this version on topics are named by their ids.
const BY_ID: i16 = 13;

/// Longest that a request may ask to wait.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// The isolation level that hides what is not committed: such a fetch ends at the last stable offset, and its answer lists
/// the aborted transactions among its records.
const READ_COMMITTED: i8 = 1;

/// The response, and the places of the records that it leaves out, in their order.
pub(in super::super) async fn answer(
    broker: &Arc<Broker>,
    request: FetchRequest,
    version: i16,
) -> (FetchResponse, Vec<Extent>) {
    // Sessions are never begun, so no client can be in one.
    if request.session_id != 0 {
        let refused = FetchResponse {
            error_code: ErrorCode::FETCH_SESSION_ID_NOT_FOUND.0,
            ..Default::default()
        };
        return (refused, Vec::new());
    }
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)).min(WAIT_MAX);
    let deadline = Instant::now() + wait;
    let min_bytes = usize::try_from(request.min_bytes).unwrap_or(0);
    let wanted = Wanted::resolve(broker, &request, version);
    let waiter = Arc::new(Notify::new());
    loop {
        // First the waiter, then the look: what comes in between is noticed.
        let may_wait = Instant::now() < deadline && min_bytes > 0;
        if may_wait {
            wanted.partitions().for_each(|partition| partition.poll_with(&waiter));
        }
        let found = wanted.find(broker, &request, true);
        let found = match found {
            Some(found) => found,
            None => off_worker(|| wanted.find(broker, &request, false)).unwrap_or_default(),
        };
        if !may_wait || found.bytes >= min_bytes || found.failed {
            broker.metrics().fetched_bytes.inc_by(found.bytes as u64);
            return (found.response, found.extents);
        }
        drop(found);
        // After the deadline one more look, which then answers.
        let _timed_out = timeout_at(deadline, waiter.notified()).await;
    }
}

/// The topics of a request, looked up once.
struct Wanted<'a>(Vec<WantedTopic<'a>>);

struct WantedTopic<'a> {
    asked: &'a FetchTopic,
    name: String,
    /// Beside each partition that was asked for, what there is.
    found: Vec<Option<Arc<Partition>>>,
    /// What is said of those that are not there.
    missing: ErrorCode,
}

impl<'a> Wanted<'a> {
    fn resolve(broker: &Broker, request: &'a FetchRequest, version: i16) -> Self {
        let resolve = |topic: &'a FetchTopic| {
            let (name, found) = if version >= BY_ID {
                broker
                    .topics
                    .get_by_id(topic.topic_id)
                    .map_or((String::new(), None), |(name, found)| (name, Some(found)))
            } else {
                (topic.topic.clone(), broker.topics.get(&topic.topic))
            };
            let missing = if found.is_none() && version >= BY_ID {
                ErrorCode::UNKNOWN_TOPIC_ID
            } else {
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            };
            let partitions = topic.partitions.iter().map(|asked| {
                found
                    .as_ref()?
                    .partitions
                    .get(usize::try_from(asked.partition).ok()?)
                    .cloned()
            });
            let found = partitions.collect();
            WantedTopic {
                asked: topic,
                name,
                found,
                missing,
            }
        };
        Self(request.topics.iter().map(resolve).collect())
    }

    fn partitions(&self) -> impl Iterator<Item = &Arc<Partition>> {
        self.0.iter().flat_map(|topic| topic.found.iter().flatten())
    }

    /// Finds what is there. Where only the page cache may be read (`cached_only`) and something is not in it, `None`.
    fn find(&self, broker: &Broker, request: &FetchRequest, cached_only: bool) -> Option<Found> {
        let broker_max = usize::try_from(broker.properties.number("fetch.max.bytes")).unwrap_or(0);
        let mut left = usize::try_from(request.max_bytes).unwrap_or(0).min(broker_max);
        let committed_only = request.isolation_level == READ_COMMITTED;
        let mut all = Found::default();
        for WantedTopic {
            asked: topic,
            name,
            found,
            missing,
        } in &self.0
        {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for (asked, partition) in topic.partitions.iter().zip(found) {
                let partition_max = usize::try_from(asked.partition_max_bytes).unwrap_or(0);
                let outcome = match partition {
                    None => Err(Refused::from(*missing)),
                    Some(partition) => match partition.check_epoch(asked.current_leader_epoch) {
                        Err(refused) => Err(refused),
                        Ok(()) => {
                            // The first batch of all is sent however long it is, so that a reader gets on (KIP-74).
                            let limit = partition_max.min(left);
                            let wants_records = all.bytes == 0 || limit > 0;
                            let how = wants_records.then_some((limit, cached_only));
                            match find(partition, asked.fetch_offset, committed_only, how) {
                                Err(Missed::Cold) => return None,
                                Err(Missed::Refused(refused)) => Err(refused),
                                Ok(read) => Ok(read),
                            }
                        }
                    },
                };
                let (data, extent) = partition_data(asked.partition, outcome, committed_only);
                all.failed |= data.error_code != ErrorCode::NONE.0;
                let read = extent.as_ref().map_or(0, |extent| extent.len);
                all.bytes += read;
                left = left.saturating_sub(read);
                all.extents.extend(extent);
                partitions.push(data);
            }
            all.response.responses.push(FetchableTopicResponse {
                topic: name.clone(),
                topic_id: topic.topic_id,
                partitions,
            });
        }
        Some(all)
    }
}

/// What was found.
#[derive(Default)]
struct Found {
    response: FetchResponse,
    /// Where its records are.
    extents: Vec<Extent>,
    bytes: usize,
    /// Something failed, which is told at once.
    failed: bool,
}

/// What a partition had.
struct Read {
    high_watermark: i64,
    last_stable_offset: i64,
    log_start: i64,
    records: Option<Extent>,
    aborted: Vec<AbortedTransaction>,
}

/// Why a partition had nothing.
enum Missed {
    /// What has to be read is not in the page cache.
    Cold,
    Refused(Refused),
}

/// Looks for up to so many bytes, in the page cache alone or anywhere; for the ends only, where there is no room for records.
fn find(
    partition: &Partition,
    offset: i64,
    committed_only: bool,
    records: Option<(usize, bool)>,
) -> Result<Read, Missed> {
    let max_bytes = records.map_or(0, |(max_bytes, _)| max_bytes);
    let located = partition.with_log(|log| {
        log.check()?;
        // The last stable offset first: it is never behind the high watermark then.
        let last_stable_offset = log.last_stable_offset();
        let high_watermark = log.high_watermark();
        let limit = if committed_only {
            last_stable_offset
        } else {
            high_watermark
        };
        let slice = log.locate(offset, limit, max_bytes)?;
        Ok::<_, LogError>((slice, limit, high_watermark, last_stable_offset, log.start()))
    });
    let (slice, limit, high_watermark, last_stable_offset, log_start) = located.map_err(Missed::Refused)?;
    let records = match (&slice, records) {
        (Some(slice), Some((max_bytes, cached_only))) => {
            let found = locate_batches(slice, offset, limit, max_bytes, cached_only);
            found.map_err(|error| match error.kind() {
                std::io::ErrorKind::WouldBlock => Missed::Cold,
                _ => {
                    tracing::error!(topic = %partition.topic, partition = partition.index, %error, "cannot read");
                    Missed::Refused(Refused {
                        code: ErrorCode::KAFKA_STORAGE_ERROR,
                        message: Some(error.to_string()),
                    })
                }
            })?
        }
        _ => None,
    };
    let aborted = match (&slice, &records) {
        (Some(slice), Some(extent)) if committed_only => {
            let aborted = partition.with_log(|log| Ok::<_, LogError>(log.aborted_in(slice, extent, offset)));
            aborted.map_err(Missed::Refused)?
        }
        _ => Vec::new(),
    };
    Ok(Read {
        high_watermark,
        last_stable_offset,
        log_start,
        records,
        aborted,
    })
}

fn partition_data(
    partition_index: i32,
    outcome: Result<Read, Refused>,
    committed_only: bool,
) -> (PartitionData, Option<Extent>) {
    match outcome {
        Ok(read) => {
            let records = match &read.records {
                Some(extent) => Records::Elsewhere(extent.len),
                None => Records::default(),
            };
            let data = PartitionData {
                partition_index,
                high_watermark: read.high_watermark,
                last_stable_offset: read.last_stable_offset,
                log_start_offset: read.log_start,
                aborted_transactions: committed_only.then(|| read.aborted.iter().map(aborted).collect()),
                records: Some(records),
                ..Default::default()
            };
            (data, read.records)
        }
        Err(refused) => {
            let data = PartitionData {
                partition_index,
                error_code: refused.code.0,
                high_watermark: -1,
                aborted_transactions: committed_only.then(Vec::new),
                records: Some(Records::default()),
                ..Default::default()
            };
            (data, None)
        }
    }
}

fn aborted(transaction: &AbortedTransaction) -> WireAborted {
    WireAborted {
        producer_id: transaction.producer_id,
        first_offset: transaction.first_offset,
    }
}
