//! What a broker checks inside a batch before it stores it.
//!
//! A batch whose CRC is right can still hold what no consumer can read: a wrong count, lengths that run out of the
//! record, bytes behind the last record, a stream that its codec cannot open, or one that inflates without end. A
//! consumer that meets such a batch stops there for good, so the broker refuses it, as Kafka's `LogValidator` does.
//!
//! [`check`] walks over the records without copying a key or a value. A compressed batch is inflated as a stream through a
//! small buffer, and no further than [`Rules::inflated_bytes_max`]. On the way it finds the largest timestamp, which
//! belongs into the header, whatever the producer wrote there.

use std::io::{self, BufRead};

use crate::batch::{BatchError, BatchHeader, HEADER_LEN};
use crate::compression::Codec;

/// Most record errors that one batch is refused with; the others are left out.
const RECORD_ERRORS_MAX: usize = 1000;

/// What a topic asks of its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Most bytes that a compressed batch may inflate to.
    pub inflated_bytes_max: u64,
    /// Every record needs a key: the topic is compacted.
    pub keys_required: bool,
    /// Oldest and newest timestamp of a record, in milliseconds since 1970; `None` where the broker sets it.
    pub timestamps: Option<(i64, i64)>,
}

/// What a broker learns from the records of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// The largest timestamp of the records; -1 where none has one.
    pub max_timestamp: i64,
}

/// What is wrong with one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordError {
    /// Place of the record in its batch, from 0.
    pub index: i32,
    pub message: String,
}

