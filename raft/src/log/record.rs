//! One record as it stands in a file.
//!
//! ```text
//!  0        4             8              12         20     21      22     23               23 + n
//!  | header | payload     | payload      | index    | kind | flags | mark | payload (n) ... | mark |
//!  | CRC32C | CRC32C      | bytes n      | u64      | u8   | u8    | 0x5A |                 | 0xA5 |
//! ```
//!
//! Numbers are little-endian. The header's CRC covers the rest of the header (and so the payload's CRC), preceded by its
//! place: the segment's first index and the record's offset in it.

use bytes::Bytes;

use crate::consensus::plant::{Plant, is_planted};

/// Bytes of a record before its payload.
pub(super) const HEADER_BYTES: usize = 23;
/// Bytes of a record beside its payload.
pub(super) const FRAME_BYTES: usize = HEADER_BYTES + 1;
/// The largest payload, in bytes. A record is held in memory whole when it is written and read.
pub const PAYLOAD_BYTES_MAX: usize = 64 << 20;

const HEADER_MARK: u8 = 0x5A;
const END_MARK: u8 = 0xA5;
const MARK_AT: usize = HEADER_BYTES - 1;
const FLAGS_AT: usize = HEADER_BYTES - 2;

/// The record is the first after a sync, hence all before it is durable.
const AFTER_SYNC: u8 = 1;
/// The payload may have sectors that are all zero by themselves.
const HAS_ZEROS: u8 = 2;

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub index: u64,
    /// The user's own; the log does not look at it.
    pub kind: u8,
    pub payload: Bytes,
}

/// What a record is made of, borrowed: its payload may come in two parts, so that anyone who puts something in front of each
/// payload need not copy it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts<'a> {
    pub index: u64,
    pub kind: u8,
    pub head: &'a [u8],
    pub body: &'a [u8],
}

impl Parts<'_> {
    pub fn payload_bytes(&self) -> usize {
        self.head.len() + self.body.len()
    }
}

impl<'a> From<&'a Record> for Parts<'a> {
    fn from(record: &'a Record) -> Self {
        Self {
            index: record.index,
            kind: record.kind,
            head: &[],
            body: &record.payload,
        }
    }
}

/// Where a record stands: in the segment that begins with `segment`, at `offset` bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub segment: u64,
    pub offset: u64,
}

/// A header whose CRC and mark were right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub index: u64,
    pub kind: u8,
    pub payload_bytes: usize,
    pub after_sync: bool,
    pub has_zeros: bool,
    payload_crc: u32,
}

/// Appends the record's bytes to `buffer`.
pub(super) fn encode(buffer: &mut Vec<u8>, place: Place, record: Parts<'_>, after_sync: bool) {
    let payload_bytes = u32::try_from(record.payload_bytes()).expect("a payload is at most PAYLOAD_BYTES_MAX long");
    let mut flags = if after_sync { AFTER_SYNC } else { 0 };
    if has_zero_run(record.head) || has_zero_run(record.body) {
        flags |= HAS_ZEROS;
    }
    let payload_crc = crc32c::crc32c_append(crc32c::crc32c(record.head), record.body);
    let start = buffer.len();
    buffer.extend_from_slice(&[0; 4]);
    buffer.extend_from_slice(&payload_crc.to_le_bytes());
    buffer.extend_from_slice(&payload_bytes.to_le_bytes());
    buffer.extend_from_slice(&record.index.to_le_bytes());
    buffer.extend_from_slice(&[record.kind, flags, HEADER_MARK]);
    let crc = header_crc(place, &buffer[start + 4..]);
    buffer[start..start + 4].copy_from_slice(&crc.to_le_bytes());
    buffer.extend_from_slice(record.head);
    buffer.extend_from_slice(record.body);
    buffer.push(END_MARK);
}

impl Header {
    /// `None` if these are not the bytes of a header at that place.
    pub fn decode(bytes: &[u8], place: Place) -> Option<Self> {
        let bytes: &[u8; HEADER_BYTES] = bytes.get(..HEADER_BYTES)?.try_into().ok()?;
        if bytes[MARK_AT] != HEADER_MARK || header_crc(place, &bytes[4..]) != u32_at(bytes, 0) {
            return None;
        }
        let flags = bytes[FLAGS_AT];
        Some(Self {
            index: u64::from_le_bytes(bytes[12..20].try_into().ok()?),
            kind: bytes[20],
            payload_bytes: usize::try_from(u32_at(bytes, 8)).ok()?,
            after_sync: flags & AFTER_SYNC != 0,
            has_zeros: flags & HAS_ZEROS != 0,
            payload_crc: u32_at(bytes, 4),
        })
    }

