//! The writer: appends what the coordinator wants stored to `__consumer_offsets`, and applies it when it is durable.
//!
//! One thread takes rounds. A round takes everything that is queued, makes one batch of it for each partition of the topic,
//! appends them all, and waits until all are durable, so that they share a flush; then it applies the records and calls
//! back, in the order of the queue. What is queued meanwhile makes the next round.

use std::collections::BTreeMap;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, Weak};

use bytes::Bytes;
use log_broker_wire::batch::{self, BatchHeader};
use log_broker_wire::compression::Codec;
use log_broker_wire::internal::consumer_offsets::Entry;
use log_broker_wire::record::{self, ProducerStamp};
use log_broker_wire::{ErrorCode, Record};
use tokio::sync::oneshot;

use super::super::broker::Broker;
use super::super::now_ms;
use super::super::partition::{Refused, lock};
use super::topic;
use crate::group::Offsets;

/// Bytes of records that are put into one batch; a single larger record is a batch of its own.
const BATCH_BYTES: usize = 1 << 20;

/// Most bytes of one record: a group with the metadata and assignments of all its members.
const RECORD_BYTES_MAX: usize = 32 << 20;

/// Items of the queue that make a round at most.
const ROUND_MAX: usize = 10_000;

/// Something to be stored.
pub(super) struct Work {
    pub(super) content: Content,
    /// Called on the writer's thread.
    pub(super) done: Box<dyn FnOnce(Result<(), ErrorCode>) + Send>,
}

/// Makes records of what is applied so far.
type Derive = Box<dyn FnOnce(&Offsets) -> Vec<Entry> + Send>;

pub(super) enum Content {
    /// Records of a group.
    Entries(String, Vec<Entry>),
    /// Records of a group that count when their producer's transaction commits.
    Transactional(String, ProducerStamp, Vec<Entry>),
    /// Records of a group that depend on what all earlier ones have led to.
    Derived(String, Derive),
    /// A marker was written to a partition of the topic.
    EndTransaction {
        partition: i32,
        producer_id: i64,
        is_commit: bool,
    },
}

impl Content {
    /// Whether everything before it has to be applied first.
    fn waits(&self) -> bool {
        matches!(self, Content::Derived(..) | Content::EndTransaction { .. })
    }
}

/// A batch of a round.
struct Batch {
    partition: i32,
    producer: Option<ProducerStamp>,
    records: Vec<Record>,
    bytes: usize,
}

/// The records of a piece of work: in which batch, from which record on.
struct Placed {
    batch: usize,
    first: usize,
    entries: Vec<Entry>,
}

pub(super) fn run(queue: &Receiver<Work>, broker: &Weak<Broker>, offsets: &Mutex<Offsets>) {
    let mut waiting = None;
    while let Some(first) = waiting.take().or_else(|| queue.recv().ok()) {
        let Some(broker) = broker.upgrade() else { return };
        let mut round = vec![first];
        while round.len() < ROUND_MAX {
            match queue.try_recv() {
                Ok(work) if work.content.waits() => {
                    waiting = Some(work);
                    break;
                }
                Ok(work) => round.push(work),
                Err(_) => break,
            }
        }
        store(&broker, offsets, round);
    }
}

/// Stores a round of work; only its first may depend on what was applied before. Blocks on the disk.
pub(super) fn store(broker: &Arc<Broker>, offsets: &Mutex<Offsets>, round: Vec<Work>) {
    let partitions = match topic::partition_count(broker) {
        Ok(partitions) => partitions,
        Err(refused) => {
            tracing::warn!(?refused, "the topic of committed offsets cannot be created");
            for work in round {
                (work.done)(Err(ErrorCode::COORDINATOR_NOT_AVAILABLE));
            }
            return;
        }
    };
    let mut batches: Vec<Batch> = Vec::new();
    // The batch of each partition that further records may go into.
    let mut open: BTreeMap<i32, usize> = BTreeMap::new();
    let mut placed: Vec<(Result<Option<Placed>, ErrorCode>, Work)> = Vec::new();
    for mut work in round {
        let (group, producer, entries) = match &mut work.content {
            Content::Entries(group, entries) => (group, None, std::mem::take(entries)),
            Content::Transactional(group, stamp, entries) => (group, Some(*stamp), std::mem::take(entries)),
            Content::Derived(group, derive) => {
                let derive = std::mem::replace(derive, Box::new(|_| Vec::new()));
                (group, None, derive(&lock(offsets)))
            }
            Content::EndTransaction { .. } => {
                placed.push((Ok(None), work));
                continue;
            }
        };
        let partition = topic::partition_of(group, partitions);
        placed.push((place(&mut batches, &mut open, partition, producer, entries), work));
    }
    let outcomes = append(broker, batches);
    let mut offsets = lock(offsets);
    let mut done = Vec::with_capacity(placed.len());
    for (placed, work) in placed {
        let outcome = placed.and_then(|placed| match (placed, &work.content) {
            (Some(placed), content) => {
                let (partition, base_offset) = outcomes[placed.batch]?;
                for (place, entry) in placed.entries.iter().enumerate() {
                    let offset = base_offset + (placed.first + place) as i64;
                    match content {
                        Content::Transactional(_, stamp, _) => {
                            offsets.apply_transactional(partition, stamp.producer_id, entry, offset);
                        }
                        _ => offsets.apply(entry, offset),
                    }
                }
                Ok(())
            }
            (
                None,
                Content::EndTransaction {
                    partition,
                    producer_id,
                    is_commit,
                },
            ) => {
                offsets.end_transaction(*partition, *producer_id, *is_commit);
                Ok(())
            }
            (None, _) => Ok(()),
        });
        done.push((work.done, outcome));
    }
    drop(offsets);
    for (done, outcome) in done {
        done(outcome);
    }
}

