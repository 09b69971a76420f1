//! The log that runs in production, under a member: bytes on a disk in memory.
//!
//! In some worlds [`super::disk::Disk`] is not alone. What it says is durable was written by [`StableStorage`] as well, in
//! the order in which the real driver does it, and a crash is a crash of a [`MemoryDisk`]: unsynced bytes are gone, or any
//! of their sectors are. What the member starts with after it is what the log then finds. The simple disk knows what was
//! written and what was synced, and says whether that can be.
//!
//! Sometimes a bit is flipped meanwhile. The log must refuse to open, or lose nothing by it; if it refuses, someone brings
//! back a copy of the file, which is what the refusal asks for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use disk::Disk as _;
use disk::faulty::{Loss as Left, MemoryDisk};
use raft::consensus::{Entry, HardState, Index, Payload, Position, Write};
use raft::log::{self, ENTRIES_DIRECTORY, HARD_STATE_DIRECTORY, LogError, Options, StableStorage};

use crate::world::Random;

/// Where a member keeps its logs.
const DIRECTORY: &str = "/member";
/// So small that worlds of minutes have many segments.
const SEGMENT_BYTES: u64 = 2 << 10;
/// Of a hundred crashes, this many flip a bit.
const FLIPS_PERCENT: u32 = 25;

/// Stands where the world broke its own rules, or the log refused what it must take.
const TAKES: &str = "the log takes what a driver may write";

/// A member's real log.
#[derive(Debug)]
pub struct Stable {
    memory: MemoryDisk,
    storage: StableStorage,
}

/// What was found after a crash.
#[derive(Debug)]
pub struct Found {
    pub hard_state: HardState,
    pub entries: Vec<Entry>,
    pub flip: Option<Flip>,
}

/// What came of a flipped bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flip {
    /// The log refused to open, and a copy was brought back.
    Refused,
    /// It opened.
    Passed,
}

impl Stable {
    /// The log of a member that starts for the first time, behind `position`.
    pub fn new(position: Position) -> Self {
        let memory = MemoryDisk::new();
        let storage = open(&memory, position).expect(TAKES);
        Self { memory, storage }
    }

    /// Writes the first `parts` of a write: term and vote, snapshot, cut, then entry by entry. If the machine stops right
    /// behind them (`stops`), a snapshot that is the last of them is in place, but its installation is not finished.
    pub fn write(&mut self, write: &Write, parts: usize, commit: Index, stops: bool) {
        self.write_parts(write, parts, commit, stops).expect(TAKES);
    }

    fn write_parts(&mut self, write: &Write, mut parts: usize, commit: Index, stops: bool) -> Result<(), LogError> {
        if parts == 0 {
            return Ok(());
        }
        if let Some(hard_state) = write.hard_state {
            self.storage.save_hard_state(log::HardState {
                term: hard_state.term,
                vote: hard_state.vote.unwrap_or(0),
                commit,
            })?;
            parts -= 1;
        }
        if let Some(snapshot) = &write.install {
            // The intention may be noted, and the machine stop before the snapshot is there.
            self.storage.begin_install(position_of(snapshot.last))?;
            if parts == 0 || (parts == 1 && stops) {
                return Ok(());
            }
            self.storage.finish_install()?;
            parts -= 1;
        }
        if let Some(index) = write.truncate_from.filter(|_| parts > 0) {
            self.storage.truncate(index)?;
            parts -= 1;
        }
        let entries: Vec<log::Entry> = write.entries.iter().take(parts).map(stored).collect();
        self.storage.append(&entries, commit)
    }

    /// Makes durable what was written.
    pub fn sync(&mut self) {
        self.storage.sync().expect(TAKES);
    }

    /// The state machine holds everything up to this entry durably.
    pub fn purge(&mut self, up_to: Index) {
        self.storage.purge(up_to).expect(TAKES);
    }

