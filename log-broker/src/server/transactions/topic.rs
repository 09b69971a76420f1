//! The topic `__transaction_state`: where a transactional id is in it, and what its records add up to.

use std::sync::Arc;

use log_broker_wire::ErrorCode;
use log_broker_wire::batch::BatchHeader;
use log_broker_wire::internal::transaction_state;
use log_broker_wire::record;

use super::super::broker::Broker;
use super::super::partition::{Partition, Refused};
use crate::log::read_batches;
use crate::property::TopicProperties;
use crate::transaction::{Settings, Transactions};

pub(super) const NAME: &str = crate::catalog::TRANSACTION_STATE;

/// Bytes read at a time.
const READ_BYTES: usize = 1 << 20;

/// Most bytes that a batch may unpack to; what is written here is not compressed.
const UNPACKED_BYTES_MAX: usize = 64 << 20;

/// The partition of a transactional id: Java's hash of it, as Kafka computes it.
pub(super) fn partition_of(transactional_id: &str, partitions: usize) -> usize {
    let hash = transactional_id
        .encode_utf16()
        .fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    (hash & i32::MAX) as usize % partitions.max(1)
}

/// Reads every partition; creates the topic where it is not there. Blocks on the disk.
pub(super) fn load(broker: &Broker, settings: Settings) -> Result<Vec<(Arc<Partition>, Transactions)>, Refused> {
    let topic = match broker.topics.get(NAME) {
        Some(topic) => topic,
        None => create(broker)?,
    };
    let mut loaded = Vec::with_capacity(topic.partitions.len());
    for partition in &topic.partitions {
        let mut transactions = Transactions::new(settings);
        load_partition(partition, &mut transactions)?;
        loaded.push((Arc::clone(partition), transactions));
    }
    Ok(loaded)
}

fn create(broker: &Broker) -> Result<Arc<super::super::topics::Topic>, Refused> {
    let partitions = broker.properties.number("transaction.state.log.num.partitions") as i32;
    let properties = TopicProperties::from([
        ("cleanup.policy".to_owned(), "compact".to_owned()),
        ("compression.type".to_owned(), "uncompressed".to_owned()),
        ("segment.bytes".to_owned(), "104857600".to_owned()),
    ]);
    match broker.topics.create(NAME, partitions, properties) {
        Ok(_) => broker.measure(),
        Err(refused) if refused.code == ErrorCode::TOPIC_ALREADY_EXISTS => {}
        Err(refused) => return Err(refused),
    }
    broker
        .topics
        .get(NAME)
        .ok_or(ErrorCode::COORDINATOR_NOT_AVAILABLE.into())
}

fn load_partition(partition: &Partition, transactions: &mut Transactions) -> Result<(), Refused> {
    let damaged = |reason: String| Refused {
        code: ErrorCode::KAFKA_STORAGE_ERROR,
        message: Some(format!("{NAME}-{}: {reason}", partition.index)),
    };
    let (mut offset, end) = partition.with_log(|log| Ok::<_, Refused>((log.start(), log.high_watermark())))?;
    while offset < end {
        let slice = partition.with_log(|log| log.locate(offset, end, READ_BYTES))?;
        let Some(slice) = slice else { break };
        let mut bytes = read_batches(&slice, offset, end, READ_BYTES).map_err(|error| damaged(error.to_string()))?;
        if bytes.is_empty() {
            break;
        }
        while !bytes.is_empty() {
            let header = BatchHeader::parse(&bytes).map_err(|error| damaged(error.to_string()))?;
            let batch = bytes.split_to(header.len.min(bytes.len()));
            offset = header.next_offset();
            if header.is_control() {
                continue;
            }
            let records = record::records(batch, UNPACKED_BYTES_MAX).map_err(|error| damaged(error.to_string()))?;
            for record in records {
                let record = record.map_err(|error| damaged(error.to_string()))?;
                let Some(key) = &record.key else { continue };
                let key = transaction_state::decode_key(key).map_err(|error| damaged(error.to_string()))?;
                let value = record.value.as_ref().map(transaction_state::decode_value).transpose();
                let value = value.map_err(|error| damaged(error.to_string()))?;
                let is_known = key.is_some_and(|transactional_id| transactions.restore(transactional_id, value));
                if !is_known {
                    tracing::warn!(offset = record.offset, "a record of {NAME} is unknown and was skipped");
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactional_ids_are_where_kafka_looks_for_them() {
        // "tx".hashCode() is 3716 in Java.
        assert_eq!(partition_of("tx", 50), 3716 % 50);
        assert_eq!(partition_of("", 50), 0);
        assert!(partition_of("a much longer transactional id that overflows", 50) < 50);
    }
}
