//! The header of a record batch (magic 2): what a broker reads, checks and patches.
//!
//! ```text
//!  0 base offset i64 | 8 length i32 | 12 leader epoch i32 | 16 magic i8 | 17 CRC-32C u32 | 21 attributes i16
//! 23 last offset delta i32 | 27 base timestamp i64 | 35 max timestamp i64 | 43 producer id i64 | 51 producer epoch i16
//! 53 base sequence i32 | 57 record count i32 | 61 records
//! ```
//!
//! The CRC covers bytes 21 to the end. So the twelve bytes that only the broker knows, base offset and leader epoch, are
//! outside it, and [`place`] writes them without touching the rest.

use crate::compression::Codec;

/// Bytes of the header.
pub const HEADER_LEN: usize = 61;
/// Bytes before the part that the length field counts.
pub const LENGTH_PREFIX: usize = 12;
/// Where the CRC begins to cover.
const CRC_START: usize = 21;

const CODEC_MASK: i16 = 0x07;
const LOG_APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;
const DELETE_HORIZON: i16 = 0x40;

/// Why bytes are not a batch that can be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Peer: the bytes end within the batch.
    #[error("the batch ends before its length says")]
    Truncated,
    /// Peer: a length below that of a header.
    #[error("the batch claims a length of {0} bytes")]
    Length(i32),
    /// Peer: an old or unknown record format.
    #[error("record format {0} is not supported, only 2")]
    Magic(i8),
    /// Peer or disk: the bytes changed on their way.
    #[error("the CRC-32C of the batch is {got:08x}, it says {claimed:08x}")]
    Crc { claimed: u32, got: u32 },
    /// Peer: record count and last offset delta contradict each other.
    #[error("a batch of {count} records cannot end {last_offset_delta} behind its first")]
    Count { count: i32, last_offset_delta: i32 },
    /// Disk: the batch stands in the wrong place.
    #[error("the batch has offset {got}, {expected} comes here")]
    Offset { got: i64, expected: i64 },
    /// Peer: a compression codec that does not exist.
    #[error("compression codec {0} does not exist")]
    Codec(i16),
}

/// The header of one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    pub base_offset: i64,
    /// Length in bytes of the whole batch, header included.
    pub len: usize,
    pub leader_epoch: i32,
    pub crc: u32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub count: i32,
}

impl BatchHeader {
    /// Reads the header; looks at nothing behind it.
    ///
    /// # Errors
    /// When it is no header of a magic-2 batch.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let header: &[u8; HEADER_LEN] = bytes.first_chunk().ok_or(BatchError::Truncated)?;
        let magic = i8::from_be_bytes(at(header, 16));
        if magic != 2 {
            return Err(BatchError::Magic(magic));
        }
        let length = i32::from_be_bytes(at(header, 8));
        let len = usize::try_from(length)
            .map_err(|_| BatchError::Length(length))?
            .saturating_add(LENGTH_PREFIX);
        if len < HEADER_LEN {
            return Err(BatchError::Length(length));
        }
        Ok(Self {
            base_offset: i64::from_be_bytes(at(header, 0)),
            len,
            leader_epoch: i32::from_be_bytes(at(header, 12)),
            crc: u32::from_be_bytes(at(header, 17)),
            attributes: i16::from_be_bytes(at(header, 21)),
            last_offset_delta: i32::from_be_bytes(at(header, 23)),
            base_timestamp: i64::from_be_bytes(at(header, 27)),
            max_timestamp: i64::from_be_bytes(at(header, 35)),
            producer_id: i64::from_be_bytes(at(header, 43)),
            producer_epoch: i16::from_be_bytes(at(header, 51)),
            base_sequence: i32::from_be_bytes(at(header, 53)),
            count: i32::from_be_bytes(at(header, 57)),
        })
    }

    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    pub fn next_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }

    /// The sequence number of the last record; sequences wrap from `i32::MAX` to 0.
    pub fn last_sequence(&self) -> i32 {
        advance_sequence(self.base_sequence, self.last_offset_delta)
    }

    pub fn is_idempotent(&self) -> bool {
        self.producer_id >= 0
    }

    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// Whether the timestamps of the records are all the maximum, set by the broker.
    pub fn is_log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME != 0
    }

    /// Until when the tombstones of the batch are kept, in milliseconds since 1970; `None` before compaction has met them
    /// (KIP-534: the base timestamp has it then).
    pub fn delete_horizon(&self) -> Option<i64> {
        (self.attributes & DELETE_HORIZON != 0).then_some(self.base_timestamp)
    }

    /// Sets the horizon; the timestamps of the records are relative to it then.
    pub(crate) fn set_delete_horizon(&mut self, horizon_ms: i64) {
        self.attributes |= DELETE_HORIZON;
        self.base_timestamp = horizon_ms;
    }

    pub(crate) fn set_codec(&mut self, codec: Codec) {
        self.attributes = self.attributes & !CODEC_MASK | codec.number();
    }

    pub fn codec(&self) -> Result<Codec, BatchError> {
        let number = self.attributes & CODEC_MASK;
        Codec::from_number(number).ok_or(BatchError::Codec(number))
    }
}

