//! What is known of producers: their last batches, so that a repeated one is recognised, and their open transactions.
//!
//! Snapshots are written when a segment is sealed and on an orderly end; whatever came later is replayed from the
//! batches themselves, which carry producer, epoch and sequence.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;

use disk::Disk;
use log_broker_wire::batch::{BatchHeader, advance_sequence};
use log_broker_wire::marker::Marker;

use super::txn_index::AbortedTransaction;
use super::{LogError, checkpoint};

/// Batches remembered of each producer: as many as a client may have in flight.
const BATCHES_MAX: usize = 5;

/// Producers remembered by one log; beyond it the one that was silent longest is forgotten, as after
/// `producer.id.expiration.ms`. Those with an open transaction are kept.
const PRODUCERS_MAX: usize = 10_000;

/// Verifications under way; each is over with the next append of its producer.
const VERIFICATIONS_MAX: usize = 10_000;

/// Snapshots kept: the newest, and one to fall back on.
const SNAPSHOTS_KEPT: usize = 2;

/// Bytes of one batch in a snapshot of the first format, which knew no transactions.
const OLD_ENTRY_LEN: usize = 8 + 2 + 4 + 4 + 8;

/// What a snapshot with transactions begins with: no producer has this id.
const FORMAT: [u8; 8] = (-2i64).to_be_bytes();
/// Bytes of a producer before its batches, and of each batch.
const PRODUCER_LEN: usize = 8 + 2 + 4 + 8 + 8 + 1;
const BATCH_LEN: usize = 4 + 4 + 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stored {
    base_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Producer {
    epoch: i16,
    /// Of the coordinator that wrote its last marker; -1 where there was none.
    coordinator_epoch: i32,
    /// The first offset of its open transaction.
    transaction: Option<i64>,
    last_timestamp: i64,
    /// The newest last.
    batches: VecDeque<Stored>,
}

/// A producer as DescribeProducers shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerState {
    pub producer_id: i64,
    pub epoch: i16,
    pub last_sequence: i32,
    pub last_timestamp: i64,
    pub coordinator_epoch: i32,
    pub transaction_start: Option<i64>,
}

/// A transaction that a marker has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) producer_id: i64,
    pub(super) first_offset: i64,
    /// The marker's offset.
    pub(super) last_offset: i64,
    pub(super) is_aborted: bool,
}

/// * `open` has exactly the producers whose `transaction` is set, by its first offset.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Producers {
    by_id: BTreeMap<i64, Producer>,
    open: BTreeMap<i64, i64>,
    /// Producers whose transaction the coordinator is being asked about, before the first batch of it.
    verifying: BTreeMap<i64, i16>,
}

impl Producers {
    /// Says whether the batch comes next: `None` if so, the offset it got when it was stored before, or an error.
    pub(super) fn check(&self, header: &BatchHeader) -> Result<Option<i64>, LogError> {
        let known = self.by_id.get(&header.producer_id);
        if let Some(producer) = known
            && header.producer_epoch < producer.epoch
        {
            return Err(LogError::ProducerEpoch {
                producer_id: header.producer_id,
                got: header.producer_epoch,
                current: producer.epoch,
            });
        }
        if header.base_sequence < 0 {
            // Written by a coordinator, which does not number its batches.
            return self.check_transaction(header).map(|()| None);
        }
        let same = |stored: &&Stored| {
            stored.base_sequence == header.base_sequence && stored.last_sequence == header.last_sequence()
        };
        if let Some(producer) = known
            && header.producer_epoch == producer.epoch
            && let Some(stored) = producer.batches.iter().find(same)
        {
            return Ok(Some(stored.base_offset));
        }
        self.check_transaction(header)?;
        let Some(producer) = known else {
            // Forgotten, or new to this log: any sequence may begin, as in Kafka since 2.5.
            return Ok(None);
        };
        let expected = if header.producer_epoch > producer.epoch {
            0
        } else {
            producer
                .batches
                .back()
                .map_or(0, |stored| advance_sequence(stored.last_sequence, 1))
        };
        if header.base_sequence == expected {
            return Ok(None);
        }
        Err(LogError::OutOfOrderSequence {
            producer_id: header.producer_id,
            got: header.base_sequence,
            expected,
        })
    }

    /// A batch begins a transaction only where the coordinator knows of it ([`Producers::verify`]): otherwise no marker
    /// would ever end it. While one is open, nothing else is written by its producer.
    fn check_transaction(&self, header: &BatchHeader) -> Result<(), LogError> {
        let is_open = self.has_open(header.producer_id);
        let is_verified = self.verifying.get(&header.producer_id) == Some(&header.producer_epoch);
        let is_right = match header.is_transactional() {
            true => is_open || is_verified,
            false => !is_open,
        };
        if is_right {
            return Ok(());
        }
        Err(LogError::InvalidTransactionState {
            producer_id: header.producer_id,
        })
    }

