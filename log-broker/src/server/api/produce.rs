//! Produce and InitProducerId.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use log_broker_wire::ErrorCode;
use log_broker_wire::batch::{self, BatchError, BatchHeader};
use log_broker_wire::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use log_broker_wire::messages::produce::{
    PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceResponse,
};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::super::broker::Broker;
use super::super::now_ms;
use super::super::partition::Refused;
use super::super::topics::{Limits, refused};
use super::blocking;

/// Longest that a request may ask to wait.
const TIMEOUT_MAX: Duration = Duration::from_secs(600);

/// A produce request whose batches are appended, or refused.
pub(in super::super) struct Begun {
    acks: i16,
    deadline: Instant,
    topics: Vec<(String, Vec<(i32, Outcome)>)>,
}

type Outcome = Result<Stored, Refused>;

struct Stored {
    base_offset: i64,
    log_start: i64,
    /// Tells when it is durable, where that is waited for.
    durable: Option<oneshot::Receiver<Result<(), Refused>>>,
}

/// Appends every batch of a request, in order.
pub(in super::super) fn begin(broker: &Broker, request: ProduceRequest) -> Begun {
    let wait = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0)).min(TIMEOUT_MAX);
    let acks = request.acks;
    let store = |topic: &str, index: i32, records: Option<Bytes>| {
        if !matches!(acks, -1..=1) {
            return Err(ErrorCode::INVALID_REQUIRED_ACKS.into());
        }
        if request.transactional_id.is_some() {
            let message = "transactions are not supported by this broker";
            return Err(refused(ErrorCode::INVALID_REQUEST, message.to_owned()));
        }
        append(broker, topic, index, &records.unwrap_or_default(), acks == -1)
    };
    let topics = request.topic_data.into_iter().map(|topic| {
        let partitions = topic.partition_data.into_iter().map(|data| {
            let outcome = store(&topic.name, data.index, data.records);
            if let Err(refused) = &outcome {
                tracing::debug!(topic = topic.name, partition = data.index, ?refused, "batch refused");
            }
            (data.index, outcome)
        });
        let partitions = partitions.collect();
        (topic.name, partitions)
    });
    Begun {
        acks,
        topics: topics.collect(),
        deadline: Instant::now() + wait,
    }
}

fn append(broker: &Broker, topic: &str, index: i32, bytes: &Bytes, wait: bool) -> Result<Stored, Refused> {
    let found = broker.topics.get(topic).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    let place = usize::try_from(index).map_err(|_| ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    let partition = found
        .partitions
        .get(place)
        .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    let now_ms = now_ms();
    let header = check(bytes, &found.limits, now_ms)?;
    let epoch = broker.topics.leader_epoch();
    let (appended, log_start) = partition.with_log(|log| {
        log.append(bytes, &header, epoch, now_ms)
            .map(|appended| (appended, log.start()))
    })?;
    if !appended.duplicate {
        broker.metrics().produced_batches.inc();
        broker.metrics().produced_bytes.inc_by(bytes.len() as u64);
    }
    let durable = broker.settle(partition, appended.end, wait);
    Ok(Stored {
        base_offset: appended.base_offset,
        log_start,
        durable,
    })
}

/// What a client may not store: anything but exactly one whole and right batch of plain records.
fn check(bytes: &Bytes, limits: &Limits, now_ms: i64) -> Result<BatchHeader, Refused> {
    let invalid = |message: String| refused(ErrorCode::INVALID_RECORD, message);
    let header = batch::check(bytes).map_err(|error| match error {
        BatchError::Crc { .. } | BatchError::Truncated => refused(ErrorCode::CORRUPT_MESSAGE, error.to_string()),
        BatchError::Codec(_) => refused(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE, error.to_string()),
        _ => invalid(error.to_string()),
    })?;
    if header.len != bytes.len() {
        return Err(invalid(
            "a produce request holds exactly one batch for a partition".to_owned(),
        ));
    }
    if header.count < 1 || header.count - 1 != header.last_offset_delta {
        let (count, last) = (header.count, header.last_offset_delta);
        return Err(invalid(format!(
            "a batch of {count} records cannot end {last} behind its first"
        )));
    }
    if header.is_control() || header.is_transactional() {
        return Err(invalid("control and transactional batches are not taken".to_owned()));
    }
    if header.is_idempotent() && (header.producer_epoch < 0 || header.base_sequence < 0) {
        return Err(invalid(
            "a batch of an idempotent producer has an epoch and a sequence".to_owned(),
        ));
    }
    if bytes.len() > limits.message_bytes_max {
        let message = format!(
            "The batch is {} bytes, larger than max.message.bytes {}.",
            bytes.len(),
            limits.message_bytes_max
        );
        return Err(refused(ErrorCode::MESSAGE_TOO_LARGE, message));
    }
    if header.max_timestamp.saturating_sub(now_ms) > limits.timestamp_after_ms_max {
        let message = format!("Timestamp {} is too far in the future.", header.max_timestamp);
        return Err(refused(ErrorCode::INVALID_TIMESTAMP, message));
    }
    Ok(header)
}

impl Begun {
    /// Waits until all is durable, and answers; `None` with acks 0, which nobody waits for.
    pub(in super::super) async fn finish(self) -> Option<ProduceResponse> {
        if self.acks == 0 {
            return None;
        }
        let mut responses = Vec::with_capacity(self.topics.len());
        for (name, partitions) in self.topics {
            let mut partition_responses = Vec::with_capacity(partitions.len());
            for (index, stored) in partitions {
                let settled = settle(stored, self.deadline).await;
                partition_responses.push(response(index, settled));
            }
            responses.push(TopicProduceResponse {
                name,
                partition_responses,
                ..Default::default()
            });
        }
        Some(ProduceResponse {
            responses,
            ..Default::default()
        })
    }
}

async fn settle(stored: Result<Stored, Refused>, deadline: Instant) -> Result<(i64, i64), Refused> {
    let stored = stored?;
    if let Some(durable) = stored.durable {
        match timeout_at(deadline, durable).await {
            Ok(Ok(outcome)) => outcome?,
            Ok(Err(_closing)) => return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER.into()),
            Err(_) => return Err(ErrorCode::REQUEST_TIMED_OUT.into()),
        }
    }
    Ok((stored.base_offset, stored.log_start))
}

fn response(index: i32, settled: Result<(i64, i64), Refused>) -> PartitionProduceResponse {
    match settled {
        Ok((base_offset, log_start_offset)) => PartitionProduceResponse {
            index,
            base_offset,
            log_start_offset,
            ..Default::default()
        },
        Err(refused) => PartitionProduceResponse {
            index,
            error_code: refused.code.0,
            base_offset: -1,
            error_message: refused.message,
            ..Default::default()
        },
    }
}

pub(in super::super) async fn init_id(broker: &Arc<Broker>, request: InitProducerIdRequest) -> InitProducerIdResponse {
    let id = if request.transactional_id.is_some() {
        // There is no error that says it better and ends the client's attempts.
        Err(ErrorCode::INVALID_REQUEST.into())
    } else {
        blocking(broker, Broker::next_producer_id).await
    };
    match id {
        Ok(producer_id) => InitProducerIdResponse {
            producer_id,
            producer_epoch: 0,
            ..Default::default()
        },
        Err(refused) => InitProducerIdResponse {
            error_code: if refused.code == ErrorCode::KAFKA_STORAGE_ERROR {
                ErrorCode::COORDINATOR_NOT_AVAILABLE.0 // The one that clients try again.
            } else {
                refused.code.0
            },
            producer_epoch: -1,
            ..Default::default()
        },
    }
}
