//! The records inside a batch, as clients write and read them.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};

use crate::batch::{self, BatchHeader, HEADER_LEN};
use crate::compression::Codec;

/// A record: what a producer sends and a consumer gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Place in its partition; ignored when it is sent.
    pub offset: i64,
    /// Milliseconds since 1970; -1 is none (a producer then takes its clock's).
    pub timestamp: i64,
    pub key: Option<Bytes>,
    /// `None` is a tombstone.
    pub value: Option<Bytes>,
    pub headers: Vec<(String, Option<Bytes>)>,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            offset: 0,
            timestamp: -1,
            key: None,
            value: None,
            headers: Vec::new(),
        }
    }
}

impl Record {
    /// A record with a value and nothing else.
    pub fn new(value: impl Into<Bytes>) -> Self {
        Self {
            value: Some(value.into()),
            ..Self::default()
        }
    }
}

/// Whose batch it is, for brokers to recognise a repeated one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerStamp {
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
}

/// Why the records of a batch cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Writer of the batch: it is broken behind a right CRC.
    #[error("a record at offset {0} is malformed")]
    Malformed(i64),
    /// Writer of the batch: broken or too long when unpacked.
    #[error("cannot unpack the batch at offset {0}: {1}")]
    Compression(i64, #[source] io::Error),
    #[error(transparent)]
    Batch(#[from] batch::BatchError),
}

/// Writes one batch with base offset 0. Timestamps are the records' own.
///
/// # Errors
/// When the codec cannot be written.
pub fn encode_batch(records: &[Record], codec: Codec, producer: Option<ProducerStamp>) -> io::Result<Bytes> {
    let base_timestamp = records.first().map_or(-1, |record| record.timestamp);
    let max_timestamp = records.iter().map(|record| record.timestamp).max().unwrap_or(-1);
    let mut batch = BytesMut::zeroed(HEADER_LEN);
    if codec == Codec::None {
        put_records(&mut batch, records, base_timestamp);
    } else {
        let mut plain = BytesMut::new();
        put_records(&mut plain, records, base_timestamp);
        batch.put_slice(&codec.compress(&plain)?);
    }
    let count = i32::try_from(records.len()).map_err(|_| io::Error::other("too many records for one batch"))?;
    let stamp = producer.unwrap_or(ProducerStamp {
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
    });
    let header = BatchHeader {
        base_offset: 0,
        len: batch.len(),
        leader_epoch: -1,
        crc: 0,
        attributes: codec.number(),
        last_offset_delta: (count - 1).max(0),
        base_timestamp,
        max_timestamp,
        producer_id: stamp.producer_id,
        producer_epoch: stamp.producer_epoch,
        base_sequence: stamp.base_sequence,
        count,
    };
    batch::seal(&mut batch, &header);
    Ok(batch.freeze())
}

/// Writes a batch again with some of its records: same offsets, same producer, in the batch's own codec. `delete_horizon`
/// is until when its tombstones are kept.
///
/// # Errors
/// When the codec fails.
pub fn rebuild_batch(header: &BatchHeader, records: &[Record], delete_horizon: Option<i64>) -> io::Result<Bytes> {
    let mut header = *header;
    if let Some(horizon_ms) = delete_horizon {
        header.set_delete_horizon(horizon_ms);
    }
    let (mut plain, mut scratch) = (BytesMut::new(), BytesMut::new());
    for record in records {
        let offset_delta = record.offset - header.base_offset;
        put_record(&mut plain, &mut scratch, record, header.base_timestamp, offset_delta);
    }
    header.count = i32::try_from(records.len()).map_err(|_| io::Error::other("too many records for one batch"))?;
    if !header.is_log_append_time() {
        header.max_timestamp = records.iter().map(|record| record.timestamp).max().unwrap_or(-1);
    }
    finish_batch(header, &plain)
}

/// The same batch in another codec.
///
/// # Errors
/// When it cannot be unpacked to at most `unpacked_len_max` bytes, or the codec fails.
pub fn recompress_batch(
    batch: &[u8],
    header: &BatchHeader,
    codec: Codec,
    unpacked_len_max: usize,
) -> Result<Bytes, RecordError> {
    let failed = |error| RecordError::Compression(header.base_offset, error);
    let packed = batch.get(HEADER_LEN..header.len).ok_or(batch::BatchError::Truncated)?;
    let plain = header.codec()?.decompress(packed, unpacked_len_max).map_err(failed)?;
    let mut header = *header;
    header.set_codec(codec);
    finish_batch(header, &plain).map_err(failed)
}

fn finish_batch(header: BatchHeader, plain: &[u8]) -> io::Result<Bytes> {
    let codec = header.codec().map_err(io::Error::other)?;
    let mut batch = BytesMut::zeroed(HEADER_LEN);
    match codec {
        Codec::None => batch.put_slice(plain),
        codec => batch.put_slice(&codec.compress(plain)?),
    }
    batch::seal(&mut batch, &header);
    Ok(batch.freeze())
}

fn put_records(out: &mut BytesMut, records: &[Record], base_timestamp: i64) {
    let mut scratch = BytesMut::new();
    for (delta, record) in records.iter().enumerate() {
        put_record(out, &mut scratch, record, base_timestamp, delta as i64);
    }
}

fn put_record(out: &mut BytesMut, body: &mut BytesMut, record: &Record, base_timestamp: i64, offset_delta: i64) {
    body.clear();
    body.put_u8(0); // Attributes: none are defined.
    put_varint(body, record.timestamp.wrapping_sub(base_timestamp));
    put_varint(body, offset_delta);
    put_optional(body, record.key.as_deref());
    put_optional(body, record.value.as_deref());
    put_varint(body, record.headers.len() as i64);
    for (name, value) in &record.headers {
        put_optional(body, Some(name.as_bytes()));
        put_optional(body, value.as_deref());
    }
    put_varint(out, body.len() as i64);
    out.put_slice(body);
}

fn put_optional(out: &mut BytesMut, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            put_varint(out, bytes.len() as i64);
            out.put_slice(bytes);
        }
        None => put_varint(out, -1),
    }
}