    /// Whether a marker may be written.
    pub(super) fn check_marker(&self, marker: &Marker) -> Result<(), LogError> {
        let Some(producer) = self.by_id.get(&marker.producer_id) else {
            return Ok(());
        };
        if marker.producer_epoch < producer.epoch {
            return Err(LogError::ProducerEpoch {
                producer_id: marker.producer_id,
                got: marker.producer_epoch,
                current: producer.epoch,
            });
        }
        if marker.coordinator_epoch < producer.coordinator_epoch {
            return Err(LogError::CoordinatorFenced {
                got: marker.coordinator_epoch,
                current: producer.coordinator_epoch,
            });
        }
        Ok(())
    }

    /// Notes that the coordinator is asked about a producer's transaction. A marker that is written meanwhile ends it, so
    /// that a batch that comes too late is refused. `false` where a transaction is open already, and needs no question.
    pub(super) fn verify(&mut self, producer_id: i64, epoch: i16) -> bool {
        let known = self.by_id.get(&producer_id);
        if known.is_some_and(|producer| producer.transaction.is_some() && producer.epoch == epoch) {
            return false;
        }
        if self.verifying.len() >= VERIFICATIONS_MAX {
            self.verifying.clear();
        }
        self.verifying.insert(producer_id, epoch);
        true
    }

    fn has_open(&self, producer_id: i64) -> bool {
        let known = self.by_id.get(&producer_id);
        known.is_some_and(|producer| producer.transaction.is_some())
    }

    /// The first offset of the oldest open transaction.
    pub(super) fn first_open(&self) -> Option<i64> {
        self.open.keys().next().copied()
    }

    /// Takes note of a batch that was stored; a marker may end a transaction.
    pub(super) fn record(&mut self, header: &BatchHeader, marker: Option<&Marker>) -> Option<Ended> {
        if !header.is_idempotent() {
            return None;
        }
        self.make_room(header.producer_id);
        let producer = self.by_id.entry(header.producer_id).or_insert_with(|| Producer {
            epoch: header.producer_epoch,
            coordinator_epoch: -1,
            transaction: None,
            last_timestamp: -1,
            batches: VecDeque::new(),
        });
        if producer.epoch != header.producer_epoch {
            producer.epoch = header.producer_epoch;
            producer.batches.clear();
        }
        producer.last_timestamp = header.max_timestamp;
        if header.is_control() {
            let marker = marker?;
            producer.coordinator_epoch = producer.coordinator_epoch.max(marker.coordinator_epoch);
            self.verifying.remove(&header.producer_id);
            let first_offset = producer.transaction.take()?;
            self.open.remove(&first_offset);
            return Some(Ended {
                producer_id: header.producer_id,
                first_offset,
                last_offset: header.last_offset(),
                is_aborted: !marker.is_commit,
            });
        }
        if header.base_sequence >= 0 {
            producer.batches.push_back(Stored {
                base_sequence: header.base_sequence,
                last_sequence: header.last_sequence(),
                base_offset: header.base_offset,
            });
        }
        if producer.batches.len() > BATCHES_MAX {
            producer.batches.pop_front();
        }
        if header.is_transactional() && producer.transaction.is_none() {
            producer.transaction = Some(header.base_offset);
            self.open.insert(header.base_offset, header.producer_id);
            self.verifying.remove(&header.producer_id);
        }
        None
    }

    fn make_room(&mut self, producer_id: i64) {
        if self.by_id.contains_key(&producer_id) || self.by_id.len() < PRODUCERS_MAX {
            return;
        }
        let idle = self.by_id.iter().filter(|(_, p)| p.transaction.is_none());
        let silent = idle.min_by_key(|(_, p)| p.batches.back().map(|stored| stored.base_offset));
        if let Some(silent) = silent.map(|(id, _)| *id) {
            self.by_id.remove(&silent);
        }
    }

    pub(super) fn describe(&self) -> Vec<ProducerState> {
        let state = |(id, producer): (&i64, &Producer)| ProducerState {
            producer_id: *id,
            epoch: producer.epoch,
            last_sequence: producer.batches.back().map_or(-1, |stored| stored.last_sequence),
            last_timestamp: producer.last_timestamp,
            coordinator_epoch: producer.coordinator_epoch,
            transaction_start: producer.transaction,
        };
        self.by_id.iter().map(state).collect()
    }