/// `sequence + delta`, where `i32::MAX` is followed by 0.
pub fn advance_sequence(sequence: i32, delta: i32) -> i32 {
    let sum = i64::from(sequence) + i64::from(delta);
    (sum % (i64::from(i32::MAX) + 1)) as i32
}

/// Checks the batch at the start of `bytes`: complete, magic 2, right CRC, sensible counts, a known codec.
///
/// # Errors
/// The first of these that does not hold.
pub fn check(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
    let header = BatchHeader::parse(bytes)?;
    let batch = bytes.get(..header.len).ok_or(BatchError::Truncated)?;
    let got = crc32c::crc32c(&batch[CRC_START..]);
    if got != header.crc {
        return Err(BatchError::Crc {
            claimed: header.crc,
            got,
        });
    }
    // Compacted batches keep their last offset and lose records, so fewer are fine.
    if header.count < 0 || header.last_offset_delta < 0 || header.count - 1 > header.last_offset_delta {
        return Err(BatchError::Count {
            count: header.count,
            last_offset_delta: header.last_offset_delta,
        });
    }
    header.codec()?;
    Ok(header)
}

impl BatchHeader {
    /// Sets the largest timestamp, and whether it is the time of the append, as the log has it; `batch` is what the header
    /// was read from. The CRC covers both, so it is computed again where one of them differs.
    pub fn set_max_timestamp(&mut self, batch: &[u8], max_timestamp: i64, is_log_append_time: bool) {
        if (self.max_timestamp, self.is_log_append_time()) == (max_timestamp, is_log_append_time) {
            return;
        }
        self.max_timestamp = max_timestamp;
        self.attributes &= !LOG_APPEND_TIME;
        if is_log_append_time {
            self.attributes |= LOG_APPEND_TIME;
        }
        let head = crc32c::crc32c(&self.encode()[CRC_START..]);
        self.crc = crc32c::crc32c_append(head, &batch[HEADER_LEN..self.len]);
    }

