//! The blocking core: one writer, many segments.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use disk::Disk;

use super::error::LogError;
use super::reader::Reader;
use super::record::{self, PAYLOAD_BYTES_MAX, Parts, Place, Record};
use super::recovery::{Recovery, recover};
use super::segment::Segment;

/// A buffer that grew beyond this by one large write is given back, in bytes.
const BUFFER_BYTES_KEPT: usize = 1 << 20;

/// How a log is kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// The index of the first record of a new log.
    pub first_index: u64,
    /// A segment that reached this size is followed by a new one, in bytes. It bounds how much is kept beyond a purge.
    pub segment_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            first_index: 1,
            segment_bytes: 64 << 20,
        }
    }
}

/// A write-ahead log, held by one writer.
///
/// - Records are numbered without gaps: it holds `first_index()..next_index()`.
/// - There is always at least one segment; only the last is appended to.
/// - Once a sync or a cut failed, `stopped` is set and nothing is written any more.
#[derive(Debug)]
pub struct Log {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: Options,
    segments: Vec<Segment>,
    /// Whether something was appended since the last sync.
    unsynced: bool,
    stopped: Option<String>,
    buffer: Vec<u8>,
}

impl Log {
    /// Opens the log in `dir`, or begins one there. Cuts a torn tail off.
    ///
    /// # Errors
    /// [`LogError::Corrupt`] with the place, if anything that had been durable is damaged.
    pub fn open(disk: Arc<dyn Disk>, dir: impl AsRef<Path>, options: Options) -> Result<(Self, Recovery), LogError> {
        let dir = dir.as_ref().to_owned();
        disk.create_dir_all(&dir).map_err(LogError::io("create", &dir))?;
        let (mut segments, cut) = recover(&*disk, &dir)?;
        if segments.is_empty() {
            segments.push(Segment::create(&*disk, &dir, options.first_index)?);
        }
        let log = Self {
            disk,
            dir,
            options,
            segments,
            unsynced: false,
            stopped: None,
            buffer: Vec::new(),
        };
        let recovery = Recovery {
            first_index: log.first_index(),
            next_index: log.next_index(),
            cut,
        };
        Ok((log, recovery))
    }

    pub(super) fn directory(&self) -> &Path {
        &self.dir
    }

    /// The oldest record that is there; [`Log::next_index`] if there is none.
    pub fn first_index(&self) -> u64 {
        self.segments
            .first()
            .map_or(self.options.first_index, |segment| segment.first_index)
    }

    /// The index that the next record must have.
    pub fn next_index(&self) -> u64 {
        self.segments
            .last()
            .map_or(self.options.first_index, |segment| segment.next_index)
    }

    /// Why nothing is written any more, if so.
    pub fn stopped(&self) -> Option<&str> {
        self.stopped.as_deref()
    }

    /// Writes the records in one write. They are durable after the next [`Log::sync`], not before.
    ///
    /// # Errors
    /// [`LogError::NoSpace`]: nothing of them is left, and it may be tried again. After [`LogError::Stopped`] all
    /// further calls fail.
    pub fn append(&mut self, records: &[Record]) -> Result<(), LogError> {
        self.append_parts(records.iter().map(Parts::from))
    }

