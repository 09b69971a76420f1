//! Writing batches, and beginning segments.
//!
//! An append goes in steps: what comes next is decided behind the lock of what is known, then done on the disk without it,
//! then noted. All of it is behind the writer's lock, so nothing comes in between but readers and the end of a sync.

use std::io;
use std::sync::Arc;

use disk::DiskFile;
use log_broker_wire::batch::BatchHeader;
use log_broker_wire::marker::{self, Marker};

use super::segment::Segment;
use super::{Appended, FlushPoint, Log, LogError, State, checkpoint, epochs, producers};

/// What comes next of an append.
enum Step {
    Stored(Appended),
    /// The newest segment is full, or old.
    Roll,
    /// This leader epoch begins: the contents of its file.
    Epoch(String),
    Write(Arc<dyn DiskFile>, u64),
}

impl Log {
    /// Appends one checked batch in leader epoch `leader_epoch`; `header` takes the place of its own. Blocks on the disk.
    ///
    /// # Errors
    /// [`LogError::Full`] leaves the log as it was; any other failed write stops it. A batch that does not continue its
    /// producer's last one is refused.
    pub fn append(
        &self,
        batch: &[u8],
        header: &BatchHeader,
        leader_epoch: i32,
        now_ms: i64,
    ) -> Result<Appended, LogError> {
        self.write(batch, header, None, leader_epoch, now_ms)
    }

    /// Appends the marker that ends a producer's transaction in this log. Blocks on the disk.
    ///
    /// # Errors
    /// As [`Log::append`]; a marker of an older producer or coordinator epoch is refused.
    pub fn append_marker(&self, marker: &Marker, leader_epoch: i32, now_ms: i64) -> Result<Appended, LogError> {
        let batch = marker::encode(marker, now_ms);
        let header = BatchHeader::parse(&batch)?;
        self.write(&batch, &header, Some(marker), leader_epoch, now_ms)
    }

    fn write(
        &self,
        batch: &[u8],
        header: &BatchHeader,
        marker: Option<&Marker>,
        leader_epoch: i32,
        now_ms: i64,
    ) -> Result<Appended, LogError> {
        let _writer = self.writer();
        loop {
            // In a statement of its own, so that the lock is not held over what follows.
            let step = self
                .state()
                .next_step(batch.len() as u64, header, marker, leader_epoch, now_ms)?;
            match step {
                Step::Stored(appended) => return Ok(appended),
                Step::Roll => self.roll()?,
                Step::Epoch(contents) => {
                    epochs::write(&*self.disk, &self.dir, &contents)?;
                    let mut state = self.state();
                    let end = state.end;
                    state.epochs.begun(leader_epoch, end);
                }
                Step::Write(file, position) => {
                    let placed = BatchHeader {
                        base_offset: self.state().end,
                        leader_epoch,
                        ..*header
                    };
                    if let Err(error) = Segment::write(&*file, position, batch, &placed) {
                        return Err(self.write_failed(&*file, position, error));
                    }
                    return Ok(self.state().appended(&placed, marker, now_ms));
                }
            }
        }
    }

    /// After a failed write the file is cut back to its last good batch; where that fails too, the log stops.
    fn write_failed(&self, file: &dyn DiskFile, position: u64, error: io::Error) -> LogError {
        let cut = file.set_len(position);
        match (error.kind(), cut) {
            (io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded, Ok(())) => LogError::Full,
            (_, cut) => {
                let error = cut.err().unwrap_or(error);
                self.state().stop("write", &error)
            }
        }
    }

    /// Seals the newest segment and begins another. The caller holds the writer's lock.
    pub(super) fn roll(&self) -> Result<(), LogError> {
        self.write_txn_index()?;
        let (point, indexes, snapshot) = {
            let state = self.state();
            let point = FlushPoint {
                file: state.active().file(),
                end: state.end,
            };
            (point, state.active().encode_indexes(), state.producers.encode())
        };
        let outcome = point.file.sync_data();
        self.finish_flush(&point, outcome)?;
        // Indexes and snapshots can be made again from the segment: they need no sync, and failing to write them no stop.
        let next = (|| {
            indexes.write(&*self.disk, &self.dir)?;
            producers::write_snapshot(&*self.disk, &self.dir, point.end, &snapshot)?;
            let segment = Segment::create(&*self.disk, &self.dir, point.end)?;
            self.disk.sync_dir(&self.dir)?;
            Ok::<_, io::Error>(segment)
        })();
        let mut state = self.state();
        match next {
            Ok(segment) => {
                state.snapshotted(point.end);
                state.segments.push(segment);
                Ok(())
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                Err(LogError::Full)
            }
            Err(error) => Err(state.stop("roll", &error)),
        }
    }

    /// Moves the durable start of the log. The caller holds the writer's lock.
    pub(super) fn write_start(&self, offset: i64) -> Result<(), LogError> {
        checkpoint::replace(
            &*self.disk,
            &self.dir,
            super::retention::START_NAME,
            offset.to_string().as_bytes(),
        )
        .map_err(|source| LogError::Io {
            path: self.dir.join(super::retention::START_NAME),
            source,
        })
    }
}

impl State {
    fn next_step(
        &self,
        batch_len: u64,
        header: &BatchHeader,
        marker: Option<&Marker>,
        leader_epoch: i32,
        now_ms: i64,
    ) -> Result<Step, LogError> {
        self.check()?;
        if let Some(marker) = marker {
            self.producers.check_marker(marker)?;
        } else if header.is_idempotent()
            && let Some(base_offset) = self.producers.check(header)?
        {
            return Ok(Step::Stored(Appended {
                base_offset,
                end: self.end,
                duplicate: true,
            }));
        }
        if self.active().must_roll(batch_len, now_ms, &self.options) {
            return Ok(Step::Roll);
        }
        if let Some(contents) = self.epochs.beginning(leader_epoch, self.end) {
            return Ok(Step::Epoch(contents));
        }
        Ok(Step::Write(self.active().file(), self.active().len()))
    }

    /// Notes a batch that was written.
    fn appended(&mut self, header: &BatchHeader, marker: Option<&Marker>, now_ms: i64) -> Appended {
        let interval = self.options.index_interval_bytes;
        self.active_mut().add(header, interval, now_ms);
        self.end = header.next_offset();
        if header.is_idempotent() {
            let ended = self.producers.record(header, marker);
            self.transactions.ended(ended);
            self.producers_changed = true;
        }
        Appended {
            base_offset: header.base_offset,
            end: self.end,
            duplicate: false,
        }
    }
}
