//! Compaction: of the records of one key only the newest is kept.
//!
//! ```text
//!   |<-------- clean -------->|<-------- dirty --------->|   young    |  active segment
//!   start                 cleaned_to                 dirty_end                        end
//! ```
//!
//! A round reads the dirty part and notes the newest offset of each key, as far as memory goes. Then it copies all sealed
//! segments before the end of that part, leaving out each record whose key has a newer one, and puts the copies in place of
//! the originals, several small ones as one. Offsets stay, so there are gaps. The newest segment is never compacted, nor are
//! records younger than the minimal lag.
//!
//! A tombstone (a null value) is kept for a while, so that a reader who has seen the key learns that it is gone: when it is
//! met first, the batch gets a *delete horizon* (KIP-534), and a later round behind it leaves the tombstone out.
//!
//! Transactions: nothing behind the last stable offset is compacted. Records of an aborted transaction go at once. A marker
//! stays while there are records of its transaction, then gets a delete horizon like a tombstone, and goes in a later
//! round; its entry in the index of aborted transactions goes with it, since a reader that finds an entry without a marker
//! would leave out what its producer wrote later.
//!
//! Readers and producers go on meanwhile: only the exchange of the files is behind the writer's lock.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use disk::DiskFile;
use log_broker_wire::batch::BatchHeader;
use log_broker_wire::record::{self, Record};

use super::compaction_files::{self as files, Cleaned};
use super::recovery::Walk;
use super::transactions::Transactions;
use super::{Compaction, Log, LogError, State, txn_index};

/// Memory for the keys of a round, in bytes; a round that has more goes as far as they reach.
const KEYS_BYTES_MAX: usize = 64 << 20;
/// Memory of an entry besides its key.
const ENTRY_BYTES: usize = 64;
/// Most bytes that a batch may inflate to; longer ones are not stored.
const UNPACKED_BYTES_MAX: usize = 128 << 20;

/// What a round did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Compacted {
    pub bytes_before: u64,
    pub bytes_after: u64,
}

/// A sealed segment as it was when the round began.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) base: i64,
    pub(super) next: i64,
    pub(super) len: u64,
    pub(super) file: Arc<dyn DiskFile>,
}

/// What a round is to do.
#[derive(Debug)]
struct Plan {
    sources: Vec<Source>,
    cleaned_to: i64,
    start: i64,
    options: super::Options,
    transactions: Transactions,
    compaction: Compaction,
}

impl Log {
    /// Compacts the log where it is due; `None` where it is not. Blocks on the disk. For one thread at a time.
    ///
    /// # Errors
    /// [`LogError::Full`] where the copies have no room; the log stays as it was then.
    pub fn compact(&self, now_ms: i64) -> Result<Option<Compacted>, LogError> {
        {
            let _writer = self.writer();
            self.check()?;
            let is_due = self.state().active_must_be_sealed(now_ms);
            if is_due {
                self.roll()?;
            }
        }
        let plan = self.state().plan_compaction(now_ms);
        let Some(plan) = plan else { return Ok(None) };
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => LogError::Full,
            _ => LogError::Io {
                path: self.dir.clone(),
                source: error,
            },
        };
        let (newest, dirty_end) = newest_offsets(&plan, KEYS_BYTES_MAX).map_err(failed)?;
        let mut outcome = Compacted::default();
        let sources: Vec<Source> = plan
            .sources
            .iter()
            .filter(|source| source.base < dirty_end)
            .cloned()
            .collect();
        let mut ended = EndedTransactions::default();
        for group in group(&sources, plan.options.segment_bytes) {
            ended.dropped_markers.clear();
            let cleaned = self.clean(group, &plan, &newest, &mut ended, dirty_end, now_ms);
            let cleaned = cleaned
                .inspect_err(|_| files::discard(&*self.disk, &self.dir))
                .map_err(failed)?;
            outcome.bytes_before += group.iter().map(|source| source.len).sum::<u64>();
            outcome.bytes_after += cleaned.len;
            self.exchange(group, cleaned, &ended.dropped_markers).map_err(failed)?;
        }
        files::write_cleaned_to(&*self.disk, &self.dir, dirty_end).map_err(failed)?;
        self.state().cleaned_to = dirty_end;
        Ok(Some(outcome))
    }

    /// Copies what is kept of some segments.
    fn clean(
        &self,
        group: &[Source],
        plan: &Plan,
        newest: &HashMap<Bytes, i64>,
        ended: &mut EndedTransactions,
        dirty_end: i64,
        now_ms: i64,
    ) -> io::Result<Cleaned> {
        let (first, last) = (&group[0], &group[group.len() - 1]);
        let mut copy = files::Copy::begin(
            &*self.disk,
            &self.dir,
            first.base,
            last.next,
            plan.options.index_interval_bytes,
        )?;
        for source in group {
            let mut walk = Walk::new(&*source.file, source.len);
            while let Some((header, batch)) = walk.next_whole()? {
                // Beyond what the keys were noted of everything stays as it is.
                if header.base_offset >= dirty_end {
                    copy.put(&header, batch)?;
                    continue;
                }
                let horizon = now_ms.saturating_add(plan.compaction.delete_retention_ms);
                let kept = if header.is_control() {
                    ended.kept_of_marker(&header, batch, now_ms, horizon)?
                } else if plan.is_aborted(&header) {
                    Kept::None
                } else {
                    kept(&header, batch, newest, now_ms, horizon)?
                };
                if header.is_transactional() && !header.is_control() && !matches!(kept, Kept::None) {
                    ended.with_records.insert(header.producer_id);
                }
                match kept {
                    Kept::All => copy.put(&header, batch)?,
                    Kept::None => {}
                    Kept::Some(batch) => {
                        let header = BatchHeader::parse(&batch).map_err(io::Error::other)?;
                        copy.put(&header, &batch)?;
                    }
                }
            }
        }
        copy.finish()
    }

    /// Puts a copy in place of its originals, unless one of them is gone.
    fn exchange(&self, group: &[Source], cleaned: Cleaned, dropped_markers: &[i64]) -> io::Result<()> {
        let _writer = self.writer();
        let place = {
            let state = self.state();
            let place = state
                .segments
                .iter()
                .position(|segment| segment.base() == group[0].base);
            place.filter(|place| {
                let rest = &state.segments[*place..];
                rest.len() > group.len() && group.iter().zip(rest).all(|(source, kept)| source.base == kept.base())
            })
        };
        let Some(place) = place else {
            files::discard(&*self.disk, &self.dir);
            return Ok(());
        };
        let bases: Vec<i64> = group.iter().map(|source| source.base).collect();
        self.merge_txn_indexes(group, dropped_markers)?;
        let segment = cleaned.replace(&*self.disk, &self.dir, &bases)?;
        self.state().segments.splice(place..place + group.len(), [segment]);
        Ok(())
    }
}

