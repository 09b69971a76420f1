//! The log of one partition: record batches in the order of their offsets, in segment files.
//!
//! ```text
//! <topic>-<partition>/
//!   00000000000000000000.log          batches, one behind the other; named after the first offset in it
//!   00000000000000000000.index        sparse: offset -> position, an entry every `index.interval.bytes`
//!   00000000000000000000.timeindex    sparse: largest timestamp so far -> offset
//!   00000000000000001234.snapshot     what is known of idempotent producers just before offset 1234
//!   leader-epoch-checkpoint           where each leader epoch began
//!   log-start-offset                  set by DeleteRecords; otherwise the first segment tells
//! ```
//!
//! How it moves: [`Log::append`] checks a batch against its producer's last ones, gives it the next offset, and writes it
//! as it came but for its header. The written part is not yet promised: [`Log::begin_sync`] hands
//! out the file to sync, and [`Log::finish_sync`] moves the [`Log::durable_end`], behind which nobody reads. When the
//! newest segment is full it is synced and sealed: sealed segments are complete by construction.
//!
//! What a crash leaves: only the newest segment can be torn. [`Log::open`] reads it batch by batch; from the first batch
//! that is not whole and right on, the rest is cut, *unless* a good batch follows (and no sector between is missing, as a
//! power loss in the middle of a write leaves it), or a snapshot tells that the place was durable. Then it is not a torn
//! tail but damage, and the log refuses to open and names the place: cutting there would silently lose what was
//! acknowledged. (Kafka cuts in both cases, because its replicas have the rest; here there are none.)
//!
//! Deliberately missing: compaction, tiered storage, transactions. Blocking calls on [`disk::Disk`], no clock.

mod checkpoint;
mod epochs;
mod index;
mod producers;
mod read;
mod recovery;
mod retention;
mod segment;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use disk::{Disk, DiskFile};
use log_broker_wire::batch::{BatchError, BatchHeader};

pub use checkpoint::{read_optional, replace};
pub use read::{Slice, find_time, read_batches};

use epochs::Epochs;
use producers::Producers;
use segment::Segment;

/// What a topic's properties say about its logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// A segment is sealed before it would grow beyond this many bytes.
    pub segment_bytes: u64,
    /// A segment is sealed when its first batch is this old.
    pub segment_ms: i64,
    pub index_interval_bytes: u64,
    /// Segments whose newest record is older are removed; negative keeps them.
    pub retention_ms: i64,
    /// The oldest segments are removed while at least this much is left without them; negative keeps them.
    pub retention_bytes: i64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3_600_000,
            index_interval_bytes: 4096,
            retention_ms: 7 * 24 * 3_600_000,
            retention_bytes: -1,
        }
    }
}

/// Why a log does not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Producer: retry when there is space again; nothing was stored.
    #[error("the disk is full")]
    Full,
    /// Operator: the disk fails; the broker has to be restarted to use this log again.
    #[error("the log in {dir} stopped after a failed {what}: {reason}; check the disk, then restart the broker")]
    Stopped {
        dir: PathBuf,
        what: &'static str,
        reason: String,
    },
    /// Operator: restore the file, or give up what is behind the place.
    #[error(
        "{file} is damaged at byte {position} ({reason}) with good batches behind it: restore the file, or cut it to \
         {position} bytes to give up offset {offset} and all after it"
    )]
    Damaged {
        file: PathBuf,
        position: u64,
        offset: i64,
        reason: String,
    },
    /// Operator: a file is gone or was cut.
    #[error(
        "{dir} ends at offset {end} where {known} was durable: restore its files, or remove {snapshot} to go on without"
    )]
    Lost {
        dir: PathBuf,
        end: i64,
        known: i64,
        snapshot: String,
    },
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    /// Producer: the batch is broken.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// Producer: a batch is missing before this one.
    #[error("producer {producer_id} sends sequence {got} where {expected} is next")]
    OutOfOrderSequence { producer_id: i64, got: i32, expected: i32 },
    /// Producer: a newer one has taken over.
    #[error("producer {producer_id} has epoch {got}, epoch {current} is current")]
    ProducerEpoch { producer_id: i64, got: i16, current: i16 },
    /// Consumer: begin at one of the ends.
    #[error("offset {offset} is not within {start}..{end}")]
    OutOfRange { offset: i64, start: i64, end: i64 },
}

/// What an append did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    pub base_offset: i64,
    /// The log has to be durable up to here before the batch is acknowledged to whoever wants it safe.
    pub end: i64,
    /// Whether the batch had been stored before; nothing was written then.
    pub duplicate: bool,
}

/// A point in the log that has to be made durable.
#[derive(Debug, Clone)]
pub struct SyncPoint {
    pub file: Arc<dyn DiskFile>,
    pub end: i64,
}

/// The log of one partition.
///
/// * `start <= durable_end <= end`.
/// * Segments are in the order of their base offsets; there is always one, the last is written to.
/// * All but the last are durable and complete.
/// * Once `stopped`, nothing is written, acknowledged or made visible any more.
#[derive(Debug)]
pub struct Log {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: Options,
    segments: Vec<Segment>,
    producers: Producers,
    epochs: Epochs,
    start: i64,
    end: i64,
    durable_end: i64,
    stopped: Option<(&'static str, String)>,
}

impl Log {
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The oldest offset that can be read.
    pub fn start(&self) -> i64 {
        self.start
    }

    /// The next offset to be given.
    pub fn end(&self) -> i64 {
        self.end
    }

    /// Everything before it is on disk; the high watermark where the broker syncs.
    pub fn durable_end(&self) -> i64 {
        self.durable_end
    }