/// Why a batch is refused.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// Producer: its bytes are no records.
    #[error("record {index} of the batch is malformed: {reason}")]
    Malformed { index: i32, reason: &'static str },
    /// Producer: there is more than the header's count says.
    #[error("the batch holds bytes behind its {0} records")]
    Surplus(i32),
    /// Producer: its bytes are not of the codec that the header names.
    #[error("the batch cannot be decompressed as {codec:?} at record {index}: {source}")]
    Codec {
        codec: Codec,
        index: i32,
        source: io::Error,
    },
    /// Producer: send smaller batches.
    #[error("the batch inflates to more than {0} bytes")]
    Inflated(u64),
    /// Producer: the topic does not take these records.
    #[error("{} records have no key, which a compacted topic requires", .0.len())]
    Keys(Vec<RecordError>),
    /// Producer: the topic does not take these timestamps.
    #[error("{} records have an invalid timestamp", .0.len())]
    Timestamps(Vec<RecordError>),
    #[error(transparent)]
    Batch(#[from] BatchError),
}

impl Invalid {
    /// Which records are to blame, for a produce response.
    pub fn record_errors(self) -> Vec<RecordError> {
        let message = self.to_string();
        match self {
            Invalid::Keys(errors) | Invalid::Timestamps(errors) => errors,
            Invalid::Malformed { index, .. } | Invalid::Codec { index, .. } => vec![RecordError { index, message }],
            Invalid::Surplus(_) | Invalid::Inflated(_) | Invalid::Batch(_) => Vec::new(),
        }
    }
}

/// Checks the records of one whole batch, whose header and CRC were checked before.
///
/// # Errors
/// The first thing that is malformed; or all records that the rules refuse.
pub fn check(batch: &[u8], header: &BatchHeader, rules: &Rules) -> Result<Checked, Invalid> {
    let packed = batch.get(HEADER_LEN..header.len).ok_or(BatchError::Truncated)?;
    match header.codec()? {
        Codec::None => Walk::new(packed, header, rules, packed.len() as u64).run(),
        codec => {
            let unreadable = |source| Invalid::Codec {
                codec,
                index: 0,
                source,
            };
            let inflated = codec.reader(packed, rules.inflated_bytes_max).map_err(unreadable)?;
            Walk::new(inflated, header, rules, rules.inflated_bytes_max).run()
        }
    }
}

/// Why the walk ends within a record.
enum Stop {
    Malformed(&'static str),
    Unreadable(io::Error),
}

/// Steps from record to record.
struct Walk<'a, R> {
    source: R,
    header: &'a BatchHeader,
    rules: &'a Rules,
    /// Bytes that may still be inflated.
    budget: u64,
    /// Bytes left of the record at hand.
    left: u64,
    max_timestamp: i64,
    without_key: Vec<RecordError>,
    bad_timestamps: Vec<RecordError>,
}

impl<'a, R: BufRead> Walk<'a, R> {
    fn new(source: R, header: &'a BatchHeader, rules: &'a Rules, budget: u64) -> Self {
        Self {
            source,
            header,
            rules,
            budget,
            left: 0,
            max_timestamp: -1,
            without_key: Vec::new(),
            bad_timestamps: Vec::new(),
        }
    }

    fn run(mut self) -> Result<Checked, Invalid> {
        for index in 0..self.header.count {
            self.begin_record(index)?;
            self.record(index).map_err(|stop| self.refuse(index, stop))?;
        }
        let count = self.header.count;
        match self.source.fill_buf().map(<[u8]>::is_empty) {
            Ok(true) => {}
            Ok(false) => return Err(Invalid::Surplus(count)),
            Err(error) => return Err(self.refuse(count, Stop::Unreadable(error))),
        }
        if !self.bad_timestamps.is_empty() {
            return Err(Invalid::Timestamps(self.bad_timestamps));
        }
        if !self.without_key.is_empty() {
            return Err(Invalid::Keys(self.without_key));
        }
        Ok(Checked {
            max_timestamp: self.max_timestamp,
        })
    }

    fn refuse(&self, index: i32, stop: Stop) -> Invalid {
        match (stop, self.header.codec()) {
            (Stop::Unreadable(source), Ok(codec)) if codec != Codec::None => Invalid::Codec { codec, index, source },
            (Stop::Malformed(reason), _) => Invalid::Malformed { index, reason },
            (Stop::Unreadable(_), _) => Invalid::Malformed {
                index,
                reason: "the batch ends before its last record",
            },
        }
    }

    /// Reads the length of the next record.
    fn begin_record(&mut self, index: i32) -> Result<(), Invalid> {
        self.left = u64::MAX;
        let length = self.varint(5).map_err(|stop| self.refuse(index, stop))?;
        let length = u64::try_from(length).ok().filter(|length| *length > 0);
        let length = length.ok_or(Invalid::Malformed {
            index,
            reason: "its length is not positive",
        })?;
        // Counts the length's own byte as well, so that a stream of empty records ends, too.
        match self.budget.checked_sub(length + 1) {
            Some(budget) => self.budget = budget,
            None if self.header.codec() == Ok(Codec::None) => {
                return Err(Invalid::Malformed {
                    index,
                    reason: "it is longer than the batch",
                });
            }
            None => return Err(Invalid::Inflated(self.rules.inflated_bytes_max)),
        }
        self.left = length;
        Ok(())
    }

    fn record(&mut self, index: i32) -> Result<(), Stop> {
        self.skip(1)?; // Attributes: none are defined.
        let timestamp_delta = self.varint(10)?;
        if self.varint(5)? != i64::from(index) {
            return Err(Stop::Malformed("its offset delta is not its place in the batch"));
        }
        let has_key = self.optional()?;
        self.optional()?;
        let headers = self.varint(5)?;
        // A header takes two bytes at least.
        match u64::try_from(headers) {
            Ok(count) if count <= self.left / 2 => {}
            _ => return Err(Stop::Malformed("its number of headers is impossible")),
        }
        for _ in 0..headers {
            if !self.optional()? {
                return Err(Stop::Malformed("a header has no name"));
            }
            self.optional()?;
        }
        if self.left > 0 {
            return Err(Stop::Malformed("it is longer than its fields"));
        }
        if self.rules.keys_required && !has_key && self.without_key.len() < RECORD_ERRORS_MAX {
            let message = "Compacted topic cannot accept message without key.".to_owned();
            self.without_key.push(RecordError { index, message });
        }
        self.timestamp(index, timestamp_delta)
    }

    fn timestamp(&mut self, index: i32, delta: i64) -> Result<(), Stop> {
        let timestamp = self.header.base_timestamp.checked_add(delta);
        let timestamp = timestamp.ok_or(Stop::Malformed("its timestamp does not fit 64 bits"))?;
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let Some((earliest, latest)) = self.rules.timestamps else {
            if self.header.is_log_append_time() && self.bad_timestamps.len() < RECORD_ERRORS_MAX {
                let message = "Producer should not set timestamp type to LogAppendTime.".to_owned();
                self.bad_timestamps.push(RecordError { index, message });
            }
            return Ok(());
        };
        let fits = timestamp == -1 || (earliest..=latest).contains(&timestamp);
        if !fits && self.bad_timestamps.len() < RECORD_ERRORS_MAX {
            let message = format!(
                "Timestamp {timestamp} of message with offset {index} is out of range. The timestamp should be within \
                 [{earliest}, {latest}]"
            );
            self.bad_timestamps.push(RecordError { index, message });
        }
        Ok(())
    }

    /// Skips bytes with a length before them; says whether there are any, where -1 is none.
    fn optional(&mut self) -> Result<bool, Stop> {
        match self.varint(5)? {
            -1 => Ok(false),
            length => {
                let length = u64::try_from(length).map_err(|_| Stop::Malformed("a length is negative"))?;
                self.skip(length)?;
                Ok(true)
            }
        }
    }

    fn skip(&mut self, mut bytes: u64) -> Result<(), Stop> {
        self.left = self
            .left
            .checked_sub(bytes)
            .ok_or(Stop::Malformed("a field is longer than the record"))?;
        while bytes > 0 {
            let buffered = self.source.fill_buf().map_err(Stop::Unreadable)?.len() as u64;
            if buffered == 0 {
                return Err(Stop::Malformed("the batch ends within it"));
            }
            let taken = buffered.min(bytes);
            self.source.consume(taken as usize);
            bytes -= taken;
        }
        Ok(())
    }

    /// A zigzag number of at most `bytes_max` bytes.
    fn varint(&mut self, bytes_max: u32) -> Result<i64, Stop> {
        let mut value = 0u64;
        for place in 0..bytes_max {
            let buffered = self.source.fill_buf().map_err(Stop::Unreadable)?;
            let byte = *buffered.first().ok_or(Stop::Malformed("the batch ends within it"))?;
            self.source.consume(1);
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                self.left = self
                    .left
                    .checked_sub(u64::from(place) + 1)
                    .ok_or(Stop::Malformed("a field is longer than the record"))?;
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err(Stop::Malformed("a variable-length number does not end"))
    }
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut, Bytes, BytesMut};

    use super::*;
    use crate::batch;
    use crate::record::{Record, encode_batch, put_varint};

    const RULES: Rules = Rules {
        inflated_bytes_max: 1 << 20,
        keys_required: false,
        timestamps: Some((0, 10_000)),
    };

    /// A batch with a right CRC around any bytes.
    fn sealed(attributes: i16, count: i32, records: &[u8]) -> Bytes {
        let mut bytes = BytesMut::zeroed(HEADER_LEN);
        bytes.put_slice(records);
        let header = BatchHeader {
            base_offset: 0,
            len: bytes.len(),
            leader_epoch: -1,
            crc: 0,
            attributes,
            last_offset_delta: count - 1,
            base_timestamp: 1000,
            max_timestamp: 1000,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            count,
        };
        batch::seal(&mut bytes, &header);
        bytes.freeze()
    }

    fn run(batch: &[u8], rules: &Rules) -> Result<Checked, Invalid> {
        check(batch, &batch::check(batch).unwrap(), rules)
    }

    fn records() -> Vec<Record> {
        let record = |i: i64| Record {
            timestamp: 1000 + i * 37 % 20,
            key: (i % 2 == 0).then(|| Bytes::from(vec![b'k'; i as usize * 100])),
            headers: vec![("h".to_owned(), None), ("i".to_owned(), Some("v".into()))],
            ..Record::new(format!("value {i}").into_bytes())
        };
        (0..20).map(record).collect()
    }

    fn plain() -> Vec<u8> {
        encode_batch(&records(), Codec::None, None).unwrap()[HEADER_LEN..].to_vec()
    }

    /// A record: its length, then `fields`.
    fn framed(fields: &[u8]) -> Vec<u8> {
        let mut bytes = BytesMut::new();
        put_varint(&mut bytes, fields.len() as i64);
        bytes.put_slice(fields);
        bytes.to_vec()
    }

    fn varint(value: i64) -> Vec<u8> {
        let mut bytes = BytesMut::new();
        put_varint(&mut bytes, value);
        bytes.to_vec()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
    }

    #[test]
    fn right_records_pass_in_every_codec_and_tell_their_largest_timestamp() {
        let expected = records().iter().map(|record| record.timestamp).max().unwrap();
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4] {
            let batch = encode_batch(&records(), codec, None).unwrap();
            assert_eq!(run(&batch, &RULES).unwrap().max_timestamp, expected, "{codec:?}");
        }
        let batch = sealed(4, 20, &zstd(&plain()));
        assert_eq!(run(&batch, &RULES).unwrap().max_timestamp, expected);
        let batch = encode_batch(&[Record::new("v")], Codec::None, None).unwrap();
        assert_eq!(run(&batch, &RULES).unwrap().max_timestamp, -1);
    }

    #[test]
    fn what_no_consumer_can_read_is_refused_in_every_codec() {
        let null = varint(-1);
        let head = |delta: i64| [vec![0], varint(0), varint(delta)].concat();
        let good = framed(&[head(0), null.clone(), null.clone(), varint(0)].concat());
        let with_headers = |headers: &[u8]| framed(&[&head(0)[..], &null, &null, headers].concat());
        let cases: Vec<(&str, i32, Vec<u8>)> = vec![
            ("nothing", 1, Vec::new()),
            ("garbage", 1, vec![0xff; 40]),
            ("a count above the records", 3, good.clone()),
            ("a count of 2^31 - 1", i32::MAX, good.clone()),
            ("bytes behind the last record", 1, [good.clone(), vec![0; 3]].concat()),
            (
                "a record behind the last record",
                1,
                [good.clone(), good.clone()].concat(),
            ),
            ("a wrong offset delta", 2, [good.clone(), good.clone()].concat()),
            ("an empty record", 1, vec![0]),
            ("a negative length", 1, varint(-5)),
            ("a length beyond the batch", 1, varint(1000)),
            ("a record that is cut", 1, good[..good.len() - 1].to_vec()),
            (
                "a length above the fields",
                1,
                framed(&[head(0), null.clone(), null.clone(), varint(0), vec![0]].concat()),
            ),
            (
                "a key beyond the record",
                1,
                framed(&[head(0), varint(100), null.clone(), varint(0)].concat()),
            ),
            (
                "a key of a negative length",
                1,
                framed(&[head(0), varint(-2), null.clone(), varint(0)].concat()),
            ),
            (
                "a value beyond the record",
                1,
                framed(&[head(0), null.clone(), varint(5), varint(0)].concat()),
            ),
            ("a negative number of headers", 1, with_headers(&varint(-597))),
            ("more headers than fit", 1, with_headers(&varint(1000))),
            (
                "a header without a name",
                1,
                with_headers(&[varint(1), null.clone(), null.clone()].concat()),
            ),
            (
                "a header value beyond the record",
                1,
                with_headers(&[varint(1), varint(1), vec![b'h'], varint(9)].concat()),
            ),
            ("a number that does not end", 1, framed(&[0xff; 30])),
            (
                "a timestamp that overflows",
                1,
                framed(
                    &[
                        vec![0],
                        varint(i64::MAX),
                        varint(0),
                        null.clone(),
                        null.clone(),
                        varint(0),
                    ]
                    .concat(),
                ),
            ),
        ];
        assert!(run(&sealed(0, 1, &good), &RULES).is_ok());
        for (what, count, records) in &cases {
            let packed = [
                (0, records.clone()),
                (1, Codec::Gzip.compress(records).unwrap()),
                (2, Codec::Snappy.compress(records).unwrap()),
                (3, Codec::Lz4.compress(records).unwrap()),
                (4, zstd(records)),
            ];
            for (attributes, packed) in packed {
                let refused = run(&sealed(attributes, *count, &packed), &RULES);
                assert!(refused.is_err(), "{what}, codec {attributes}");
            }
        }
    }

    #[test]
    fn bytes_of_another_codec_are_refused() {
        let gzip = Codec::Gzip.compress(&plain()).unwrap();
        for (attributes, records) in [
            (1, b"not gzip at all".to_vec()),
            (1, plain()),
            (1, Codec::Gzip.compress(&gzip).unwrap()),
            (2, gzip.clone()),
            (3, gzip.clone()),
            (4, gzip.clone()),
            (4, b"not zstd".to_vec()),
            (1, gzip[..gzip.len() / 2].to_vec()),
        ] {
            assert!(run(&sealed(attributes, 20, &records), &RULES).is_err(), "{attributes}");
        }
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_inflated() {
        let value = vec![0; 8 << 20];
        let bomb = encode_batch(&[Record::new(value)], Codec::None, None).unwrap()[HEADER_LEN..].to_vec();
        for (attributes, packed) in [
            (1, Codec::Gzip.compress(&bomb).unwrap()),
            (2, Codec::Snappy.compress(&bomb).unwrap()),
            (3, Codec::Lz4.compress(&bomb).unwrap()),
            (4, zstd(&bomb)),
        ] {
            let refused = run(&sealed(attributes, 1, &packed), &RULES).unwrap_err();
            assert!(matches!(refused, Invalid::Inflated(_)), "{attributes}: {refused}");
        }
    }

    #[test]
    fn records_that_the_topic_does_not_take_are_named() {
        let rules = Rules {
            keys_required: true,
            ..RULES
        };
        let batch = encode_batch(&records(), Codec::Gzip, None).unwrap();
        let errors = run(&batch, &rules).unwrap_err().record_errors();
        assert_eq!(errors.len(), 10);
        assert!(
            errors
                .iter()
                .enumerate()
                .all(|(place, error)| error.index == place as i32 * 2 + 1)
        );
        let rules = Rules {
            timestamps: Some((1001, 1010)),
            ..RULES
        };
        let refused = run(&batch, &rules).unwrap_err();
        assert!(matches!(&refused, Invalid::Timestamps(errors) if errors[0].index == 0));
        let rules = Rules {
            timestamps: None,
            ..RULES
        };
        assert!(run(&batch, &rules).is_ok());
        assert!(run(&sealed(8, 20, &plain()), &rules).is_err());
    }

    #[test]
    fn every_flipped_byte_is_an_answer_not_a_panic() {
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4] {
            let packed = encode_batch(&records(), codec, None).unwrap()[HEADER_LEN..].to_vec();
            for position in 0..packed.len() {
                for flip in [0xff, 0x80, 0x01] {
                    let mut broken = packed.clone();
                    broken[position] ^= flip;
                    let _ = run(&sealed(codec.number(), 20, &broken), &RULES);
                }
            }
        }
    }
}
