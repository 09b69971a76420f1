//! Opening a log: what is there is read, what is torn is cut, what is damaged is refused.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use disk::{Disk, DiskFile, Mode};
use log_broker_wire::batch::{self, BatchError, BatchHeader, HEADER_LEN};
use log_broker_wire::marker::{self, Marker};

use super::epochs::Epochs;
use super::index::Index;
use super::producers::{self, Producers};
use super::segment::{self, Segment};
use super::transactions::Transactions;
use super::{Log, LogError, Options, State, checkpoint, compaction_files, retention, txn_index};

/// Bytes read at a time.
const CHUNK_LEN: usize = 1 << 20;

/// What a disk stores whole or not at all, in bytes.
const SECTOR_LEN: u64 = 512;

/// Longest batch that a file may claim, in bytes: no larger request is accepted.
const BATCH_LEN_MAX: usize = log_broker_wire::frame::FRAME_BYTES_MAX;

/// What opening did besides reading.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// Bytes of a torn tail that were cut.
    pub cut_bytes: u64,
}

impl Log {
    /// Opens or creates the log in `dir`.
    ///
    /// # Errors
    /// [`LogError::Damaged`] and [`LogError::Lost`] name what is wrong with the files; they change nothing.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, options: Options) -> Result<(Self, Recovery), LogError> {
        let (state, recovery) = State::load(&disk, dir, options)?;
        let log = Self {
            disk,
            dir: dir.to_owned(),
            writer: Mutex::new(()),
            state: Mutex::new(state),
        };
        Ok((log, recovery))
    }
}

impl State {
    /// Reads what the files say.
    pub(super) fn load(disk: &Arc<dyn Disk>, dir: &Path, options: Options) -> Result<(Self, Recovery), LogError> {
        let io = |source| LogError::Io {
            path: dir.to_owned(),
            source,
        };
        disk.create_dir_all(dir).map_err(io)?;
        compaction_files::finish(&**disk, dir).map_err(io)?;
        let mut bases: Vec<i64> = disk
            .list(dir)
            .map_err(io)?
            .iter()
            .filter_map(|entry| segment::base_of(&entry.name))
            .collect();
        bases.sort_unstable();
        let mut segments = Vec::with_capacity(bases.len().max(1));
        let mut recovery = Recovery::default();
        let mut replayed = Vec::new();
        for (place, base) in bases.iter().enumerate() {
            match bases.get(place + 1) {
                Some(next_base) => {
                    segments.push(open_sealed(&**disk, dir, *base, *next_base, &options).map_err(|e| e.into_log(io))?);
                }
                None => {
                    let (active, headers, cut) =
                        open_active(&**disk, dir, *base, &options).map_err(|e| e.into_log(io))?;
                    segments.push(active);
                    replayed = headers;
                    recovery.cut_bytes = cut;
                }
            }
        }
        if segments.is_empty() {
            // Its name becomes durable with the file of the leader epoch, before the first batch; until then an empty log can
            // as well be created again.
            segments.push(Segment::create(&**disk, dir, 0).map_err(io)?);
        }
        let end = segments.last().map_or(0, Segment::next);
        check_nothing_lost(&**disk, dir, end)?;
        let start = read_start(&**disk, dir)
            .map_err(io)?
            .unwrap_or(0)
            .max(segments[0].base())
            .min(end);
        let epochs = Epochs::read(&**disk, dir, end)?;
        let (producers, transactions) = replay(&**disk, dir, &segments, &replayed, end).map_err(io)?;
        let snapshot = producers::snapshots(&**disk, dir).map_err(io)?.into_iter().max();
        // What was read may still be in the page cache only, and is visible from now on. A snapshot is written behind a sync.
        if let Some(active) = segments.last()
            && active.len() > 0
            && snapshot != Some(end)
        {
            active.file().sync_data().map_err(io)?;
        }
        let cleaned_to = compaction_files::read_cleaned_to(&**disk, dir).map_err(io)?.min(end);
        let state = Self {
            dir: dir.to_owned(),
            options,
            segments,
            producers,
            transactions,
            epochs,
            start,
            end,
            high_watermark: end,
            flushed: end,
            snapshot,
            producers_changed: false,
            cleaned_to,
            stopped: None,
        };
        Ok((state, recovery))
    }
}

