//! The log of one partition: record batches in the order of their offsets, in segment files.
//!
//! ```text
//! <topic>-<partition>/
//!   00000000000000000000.log          batches, one behind the other; named after the first offset in it
//!   00000000000000000000.index        sparse: offset -> position, an entry every `index.interval.bytes`
//!   00000000000000000000.timeindex    sparse: largest timestamp so far -> offset
//!   00000000000000000000.txnindex     aborted transactions whose markers are in the segment; only where there are any
//!   00000000000000001234.snapshot     what is known of producers and open transactions just before offset 1234
//!   leader-epoch-checkpoint           where each leader epoch began
//!   log-start-offset                  set by DeleteRecords; otherwise the first segment tells
//!   cleaner-offset                    compaction has looked at all records before it
//! ```
//!
//! How it moves: [`Log::append`] checks a batch against its producer's last ones, gives it the next offset, and writes it
//! as it came but for its header. [`Log::begin_flush`] hands out the file to sync, and [`Log::finish_flush`] moves the
//! flushed offset. When the newest segment is full it is synced and sealed: sealed segments are complete by construction.
//!
//! Four offsets name how far a record is, each at or before the one above it:
//!
//! - the *log end offset* is the next one to be given;
//! - the *flushed offset*: everything before it is on disk;
//! - the *high watermark*: consumers may read what is before it. The replica moves it ([`crate::replica`]);
//! - the *last stable offset*: before it, every transaction is decided. Consumers with `isolation.level=read_committed`
//!   read up to here, and leave out the records of aborted transactions, whose list is in the `.txnindex`.
//!
//! Who waits for whom: a log may be used from many threads. Whatever changes its files goes one at a time, behind the
//! writer's lock. What is known of the files is behind another lock, which is never held over I/O: a reader does not wait
//! for a write, a sync or a roll.
//!
//! What a crash leaves: only the newest segment can be torn. [`Log::open`] reads it batch by batch; from the first batch
//! that is not whole and right on, the rest is cut, *unless* a good batch follows (and no sector between is missing, as a
//! power loss in the middle of a write leaves it), or a snapshot tells that the place was durable. Then it is not a torn
//! tail but damage, and the log refuses to open and names the place: cutting there would silently lose what was
//! acknowledged. (Kafka cuts in both cases, because its replicas have the rest; here there are none.)
//!
//! Deliberately missing: tiered storage. Blocking calls on [`disk::Disk`], no clock.

mod append;
mod checkpoint;
mod compaction;
mod compaction_files;
#[cfg(test)]
mod compaction_tests;
mod epochs;
mod index;
mod producers;
mod read;
mod recovery;
mod retention;
mod segment;
#[cfg(test)]
mod tests;
mod transactions;
#[cfg(test)]
mod transactions_tests;
mod txn_index;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use disk::{Disk, DiskFile};
use log_broker_wire::batch::BatchError;

pub use checkpoint::{read_optional, replace};
pub use compaction::Compacted;
pub use producers::ProducerState;
pub use read::{Extent, Slice, find_time, locate_batches, read_batches};

use epochs::Epochs;
use producers::Producers;
use segment::Segment;
use transactions::Transactions;

pub use txn_index::AbortedTransaction;

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
    /// How older records of a key give way to newer ones, where they do.
    pub compaction: Option<Compaction>,
}

/// How a log is compacted: Kafka's topic properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compaction {
    /// Compacted when at least this part of it has not been, in thousandths of its bytes.
    pub dirty_per_mille_min: u64,
    /// Records stay as they are for this long at least.
    pub lag_ms_min: i64,
    /// Compacted in any case when a record has waited this long.
    pub lag_ms_max: i64,
    /// Tombstones are kept for this long after they were met.
    pub delete_retention_ms: i64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3_600_000,
            index_interval_bytes: 4096,
            retention_ms: 7 * 24 * 3_600_000,
            retention_bytes: -1,
            compaction: None,
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
    /// Producer: the partition is not part of an ongoing transaction of this producer.
    #[error("producer {producer_id} has no transaction here that this batch could be part of")]
    InvalidTransactionState { producer_id: i64 },
    /// Transaction coordinator: a newer one has written here.
    #[error("a marker of coordinator epoch {got}, epoch {current} is current")]
    CoordinatorFenced { got: i32, current: i32 },
    /// Consumer: begin at one of the ends.
    #[error("offset {offset} is not within {start}..{end}")]
    OutOfRange { offset: i64, start: i64, end: i64 },
}

/// What an append did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    pub base_offset: i64,
    /// The high watermark has to reach this before the batch is acknowledged with acks=all.
    pub end: i64,
    /// Whether the batch had been stored before; nothing was written then.
    pub duplicate: bool,
}

/// A point in the log that has to be made durable.
#[derive(Debug, Clone)]
pub struct FlushPoint {
    pub file: Arc<dyn DiskFile>,
    pub end: i64,
}

/// The log of one partition.
#[derive(Debug)]
pub struct Log {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// Held by whoever changes the files, over I/O as well.
    writer: Mutex<()>,
    /// Never held over I/O; taken behind `writer` where both are.
    state: Mutex<State>,
}