/// Puts records into the open batch of their partition, or into a new one.
fn place(
    batches: &mut Vec<Batch>,
    open: &mut BTreeMap<i32, usize>,
    partition: i32,
    producer: Option<ProducerStamp>,
    entries: Vec<Entry>,
) -> Result<Option<Placed>, ErrorCode> {
    if entries.is_empty() {
        return Ok(None);
    }
    let now_ms = now_ms();
    let records: Vec<Record> = entries
        .iter()
        .map(|entry| {
            let (key, value) = entry.encode();
            Record {
                timestamp: now_ms,
                key: Some(key),
                value,
                ..Record::default()
            }
        })
        .collect();
    let size =
        |record: &Record| record.key.as_ref().map_or(0, Bytes::len) + record.value.as_ref().map_or(0, Bytes::len);
    let bytes: usize = records.iter().map(size).sum();
    if bytes > RECORD_BYTES_MAX {
        return Err(ErrorCode::INVALID_COMMIT_OFFSET_SIZE);
    }
    let fits = |batch: &Batch| batch.producer.is_none() && producer.is_none() && batch.bytes + bytes <= BATCH_BYTES;
    let batch = match open.get(&partition).filter(|batch| fits(&batches[**batch])) {
        Some(batch) => *batch,
        None => {
            batches.push(Batch {
                partition,
                producer,
                records: Vec::new(),
                bytes: 0,
            });
            open.insert(partition, batches.len() - 1);
            batches.len() - 1
        }
    };
    let first = batches[batch].records.len();
    batches[batch].bytes += bytes;
    batches[batch].records.extend(records);
    Ok(Some(Placed { batch, first, entries }))
}

type Durable = Option<oneshot::Receiver<Result<(), Refused>>>;
/// Base offset, and what tells that it is durable.
type Begun = Result<(i64, Durable), Refused>;

/// Appends all batches, then waits until they are durable. Tells partition and base offset of each.
fn append(broker: &Arc<Broker>, batches: Vec<Batch>) -> Vec<Result<(i32, i64), ErrorCode>> {
    let begun: Vec<(i32, Begun)> = batches
        .into_iter()
        .map(|batch| (batch.partition, append_one(broker, &batch)))
        .collect();
    let finish = |(partition, begun): (i32, Begun)| {
        let outcome = begun.and_then(|(base_offset, durable)| {
            if let Some(durable) = durable {
                let closing = |_| Err(ErrorCode::NOT_COORDINATOR.into());
                durable.blocking_recv().unwrap_or_else(closing)?;
            }
            Ok((partition, base_offset))
        });
        outcome.map_err(|refused| {
            tracing::warn!(partition, ?refused, "committed offsets cannot be stored");
            match refused.code {
                ErrorCode::NOT_COORDINATOR | ErrorCode::INVALID_PRODUCER_EPOCH | ErrorCode::INVALID_TXN_STATE => {
                    refused.code
                }
                _ => ErrorCode::COORDINATOR_NOT_AVAILABLE,
            }
        })
    };
    begun.into_iter().map(finish).collect()
}

fn append_one(broker: &Arc<Broker>, batch: &Batch) -> Begun {
    let partition = broker
        .topics
        .partition(topic::NAME, batch.partition)
        .ok_or(ErrorCode::COORDINATOR_NOT_AVAILABLE)?;
    let failed = |error: &dyn std::fmt::Display| Refused {
        code: ErrorCode::UNKNOWN_SERVER_ERROR,
        message: Some(error.to_string()),
    };
    let mut bytes =
        record::encode_batch(&batch.records, Codec::None, batch.producer).map_err(|error| failed(&error))?;
    if batch.producer.is_some() {
        bytes = batch::with_attributes(&bytes, true, false);
    }
    let header = BatchHeader::parse(&bytes).map_err(|error| failed(&error))?;
    let (appended, _) = partition.append(&bytes, &header, now_ms())?;
    Ok((appended.base_offset, broker.settle(&partition, appended.end, true)))
}