    /// The header's bytes.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..16].copy_from_slice(&placed_prefix(self.len, self.base_offset, self.leader_epoch));
        bytes[16] = 2;
        bytes[17..21].copy_from_slice(&self.crc.to_be_bytes());
        bytes[21..23].copy_from_slice(&self.attributes.to_be_bytes());
        bytes[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        bytes[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        bytes[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        bytes[43..51].copy_from_slice(&self.producer_id.to_be_bytes());
        bytes[51..53].copy_from_slice(&self.producer_epoch.to_be_bytes());
        bytes[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        bytes[57..].copy_from_slice(&self.count.to_be_bytes());
        bytes
    }
}

/// Gives a batch its place in a log: patches the twelve bytes outside the CRC.
///
/// # Panics
/// When `batch` is shorter than a header; [`check`] it before.
pub fn place(batch: &mut [u8], base_offset: i64, leader_epoch: i32) {
    batch[..8].copy_from_slice(&base_offset.to_be_bytes());
    batch[12..16].copy_from_slice(&leader_epoch.to_be_bytes());
}

/// The patched first 16 bytes of a batch, for writers that keep the batch itself borrowed.
pub fn placed_prefix(batch_len: usize, base_offset: i64, leader_epoch: i32) -> [u8; 16] {
    let mut prefix = [0; 16];
    prefix[..8].copy_from_slice(&base_offset.to_be_bytes());
    let length = i32::try_from(batch_len - LENGTH_PREFIX).unwrap_or(i32::MAX);
    prefix[8..12].copy_from_slice(&length.to_be_bytes());
    prefix[12..].copy_from_slice(&leader_epoch.to_be_bytes());
    prefix
}

/// Completes a batch that begins with a header of zeroes: fills in every field and the CRC.
pub(crate) fn seal(batch: &mut [u8], header: &BatchHeader) {
    let header = BatchHeader {
        len: batch.len(),
        ..*header
    };
    batch[..HEADER_LEN].copy_from_slice(&header.encode());
    let crc = crc32c::crc32c(&batch[CRC_START..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// The same batch, marked as part of a transaction, or as written by a broker (a control batch).
///
/// # Panics
/// When `batch` is not a whole batch; [`check`] it before.
pub fn with_attributes(batch: &[u8], transactional: bool, control: bool) -> bytes::Bytes {
    let mut header = BatchHeader::parse(batch).unwrap_or_else(|error| panic!("not a batch: {error}"));
    if transactional {
        header.attributes |= TRANSACTIONAL;
    }
    if control {
        header.attributes |= CONTROL;
    }
    let mut batch = batch.to_vec();
    seal(&mut batch, &header);
    batch.into()
}

fn at<const N: usize>(header: &[u8; HEADER_LEN], start: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&header[start..start + N]);
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!(advance_sequence(i32::MAX - 1, 1), i32::MAX);
        assert_eq!(advance_sequence(i32::MAX, 1), 0);
        assert_eq!(advance_sequence(i32::MAX, 5), 4);
    }

    #[test]
    fn placing_keeps_the_crc() {
        let batch = crate::record::encode_batch(&[crate::Record::new(b"v".as_slice())], Codec::None, None).unwrap();
        let mut batch = batch.to_vec();
        place(&mut batch, 42, 7);
        let header = check(&batch).unwrap();
        assert_eq!((header.base_offset, header.leader_epoch, header.count), (42, 7, 1));
        assert_eq!(batch[..16], placed_prefix(batch.len(), 42, 7));
    }

    #[test]
    fn a_new_timestamp_gets_a_new_crc() {
        let records = [crate::Record::new(b"v".as_slice()), crate::Record::new(b"w".as_slice())];
        let batch = crate::record::encode_batch(&records, Codec::None, None).unwrap();
        let read = check(&batch).unwrap();
        assert_eq!(read.encode(), batch[..HEADER_LEN]);
        for (max_timestamp, append_time) in [(-1, false), (-1, true), (99, false), (99, true)] {
            let mut header = read;
            header.set_max_timestamp(&batch, max_timestamp, append_time);
            let stored = [&header.encode()[..], &batch[HEADER_LEN..]].concat();
            assert_eq!(check(&stored), Ok(header));
            assert_eq!(
                (header.max_timestamp, header.is_log_append_time()),
                (max_timestamp, append_time)
            );
        }
    }

    #[test]
    fn every_flipped_bit_behind_the_prefix_is_found() {
        let records: Vec<_> = (0..3)
            .map(|i| crate::Record::new(format!("value {i}").into_bytes()))
            .collect();
        let batch = crate::record::encode_batch(&records, Codec::None, None).unwrap();
        for bit in 16 * 8..batch.len() * 8 {
            let mut broken = batch.to_vec();
            broken[bit / 8] ^= 1 << (bit % 8);
            assert!(check(&broken).is_err(), "bit {bit}");
        }
        for len in 0..batch.len() {
            assert!(check(&batch[..len]).is_err());
        }
    }
}