    /// Bytes in all segments.
    pub fn size_bytes(&self) -> u64 {
        self.segments.iter().map(Segment::len).sum()
    }

    pub fn set_options(&mut self, options: Options) {
        self.options = options;
    }

    /// The error that a stopped log answers with.
    ///
    /// # Errors
    /// [`LogError::Stopped`] once a write or sync has failed.
    pub fn check(&self) -> Result<(), LogError> {
        match &self.stopped {
            None => Ok(()),
            Some((what, reason)) => Err(LogError::Stopped {
                dir: self.dir.clone(),
                what,
                reason: reason.clone(),
            }),
        }
    }

    fn active(&self) -> &Segment {
        self.segments.last().expect("a log has a segment")
    }

    fn active_mut(&mut self) -> &mut Segment {
        self.segments.last_mut().expect("a log has a segment")
    }

    /// Appends one checked batch in leader epoch `leader_epoch`; `header` takes the place of its own.
    ///
    /// # Errors
    /// [`LogError::Full`] leaves the log as it was; any other failed write stops it. A batch that does not continue its
    /// producer's last one is refused.
    pub fn append(
        &mut self,
        batch: &[u8],
        header: &BatchHeader,
        leader_epoch: i32,
        now_ms: i64,
    ) -> Result<Appended, LogError> {
        self.check()?;
        if header.is_idempotent()
            && let Some(base_offset) = self.producers.check(header)?
        {
            return Ok(Appended {
                base_offset,
                end: self.end,
                duplicate: true,
            });
        }
        if self.active().must_roll(batch.len() as u64, now_ms, &self.options) {
            self.roll()?;
        }
        self.epochs.begin(&*self.disk, &self.dir, leader_epoch, self.end)?;
        let base_offset = self.end;
        let header = BatchHeader {
            base_offset,
            leader_epoch,
            ..*header
        };
        let interval = self.options.index_interval_bytes;
        if let Err(error) = self.active_mut().append(batch, &header, interval, now_ms) {
            return Err(self.write_failed(error));
        }
        self.end = header.next_offset();
        self.producers.record(&header);
        Ok(Appended {
            base_offset,
            end: self.end,
            duplicate: false,
        })
    }

    /// After a failed write the file is cut back to its last good batch; where that fails too, the log stops.
    fn write_failed(&mut self, error: io::Error) -> LogError {
        let cut = self.active_mut().cut_back();
        match (error.kind(), cut) {
            (io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded, Ok(())) => LogError::Full,
            (_, cut) => {
                let error = cut.err().unwrap_or(error);
                self.stop("write", &error)
            }
        }
    }

    fn stop(&mut self, what: &'static str, error: &io::Error) -> LogError {
        let reason = error.to_string();
        self.stopped = Some((what, reason.clone()));
        LogError::Stopped {
            dir: self.dir.clone(),
            what,
            reason,
        }
    }

    /// What has to be synced so that all that was appended is durable; `None` where it already is.
    pub fn begin_sync(&self) -> Option<SyncPoint> {
        let dirty = self.durable_end < self.end && self.stopped.is_none();
        dirty.then(|| SyncPoint {
            file: self.active().file(),
            end: self.end,
        })
    }

    /// Tells how the sync of a point went. A failed one stops the log: what the page cache holds is unknown then.
    ///
    /// # Errors
    /// [`LogError::Stopped`] when the sync, or an earlier one, has failed.
    pub fn finish_sync(&mut self, point: &SyncPoint, outcome: io::Result<()>) -> Result<(), LogError> {
        self.check()?;
        match outcome {
            Ok(()) => {
                self.durable_end = self.durable_end.max(point.end);
                Ok(())
            }
            Err(error) => Err(self.stop("sync", &error)),
        }
    }

    /// Makes everything visible without a sync: the policy `--flush os`.
    pub fn trust_page_cache(&mut self) {
        if self.stopped.is_none() {
            self.durable_end = self.end;
        }
    }

    /// Seals the newest segment and begins another.
    fn roll(&mut self) -> Result<(), LogError> {
        if let Err(error) = self.active().file().sync_data() {
            return Err(self.stop("sync", &error));
        }
        self.durable_end = self.end;
        // Indexes and snapshots can be made anew from the segment: they need no sync, and failing to write them no stop.
        let next = (|| {
            self.active().write_indexes(&*self.disk, &self.dir)?;
            self.producers.write_snapshot(&*self.disk, &self.dir, self.end)?;
            Segment::create(&*self.disk, &self.dir, self.end)
        })();
        match next {
            Ok(segment) => {
                self.segments.push(segment);
                Ok(())
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                Err(LogError::Full)
            }
            Err(error) => Err(self.stop("roll", &error)),
        }
    }

    /// Where `leader_epoch` ended: the epoch itself, or the last before it, and the offset at which the next one began.
    pub fn epoch_end(&self, leader_epoch: i32) -> (i32, i64) {
        self.epochs.end_of(leader_epoch, self.durable_end)
    }

    /// The leader epoch in which `offset` was written; -1 where that is not known.
    pub fn epoch_of(&self, offset: i64) -> i32 {
        self.epochs.of(offset)
    }

    /// Syncs all and leaves a snapshot, so that the next start has little to replay.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn close(&mut self) -> Result<(), LogError> {
        self.check()?;
        if let Some(point) = self.begin_sync() {
            let outcome = point.file.sync_data();
            self.finish_sync(&point, outcome)?;
        }
        let io = |source| LogError::Io {
            path: self.dir.clone(),
            source,
        };
        self.producers
            .write_snapshot(&*self.disk, &self.dir, self.end)
            .map_err(io)
    }
}
