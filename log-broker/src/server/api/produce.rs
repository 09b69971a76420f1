//! Produce and InitProducerId.
//!
//! A batch is checked inside and out before it is appended: a batch that no consumer could read would stop all of them
//! (see [`log_broker_wire::validate`]). A request is appended on the thread that calls [`begin`], which blocks on the disk.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use log_broker_wire::ErrorCode;
use log_broker_wire::batch::{self, BatchError, BatchHeader};
use log_broker_wire::compression::Codec;
use log_broker_wire::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use log_broker_wire::messages::produce::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceResponse,
};
use log_broker_wire::validate::{self, Invalid, RecordError, Rules};
use log_broker_wire::{frame, record};
use tokio::time::{Instant, timeout_at};

use super::super::broker::Broker;
use super::super::now_ms;
use super::super::partition::Refused;
use super::super::purgatory::Reached;
use super::super::topics::{Limits, refused};
use super::blocking;

/// Longest that a request may ask to wait.
const TIMEOUT_MAX: Duration = Duration::from_secs(600);

/// Most bytes that a compressed batch may inflate to: as many as a request could carry without compression.
const INFLATED_BYTES_MAX: u64 = frame::FRAME_BYTES_MAX as u64;

/// A produce request whose batches are appended, or refused.
pub(in super::super) struct Begun {
    acks: i16,
    deadline: Instant,
    topics: Vec<(String, Vec<(i32, Outcome)>)>,
}

type Outcome = Result<Stored, Rejected>;

struct Stored {
    base_offset: i64,
    log_start: i64,
    log_append_time_ms: i64,
    /// Tells when the high watermark is behind it, where that is waited for.
    reached: Option<Reached>,
}

/// Why a batch was not stored, and which of its records are to blame.
#[derive(Debug)]
struct Rejected {
    refused: Refused,
    records: Vec<RecordError>,
}

impl From<Refused> for Rejected {
    fn from(refused: Refused) -> Self {
        Self {
            refused,
            records: Vec::new(),
        }
    }
}

impl From<ErrorCode> for Rejected {
    fn from(code: ErrorCode) -> Self {
        Refused::from(code).into()
    }
}

impl From<Invalid> for Rejected {
    fn from(invalid: Invalid) -> Self {
        let (code, message) = match &invalid {
            Invalid::Timestamps(_) => (
                ErrorCode::INVALID_TIMESTAMP,
                "One or more records have been rejected due to invalid timestamp".to_owned(),
            ),
            Invalid::Keys(errors) => (
                ErrorCode::INVALID_RECORD,
                format!(
                    "One or more records have been rejected due to {} record errors in total: {}",
                    errors.len(),
                    errors.first().map_or("", |first| &first.message)
                ),
            ),
            _ => (ErrorCode::INVALID_RECORD, invalid.to_string()),
        };
        Self {
            refused: refused(code, message),
            records: invalid.record_errors(),
        }
    }
}

