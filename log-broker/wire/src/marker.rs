//! The marker that ends a transaction in a partition: a control batch of one record.
//!
//! ```text
//! key:   version i16 | type i16 (0 abort, 1 commit)
//! value: version i16 | coordinator epoch i32
//! ```

use bytes::{BufMut, Bytes, BytesMut};

use crate::batch::{self, BatchHeader};
use crate::compression::Codec;
use crate::record::{self, ProducerStamp, Record};

const ABORT: i16 = 0;
const COMMIT: i16 = 1;

/// A control record is a few bytes.
const RECORD_BYTES_MAX: usize = 1 << 10;

/// How a producer's transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub is_commit: bool,
    pub coordinator_epoch: i32,
}

/// The control batch of a marker.
pub fn encode(marker: &Marker, timestamp_ms: i64) -> Bytes {
    let mut key = BytesMut::new();
    key.put_i16(0);
    key.put_i16(if marker.is_commit { COMMIT } else { ABORT });
    let mut value = BytesMut::new();
    value.put_i16(0);
    value.put_i32(marker.coordinator_epoch);
    let record = Record {
        timestamp: timestamp_ms,
        key: Some(key.freeze()),
        value: Some(value.freeze()),
        ..Record::default()
    };
    let stamp = ProducerStamp {
        producer_id: marker.producer_id,
        producer_epoch: marker.producer_epoch,
        base_sequence: -1,
    };
    let batch = record::encode_batch(&[record], Codec::None, Some(stamp));
    let batch = batch.unwrap_or_else(|_| unreachable!("one record without compression can be encoded"));
    batch::with_attributes(&batch, true, true)
}

/// The marker in a control batch; `None` for a control record of another kind.
pub fn parse(header: &BatchHeader, batch: &[u8]) -> Option<Marker> {
    if !header.is_control() {
        return None;
    }
    let mut records = record::records(Bytes::copy_from_slice(batch), RECORD_BYTES_MAX).ok()?;
    let record = records.next()?.ok()?;
    let (key, value) = (record.key?, record.value?);
    let kind = i16::from_be_bytes(*key.get(2..)?.first_chunk()?);
    let coordinator_epoch = i32::from_be_bytes(*value.get(2..)?.first_chunk()?);
    if !matches!(kind, ABORT | COMMIT) {
        return None;
    }
    Some(Marker {
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        is_commit: kind == COMMIT,
        coordinator_epoch,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_read_again() {
        for is_commit in [true, false] {
            let marker = Marker {
                producer_id: 7,
                producer_epoch: 3,
                is_commit,
                coordinator_epoch: 11,
            };
            let batch = encode(&marker, 1_000);
            let header = batch::check(&batch).unwrap();
            assert!(header.is_control() && header.is_transactional());
            assert_eq!(
                (header.count, header.base_sequence, header.max_timestamp),
                (1, -1, 1_000)
            );
            assert_eq!(parse(&header, &batch), Some(marker));
        }
        let plain = record::encode_batch(&[Record::new("v")], Codec::None, None).unwrap();
        assert_eq!(parse(&batch::check(&plain).unwrap(), &plain), None);
    }
}