/// Zigzag, then seven bits a byte.
pub(crate) fn put_varint(out: &mut BytesMut, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

/// The records of one whole, checked batch; keys and values are slices of it, or of what it unpacks to.
///
/// # Errors
/// When it cannot be unpacked to at most `unpacked_len_max` bytes.
pub fn records(batch: Bytes, unpacked_len_max: usize) -> Result<Records, RecordError> {
    let header = BatchHeader::parse(&batch)?;
    if batch.len() < header.len {
        return Err(batch::BatchError::Truncated.into());
    }
    let packed = batch.slice(HEADER_LEN..header.len);
    let bytes = match header.codec()? {
        Codec::None => packed,
        codec => codec
            .decompress(&packed, unpacked_len_max)
            .map_err(|error| RecordError::Compression(header.base_offset, error))?
            .into(),
    };
    Ok(Records {
        left: header.count,
        header,
        bytes,
    })
}

/// Iterates over the records of a batch.
#[derive(Debug)]
pub struct Records {
    header: BatchHeader,
    left: i32,
    bytes: Bytes,
}

impl Iterator for Records {
    type Item = Result<Record, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            return None;
        }
        self.left -= 1;
        let record = read_record(&mut self.bytes, &self.header);
        if record.is_none() {
            self.left = 0;
        }
        Some(record.ok_or(RecordError::Malformed(self.header.base_offset)))
    }
}

fn read_record(bytes: &mut Bytes, header: &BatchHeader) -> Option<Record> {
    let length = usize::try_from(varint(bytes)?).ok()?;
    let mut body = take(bytes, length)?;
    take(&mut body, 1)?;
    let timestamp_delta = varint(&mut body)?;
    let offset_delta = varint(&mut body)?;
    let key = optional(&mut body)?;
    let value = optional(&mut body)?;
    let header_count = usize::try_from(varint(&mut body)?).ok()?;
    // A header takes two bytes at least, so the length bounds the count.
    if header_count > body.len() / 2 {
        return None;
    }
    let mut headers = Vec::with_capacity(header_count.min(16));
    for _ in 0..header_count {
        let name = optional(&mut body)??;
        headers.push((String::from_utf8_lossy(&name).into_owned(), optional(&mut body)?));
    }
    let timestamp = if header.is_log_append_time() {
        header.max_timestamp
    } else {
        header.base_timestamp.checked_add(timestamp_delta)?
    };
    Some(Record {
        offset: header.base_offset.checked_add(offset_delta)?,
        timestamp,
        key,
        value,
        headers,
    })
}

