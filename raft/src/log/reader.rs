//! Reading records back, each checked again.

use std::sync::Arc;

use bytes::Bytes;
use disk::DiskFile;

use super::error::LogError;
use super::record::{FRAME_BYTES, HEADER_BYTES, Header, Place, Record};
use super::segment::Segment;

/// How much is read from a file at once, in bytes, where a record is not longer.
const CHUNK_BYTES: usize = 256 << 10;

/// A moving view of a file.
#[derive(Debug)]
pub(super) struct Window {
    file: Arc<dyn DiskFile>,
    /// Bytes of the file that may be seen.
    end: u64,
    start: u64,
    buffer: Vec<u8>,
}

impl Window {
    pub fn new(file: Arc<dyn DiskFile>, end: u64) -> Self {
        Self {
            file,
            end,
            start: 0,
            buffer: Vec::new(),
        }
    }

    /// The bytes from `offset`, `len` of them, or fewer where the file ends. What is allocated is bounded by the file.
    pub fn get(&mut self, offset: u64, len: usize) -> std::io::Result<&[u8]> {
        let left = usize::try_from(self.end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = len.min(left);
        let held = offset
            .checked_sub(self.start)
            .and_then(|skip| usize::try_from(skip).ok());
        let from = match held {
            Some(skip) if skip + len <= self.buffer.len() => skip,
            _ => {
                self.buffer.resize(len.max(CHUNK_BYTES).min(left), 0);
                self.start = offset;
                if let Err(error) = self.file.read_exact_at(&mut self.buffer, offset) {
                    self.buffer.clear();
                    return Err(error);
                }
                0
            }
        };
        Ok(&self.buffer[from..from + len])
    }
}

/// Iterates over the records of a log from an index on, in order. Ends after the first error.
#[derive(Debug)]
pub struct Reader<'a> {
    segments: &'a [Segment],
    window: Option<Window>,
    offset: u64,
    index: u64,
}

impl<'a> Reader<'a> {
    /// `segments` are those from the one that holds `index`; `None` at the end of the log.
    pub(super) fn new(segments: &'a [Segment], index: u64) -> Result<Self, LogError> {
        let mut reader = Self {
            segments,
            window: None,
            offset: 0,
            index,
        };
        if let Some(segment) = segments.first() {
            let (known, offset) = segment.waymark(index);
            (reader.index, reader.offset) = (known, offset);
            while reader.index < index {
                reader.read_next()?;
            }
        }
        Ok(reader)
    }

    /// Where the next record stands in the first segment that is left.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    fn read_next(&mut self) -> Result<Option<Record>, LogError> {
        while let Some(segment) = self.segments.first() {
            if self.offset < segment.end {
                return self.read_in(segment).map(Some);
            }
            self.segments = &self.segments[1..];
            self.window = None;
            self.offset = super::segment::SEGMENT_HEADER_BYTES;
        }
        Ok(None)
    }

    fn read_in(&mut self, segment: &Segment) -> Result<Record, LogError> {
        let offset = self.offset;
        let window = self
            .window
            .get_or_insert_with(|| Window::new(Arc::clone(&segment.file), segment.end));
        let corrupt = || LogError::corrupt(&segment.path, offset, "the record changed since it was written");
        let bytes = window
            .get(offset, HEADER_BYTES)
            .map_err(LogError::io("read", &segment.path))?;
        let place = Place {
            segment: segment.first_index,
            offset,
        };
        let header = Header::decode(bytes, place)
            .filter(|header| header.index == self.index)
            .ok_or_else(corrupt)?;
        let body_bytes = header.payload_bytes + FRAME_BYTES - HEADER_BYTES;
        let body = window
            .get(offset + HEADER_BYTES as u64, body_bytes)
            .map_err(LogError::io("read", &segment.path))?;
        if !header.verify(body) {
            return Err(corrupt());
        }
        let payload = Bytes::copy_from_slice(&body[..header.payload_bytes]);
        self.offset += header.record_bytes();
        self.index += 1;
        Ok(Record {
            index: header.index,
            kind: header.kind,
            payload,
        })
    }
}

impl Iterator for Reader<'_> {
    type Item = Result<Record, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.read_next() {
            Ok(record) => record.map(Ok),
            Err(error) => {
                self.segments = &[];
                Some(Err(error))
            }
        }
    }
}