/// What is known of the files.
///
/// * `start <= high_watermark <= end`, `flushed <= end`.
/// * The high watermark never moves back but by a truncation.
/// * Segments are in the order of their base offsets; there is always one, the last is written to.
/// * All but the last are durable and complete.
/// * Once `stopped`, nothing is written, acknowledged or made visible any more.
#[derive(Debug)]
struct State {
    dir: PathBuf,
    options: Options,
    segments: Vec<Segment>,
    producers: Producers,
    epochs: Epochs,
    start: i64,
    end: i64,
    high_watermark: i64,
    /// Everything before it was synced; may be behind `high_watermark` where the page cache is trusted.
    flushed: i64,
    transactions: Transactions,
    /// The offset of the newest snapshot of the producers, and whether they have changed since.
    snapshot: Option<i64>,
    producers_changed: bool,
    /// Compaction has looked at all records before it.
    cleaned_to: i64,
    stopped: Option<(&'static str, String)>,
}

impl Log {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writer(&self) -> MutexGuard<'_, ()> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The oldest offset that can be read.
    pub fn start(&self) -> i64 {
        self.state().start
    }

    /// The next offset to be given.
    pub fn log_end_offset(&self) -> i64 {
        self.state().end
    }

    /// Everything before it is on stable storage.
    pub fn flushed_offset(&self) -> i64 {
        self.state().flushed
    }

    /// Consumers may read everything before it.
    pub fn high_watermark(&self) -> i64 {
        self.state().high_watermark
    }

    /// Every transaction before it is committed or aborted, and its marker is before the high watermark.
    pub fn last_stable_offset(&self) -> i64 {
        self.state().last_stable_offset()
    }

    /// Moves the high watermark, forwards only. It is the replica that says how far.
    pub fn advance_high_watermark(&self, offset: i64) {
        let mut state = self.state();
        if state.stopped.is_none() {
            state.high_watermark = offset.clamp(state.high_watermark, state.end);
            let high_watermark = state.high_watermark;
            state.transactions.replicated(high_watermark);
        }
    }

    /// Bytes in all segments.
    pub fn size_bytes(&self) -> u64 {
        self.state().size_bytes()
    }

    pub fn set_options(&self, options: Options) {
        self.state().options = options;
    }

    /// The error that a stopped log answers with.
    ///
    /// # Errors
    /// [`LogError::Stopped`] once a write or sync has failed.
    pub fn check(&self) -> Result<(), LogError> {
        self.state().check()
    }

    /// What has to be synced so that all that was appended is durable; `None` where it already is.
    pub fn begin_flush(&self) -> Option<FlushPoint> {
        let state = self.state();
        let dirty = state.flushed < state.end && state.stopped.is_none();
        dirty.then(|| FlushPoint {
            file: state.active().file(),
            end: state.end,
        })
    }

    /// Tells how the sync of a point went. A failed one stops the log: what the page cache holds is unknown then.
    ///
    /// # Errors
    /// [`LogError::Stopped`] when the sync, or an earlier one, has failed.
    pub fn finish_flush(&self, point: &FlushPoint, outcome: io::Result<()>) -> Result<(), LogError> {
        let mut state = self.state();
        state.check()?;
        match outcome {
            Ok(()) => {
                state.flushed = state.flushed.max(point.end);
                Ok(())
            }
            Err(error) => Err(state.stop("sync", &error)),
        }
    }

    /// Where `leader_epoch` ended: the epoch itself, or the last before it, and the offset at which the next one began.
    pub fn epoch_end(&self, leader_epoch: i32) -> (i32, i64) {
        let state = self.state();
        state.epochs.end_of(leader_epoch, state.high_watermark)
    }

    /// The leader epoch in which `offset` was written; -1 where that is not known.
    pub fn epoch_of(&self, offset: i64) -> i32 {
        self.state().epochs.of(offset)
    }

    /// Syncs all and leaves a snapshot, so that the next start has little to replay. A log that did not change writes
    /// nothing.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn close(&self) -> Result<(), LogError> {
        let _writer = self.writer();
        self.check()?;
        // Also where the page cache is trusted: the snapshot tells what cannot be missing.
        let point = {
            let state = self.state();
            (state.flushed < state.end).then(|| FlushPoint {
                file: state.active().file(),
                end: state.end,
            })
        };
        if let Some(point) = point {
            let outcome = point.file.sync_data();
            self.finish_flush(&point, outcome)?;
        }
        self.write_txn_index()?;
        let (end, snapshot) = {
            let state = self.state();
            let is_needed = state.producers_changed || state.snapshot.is_some_and(|offset| offset < state.end);
            let is_new = state.snapshot.is_none() && state.end > 0;
            (state.end, (is_needed || is_new).then(|| state.producers.encode()))
        };
        let Some(snapshot) = snapshot else { return Ok(()) };
        producers::write_snapshot(&*self.disk, &self.dir, end, &snapshot).map_err(|source| LogError::Io {
            path: self.dir.clone(),
            source,
        })?;
        self.state().snapshotted(end);
        Ok(())
    }
}

impl State {
    fn size_bytes(&self) -> u64 {
        self.segments.iter().map(Segment::len).sum()
    }

    fn check(&self) -> Result<(), LogError> {
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

    fn stop(&mut self, what: &'static str, error: &io::Error) -> LogError {
        let reason = error.to_string();
        self.stopped = Some((what, reason.clone()));
        LogError::Stopped {
            dir: self.dir.clone(),
            what,
            reason,
        }
    }

    fn snapshotted(&mut self, offset: i64) {
        self.snapshot = Some(offset);
        self.producers_changed = false;
    }
}
