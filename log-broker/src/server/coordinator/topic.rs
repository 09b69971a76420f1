//! The topic `__consumer_offsets`: its properties, which partition a group belongs to, and reading it at a start.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use log_broker_wire::ErrorCode;
use log_broker_wire::batch::BatchHeader;
use log_broker_wire::internal::consumer_offsets::Entry;
use log_broker_wire::{marker, record};

use super::super::broker::Broker;
use super::super::partition::{Partition, Refused};
use crate::group::{Offsets, Replay};
use crate::log::{LogError, read_batches};
use crate::property::TopicProperties;

pub(in super::super) const NAME: &str = crate::catalog::CONSUMER_OFFSETS;

/// Bytes read at a time.
const READ_BYTES: usize = 1 << 20;

/// Most bytes that a batch may unpack to; what is written here is not compressed.
const UNPACKED_BYTES_MAX: usize = 64 << 20;

/// How many partitions the topic has; it is created where it is not there yet. Blocks on the disk.
pub(super) fn partition_count(broker: &Arc<Broker>) -> Result<i32, Refused> {
    if let Some(topic) = broker.topics.get(NAME) {
        return Ok(topic.partitions.len() as i32);
    }
    let partitions = broker.properties.number("offsets.topic.num.partitions") as i32;
    let segment_bytes = broker.properties.number("offsets.topic.segment.bytes");
    let properties = TopicProperties::from([
        ("cleanup.policy".to_owned(), "compact".to_owned()),
        ("compression.type".to_owned(), "producer".to_owned()),
        ("segment.bytes".to_owned(), segment_bytes.to_string()),
    ]);
    match broker.topics.create(NAME, partitions, properties) {
        Ok(_) => broker.measure(),
        Err(refused) if refused.code == ErrorCode::TOPIC_ALREADY_EXISTS => {}
        Err(refused) => return Err(refused),
    }
    Ok(partitions)
}

/// The partition of a group: Java's hash of its name, as Kafka and its tools compute it.
pub(super) fn partition_of(group: &str, partitions: i32) -> i32 {
    let hash = group
        .encode_utf16()
        .fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    (hash & i32::MAX) % partitions.max(1)
}

/// What the topic's records add up to.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) offsets: Offsets,
    pub(super) groups: Replay,
    /// Partitions that could not be read: the state of their groups is not known.
    pub(super) failed: BTreeSet<i32>,
}

/// Reads the topic. Blocks on the disk.
pub(super) fn load(broker: &Broker) -> Loaded {
    let mut loaded = Loaded::default();
    let Some(topic) = broker.topics.get(NAME) else {
        return loaded;
    };
    for partition in &topic.partitions {
        if let Err(refused) = load_partition(partition, &mut loaded) {
            let index = partition.index;
            tracing::error!(
                partition = index,
                ?refused,
                "a partition of the committed offsets cannot be read"
            );
            loaded.failed.insert(index);
        }
    }
    loaded
}

fn load_partition(partition: &Partition, loaded: &mut Loaded) -> Result<(), Refused> {
    let (mut next, end) = partition.with_log(|log| log.check().map(|()| (log.start(), log.high_watermark())))?;
    while next < end {
        let slice = partition.with_log(|log| log.locate(next, end, READ_BYTES))?;
        let Some(slice) = slice else { break };
        let bytes = read_batches(&slice, next, end, READ_BYTES).map_err(|error| damaged(next, error))?;
        if bytes.is_empty() {
            break; // Compaction took the last records.
        }
        next = replay(partition.index, bytes, loaded).map_err(|error| damaged(next, error))?;
    }
    Ok(())
}

fn damaged(offset: i64, source: io::Error) -> Refused {
    LogError::Io {
        path: format!("{NAME} at offset {offset}").into(),
        source,
    }
    .into()
}

/// Applies whole batches, and tells the offset behind them.
fn replay(partition: i32, mut bytes: Bytes, loaded: &mut Loaded) -> io::Result<i64> {
    let invalid = |error: &dyn std::fmt::Display| io::Error::new(io::ErrorKind::InvalidData, error.to_string());
    let mut next = 0;
    while !bytes.is_empty() {
        let header = BatchHeader::parse(&bytes).map_err(|error| invalid(&error))?;
        let batch = bytes.split_to(header.len.min(bytes.len()));
        next = header.next_offset();
        if header.is_control() {
            if let Some(marker) = marker::parse(&header, &batch) {
                loaded
                    .offsets
                    .end_transaction(partition, header.producer_id, marker.is_commit);
            }
            continue;
        }
        for record in record::records(batch, UNPACKED_BYTES_MAX).map_err(|error| invalid(&error))? {
            let record = record.map_err(|error| invalid(&error))?;
            let entry = match Entry::decode(&record.key.unwrap_or_default(), record.value.as_ref()) {
                Ok(Some(entry)) => entry,
                Ok(None) => continue, // A type of record that another version of the broker wrote.
                Err(error) => {
                    tracing::warn!(partition, offset = record.offset, %error, "a record cannot be read and is skipped");
                    continue;
                }
            };
            if header.is_transactional() {
                loaded
                    .offsets
                    .apply_transactional(partition, header.producer_id, &entry, record.offset);
            } else {
                loaded.offsets.apply(&entry, record.offset);
                loaded.groups.apply(entry);
            }
        }
    }
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_in_the_partitions_where_kafka_has_them() {
        // String.hashCode() is over UTF-16 units, and wraps.
        for (group, partition) in [("", 0), ("g", 3), ("group", 47), ("my-group", 36), ("größe", 7)] {
            assert_eq!(partition_of(group, 50), partition, "{group}");
        }
    }
}