impl Log {
    /// Puts the entries of a group of segments into one file, without those whose markers go. Before the segments: an entry
    /// never outlives its marker. The caller holds the writer's lock.
    fn merge_txn_indexes(&self, group: &[Source], dropped_markers: &[i64]) -> io::Result<()> {
        let (first, last) = (&group[0], &group[group.len() - 1]);
        let (before, after) = {
            let mut state = self.state();
            let before = state.transactions.of_segment(first.base, last.next);
            state.transactions.forget(dropped_markers);
            (before, state.transactions.of_segment(first.base, last.next))
        };
        if before.is_empty() {
            return Ok(());
        }
        txn_index::write(&*self.disk, &self.dir, first.base, &after)?;
        for source in &group[1..] {
            txn_index::remove(&*self.disk, &self.dir, source.base)?;
        }
        self.disk.sync_dir(&self.dir)
    }
}

impl Plan {
    fn is_aborted(&self, header: &BatchHeader) -> bool {
        header.is_transactional() && self.transactions.is_aborted(header.producer_id, header.base_offset)
    }
}

/// What a round has seen of transactions, from the start of the log on.
#[derive(Debug, Default)]
struct EndedTransactions {
    /// Producers with records in the transaction that their next marker ends.
    with_records: HashSet<i64>,
    /// The offsets of markers that are left out.
    dropped_markers: Vec<i64>,
}

impl EndedTransactions {
    fn kept_of_marker(
        &mut self,
        header: &BatchHeader,
        batch: &[u8],
        now_ms: i64,
        new_horizon: i64,
    ) -> io::Result<Kept> {
        if self.with_records.remove(&header.producer_id) {
            return Ok(Kept::All);
        }
        match header.delete_horizon() {
            Some(horizon) if horizon <= now_ms => {
                self.dropped_markers.push(header.base_offset);
                Ok(Kept::None)
            }
            Some(_) => Ok(Kept::All),
            None => record::rebuild_batch(header, &records(batch)?, Some(new_horizon)).map(Kept::Some),
        }
    }
}

impl State {
    /// Whether the newest segment holds a record that must be compacted by now.
    fn active_must_be_sealed(&self, now_ms: i64) -> bool {
        let Some(compaction) = self.options.compaction else {
            return false;
        };
        let oldest = self.active().begun_ms();
        self.active().len() > 0 && oldest.is_some_and(|oldest| now_ms.saturating_sub(oldest) > compaction.lag_ms_max)
    }