/// Snapshots are written behind a sync: the log cannot end before the newest one.
fn check_nothing_lost(disk: &dyn Disk, dir: &Path, end: i64) -> Result<(), LogError> {
    let io = |source| LogError::Io {
        path: dir.to_owned(),
        source,
    };
    match producers::snapshots(disk, dir).map_err(io)?.into_iter().max() {
        Some(known) if known > end => Err(LogError::Lost {
            dir: dir.to_owned(),
            end,
            known,
            snapshot: producers::snapshot_name(known),
        }),
        _ => Ok(()),
    }
}

fn read_start(disk: &dyn Disk, dir: &Path) -> io::Result<Option<i64>> {
    let contents = checkpoint::read_optional(disk, dir, retention::START_NAME)?;
    Ok(contents.and_then(|contents| String::from_utf8_lossy(&contents).trim().parse().ok()))
}

/// A batch that has to do with a producer; with the marker, where it is one.
type Replayed = (BatchHeader, Option<Marker>);

/// The producers and transactions: the newest snapshot and the indexes that go with it, then every batch behind it.
fn replay(
    disk: &dyn Disk,
    dir: &Path,
    segments: &[Segment],
    active: &[Replayed],
    end: i64,
) -> io::Result<(Producers, Transactions)> {
    let (from, mut producers) = Producers::read_snapshot(disk, dir, end)?.unwrap_or_default();
    let mut transactions = Transactions::restored(txn_index::read_all(disk, dir, from)?);
    let mut record = |header: &BatchHeader, marker: Option<&Marker>| {
        if header.base_offset >= from {
            transactions.ended(producers.record(header, marker));
        }
    };
    let (_, sealed) = segments
        .split_last()
        .unwrap_or_else(|| unreachable!("a log has a segment"));
    for segment in sealed.iter().filter(|segment| segment.next() > from) {
        let file = segment.file();
        let mut walk = Walk::new(&*file, segment.len());
        while let Ok(Some((header, batch))) = walk.next_whole() {
            record(&header, marker::parse(&header, batch).as_ref());
        }
    }
    for (header, marker) in active {
        record(header, marker.as_ref());
    }
    transactions.replicated(end);
    Ok((producers, transactions))
}