    /// Whether `bytes` could begin a header that is the first after a sync; cheap, to be followed by [`Header::decode`].
    pub fn may_begin_after_sync(bytes: &[u8]) -> bool {
        bytes.len() >= HEADER_BYTES && bytes[MARK_AT] == HEADER_MARK && bytes[FLAGS_AT] & AFTER_SYNC != 0
    }

    /// Bytes of the whole record.
    pub fn record_bytes(&self) -> u64 {
        (self.payload_bytes + FRAME_BYTES) as u64
    }

    /// Whether `body` (payload and end mark) belongs to this header.
    pub fn verify(&self, body: &[u8]) -> bool {
        match body.split_last() {
            Some((mark, payload)) => {
                let fits = || crc32c::crc32c(payload) == self.payload_crc || is_planted(Plant::ChecksumIgnored);
                payload.len() == self.payload_bytes && *mark == END_MARK && fits()
            }
            None => false,
        }
    }
}

fn header_crc(place: Place, bytes: &[u8]) -> u32 {
    let mut prefix = [0; 16];
    prefix[..8].copy_from_slice(&place.segment.to_le_bytes());
    prefix[8..].copy_from_slice(&place.offset.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&prefix), bytes)
}

fn u32_at(bytes: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The longest head in front of a payload's body, in bytes; see [`has_zero_run`].
pub(super) const HEAD_BYTES_MAX: usize = 32;
const ZERO_BLOCK_BYTES: usize = (512 - HEAD_BYTES_MAX) / 2;

/// Whether a sector of the file could be all zero because of this part of a payload. A run of 512 zeros has at most
/// [`HEAD_BYTES_MAX`] of them in the head, so what is in the body contains an aligned block of [`ZERO_BLOCK_BYTES`].
fn has_zero_run(part: &[u8]) -> bool {
    part.chunks_exact(ZERO_BLOCK_BYTES)
        .any(|block| block.iter().all(|byte| *byte == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { segment: 1, offset: 25 };

    fn encoded(payload: &'static [u8], after_sync: bool) -> Vec<u8> {
        let mut buffer = Vec::new();
        let record = Record {
            index: 7,
            kind: 3,
            payload: Bytes::from_static(payload),
        };
        encode(&mut buffer, PLACE, Parts::from(&record), after_sync);
        buffer
    }

    #[test]
    fn a_header_comes_back() {
        let bytes = encoded(b"hello", true);
        let header = Header::decode(&bytes, PLACE).unwrap();
        assert_eq!((header.index, header.kind, header.payload_bytes), (7, 3, 5));
        assert!(header.after_sync && !header.has_zeros);
        assert_eq!(header.record_bytes(), bytes.len() as u64);
        assert!(header.verify(&bytes[HEADER_BYTES..]));
    }

    #[test]
    fn a_record_in_another_place_is_none() {
        let bytes = encoded(b"hello", false);
        assert_eq!(Header::decode(&bytes, Place { offset: 26, ..PLACE }), None);
        assert_eq!(Header::decode(&bytes, Place { segment: 2, ..PLACE }), None);
    }

    #[test]
    fn long_runs_of_zeros_are_marked() {
        assert!(!has_zero_run(&[0; ZERO_BLOCK_BYTES - 1]));
        for start in 0..300 {
            let mut payload = vec![1; 900];
            payload[start..start + 512 - HEAD_BYTES_MAX].fill(0);
            assert!(has_zero_run(&payload), "from {start}");
        }
    }

    #[test]
    fn a_payload_in_two_parts_reads_as_one() {
        let (mut whole, mut parts) = (Vec::new(), Vec::new());
        let (head, body) = (b"term".as_slice(), b"and payload".as_slice());
        let payload = Bytes::from([head, body].concat());
        let record = Record {
            index: 7,
            kind: 3,
            payload,
        };
        encode(&mut whole, PLACE, Parts::from(&record), true);
        encode(
            &mut parts,
            PLACE,
            Parts {
                index: 7,
                kind: 3,
                head,
                body,
            },
            true,
        );
        assert_eq!(whole, parts);
    }
}