    /// As [`Log::append`], of payloads in two parts.
    pub(super) fn append_parts<'a>(
        &mut self,
        records: impl ExactSizeIterator<Item = Parts<'a>> + Clone,
    ) -> Result<(), LogError> {
        self.check_running()?;
        for (expected, record) in (self.next_index()..).zip(records.clone()) {
            if record.index != expected {
                return Err(LogError::OutOfSequence {
                    index: record.index,
                    expected,
                });
            }
            if record.payload_bytes() > PAYLOAD_BYTES_MAX {
                return Err(LogError::TooLarge {
                    bytes: record.payload_bytes(),
                    limit: PAYLOAD_BYTES_MAX,
                });
            }
        }
        if records.len() == 0 {
            return Ok(());
        }
        self.roll_if_full()?;
        self.write(records)
    }

    /// Makes everything that was appended durable.
    ///
    /// # Errors
    /// [`LogError::Stopped`]: it is unknown what became durable.
    pub fn sync(&mut self) -> Result<(), LogError> {
        self.check_running()?;
        if !self.unsynced {
            return Ok(());
        }
        let segment = self.active();
        if let Err(error) = segment.file.sync_data() {
            let reason = format!("cannot sync {}: {error}", segment.path.display());
            return Err(self.stop(reason));
        }
        self.unsynced = false;
        Ok(())
    }

    /// Removes the records from `index` on, durably: another history won.
    ///
    /// # Errors
    /// [`LogError::NotThere`] if `index` lies outside of `first_index()..=next_index()`.
    pub fn truncate_suffix(&mut self, index: u64) -> Result<(), LogError> {
        self.check_running()?;
        if index == self.next_index() {
            return Ok(());
        }
        let offset = self.read(index)?.offset();
        // The newest first, so that a crash in between leaves a log without gaps.
        while self.segments.len() > 1 && self.active().first_index > index {
            if let Some(segment) = self.segments.pop() {
                self.remove(&segment)?;
            }
        }
        let segment = self.active();
        segment.pop_from(index, offset);
        if let Err(error) = segment.file.set_len(offset).and_then(|()| segment.file.sync_data()) {
            let reason = format!("cannot cut {}: {error}", segment.path.display());
            return Err(self.stop(reason));
        }
        self.unsynced = false;
        Ok(())
    }

    /// Removes whole segments that hold nothing after `up_to_index`. The active one stays.
    pub fn purge(&mut self, up_to_index: u64) -> Result<(), LogError> {
        self.check_running()?;
        // The oldest first, so that a crash in between leaves a log without gaps.
        while self.segments.len() > 1 && self.segments[0].next_index <= up_to_index.saturating_add(1) {
            let segment = self.segments.remove(0);
            self.remove(&segment)?;
        }
        Ok(())
    }

    /// Removes all records and goes on with `next_index`: a snapshot from elsewhere replaced them.
    pub fn reset(&mut self, next_index: u64) -> Result<(), LogError> {
        self.check_running()?;
        while let Some(segment) = self.segments.pop() {
            self.remove(&segment)?;
        }
        self.unsynced = false;
        match Segment::create(&*self.disk, &self.dir, next_index) {
            Ok(segment) => self.segments.push(segment),
            Err(error) => return Err(self.stop_for(error)),
        }
        Ok(())
    }

    /// The records from `from` to the end.
    ///
    /// # Errors
    /// [`LogError::NotThere`] if `from` was purged or lies beyond the end.
    pub fn read(&self, from: u64) -> Result<Reader<'_>, LogError> {
        let (first, next) = (self.first_index(), self.next_index());
        if from < first || from > next {
            return Err(LogError::NotThere {
                index: from,
                first,
                next,
            });
        }
        let position = self.segments.partition_point(|segment| segment.next_index <= from);
        Reader::new(&self.segments[position..], from)
    }

    fn write<'a>(&mut self, records: impl ExactSizeIterator<Item = Parts<'a>>) -> Result<(), LogError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let mut after_sync = !self.unsynced;
        let segment = self.active();
        let mut ends = Vec::with_capacity(records.len());
        for record in records {
            let place = Place {
                segment: segment.first_index,
                offset: segment.end + buffer.len() as u64,
            };
            record::encode(&mut buffer, place, record, after_sync);
            ends.push((record.index, buffer.len() as u64));
            after_sync = false;
        }
        let written = segment.file.write_at(&buffer, segment.end);
        if buffer.capacity() <= BUFFER_BYTES_KEPT {
            self.buffer = buffer;
        }
        match written {
            Ok(()) => {
                let segment = self.active();
                let mut start = 0;
                for (index, end) in ends {
                    segment.push(index, end - start);
                    start = end;
                }
                self.unsynced = true;
                Ok(())
            }
            Err(error) => Err(self.cut_failed_write(error)),
        }
    }

    /// Takes back what a failed write left. Only a full disk is no reason to stop.
    fn cut_failed_write(&mut self, error: std::io::Error) -> LogError {
        let segment = self.active();
        let path = segment.path.clone();
        if let Err(cut) = segment.file.set_len(segment.end) {
            return self.stop(format!(
                "cannot cut a failed write ({error}) off {}: {cut}",
                path.display()
            ));
        }
        match LogError::io("write", &path)(error) {
            error @ LogError::NoSpace(_) => error,
            error => self.stop_for(error),
        }
    }

    fn roll_if_full(&mut self) -> Result<(), LogError> {
        let segment_bytes = self.options.segment_bytes;
        let segment = self.active();
        if segment.end < segment_bytes || segment.next_index == segment.first_index {
            return Ok(());
        }
        // Recovery relies on it: every segment but the last is whole.
        self.sync()?;
        let next_index = self.next_index();
        match Segment::create(&*self.disk, &self.dir, next_index) {
            Ok(segment) => {
                self.segments.push(segment);
                Ok(())
            }
            Err(error @ LogError::NoSpace(_)) => Err(error),
            Err(error) => Err(self.stop_for(error)),
        }
    }

    fn remove(&mut self, segment: &Segment) -> Result<(), LogError> {
        let removed = self
            .disk
            .remove_file(&segment.path)
            .and_then(|()| self.disk.sync_dir(&self.dir));
        removed.map_err(|error| self.stop(format!("cannot remove {}: {error}", segment.path.display())))
    }

    fn active(&mut self) -> &mut Segment {
        self.segments.last_mut().expect("a log has at least one segment")
    }

    fn check_running(&self) -> Result<(), LogError> {
        match &self.stopped {
            Some(reason) => Err(LogError::Stopped(reason.clone())),
            None => Ok(()),
        }
    }

    fn stop_for(&mut self, error: LogError) -> LogError {
        match error {
            LogError::Stopped(reason) => self.stop(reason),
            other => self.stop(other.to_string()),
        }
    }

    fn stop(&mut self, reason: String) -> LogError {
        self.stopped = Some(reason.clone());
        LogError::Stopped(reason)
    }
}
