//! Finding batches. The log only tells where to look; the reading itself needs no lock on it.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use disk::DiskFile;
use log_broker_wire::batch::{BatchHeader, HEADER_LEN};
use log_broker_wire::record;

use super::{Log, LogError};

/// Most bytes that a batch may unpack to when a time is searched in it; beyond, the batch's first offset is the answer.
const UNPACKED_BYTES_MAX: usize = 64 << 20;

/// A part of a segment in which batches are to be found.
#[derive(Debug, Clone)]
pub struct Slice {
    file: Arc<dyn DiskFile>,
    /// The start of some batch.
    position: u64,
    /// The end of the last batch.
    end: u64,
}

impl Log {
    /// Where to read from `offset` on, with what comes after it in the same segment; `None` at or behind `limit`.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`].
    pub fn locate(&self, offset: i64, limit: i64) -> Result<Option<Slice>, LogError> {
        if offset < self.start || offset > self.end {
            return Err(LogError::OutOfRange {
                offset,
                start: self.start,
                end: self.end,
            });
        }
        if offset >= limit {
            return Ok(None);
        }
        let segment = &self.segments[self.segments.partition_point(|segment| segment.next() <= offset)];
        Ok(Some(Slice {
            file: segment.file(),
            position: segment.position_of(offset),
            end: segment.len(),
        }))
    }

    /// Where to search for the first record with at least `timestamp`; `None` where there is none.
    pub fn locate_time(&self, timestamp: i64) -> Option<Slice> {
        let newest = |segment: &&super::Segment| segment.max_timestamp().is_some_and(|newest| newest >= timestamp);
        let segment = self.segments.iter().find(newest)?;
        let position = segment.position_of_time(timestamp).max(segment.position_of(self.start));
        Some(Slice {
            file: segment.file(),
            position,
            end: segment.len(),
        })
    }

    /// The largest timestamp in the log.
    pub fn max_timestamp(&self) -> Option<i64> {
        self.segments.iter().filter_map(super::Segment::max_timestamp).max()
    }
}

/// Whole batches from the one that contains `offset` on, up to `limit` and about `max_bytes`; at least one batch.
///
/// # Errors
/// When the disk fails, or the file does not hold batches.
pub fn read_batches(slice: &Slice, offset: i64, limit: i64, max_bytes: usize) -> io::Result<Bytes> {
    let mut position = slice.position;
    let mut want = max_bytes.max(HEADER_LEN);
    loop {
        let left = slice.end.saturating_sub(position);
        if left == 0 {
            return Ok(Bytes::new());
        }
        let mut chunk = vec![0; want.min(usize::try_from(left).unwrap_or(usize::MAX))];
        slice.file.read_exact_at(&mut chunk, position)?;
        let (skipped, taken, next_len) = walk(&chunk, offset, limit)?;
        if taken > skipped {
            return Ok(Bytes::from(chunk).slice(skipped..taken));
        }
        match next_len {
            None => return Ok(Bytes::new()),
            // Go on at the first batch that did not fit, and take all of it however long it is.
            Some(len) => {
                position += skipped as u64;
                want = len.max(max_bytes);
            }
        }
    }
}

/// Over the batches of a chunk: where the wanted ones begin and end, and how long the one is that did not fit behind
/// them (its header at least), if there is one to be had.
fn walk(chunk: &[u8], offset: i64, limit: i64) -> io::Result<(usize, usize, Option<usize>)> {
    let (mut skipped, mut taken) = (0, 0);
    loop {
        let rest = &chunk[taken..];
        if rest.len() < HEADER_LEN {
            return Ok((skipped, taken, Some(HEADER_LEN)));
        }
        let header = parse(rest)?;
        if header.base_offset >= limit {
            return Ok((skipped, taken, None));
        }
        if rest.len() < header.len {
            return Ok((skipped, taken, Some(header.len)));
        }
        taken += header.len;
        if header.last_offset() < offset {
            skipped = taken;
        }
    }
}

fn parse(bytes: &[u8]) -> io::Result<BatchHeader> {
    BatchHeader::parse(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// The first record with at least `timestamp` at or behind `start` and before `limit`: its timestamp and offset.
///
/// # Errors
/// When the disk fails, or the file does not hold batches.
pub fn find_time(slice: &Slice, timestamp: i64, start: i64, limit: i64) -> io::Result<Option<(i64, i64)>> {
    let mut position = slice.position;
    while position < slice.end {
        let mut bytes = vec![0; HEADER_LEN];
        slice.file.read_exact_at(&mut bytes, position)?;
        let header = parse(&bytes)?;
        if header.base_offset >= limit {
            return Ok(None);
        }
        if header.max_timestamp >= timestamp && header.last_offset() >= start {
            bytes.resize(header.len, 0);
            slice.file.read_exact_at(&mut bytes, position)?;
            if let Some(found) = find_in_batch(bytes.into(), &header, timestamp, start) {
                return Ok(Some(found));
            }
        }
        position += header.len as u64;
    }
    Ok(None)
}

/// A batch that cannot be unpacked answers for itself: records are the clients' business.
fn find_in_batch(batch: Bytes, header: &BatchHeader, timestamp: i64, start: i64) -> Option<(i64, i64)> {
    let Ok(mut records) = record::records(batch, UNPACKED_BYTES_MAX) else {
        return Some((header.max_timestamp, header.base_offset));
    };
    records.find_map(|record| match record {
        Ok(record) if record.timestamp >= timestamp && record.offset >= start => {
            Some((record.timestamp, record.offset))
        }
        Ok(_) => None,
        Err(_) => Some((header.max_timestamp, header.base_offset)),
    })
}
