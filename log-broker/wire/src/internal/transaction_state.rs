//! `__transaction_state`: what a transactional id is at.

use bytes::Bytes;

use super::{encode, number};
use crate::{At, Error, Field, table};

/// The record type of a transactional id.
const TRANSACTION: i16 = 0;
/// The version that values are written in, and the first flexible one. Version 0 is read as well.
const VALUE_VERSION: i16 = 1;
const VALUE_FLEXIBLE: i16 = 1;

table! {
    structures;

    TransactionKey {
        transactional_id: String [..],
    }
    TransactionValue {
        producer_id: i64 [..],
        producer_epoch: i16 [..],
        transaction_timeout_ms: i32 [..],
        transaction_status: i8 [..],
        transaction_partitions: Option<Vec<TransactionPartitions>> [..],
        transaction_last_update_timestamp_ms: i64 [..],
        transaction_start_timestamp_ms: i64 [..],
        previous_producer_id: i64 [1..] tag 0 = -1,
        next_producer_id: i64 [1..] tag 1 = -1,
        client_transaction_version: i16 [1..] tag 2,
    }
    TransactionPartitions {
        topic: String [..],
        partition_ids: Vec<i32> [..],
    }
}

/// The key of a transactional id.
pub fn encode_key(transactional_id: &str) -> Bytes {
    let key = TransactionKey {
        transactional_id: transactional_id.to_owned(),
    };
    encode(TRANSACTION, &key, TRANSACTION, false)
}

/// The transactional id of a key; `None` for a record of another type.
///
/// # Errors
/// When the bytes are not a key.
pub fn decode_key(bytes: &Bytes) -> Result<Option<String>, Error> {
    let (kind, mut input) = number(bytes)?;
    if kind != TRANSACTION {
        return Ok(None);
    }
    let key = TransactionKey::decode(&mut input, At::new(kind, false))?;
    Ok(Some(key.transactional_id))
}

pub fn encode_value(value: &TransactionValue) -> Bytes {
    encode(VALUE_VERSION, value, VALUE_VERSION, true)
}

/// # Errors
/// When the bytes are not a value in a known version.
pub fn decode_value(bytes: &Bytes) -> Result<TransactionValue, Error> {
    let (version, mut input) = number(bytes)?;
    if !(0..=VALUE_VERSION).contains(&version) {
        return Err(Error::Version {
            api: "TransactionLogValue",
            version,
            known: 0..=VALUE_VERSION,
        });
    }
    TransactionValue::decode(&mut input, At::new(version, version >= VALUE_FLEXIBLE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_as_kafka_writes_it() {
        let value = TransactionValue {
            producer_id: 5,
            producer_epoch: 1,
            transaction_timeout_ms: 60_000,
            transaction_status: 1,
            transaction_partitions: Some(vec![TransactionPartitions {
                topic: "t".to_owned(),
                partition_ids: vec![3],
            }]),
            transaction_last_update_timestamp_ms: 8,
            transaction_start_timestamp_ms: 7,
            previous_producer_id: -1,
            next_producer_id: -1,
            client_transaction_version: 2,
        };
        let bytes = encode_value(&value);
        let expected: &[u8] = &[
            0, 1, // version
            0, 0, 0, 0, 0, 0, 0, 5, 0, 1, 0, 0, 0xea, 0x60, 1, // producer id, epoch, timeout, Ongoing
            2, 2, b't', 2, 0, 0, 0, 3, 0, // one topic, compact: its name, one partition, no tagged fields
            0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 7, // last update, start
            1, 2, 2, 0, 2, // one tagged field: the client's transaction version
        ];
        assert_eq!(bytes, expected);
        assert_eq!(decode_value(&bytes).unwrap(), value);
        // Version 0, as brokers before Kafka 4 wrote it: an empty transaction.
        let old: &[u8] = &[
            0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 1, 0, 0, 0xea, 0x60, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 8, 0,
            0, 0, 0, 0, 0, 0, 7,
        ];
        let read = decode_value(&Bytes::from_static(old)).unwrap();
        assert_eq!(
            (
                read.producer_id,
                read.transaction_partitions,
                read.client_transaction_version
            ),
            (5, None, 0)
        );
        assert!(decode_value(&Bytes::from_static(&[0, 9])).is_err());
    }

    #[test]
    fn a_key_is_as_kafka_writes_it() {
        let key = encode_key("tx");
        assert_eq!(key, &[0, 0, 0, 2, b't', b'x'][..]);
        assert_eq!(decode_key(&key).unwrap().as_deref(), Some("tx"));
        assert_eq!(decode_key(&Bytes::from_static(&[0, 9])).unwrap(), None);
        assert!(decode_key(&Bytes::from_static(&[0])).is_err());
    }
}
