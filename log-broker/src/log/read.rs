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

/// Bytes read at a time where headers are looked for.
const HEADERS_LEN: usize = 4096 + HEADER_LEN;

/// A part of a segment in which batches are to be found.
#[derive(Debug, Clone)]
pub struct Slice {
    file: Arc<dyn DiskFile>,
    /// The first offset of the segment.
    base: i64,
    /// The start of some batch.
    position: u64,
    /// The start of a batch up to which everything is wanted; or the end, where that is known without a look.
    wanted_to: u64,
    /// The end of the last batch.
    end: u64,
}

/// Whole batches in a file.
#[derive(Debug, Clone)]
pub struct Extent {
    pub file: Arc<dyn DiskFile>,
    pub position: u64,
    pub len: usize,
}

impl Log {
    /// Where to read up to `max_bytes` from `offset` on, with what comes after it in the same segment; `None` at or behind
    /// `limit`.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`].
    pub fn locate(&self, offset: i64, limit: i64, max_bytes: usize) -> Result<Option<Slice>, LogError> {
        let state = self.state();
        if offset < state.start || offset > state.end {
            return Err(LogError::OutOfRange {
                offset,
                start: state.start,
                end: state.end,
            });
        }
        if offset >= limit {
            return Ok(None);
        }
        // Compaction takes offsets out, whole segments' at times: the first batch behind is the one.
        let first = state.segments.partition_point(|segment| segment.next() <= offset);
        let Some(segment) = state.segments[first..].iter().find(|segment| segment.len() > 0) else {
            return Ok(None);
        };
        let position = segment.position_of(offset);
        let reach = position.saturating_add(max_bytes as u64);
        let wanted_to = if segment.next() <= limit && segment.len() <= reach {
            segment.len()
        } else {
            segment.position_before(limit, reach).max(position)
        };
        Ok(Some(Slice {
            file: segment.file(),
            base: segment.base(),
            position,
            wanted_to,
            end: segment.len(),
        }))
    }

    /// The aborted transactions that a reader of `extent`, found in `slice` from `offset` on, has to know of.
    pub fn aborted_in(&self, slice: &Slice, extent: &Extent, offset: i64) -> Vec<super::AbortedTransaction> {
        let to = {
            let state = self.state();
            let segment = state.segments.iter().find(|segment| segment.base() == slice.base);
            // Compacted or removed meanwhile: what the whole log knows is right too.
            let end = extent.position + extent.len as u64;
            segment.map_or(state.end, |segment| segment.offset_after(end))
        };
        self.aborted_transactions(offset, to)
    }

    /// Where to search for the first record with at least `timestamp`; `None` where there is none.
    pub fn locate_time(&self, timestamp: i64) -> Option<Slice> {
        let state = self.state();
        let newest = |segment: &&super::Segment| segment.max_timestamp().is_some_and(|newest| newest >= timestamp);
        let segment = state.segments.iter().find(newest)?;
        let position = segment
            .position_of_time(timestamp)
            .max(segment.position_of(state.start));
        Some(Slice {
            file: segment.file(),
            base: segment.base(),
            position,
            wanted_to: position,
            end: segment.len(),
        })
    }

    /// The largest timestamp in the log.
    pub fn max_timestamp(&self) -> Option<i64> {
        let state = self.state();
        state.segments.iter().filter_map(super::Segment::max_timestamp).max()
    }
}

/// Reads headers here and there, through one small buffer.
struct Headers<'a> {
    file: &'a dyn DiskFile,
    end: u64,
    buffer: Vec<u8>,
    buffered_at: u64,
    /// Where the page cache must have what is read, or the read fails.
    cached_only: bool,
}

impl Headers<'_> {
    /// The header at `position`, or `None` at the end.
    fn at(&mut self, position: u64) -> io::Result<Option<BatchHeader>> {
        if position >= self.end {
            return Ok(None);
        }
        let from = position.checked_sub(self.buffered_at).map(|from| from as usize);
        let from = match from {
            Some(from) if from + HEADER_LEN <= self.buffer.len() => from,
            _ => {
                let len = HEADERS_LEN.min((self.end - position) as usize);
                if self.cached_only && !self.file.is_cached(position, len) {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                self.buffer.resize(len, 0);
                self.file.read_exact_at(&mut self.buffer, position)?;
                self.buffered_at = position;
                0
            }
        };
        parse(&self.buffer[from..]).map(Some)
    }
}

/// Whole batches from the one that contains `offset` on, up to `limit` and `max_bytes`; at least one batch, where there is
/// one. Only headers are read, and most of them not even that: the index tells.
///
/// # Errors
/// When the disk fails, or the file does not hold batches; [`io::ErrorKind::WouldBlock`] where only what is in the page
/// cache may be read (`cached_only`), and it is not there.
pub fn locate_batches(
    slice: &Slice,
    offset: i64,
    limit: i64,
    max_bytes: usize,
    cached_only: bool,
) -> io::Result<Option<Extent>> {
    let mut headers = Headers {
        file: &*slice.file,
        end: slice.end,
        buffer: Vec::new(),
        buffered_at: 0,
        cached_only,
    };
    let mut from = slice.position;
    let first = loop {
        match headers.at(from)? {
            Some(header) if header.base_offset >= limit => return Ok(None),
            Some(header) if header.last_offset() >= offset => break header,
            Some(header) => from += header.len as u64,
            None => return Ok(None),
        }
    };
    let mut to = slice.wanted_to.max(from + first.len as u64);
    while to < slice.end {
        match headers.at(to)? {
            Some(header) if header.base_offset < limit && to + header.len as u64 - from <= max_bytes as u64 => {
                to += header.len as u64;
            }
            _ => break,
        }
    }
    Ok(Some(Extent {
        file: Arc::clone(&slice.file),
        position: from,
        len: (to.min(slice.end) - from) as usize,
    }))
}

/// The same batches in memory.
///
/// # Errors
/// When the disk fails, or the file does not hold batches.
pub fn read_batches(slice: &Slice, offset: i64, limit: i64, max_bytes: usize) -> io::Result<Bytes> {
    let Some(extent) = locate_batches(slice, offset, limit, max_bytes, false)? else {
        return Ok(Bytes::new());
    };
    let mut bytes = vec![0; extent.len];
    extent.file.read_exact_at(&mut bytes, extent.position)?;
    Ok(bytes.into())
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