/// A sealed segment: by its indexes where they fit, otherwise by reading all of it.
fn open_sealed(
    disk: &dyn Disk,
    dir: &Path,
    base: i64,
    next_base: i64,
    options: &Options,
) -> Result<Segment, ScanError> {
    let path = dir.join(segment::name(base));
    let file = disk.open(&path, Mode::Write)?;
    let len = file.len()?;
    if len == 0 {
        return Ok(Segment::known(base, base, 0, file, Index::default(), None)?);
    }
    if let Some(index) = Index::read(disk, dir, base, len)? {
        let mut walk = Walk::new(&*file, len);
        walk.position = index.last_position();
        let mut next = base;
        let whole = loop {
            match walk.next_header() {
                Ok(Some(header)) => next = header.next_offset(),
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        if whole && next > base && next <= next_base {
            return Ok(Segment::known(base, next, len, file, index, Some(0))?);
        }
    }
    let scan = Scan::run(&*file, base, len, options.index_interval_bytes, Gaps::Allowed)?;
    match scan.bad {
        None if scan.next <= next_base => {
            let segment = Segment::known(base, scan.next, len, file, scan.index, Some(0))?;
            segment.encode_indexes().write(disk, dir)?;
            Ok(segment)
        }
        bad => {
            let reason = bad.map_or_else(
                || "offsets run into the next segment".to_owned(),
                |error| error.to_string(),
            );
            Err(LogError::Damaged {
                file: path,
                position: scan.len,
                offset: scan.next,
                reason,
            }
            .into())
        }
    }
}

/// The newest segment: all of it is read, and a torn tail is cut.
fn open_active(
    disk: &dyn Disk,
    dir: &Path,
    base: i64,
    options: &Options,
) -> Result<(Segment, Vec<Replayed>, u64), ScanError> {
    let path = dir.join(segment::name(base));
    let file = disk.open(&path, Mode::Write)?;
    let len = file.len()?;
    let scan = Scan::run(&*file, base, len, options.index_interval_bytes, Gaps::Refused)?;
    if let Some(bad) = scan.bad {
        let behind = good_batch_behind(&*file, scan.len, len, scan.next)?;
        if let Some(behind) = behind
            && !has_lost_sector(&*file, scan.len, behind)?
        {
            let reason = bad.to_string();
            return Err(LogError::Damaged {
                file: path,
                position: scan.len,
                offset: scan.next,
                reason,
            }
            .into());
        }
        tracing::warn!(file = %path.display(), at = scan.len, bytes = len - scan.len, %bad, "cut a torn tail");
        file.set_len(scan.len)?;
        file.sync_data()?;
    }
    let begun_ms = None; // Counted anew: batches carry their producers' time, not ours.
    let segment = Segment::known(base, scan.next, scan.len, file, scan.index, begun_ms)?;
    Ok((segment, scan.headers, len - scan.len))
}

/// Reading from front to back, checking every batch.
struct Scan {
    /// Bytes of good batches, and the offset behind them.
    len: u64,
    next: i64,
    index: Index,
    headers: Vec<Replayed>,
    /// What is wrong with the bytes behind.
    bad: Option<BatchError>,
}

/// Whether offsets may be missing: compaction takes them out of sealed segments, never out of the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gaps {
    Allowed,
    Refused,
}

impl Scan {
    fn run(file: &dyn DiskFile, base: i64, len: u64, interval: u64, gaps: Gaps) -> Result<Self, ScanError> {
        let mut scan = Scan {
            len: 0,
            next: base,
            index: Index::default(),
            headers: Vec::new(),
            bad: None,
        };
        let mut walk = Walk::new(file, len);
        loop {
            let position = walk.position;
            match walk.next_checked() {
                Ok(None) => break,
                Ok(Some((header, _)))
                    if header.base_offset < scan.next || (gaps == Gaps::Refused && header.base_offset != scan.next) =>
                {
                    scan.bad = Some(BatchError::Offset {
                        got: header.base_offset,
                        expected: scan.next,
                    });
                    break;
                }
                Ok(Some((header, batch))) => {
                    if header.is_idempotent() || scan.headers.is_empty() {
                        scan.headers.push((header, marker::parse(&header, batch)));
                    }
                    scan.index.add(&header, base, position, interval);
                    scan.next = header.next_offset();
                    scan.len = walk.position;
                }
                Err(WalkError::Batch(error)) => {
                    scan.bad = Some(error);
                    break;
                }
                Err(WalkError::Io(error)) => return Err(error.into()),
            }
        }
        Ok(scan)
    }
}

/// Where, behind `position`, a whole and right batch with a later offset stands.
fn good_batch_behind(file: &dyn DiskFile, position: u64, len: u64, next: i64) -> io::Result<Option<u64>> {
    let mut start = position + 1;
    while start + (HEADER_LEN as u64) <= len {
        let mut chunk = vec![0; (CHUNK_LEN + HEADER_LEN).min((len - start) as usize)];
        file.read_exact_at(&mut chunk, start)?;
        for place in 0..chunk.len().saturating_sub(HEADER_LEN - 1).min(CHUNK_LEN) {
            if chunk[place + 16] != 2 {
                continue; // Not the format of a batch.
            }
            let Ok(header) = BatchHeader::parse(&chunk[place..]) else {
                continue;
            };
            let at = start + place as u64;
            // A later offset, but none that the bytes between could not have held.
            let plausible = header.base_offset >= next && header.base_offset - next <= (len - position) as i64;
            if plausible && header.len <= BATCH_LEN_MAX && at + header.len as u64 <= len {
                let mut bytes = vec![0; header.len];
                file.read_exact_at(&mut bytes, at)?;
                if batch::check(&bytes).is_ok() {
                    return Ok(Some(at));
                }
            }
        }
        start += CHUNK_LEN as u64;
    }
    Ok(None)
}

/// Whether the bytes of a bad batch, up to the good one `behind` it, have a sector of zeros: a write that was under way
/// when the power went leaves such holes, since a disk may store its sectors in any order. Nothing of that write was
/// acknowledged. A changed byte leaves no such hole.
fn has_lost_sector(file: &dyn DiskFile, position: u64, behind: u64) -> io::Result<bool> {
    let mut start = position;
    while start < behind {
        let end = (start / SECTOR_LEN + 1) * SECTOR_LEN;
        if end > behind {
            return Ok(false); // It has the good batch's first bytes, so it was stored.
        }
        let mut sector = vec![0; (end - start) as usize];
        file.read_exact_at(&mut sector, start)?;
        if sector.iter().all(|byte| *byte == 0) {
            return Ok(true);
        }
        start = end;
    }
    Ok(false)
}

/// Steps from batch to batch through a buffer.
pub(super) struct Walk<'a> {
    file: &'a dyn DiskFile,
    pub(super) position: u64,
    len: u64,
    buffer: Vec<u8>,
    /// Position of the first byte of the buffer.
    buffered_at: u64,
}