fn take(bytes: &mut Bytes, len: usize) -> Option<Bytes> {
    (len <= bytes.len()).then(|| bytes.split_to(len))
}

fn optional(bytes: &mut Bytes) -> Option<Option<Bytes>> {
    match varint(bytes)? {
        -1 => Some(None),
        length => take(bytes, usize::try_from(length).ok()?).map(Some),
    }
}

fn varint(bytes: &mut Bytes) -> Option<i64> {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let _ = bytes.split_to(index + 1);
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<Record> {
        (0..50)
            .map(|i| Record {
                offset: i,
                timestamp: 1_700_000_000_000 + (i * 7919) % 100 - 50,
                key: (i % 3 != 0).then(|| Bytes::from(format!("key {i}"))),
                value: (i % 5 != 0).then(|| Bytes::from(vec![i as u8; i as usize * 10])),
                headers: (0..i % 3)
                    .map(|h| (format!("h{h}"), (h > 0).then(|| Bytes::from("x"))))
                    .collect(),
            })
            .collect()
    }

    #[test]
    fn records_come_back_in_every_codec() {
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let stamp = ProducerStamp {
                producer_id: 9,
                producer_epoch: 2,
                base_sequence: 77,
            };
            let batch = encode_batch(&sample(), codec, Some(stamp)).unwrap();
            let header = batch::check(&batch).unwrap();
            assert_eq!(
                (header.producer_id, header.base_sequence, header.last_sequence()),
                (9, 77, 126)
            );
            let back: Vec<_> = records(batch, 1 << 20).unwrap().map(Result::unwrap).collect();
            assert_eq!(back, sample(), "{codec:?}");
        }
    }

    #[test]
    fn a_rebuilt_batch_keeps_offsets_and_timestamps() {
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let mut batch = encode_batch(&sample(), codec, None).unwrap().to_vec();
            batch::place(&mut batch, 1000, 3);
            let header = batch::check(&batch).unwrap();
            let all: Vec<Record> = records(batch.clone().into(), 1 << 20)
                .unwrap()
                .map(Result::unwrap)
                .collect();
            let kept: Vec<Record> = all.iter().filter(|record| record.offset % 7 == 0).cloned().collect();
            for horizon in [None, Some(1_800_000_000_000)] {
                let rebuilt = rebuild_batch(&header, &kept, horizon).unwrap();
                let new = batch::check(&rebuilt).unwrap();
                assert_eq!((new.base_offset, new.last_offset(), new.leader_epoch), (1000, 1049, 3));
                assert_eq!((new.count, new.delete_horizon()), (kept.len() as i32, horizon));
                let back: Vec<Record> = records(rebuilt, 1 << 20).unwrap().map(Result::unwrap).collect();
                assert_eq!(back, kept, "{codec:?}");
            }
            for target in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
                let other = recompress_batch(&batch, &header, target, 1 << 20).unwrap();
                assert_eq!(batch::check(&other).unwrap().codec(), Ok(target));
                let back: Vec<Record> = records(other, 1 << 20).unwrap().map(Result::unwrap).collect();
                assert_eq!(back, all);
            }
        }
    }

    #[test]
    fn broken_records_are_an_error_not_a_panic() {
        let batch = encode_batch(&sample(), Codec::None, None).unwrap();
        for position in HEADER_LEN..batch.len() {
            for flip in [0xff, 0x80, 0x01] {
                let mut broken = batch.to_vec();
                broken[position] ^= flip;
                let _ = records(broken.into(), 1 << 20).unwrap().count();
            }
        }
    }
}