    /// The contents of a snapshot.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut contents = FORMAT.to_vec();
        for (producer_id, producer) in &self.by_id {
            contents.extend(producer_id.to_be_bytes());
            contents.extend(producer.epoch.to_be_bytes());
            contents.extend(producer.coordinator_epoch.to_be_bytes());
            contents.extend(producer.transaction.unwrap_or(-1).to_be_bytes());
            contents.extend(producer.last_timestamp.to_be_bytes());
            contents.push(producer.batches.len() as u8);
            for stored in &producer.batches {
                contents.extend(stored.base_sequence.to_be_bytes());
                contents.extend(stored.last_sequence.to_be_bytes());
                contents.extend(stored.base_offset.to_be_bytes());
            }
        }
        contents.extend(crc32c::crc32c(&contents).to_be_bytes());
        contents
    }

    /// The newest snapshot that can be read and is not behind `end`, and its offset.
    pub(super) fn read_snapshot(disk: &dyn Disk, dir: &Path, end: i64) -> io::Result<Option<(i64, Self)>> {
        let mut known = snapshots(disk, dir)?;
        known.sort_unstable();
        for offset in known.into_iter().rev().filter(|offset| *offset <= end) {
            let contents = checkpoint::read_optional(disk, dir, &snapshot_name(offset))?.unwrap_or_default();
            if let Some(producers) = Self::parse(&contents) {
                return Ok(Some((offset, producers)));
            }
            tracing::warn!(dir = %dir.display(), offset, "a producer snapshot is damaged; using an older one");
        }
        Ok(None)
    }

    fn parse(contents: &[u8]) -> Option<Self> {
        let (entries, crc) = contents.split_last_chunk()?;
        if u32::from_be_bytes(*crc) != crc32c::crc32c(entries) {
            return None;
        }
        match entries.strip_prefix(&FORMAT) {
            Some(entries) => Self::parse_producers(entries),
            None => Self::parse_old(entries),
        }
    }

    fn parse_producers(mut entries: &[u8]) -> Option<Self> {
        let mut producers = Self::default();
        while !entries.is_empty() {
            let (head, rest) = entries.split_at_checked(PRODUCER_LEN)?;
            let (batches, rest) = rest.split_at_checked(usize::from(head[PRODUCER_LEN - 1]) * BATCH_LEN)?;
            entries = rest;
            let producer_id = i64::from_be_bytes(part(head, 0));
            let first_offset = i64::from_be_bytes(part(head, 14));
            let transaction = (first_offset >= 0).then_some(first_offset);
            if let Some(first_offset) = transaction {
                producers.open.insert(first_offset, producer_id);
            }
            let stored = batches.chunks_exact(BATCH_LEN).map(|entry| Stored {
                base_sequence: i32::from_be_bytes(part(entry, 0)),
                last_sequence: i32::from_be_bytes(part(entry, 4)),
                base_offset: i64::from_be_bytes(part(entry, 8)),
            });
            let producer = Producer {
                epoch: i16::from_be_bytes(part(head, 8)),
                coordinator_epoch: i32::from_be_bytes(part(head, 10)),
                transaction,
                last_timestamp: i64::from_be_bytes(part(head, 22)),
                batches: stored.collect(),
            };
            producers.by_id.insert(producer_id, producer);
        }
        Some(producers)
    }

    /// The first format: one entry a batch.
    fn parse_old(entries: &[u8]) -> Option<Self> {
        if !entries.len().is_multiple_of(OLD_ENTRY_LEN) {
            return None;
        }
        let mut producers = Self::default();
        for entry in entries.chunks_exact(OLD_ENTRY_LEN) {
            let epoch = i16::from_be_bytes(part(entry, 8));
            let producer_id = i64::from_be_bytes(part(entry, 0));
            let producer = producers.by_id.entry(producer_id).or_insert_with(|| Producer {
                epoch,
                coordinator_epoch: -1,
                transaction: None,
                last_timestamp: -1,
                batches: VecDeque::new(),
            });
            producer.batches.push_back(Stored {
                base_sequence: i32::from_be_bytes(part(entry, 10)),
                last_sequence: i32::from_be_bytes(part(entry, 14)),
                base_offset: i64::from_be_bytes(part(entry, 18)),
            });
        }
        Some(producers)
    }
}

impl Ended {
    /// What the index of aborted transactions says of it; `last_stable_offset` is as of its end.
    pub(super) fn aborted(&self) -> Option<AbortedTransaction> {
        self.is_aborted.then_some(AbortedTransaction {
            producer_id: self.producer_id,
            first_offset: self.first_offset,
            last_offset: self.last_offset,
        })
    }
}

/// Writes what is known just before offset `end`, and forgets older snapshots.
pub(super) fn write_snapshot(disk: &dyn Disk, dir: &Path, end: i64, contents: &[u8]) -> io::Result<()> {
    checkpoint::replace(disk, dir, &snapshot_name(end), contents)?;
    let mut known = snapshots(disk, dir)?;
    known.sort_unstable();
    for old in known.iter().rev().skip(SNAPSHOTS_KEPT) {
        disk.remove_file(&dir.join(snapshot_name(*old)))?;
    }
    Ok(())
}

/// The offsets of all snapshots.
pub(super) fn snapshots(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<i64>> {
    let entries = disk.list(dir)?;
    Ok(entries
        .iter()
        .filter_map(|entry| entry.name.strip_suffix(".snapshot")?.parse().ok())
        .collect())
}

pub(super) fn snapshot_name(offset: i64) -> String {
    format!("{offset:020}.snapshot")
}

fn part<const N: usize>(entry: &[u8], start: usize) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(&entry[start..start + N]);
    part
}
