//! Produce and InitProducerId.
//!
//! A batch is checked inside and out before it is appended: a batch that no consumer could read would stop all of them
//! (see [`log_broker_wire::validate`]). A request is appended on the thread that calls [`begin`], which blocks on the disk.

use std::collections::BTreeMap;
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
use super::super::partition::{Partition, Refused};
use super::super::purgatory::Reached;
use super::super::topics::{Limits, refused};
use super::blocking;
use super::transactions::known_to;
use crate::catalog;
use crate::transaction::{EPOCH_BUMPS, Identity};

/// From this version on, Produce makes partitions part of the transaction (KIP-890).
const ENLISTS: i16 = 12;

/// InitProducerId below this version does not know PRODUCER_FENCED.
const INIT_KNOWS_FENCED: i16 = 4;

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

/// Partitions that could not be made part of the request's transaction, and why.
pub(in super::super) type Unlisted = BTreeMap<(String, i32), ErrorCode>;

/// Asks the coordinator about those partitions of a transactional request in which the transaction is not open yet: whether
/// they are part of it, or from [`ENLISTS`] on, to make them so. A batch that no transaction knows would never be decided.
pub(in super::super) async fn enlist(broker: &Arc<Broker>, request: &ProduceRequest, version: i16) -> Unlisted {
    let Some(transactional_id) = &request.transactional_id else {
        return Unlisted::new();
    };
    // By producer; there is one in what clients send.
    let mut asked: BTreeMap<(i64, i16), Vec<Arc<Partition>>> = BTreeMap::new();
    for topic in &request.topic_data {
        for data in &topic.partition_data {
            let header = data.records.as_ref().and_then(|batch| BatchHeader::parse(batch).ok());
            let Some(header) = header.filter(|header| header.is_transactional() && header.is_idempotent()) else {
                continue; // Refused, or not, where it is appended.
            };
            let Some(partition) = broker.topics.partition(&topic.name, data.index) else {
                continue;
            };
            let (producer_id, epoch) = (header.producer_id, header.producer_epoch);
            if partition.with_log(|log| Ok::<_, Refused>(log.begin_verification(producer_id, epoch))) == Ok(true) {
                asked.entry((producer_id, epoch)).or_default().push(partition);
            }
        }
    }
    let mut unlisted = Unlisted::new();
    for ((producer_id, producer_epoch), partitions) in asked {
        let producer = Identity {
            producer_id,
            producer_epoch,
        };
        let begin_verification = || {
            for partition in &partitions {
                let _offline =
                    partition.with_log(|log| Ok::<_, Refused>(log.begin_verification(producer_id, producer_epoch)));
            }
        };
        let names = partitions
            .iter()
            .map(|partition| (partition.topic.to_string(), partition.index));
        let names: Vec<(String, i32)> = names.collect();
        let client = if version >= ENLISTS { EPOCH_BUMPS } else { 0 };
        let outcome = broker
            .transactions
            .enlist(broker, transactional_id, producer, &names, client, begin_verification)
            .await;
        if let Err(refused) = outcome {
            let code = match refused {
                // Older clients know these of the coordinator's calls only; the one that they try again is this.
                ErrorCode::CONCURRENT_TRANSACTIONS
                | ErrorCode::COORDINATOR_NOT_AVAILABLE
                | ErrorCode::NOT_COORDINATOR => ErrorCode::NOT_ENOUGH_REPLICAS,
                ErrorCode::PRODUCER_FENCED => ErrorCode::INVALID_PRODUCER_EPOCH,
                other => other,
            };
            unlisted.extend(names.into_iter().map(|partition| (partition, code)));
        }
    }
    unlisted
}

/// Appends every batch of a request, in order; those that are `unlisted` are refused.
pub(in super::super) fn begin(broker: &Broker, request: ProduceRequest, unlisted: &Unlisted) -> Begun {
    let wait = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0)).min(TIMEOUT_MAX);
    let acks = request.acks;
    let store = |topic: &str, index: i32, records: Option<Bytes>| {
        if !matches!(acks, -1..=1) {
            return Err(Rejected::from(ErrorCode::INVALID_REQUIRED_ACKS));
        }
        if let Some(code) = unlisted.get(&(topic.to_owned(), index)) {
            let message = "The partition could not be made part of the transaction.".to_owned();
            return Err(refused(*code, message).into());
        }
        let is_transactional = request.transactional_id.is_some();
        append(
            broker,
            topic,
            index,
            &records.unwrap_or_default(),
            is_transactional,
            acks == -1,
        )
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

fn append(
    broker: &Broker,
    topic: &str,
    index: i32,
    bytes: &Bytes,
    is_transactional: bool,
    wait: bool,
) -> Result<Stored, Rejected> {
    let found = broker.topics.get(topic).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    let place = usize::try_from(index).map_err(|_| ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    let partition = found
        .partitions
        .get(place)
        .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    if catalog::is_internal(topic) {
        let message = format!("The topic '{topic}' is internal: only the broker writes to it.");
        return Err(refused(ErrorCode::INVALID_TOPIC_EXCEPTION, message).into());
    }
    let now_ms = now_ms();
    let mut header = check(bytes, &found.limits)?;
    if header.is_transactional() && !is_transactional {
        let message = "A transactional batch comes with the transactional id of its producer.".to_owned();
        return Err(refused(ErrorCode::INVALID_TXN_STATE, message).into());
    }
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
    if header.is_control() {
        return Err(invalid("control batches are written by brokers only".to_owned()));
    }
    if header.is_transactional() && !header.is_idempotent() {
        return Err(invalid("a transactional batch has a producer id".to_owned()));
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

pub(in super::super) async fn init_id(
    broker: &Arc<Broker>,
    request: InitProducerIdRequest,
    version: i16,
) -> InitProducerIdResponse {
    let identity = match request.transactional_id {
        None => {
            let fresh = blocking(broker, Broker::next_producer_id).await;
            fresh.map(|producer_id| Identity {
                producer_id,
                producer_epoch: 0,
            })
        }
        Some(transactional_id) => {
            let expected = match (request.producer_id, request.producer_epoch) {
                (-1, -1) => Ok(None),
                (producer_id @ 0.., producer_epoch @ 0..) => Ok(Some(Identity {
                    producer_id,
                    producer_epoch,
                })),
                _ => Err(ErrorCode::INVALID_REQUEST),
            };
            let coordinator = &broker.transactions;
            let timeout_ms = request.transaction_timeout_ms;
            let begun = match expected {
                _ if transactional_id.is_empty() => Err(ErrorCode::INVALID_REQUEST),
                Err(refused) => Err(refused),
                Ok(expected) => {
                    coordinator
                        .init_producer_id(broker, transactional_id, timeout_ms, expected)
                        .await
                }
            };
            begun.map_err(|refused| known_to(version, INIT_KNOWS_FENCED, refused).into())
        }
    };
    match identity {
        Ok(identity) => InitProducerIdResponse {
            producer_id: identity.producer_id,
            producer_epoch: identity.producer_epoch,
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