/// Appends every batch of a request, in order.
pub(in super::super) fn begin(broker: &Broker, request: ProduceRequest) -> Begun {
    let wait = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0)).min(TIMEOUT_MAX);
    let acks = request.acks;
    let store = |topic: &str, index: i32, records: Option<Bytes>| {
        if !matches!(acks, -1..=1) {
            return Err(Rejected::from(ErrorCode::INVALID_REQUIRED_ACKS));
        }
        if request.transactional_id.is_some() {
            let message = "transactions are not supported by this broker";
            return Err(refused(ErrorCode::INVALID_REQUEST, message.to_owned()).into());
        }
        append(broker, topic, index, &records.unwrap_or_default(), acks == -1)
    };
    let topics = request.topic_data.into_iter().map(|topic| {
        let partitions = topic.partition_data.into_iter().map(|data| {
            let outcome = store(&topic.name, data.index, data.records);
            if let Err(Rejected { refused, .. }) = &outcome {
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

fn append(broker: &Broker, topic: &str, index: i32, bytes: &Bytes, wait: bool) -> Result<Stored, Rejected> {
    let found = broker.topics.get(topic).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    let place = usize::try_from(index).map_err(|_| ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    let partition = found
        .partitions
        .get(place)
        .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    let now_ms = now_ms();
    let mut header = check(bytes, &found.limits)?;
    let recompressed = check_records(broker, bytes, &mut header, &found.limits, now_ms)?;
    let bytes = recompressed.as_ref().unwrap_or(bytes);
    let (appended, log_start) = partition.append(bytes, &header, now_ms)?;
    if !appended.duplicate {
        broker.metrics().produced_batches.inc();
        broker.metrics().produced_bytes.inc_by(bytes.len() as u64);
    }
    let reached = broker.settle(partition, appended.end, wait);
    let is_log_append_time = found.limits.is_log_append_time;
    Ok(Stored {
        base_offset: appended.base_offset,
        log_start,
        log_append_time_ms: if is_log_append_time { now_ms } else { -1 },
        reached,
    })
}

/// Checks the records of a batch, and gives its header the largest of their timestamps: searches by time and retention
/// go by it, and not every client fills it in. Returns the batch where it is stored in another codec.
fn check_records(
    broker: &Broker,
    bytes: &Bytes,
    header: &mut BatchHeader,
    limits: &Limits,
    now_ms: i64,
) -> Result<Option<Bytes>, Rejected> {
    let earliest = now_ms.saturating_sub(limits.timestamp_before_ms_max);
    let latest = now_ms.saturating_add(limits.timestamp_after_ms_max);
    let rules = Rules {
        inflated_bytes_max: INFLATED_BYTES_MAX,
        keys_required: limits.keys_required,
        timestamps: (!limits.is_log_append_time).then_some((earliest, latest)),
    };
    // Inflating takes memory, up to the window of the codec.
    let target = limits.codec.filter(|codec| header.codec() != Ok(*codec));
    let needs_memory = header.codec() != Ok(Codec::None) || target.is_some();
    let _turn = needs_memory.then(|| broker.inflating.enter());
    let checked = validate::check(bytes, header, &rules)?;
    if limits.is_log_append_time {
        header.set_max_timestamp(bytes, now_ms, true);
    } else {
        header.set_max_timestamp(bytes, checked.max_timestamp, false);
    }
    let Some(codec) = target else { return Ok(None) };
    let recompressed = record::recompress_batch(bytes, header, codec, INFLATED_BYTES_MAX as usize)
        .and_then(|batch| Ok((BatchHeader::parse(&batch)?, batch)))
        .map_err(|error| refused(ErrorCode::UNKNOWN_SERVER_ERROR, error.to_string()))?;
    *header = recompressed.0;
    Ok(Some(recompressed.1))
}

/// What a client may not store: anything but exactly one whole batch of plain records, with a right header.
fn check(bytes: &Bytes, limits: &Limits) -> Result<BatchHeader, Refused> {
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
    Ok(header)
}

impl Begun {
    /// What was refused of a request that gets no answer (acks 0), for a connection to be closed by: there is no other way
    /// to tell its producer that it must ask for metadata again.
    pub(in super::super) fn refused_silently(&self) -> Option<String> {
        if self.acks != 0 {
            return None;
        }
        let outcomes = self
            .topics
            .iter()
            .flat_map(|(topic, partitions)| partitions.iter().map(move |(index, outcome)| (topic, index, outcome)));
        outcomes
            .filter_map(|(topic, index, outcome)| {
                let code = outcome.as_ref().err()?.refused.code;
                Some(format!("{topic}-{index}: {}", code.name()))
            })
            .next()
    }

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

async fn settle(stored: Outcome, deadline: Instant) -> Outcome {
    let mut stored = stored?;
    if let Some(reached) = stored.reached.take() {
        match timeout_at(deadline, reached).await {
            Ok(Ok(outcome)) => outcome?,
            Ok(Err(_closing)) => return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER.into()),
            Err(_) => return Err(ErrorCode::REQUEST_TIMED_OUT.into()),
        }
    }
    Ok(stored)
}

fn response(index: i32, settled: Outcome) -> PartitionProduceResponse {
    match settled {
        Ok(stored) => PartitionProduceResponse {
            index,
            base_offset: stored.base_offset,
            log_append_time_ms: stored.log_append_time_ms,
            log_start_offset: stored.log_start,
            ..Default::default()
        },
        Err(Rejected { refused, records }) => {
            let record_errors = records.into_iter().map(|error| BatchIndexAndErrorMessage {
                batch_index: error.index,
                batch_index_error_message: Some(error.message),
            });
            PartitionProduceResponse {
                index,
                error_code: refused.code.0,
                base_offset: -1,
                record_errors: record_errors.collect(),
                error_message: refused.message,
                ..Default::default()
            }
        }
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