    /// The power fails, and of what was not synced some sectors are left. Opens the log again, behind `position` as the
    /// state machine holds it, and reads the entries behind `purged`.
    pub fn crash(&mut self, position: Position, purged: Index, random: &mut Random) -> Result<Found, LogError> {
        let seed = random.draw();
        self.memory.crash(Left::Sectors { seed });
        let flipped = random.percent(FLIPS_PERCENT).then(|| self.flip(random)).flatten();
        let mut flip = flipped.as_ref().map(|_| Flip::Passed);
        self.storage = match (open(&self.memory, position), flipped) {
            (Err(LogError::Corrupt { .. }), Some((file, whole))) => {
                flip = Some(Flip::Refused);
                self.memory.write(&file, &whole);
                open(&self.memory, position)?
            }
            (opened, _) => opened?,
        };
        let (from, next) = (purged + 1, self.storage.next_index());
        let entries = if from < next {
            self.storage.read(from, next, usize::MAX)?
        } else {
            Vec::new()
        };
        let hard_state = self.storage.hard_state();
        Ok(Found {
            hard_state: HardState {
                term: hard_state.term,
                vote: Some(hard_state.vote).filter(|vote| *vote != 0),
                commit: hard_state.commit,
            },
            entries: entries.into_iter().filter_map(taken).collect(),
            flip,
        })
    }

    /// Flips one bit of one file. Returns the file and what it held.
    fn flip(&self, random: &mut Random) -> Option<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        for directory in [ENTRIES_DIRECTORY, HARD_STATE_DIRECTORY] {
            let directory = Path::new(DIRECTORY).join(directory);
            let listed = self.memory.list(&directory).unwrap_or_default();
            files.extend(listed.into_iter().map(|entry| (directory.join(entry.name), entry.len)));
        }
        let bytes: u64 = files.iter().map(|(_, length)| length).sum();
        let mut at = random.below(bytes.max(1));
        let bit = random.below(8);
        for (file, length) in files {
            if at >= length {
                at -= length;
                continue;
            }
            let whole = self.memory.read(&file).ok()?;
            let mut flipped = whole.clone();
            flipped[at as usize] ^= 1 << bit;
            self.memory.write(&file, &flipped);
            return Some((file, whole));
        }
        None
    }
}

fn open(memory: &MemoryDisk, position: Position) -> Result<StableStorage, LogError> {
    let options = Options {
        segment_bytes: SEGMENT_BYTES,
        ..Options::default()
    };
    let disk = Arc::new(memory.clone());
    StableStorage::open(disk, DIRECTORY, &options, position_of(position)).map(|(storage, _)| storage)
}

fn position_of(position: Position) -> log::Position {
    log::Position {
        index: position.index,
        term: position.term,
    }
}

fn stored(entry: &Entry) -> log::Entry {
    log::Entry {
        index: entry.index,
        term: entry.term,
        kind: entry.payload.kind(),
        payload: entry.payload.encode(),
    }
}

/// None if the payload is none: that shows as an entry that is not there.
fn taken(entry: log::Entry) -> Option<Entry> {
    Some(Entry {
        index: entry.index,
        term: entry.term,
        payload: Payload::decode(entry.kind, entry.payload)?,
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn write(indexes: std::ops::RangeInclusive<Index>) -> Write {
        let entries = indexes.map(|index| Entry {
            index,
            term: 3,
            payload: Payload::Command(Bytes::from(format!("command {index}"))),
        });
        Write {
            id: 1,
            hard_state: Some(HardState {
                term: 3,
                vote: Some(2),
                commit: 0,
            }),
            entries: entries.collect(),
            ..Write::default()
        }
    }

    #[test]
    fn after_a_crash_all_is_there_that_was_synced_and_flipped_bits_are_refused() {
        let (mut flips, mut lost) = (0, 0);
        for seed in 0..200 {
            let (mut random, written) = (Random::new(seed), write(1..=40));
            let mut stable = Stable::new(Position::default());
            stable.write(&written, 21, 0, false);
            stable.sync();
            let rest = Write {
                entries: written.entries[20..].to_vec(),
                ..Write::default()
            };
            stable.write(&rest, usize::MAX, 0, false);
            let found = stable.crash(Position::default(), 0, &mut random).unwrap();
            assert!(found.entries.len() >= 20 && written.entries.starts_with(&found.entries));
            assert_eq!((found.hard_state.term, found.hard_state.vote), (3, Some(2)));
            flips += usize::from(found.flip == Some(Flip::Refused));
            lost += usize::from(found.entries.len() < 40);
        }
        assert!(flips > 20 && lost > 20, "{flips} {lost}");
    }
}