    /// What there is to do, where that is enough.
    fn plan_compaction(&mut self, now_ms: i64) -> Option<Plan> {
        let compaction = self.options.compaction?;
        let sealed = self.segments.len() - 1;
        let last_stable_offset = self.last_stable_offset();
        let (mut clean_bytes, mut dirty_bytes, mut is_late) = (0, 0, false);
        let mut sources = Vec::new();
        for segment in &mut self.segments[..sealed] {
            let newest = segment.retention_timestamp(now_ms);
            let too_young = compaction.lag_ms_min > 0 && now_ms.saturating_sub(newest) < compaction.lag_ms_min;
            if too_young || segment.next() > last_stable_offset {
                break;
            }
            if segment.next() <= self.cleaned_to {
                clean_bytes += segment.len();
            } else {
                dirty_bytes += segment.len();
                is_late |= now_ms.saturating_sub(newest) > compaction.lag_ms_max;
            }
            sources.push(Source {
                base: segment.base(),
                next: segment.next(),
                len: segment.len(),
                file: segment.file(),
            });
        }
        let all_bytes: u64 = clean_bytes + dirty_bytes;
        let enough = dirty_bytes * 1000 >= all_bytes * compaction.dirty_per_mille_min;
        (dirty_bytes > 0 && (enough || is_late)).then(|| Plan {
            sources,
            cleaned_to: self.cleaned_to,
            transactions: Transactions::restored(self.transactions.of_segment(0, last_stable_offset)),
            start: self.start,
            options: self.options,
            compaction,
        })
    }
}

/// The newest offset of each key in the dirty part, and where that part ends: with its last segment, or with the batch at
/// which there is no more memory for keys.
fn newest_offsets(plan: &Plan, bytes_max: usize) -> io::Result<(HashMap<Bytes, i64>, i64)> {
    let mut newest = HashMap::new();
    let mut bytes = 0;
    let mut end = plan.cleaned_to;
    for source in plan.sources.iter().filter(|source| source.next > plan.cleaned_to) {
        let mut walk = Walk::new(&*source.file, source.len);
        while let Some((header, batch)) = walk.next_whole()? {
            if header.last_offset() < plan.cleaned_to.max(plan.start) || header.is_control() || plan.is_aborted(&header)
            {
                continue;
            }
            if bytes > bytes_max {
                return Ok((newest, header.base_offset));
            }
            for record in records(batch)? {
                let Some(key) = record.key else { continue };
                let known = newest.get_mut(&key[..]);
                match known {
                    Some(offset) => *offset = record.offset,
                    None => {
                        bytes += key.len() + ENTRY_BYTES;
                        // A copy of its own, or the key would keep its whole batch.
                        newest.insert(Bytes::copy_from_slice(&key), record.offset);
                    }
                }
            }
        }
        end = source.next;
    }
    Ok((newest, end))
}

fn records(batch: &[u8]) -> io::Result<Vec<Record>> {
    let records = record::records(Bytes::copy_from_slice(batch), UNPACKED_BYTES_MAX).map_err(io::Error::other)?;
    records.map(|record| record.map_err(io::Error::other)).collect()
}

/// What is kept of a batch.
enum Kept {
    All,
    Some(Bytes),
    None,
}

fn kept(
    header: &BatchHeader,
    batch: &[u8],
    newest: &HashMap<Bytes, i64>,
    now_ms: i64,
    new_horizon: i64,
) -> io::Result<Kept> {
    let all = records(batch)?;
    let is_kept = |record: &Record| {
        let Some(key) = &record.key else { return false };
        let is_newest = newest.get(&key[..]).is_none_or(|offset| *offset <= record.offset);
        let is_over = record.value.is_none() && header.delete_horizon().is_some_and(|horizon| horizon <= now_ms);
        is_newest && !is_over
    };
    let count = all.len();
    let kept: Vec<Record> = all.into_iter().filter(is_kept).collect();
    if kept.is_empty() {
        return Ok(Kept::None);
    }
    let meets_tombstones = header.delete_horizon().is_none() && kept.iter().any(|record| record.value.is_none());
    if kept.len() == count && !meets_tombstones {
        return Ok(Kept::All);
    }
    let horizon = meets_tombstones.then_some(new_horizon);
    record::rebuild_batch(header, &kept, horizon).map(Kept::Some)
}

/// Runs of segments that together fit into one.
fn group(sources: &[Source], segment_bytes: u64) -> Vec<&[Source]> {
    let mut groups = Vec::new();
    let mut from = 0;
    let mut bytes = 0;
    for (place, source) in sources.iter().enumerate() {
        let too_wide = source.next - sources[from].base > i64::from(i32::MAX);
        if place > from && (bytes + source.len > segment_bytes || too_wide) {
            groups.push(&sources[from..place]);
            from = place;
            bytes = 0;
        }
        bytes += source.len;
    }
    if from < sources.len() {
        groups.push(&sources[from..]);
    }
    groups
}