impl<'a> Walk<'a> {
    pub(super) fn new(file: &'a dyn DiskFile, len: u64) -> Self {
        Self {
            file,
            position: 0,
            len,
            buffer: Vec::new(),
            buffered_at: 0,
        }
    }

    /// `want` bytes at the current position, or `None` beyond the end.
    fn bytes(&mut self, want: usize) -> io::Result<Option<&[u8]>> {
        let left = self.len - self.position;
        if want as u64 > left {
            return Ok(None);
        }
        let from = self.position.checked_sub(self.buffered_at).map(|from| from as usize);
        let from = match from {
            Some(from) if from + want <= self.buffer.len() => from,
            _ => {
                self.buffer.resize(CHUNK_LEN.max(want).min(left as usize), 0);
                self.file.read_exact_at(&mut self.buffer, self.position)?;
                self.buffered_at = self.position;
                0
            }
        };
        Ok(Some(&self.buffer[from..from + want]))
    }

    /// The next batch as a whole, its CRC checked; `None` at the end.
    pub(super) fn next_whole(&mut self) -> io::Result<Option<(BatchHeader, &[u8])>> {
        self.next_checked().map_err(|error| match error {
            WalkError::Io(error) => error,
            WalkError::Batch(error) => io::Error::new(io::ErrorKind::InvalidData, error),
        })
    }

    /// The next header, without a look at what is behind it.
    fn next_header(&mut self) -> Result<Option<BatchHeader>, WalkError> {
        if self.position == self.len {
            return Ok(None);
        }
        let bytes = self.bytes(HEADER_LEN)?.ok_or(WalkError::Batch(BatchError::Truncated))?;
        let header = BatchHeader::parse(bytes).map_err(WalkError::Batch)?;
        if header.len as u64 > self.len - self.position {
            return Err(WalkError::Batch(BatchError::Truncated));
        }
        self.position += header.len as u64;
        Ok(Some(header))
    }

    /// The next batch, all of which was checked.
    fn next_checked(&mut self) -> Result<Option<(BatchHeader, &[u8])>, WalkError> {
        let start = self.position;
        let Some(header) = self.next_header()? else {
            return Ok(None);
        };
        let end = std::mem::replace(&mut self.position, start);
        if header.len > BATCH_LEN_MAX {
            return Err(WalkError::Batch(BatchError::Length(header.len as i32)));
        }
        let bytes = self.bytes(header.len)?.ok_or(WalkError::Batch(BatchError::Truncated))?;
        batch::check(bytes).map_err(WalkError::Batch)?;
        self.position = end;
        let from = (start - self.buffered_at) as usize;
        Ok(Some((header, &self.buffer[from..from + header.len])))
    }
}

enum WalkError {
    Io(io::Error),
    Batch(BatchError),
}

impl From<io::Error> for WalkError {
    fn from(error: io::Error) -> Self {
        WalkError::Io(error)
    }
}

enum ScanError {
    Io(io::Error),
    Log(Box<LogError>),
}

impl ScanError {
    fn into_log(self, io: impl FnOnce(io::Error) -> LogError) -> LogError {
        match self {
            ScanError::Io(error) => io(error),
            ScanError::Log(error) => *error,
        }
    }
}

impl From<io::Error> for ScanError {
    fn from(error: io::Error) -> Self {
        ScanError::Io(error)
    }
}

impl From<LogError> for ScanError {
    fn from(error: LogError) -> Self {
        ScanError::Log(Box::new(error))
    }
}
