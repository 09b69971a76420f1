//! Fetch: batches as they lie in the segments, and the long poll.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use log_broker_wire::ErrorCode;
use log_broker_wire::messages::fetch::{
    FetchRequest, FetchResponse, FetchTopic, FetchableTopicResponse, PartitionData,
};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::super::broker::Broker;
use super::super::partition::{Partition, Refused};
use super::check_epoch;
use crate::log::{LogError, read_batches};

/// From this version on topics are named by their ids.
const BY_ID: i16 = 13;

/// Longest that a request may ask to wait.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// The isolation level that hides what is not committed: here everything is, but its answer has a list of aborted
/// transactions, if an empty one.
const READ_COMMITTED: i8 = 1;

pub(in super::super) async fn answer(broker: &Arc<Broker>, request: FetchRequest, version: i16) -> FetchResponse {
    // Sessions are never begun, so no client can be in one.
    if request.session_id != 0 {
        return FetchResponse {
            error_code: ErrorCode::FETCH_SESSION_ID_NOT_FOUND.0,
            ..Default::default()
        };
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
            wanted.partitions().for_each(|partition| partition.wait_with(&waiter));
        }
        let (response, bytes, failed) = wanted.read(broker, &request);
        if !may_wait || bytes >= min_bytes || failed {
            broker.metrics().fetched_bytes.inc_by(bytes as u64);
            return response;
        }
        drop(response);
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

    /// Reads what is there: the response, its bytes, and whether something failed, which is told at once.
    fn read(&self, broker: &Broker, request: &FetchRequest) -> (FetchResponse, usize, bool) {
        let broker_max = usize::try_from(broker.properties.number("fetch.max.bytes")).unwrap_or(0);
        let mut left = usize::try_from(request.max_bytes).unwrap_or(0).min(broker_max);
        let (mut bytes, mut failed) = (0, false);
        let mut responses = Vec::with_capacity(self.0.len());
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
                    Some(partition) => check_epoch(broker, asked.current_leader_epoch).and_then(|()| {
                        // The first batch of all is sent however long it is, so that a reader gets on (KIP-74).
                        let limit = partition_max.min(left);
                        if bytes > 0 && limit == 0 {
                            return look(partition, asked.fetch_offset);
                        }
                        read(partition, asked.fetch_offset, limit)
                    }),
                };
                let data = partition_data(asked.partition, outcome, request.isolation_level);
                failed |= data.error_code != ErrorCode::NONE.0;
                let read = data.records.as_ref().map_or(0, Bytes::len);
                bytes += read;
                left = left.saturating_sub(read);
                partitions.push(data);
            }
            responses.push(FetchableTopicResponse {
                topic: name.clone(),
                topic_id: topic.topic_id,
                partitions,
            });
        }
        (
            FetchResponse {
                responses,
                ..Default::default()
            },
            bytes,
            failed,
        )
    }
}

/// What a partition had.
struct Read {
    high_watermark: i64,
    log_start: i64,
    records: Bytes,
}

/// The ends only, where there is no room for records.
fn look(partition: &Partition, offset: i64) -> Result<Read, Refused> {
    partition.with_log(|log| {
        log.locate(offset, log.durable_end()).map(|_| Read {
            high_watermark: log.durable_end(),
            log_start: log.start(),
            records: Bytes::new(),
        })
    })
}

fn read(partition: &Partition, offset: i64, max_bytes: usize) -> Result<Read, Refused> {
    let (slice, high_watermark, log_start) = partition.with_log(|log| {
        log.check()?;
        Ok::<_, LogError>((log.locate(offset, log.durable_end())?, log.durable_end(), log.start()))
    })?;
    let records = match slice {
        None => Bytes::new(),
        Some(slice) => read_batches(&slice, offset, high_watermark, max_bytes).map_err(|error| {
            tracing::error!(topic = %partition.topic, partition = partition.index, %error, "cannot read");
            Refused {
                code: ErrorCode::KAFKA_STORAGE_ERROR,
                message: Some(error.to_string()),
            }
        })?,
    };
    Ok(Read {
        high_watermark,
        log_start,
        records,
    })
}

fn partition_data(partition_index: i32, outcome: Result<Read, Refused>, isolation_level: i8) -> PartitionData {
    let aborted_transactions = (isolation_level == READ_COMMITTED).then(Vec::new);
    match outcome {
        Ok(read) => PartitionData {
            partition_index,
            high_watermark: read.high_watermark,
            last_stable_offset: read.high_watermark,
            log_start_offset: read.log_start,
            aborted_transactions,
            records: Some(read.records),
            ..Default::default()
        },
        Err(refused) => PartitionData {
            partition_index,
            error_code: refused.code.0,
            high_watermark: -1,
            aborted_transactions,
            records: Some(Bytes::new()),
            ..Default::default()
        },
    }
}
