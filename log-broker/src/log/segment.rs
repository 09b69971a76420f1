//! One segment: a file of batches and its indexes.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use disk::{Disk, DiskFile, Mode};
use log_broker_wire::batch::BatchHeader;

use super::index::{self, EncodedIndexes, Index};
use super::{Options, txn_index};

/// * `len` bytes of the file are whole, checked batches with offsets in `base..next`.
#[derive(Debug)]
pub(super) struct Segment {
    base: i64,
    next: i64,
    len: u64,
    file: Arc<dyn DiskFile>,
    index: Index,
    /// When the first batch was written, by this broker's clock; for rolling by age.
    begun_ms: Option<i64>,
    /// When the last batch was written, by this broker's clock; `None` where that is not known.
    written_ms: Option<i64>,
}

impl Segment {
    /// Creates an empty segment, whose name is durable when its directory is synced.
    pub(super) fn create(disk: &dyn Disk, dir: &Path, base: i64) -> io::Result<Self> {
        let file = disk.open(&dir.join(name(base)), Mode::Write)?;
        file.set_len(0)?;
        Ok(Self {
            base,
            next: base,
            len: 0,
            file,
            index: Index::default(),
            begun_ms: None,
            written_ms: None,
        })
    }

    /// A segment whose contents were checked.
    pub(super) fn known(
        base: i64,
        next: i64,
        len: u64,
        file: Arc<dyn DiskFile>,
        index: Index,
        begun_ms: Option<i64>,
    ) -> io::Result<Self> {
        Ok(Self {
            base,
            next,
            len,
            written_ms: file.modified_ms()?,
            file,
            index,
            begun_ms,
        })
    }

    pub(super) fn base(&self) -> i64 {
        self.base
    }

    /// The offset behind the last batch.
    pub(super) fn next(&self) -> i64 {
        self.next
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// When its first batch was written, where this process has seen it.
    pub(super) fn begun_ms(&self) -> Option<i64> {
        self.begun_ms
    }

    pub(super) fn file(&self) -> Arc<dyn DiskFile> {
        Arc::clone(&self.file)
    }

    /// The largest timestamp of its records; `None` where no record has one.
    pub(super) fn max_timestamp(&self) -> Option<i64> {
        self.index.max_timestamp().filter(|timestamp| *timestamp >= 0)
    }

    /// The time from which retention counts: the largest timestamp, or where no record has one, the last write (Kafka's
    /// rule). A last write that is not known counts as one of now, so that nothing goes too early.
    pub(super) fn retention_timestamp(&mut self, now_ms: i64) -> i64 {
        match self.max_timestamp() {
            Some(timestamp) => timestamp,
            None => *self.written_ms.get_or_insert(now_ms),
        }
    }

    pub(super) fn must_roll(&self, batch_len: u64, now_ms: i64, options: &Options) -> bool {
        let too_long = self.len + batch_len > options.segment_bytes.min(u64::from(u32::MAX));
        // A record must be sealed to be compacted in time.
        let lag_ms_max = options.compaction.map_or(i64::MAX, |compaction| compaction.lag_ms_max);
        let segment_ms = options.segment_ms.min(lag_ms_max);
        let too_old = self
            .begun_ms
            .is_some_and(|begun| now_ms.saturating_sub(begun) > segment_ms);
        // Index entries hold offsets relative to the base in 32 bits.
        let too_wide = self.next - self.base > i64::from(i32::MAX) - i64::from(u16::MAX);
        self.len > 0 && (too_long || too_old || too_wide)
    }

    /// Writes a batch at `position` of a segment's file. After an error the file may be longer.
    pub(super) fn write(file: &dyn DiskFile, position: u64, bytes: &[u8], header: &BatchHeader) -> io::Result<()> {
        let prefix = header.encode();
        let slices = [IoSlice::new(&prefix), IoSlice::new(&bytes[prefix.len()..])];
        file.write_vectored_at(&slices, position)
    }

    /// Notes a batch that was written behind the last one.
    pub(super) fn add(&mut self, header: &BatchHeader, interval: u64, now_ms: i64) {
        self.index.add(header, self.base, self.len, interval);
        self.len += header.len as u64;
        self.next = header.next_offset();
        self.begun_ms.get_or_insert(now_ms);
        self.written_ms = Some(now_ms);
    }

    /// A position from which a walk over the batches finds `offset`.
    pub(super) fn position_of(&self, offset: i64) -> u64 {
        self.index.position_of(u32::try_from(offset - self.base).unwrap_or(0))
    }

    /// A position before which every timestamp is below `timestamp`.
    pub(super) fn position_of_time(&self, timestamp: i64) -> u64 {
        self.index.position_of_time(timestamp)
    }

    /// The latest position up to `limit` at which an indexed batch begins, with an offset up to `offset`.
    pub(super) fn position_before(&self, offset: i64, limit: u64) -> u64 {
        self.index
            .position_before(u32::try_from(offset - self.base).unwrap_or(u32::MAX), limit)
    }

    /// The offset up to which the bytes before `position` reach, at least; as exact as the index is.
    pub(super) fn offset_after(&self, position: u64) -> i64 {
        match self.index.offset_from(position) {
            Some(relative) => self.base + i64::from(relative),
            None => self.next,
        }
    }

    pub(super) fn encode_indexes(&self) -> EncodedIndexes {
        self.index.encode(self.base)
    }

    /// Removes the files. What is already gone is fine: a crash may have stopped an earlier attempt.
    pub(super) fn remove(self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        // The log itself last, so that a crash leaves nothing without it.
        for name in [
            index::offset_name(self.base),
            index::time_name(self.base),
            txn_index::name(self.base),
            name(self.base),
        ] {
            let path = dir.join(name);
            if disk.exists(&path)? {
                disk.remove_file(&path)?;
            }
        }
        Ok(())
    }
}

pub(super) fn name(base: i64) -> String {
    format!("{base:020}.log")
}

/// The base offset in the name of a segment file.
pub(super) fn base_of(name: &str) -> Option<i64> {
    let digits = name.strip_suffix(".log")?;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}
