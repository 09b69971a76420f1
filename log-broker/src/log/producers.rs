//! What is known of idempotent producers: their last batches, so that a repeated one is recognised.
//!
//! Snapshots are written when a segment is sealed and on an orderly end; whatever came later is replayed from the
//! batches themselves, which carry producer, epoch and sequence.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;

use disk::Disk;
use log_broker_wire::batch::{BatchHeader, advance_sequence};

use super::{LogError, checkpoint};

/// Batches remembered of each producer: as many as a client may have in flight.
const BATCHES_MAX: usize = 5;

/// Producers remembered by one log; beyond it the one that was silent longest is forgotten, as after
/// `producer.id.expiration.ms`.
const PRODUCERS_MAX: usize = 10_000;

/// Snapshots kept: the newest, and one to fall back on.
const SNAPSHOTS_KEPT: usize = 2;

/// Bytes of one batch in a snapshot.
const ENTRY_LEN: usize = 8 + 2 + 4 + 4 + 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stored {
    base_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Producer {
    epoch: i16,
    /// The newest last.
    batches: VecDeque<Stored>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Producers(BTreeMap<i64, Producer>);

impl Producers {
    /// Says whether the batch comes next: `None` if so, the offset it got when it was stored before, or an error.
    pub(super) fn check(&self, header: &BatchHeader) -> Result<Option<i64>, LogError> {
        let Some(producer) = self.0.get(&header.producer_id) else {
            // Forgotten, or new to this log: any sequence may begin, as in Kafka since 2.5.
            return Ok(None);
        };
        if header.producer_epoch < producer.epoch {
            return Err(LogError::ProducerEpoch {
                producer_id: header.producer_id,
                got: header.producer_epoch,
                current: producer.epoch,
            });
        }
        if header.base_sequence < 0 {
            return Ok(None); // Written by a coordinator, which does not number its batches.
        }
        let same = |stored: &&Stored| {
            stored.base_sequence == header.base_sequence && stored.last_sequence == header.last_sequence()
        };
        let expected = if header.producer_epoch > producer.epoch {
            0
        } else if let Some(stored) = producer.batches.iter().find(same) {
            return Ok(Some(stored.base_offset));
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

    /// Takes note of a batch that was stored.
    pub(super) fn record(&mut self, header: &BatchHeader) {
        if !header.is_idempotent() || header.base_sequence < 0 {
            return;
        }
        self.add(
            header.producer_id,
            header.producer_epoch,
            Stored {
                base_sequence: header.base_sequence,
                last_sequence: header.last_sequence(),
                base_offset: header.base_offset,
            },
        );
    }

    fn add(&mut self, producer_id: i64, epoch: i16, stored: Stored) {
        if !self.0.contains_key(&producer_id) && self.0.len() >= PRODUCERS_MAX {
            let silent = self
                .0
                .iter()
                .min_by_key(|(_, p)| p.batches.back().map(|stored| stored.base_offset));
            if let Some(silent) = silent.map(|(id, _)| *id) {
                self.0.remove(&silent);
            }
        }
        let producer = self.0.entry(producer_id).or_insert_with(|| Producer {
            epoch,
            batches: VecDeque::new(),
        });
        if producer.epoch != epoch {
            *producer = Producer {
                epoch,
                batches: VecDeque::new(),
            };
        }
        producer.batches.push_back(stored);
        if producer.batches.len() > BATCHES_MAX {
            producer.batches.pop_front();
        }
    }

    /// The contents of a snapshot.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut contents = Vec::new();
        for (producer_id, producer) in &self.0 {
            for stored in &producer.batches {
                contents.extend(producer_id.to_be_bytes());
                contents.extend(producer.epoch.to_be_bytes());
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
        if u32::from_be_bytes(*crc) != crc32c::crc32c(entries) || entries.len() % ENTRY_LEN != 0 {
            return None;
        }
        let mut producers = Self::default();
        for entry in entries.chunks_exact(ENTRY_LEN) {
            let stored = Stored {
                base_sequence: i32::from_be_bytes(part(entry, 10)),
                last_sequence: i32::from_be_bytes(part(entry, 14)),
                base_offset: i64::from_be_bytes(part(entry, 18)),
            };
            producers.add(
                i64::from_be_bytes(part(entry, 0)),
                i16::from_be_bytes(part(entry, 8)),
                stored,
            );
        }
        Some(producers)
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
