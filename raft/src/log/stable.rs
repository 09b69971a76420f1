//! Stable storage: what one member of a group must find again after any crash, on two logs.
//!
//! # What it is
//! Raft's paper names three things that must be durable before a message about them is sent: the current term, the vote
//! in it, and the entries. Entries are records of one [`Log`]; in front of each payload stand its term and the commit index
//! as it was known when the record was written. Term and vote, the *hard state*, are records of a second, tiny log beside
//! it, of which only the last counts.
//!
//! # Why two logs
//! Another leader's history can win: then the end of the entries is cut off, and a vote that stood among them would go
//! with it, after which this member could vote twice in one term. Apart, each cut is safe by itself. The price is one
//! more sync when the term changes, which is at elections only; the commit index, which moves all the time, rides with
//! the entries and costs none. It is a hint: what is committed is committed whether it was noted or not. What no later entry
//! has said is in a file of one number, unsynced ([`StableStorage::note_commit`]): it matters where no one can be asked.
//!
//! # How a snapshot is installed
//! The state machine's own file is replaced by one that holds everything up to some entry, the snapshot's *position*; then
//! the log goes on behind that position. Between the two the machine may stop, so the intention is noted first
//! ([`StableStorage::begin_install`]), the file replaced next, the log restarted last
//! ([`StableStorage::finish_install`]); [`StableStorage::open`] is told what the file holds and finishes what was begun.
//! Without the note, a file that is ahead of its log is one of another copy, and is refused.
//!
//! # How the end is replaced
//! Who makes one member of a group that is lost into a group of its own replaces what may not have been committed by one
//! entry, in one step ([`StableStorage::replace_end`]).
//!
//! # What the caller orders
//! [`StableStorage::append`] writes, [`StableStorage::sync`] makes durable; [`StableStorage::save`] does both. No
//! acknowledgement may leave before the sync that covers what it promises.

mod commit_note;
mod replacement;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use commit_note::CommitNote;
use disk::Disk;

use super::error::LogError;
use super::record::{Parts, Record};
use super::recovery::Cut;
use super::write_ahead::{Log, Options};

/// Where the entries are, below the storage's directory.
pub const ENTRIES_DIRECTORY: &str = "log";
/// Where the hard state is.
pub const HARD_STATE_DIRECTORY: &str = "hard-state";
/// Term and commit index in front of a payload, in bytes.
const ENTRY_HEAD_BYTES: usize = 16;
/// The kind of the hard state's records.
const HARD_STATE_KIND: u8 = 1;
/// Term, vote, commit, and the position of a snapshot that is being installed, in bytes.
const HARD_STATE_BYTES: usize = 40;
/// A segment of the hard state's log, in bytes: some fifty records, of which all but the last are dead.
const HARD_STATE_SEGMENT_BYTES: u64 = 4 << 10;

/// What a member must remember of the votes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HardState {
    pub term: u64,
    /// Whom it voted for in this term; 0 for no one.
    pub vote: u64,
    /// An entry up to which all is committed. There may be more.
    pub commit: u64,
}

/// An entry's place in the history: no two entries that were ever committed have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub struct Position {
    pub index: u64,
    pub term: u64,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub index: u64,
    pub term: u64,
    /// The user's own; the storage does not look at it.
    pub kind: u8,
    pub payload: Bytes,
}

/// What was found at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub hard_state: HardState,
    /// The entries behind the state machine's position.
    pub entries: Vec<Entry>,
    /// A torn tail that was cut off the entries.
    pub cut: Option<Cut>,
    /// A snapshot's installation was finished: the log was empty behind it.
    pub installed: bool,
}

/// The durable state of one member.
///
/// - Holds the entries `first_index()..next_index()`; `terms` knows the term of each, and of the one before the first
///   where it is known.
/// - The hard state's log is never empty once a term was saved, and its last record is the truth.
#[derive(Debug)]
pub struct StableStorage {
    entries: Log,
    votes: Log,
    hard_state: HardState,
    installing: Position,
    terms: Terms,
    commit_note: CommitNote,
}

impl StableStorage {
    /// Opens what is in `directory`, or begins it behind `position`: the last entry that the state machine's file holds.
    ///
    /// # Errors
    /// [`LogError::Corrupt`] with the place; [`LogError::Apart`] where log and state machine do not belong together.
    pub fn open(
        disk: Arc<dyn Disk>,
        directory: impl AsRef<Path>,
        options: &Options,
        position: Position,
    ) -> Result<(Self, Found), LogError> {
        let directory = directory.as_ref();
        let (votes, noted) = open_votes(Arc::clone(&disk), &directory.join(HARD_STATE_DIRECTORY))?;
        let entries_directory = directory.join(ENTRIES_DIRECTORY);
        let options = Options {
            first_index: position.index + 1,
            ..options.clone()
        };
        let (entries, recovery) = Log::open(Arc::clone(&disk), &entries_directory, options)?;
        let (commit_note, noted_commit) = CommitNote::open(&*disk, directory)?;
        let mut storage = Self {
            entries,
            votes,
            hard_state: noted.hard_state,
            installing: noted.installing,
            terms: Terms::default(),
            commit_note,
        };
        let mut commit = storage.note_terms(&entries_directory, position)?.max(noted_commit);
        if let Some(entry) = &noted.replacement {
            storage.finish_replacement(entry)?;
            commit = entry.index;
        }
        let installed = storage.agree_with(&entries_directory, position)?;
        let entries = if installed {
            Vec::new()
        } else {
            storage.read(position.index + 1, storage.next_index(), usize::MAX)?
        };
        let hard_state = &mut storage.hard_state;
        let empty = storage.entries.first_index() == storage.entries.next_index();
        if empty && hard_state.term < position.term {
            // New: what the group was founded with counts as seen.
            *hard_state = HardState {
                term: position.term,
                vote: 0,
                ..*hard_state
            };
        }
        if storage.terms.newest() > hard_state.term {
            let reason = "the entries are of a later term than the last that was noted here";
            return Err(LogError::corrupt(&directory.join(HARD_STATE_DIRECTORY), 0, reason));
        }
        hard_state.commit = hard_state.commit.max(commit).max(position.index);
        let found = Found {
            hard_state: *hard_state,
            entries,
            cut: recovery.cut,
            installed,
        };
        Ok((storage, found))
    }

    /// The oldest entry that is there; [`StableStorage::next_index`] if there is none.
    pub fn first_index(&self) -> u64 {
        self.entries.first_index()
    }

    /// The index that the next entry must have.
    pub fn next_index(&self) -> u64 {
        self.entries.next_index()
    }

    pub fn hard_state(&self) -> HardState {
        self.hard_state
    }

    /// Why nothing is written any more, if so.
    pub fn stopped(&self) -> Option<&str> {
        self.entries.stopped().or_else(|| self.votes.stopped())
    }

    /// The term of entry `index`, where it is there or is the one before the first.
    pub fn term(&self, index: u64) -> Option<u64> {
        self.terms.get(index)
    }

    /// The entries from `from` up to but without `to`, as many as fit into `bytes_max`, but at least one.
    ///
    /// # Errors
    /// [`LogError::NotThere`] if some of them were purged, or are not there yet.
    pub fn read(&self, from: u64, to: u64, bytes_max: usize) -> Result<Vec<Entry>, LogError> {
        if to > self.next_index() {
            return Err(LogError::NotThere {
                index: to - 1,
                first: self.first_index(),
                next: self.next_index(),
            });
        }
        let mut entries = Vec::new();
        let mut bytes = 0;
        for record in self.entries.read(from)? {
            let record = record?;
            if record.index >= to {
                break;
            }
            bytes += record.payload.len();
            if bytes > bytes_max && !entries.is_empty() {
                break;
            }
            let (entry, _) = decode(record, self.entries.directory())?;
            entries.push(entry);
        }
        Ok(entries)
    }

    /// Makes term and vote durable.
    pub fn save_hard_state(&mut self, hard_state: HardState) -> Result<(), LogError> {
        self.save_votes(hard_state, self.installing)
    }

    /// Writes entries, the first of which follows what is there or replaces it: then the end is cut off first, durably.
    /// They are durable after the next [`StableStorage::sync`].
    ///
    /// # Errors
    /// [`LogError::NoSpace`]: nothing of them is left.
    pub fn append(&mut self, entries: &[Entry], commit: u64) -> Result<(), LogError> {
        let Some(first) = entries.first() else {
            return Ok(());
        };
        if first.index < self.next_index() {
            self.truncate(first.index)?;
        }
        let heads: Vec<[u8; ENTRY_HEAD_BYTES]> = entries.iter().map(|entry| entry_head(entry.term, commit)).collect();
        self.entries
            .append_parts(entries.iter().zip(&heads).map(|(entry, head)| Parts {
                index: entry.index,
                kind: entry.kind,
                head,
                body: &entry.payload,
            }))?;
        for entry in entries {
            self.terms.push(entry.index, entry.term);
        }
        self.hard_state.commit = self.hard_state.commit.max(commit);
        Ok(())
    }

    /// Makes everything that was appended durable.
    pub fn sync(&mut self) -> Result<(), LogError> {
        self.entries.sync()
    }

    /// [`StableStorage::append`] and [`StableStorage::sync`].
    pub fn save(&mut self, entries: &[Entry], commit: u64) -> Result<(), LogError> {
        self.append(entries, commit)?;
        self.sync()
    }

    /// Notes that all up to `index`, which is durable here, is committed. After a power loss that may be forgotten.
    pub fn note_commit(&mut self, index: u64) {
        self.hard_state.commit = self.hard_state.commit.max(index);
        self.commit_note.write(index);
    }

    /// Cuts the entries from `index` on off, durably: another history won.
    pub fn truncate(&mut self, index: u64) -> Result<(), LogError> {
        self.entries.truncate_suffix(index)?;
        self.terms.truncate(index);
        Ok(())
    }

    /// Removes what holds nothing after entry `up_to`. The state machine must hold that durably.
    pub fn purge(&mut self, up_to: u64) -> Result<(), LogError> {
        self.entries.purge(up_to)?;
        self.terms.purge(self.entries.first_index());
        Ok(())
    }

    /// A snapshot up to `position` is about to replace the state machine's file.
    pub fn begin_install(&mut self, position: Position) -> Result<(), LogError> {
        self.save_votes(self.hard_state, position)
    }

    /// The state machine's file holds everything up to the position that was given to
    /// [`StableStorage::begin_install`]: the log goes on behind it. Entries that follow it in the same history stay.
    pub fn finish_install(&mut self) -> Result<(), LogError> {
        let position = self.installing;
        if self.term(position.index) == Some(position.term) {
            return Ok(());
        }
        self.entries.reset(position.index + 1)?;
        self.terms = Terms::starting_behind(position);
        self.hard_state.commit = self.hard_state.commit.max(position.index);
        Ok(())
    }

    fn save_votes(&mut self, hard_state: HardState, installing: Position) -> Result<(), LogError> {
        self.save_votes_record(HARD_STATE_KIND, numbers(hard_state, installing))?;
        self.hard_state = hard_state;
        self.installing = installing;
        Ok(())
    }

    fn save_votes_record(&mut self, kind: u8, payload: Vec<u8>) -> Result<(), LogError> {
        let index = self.votes.next_index();
        let record = Record {
            index,
            kind,
            payload: payload.into(),
        };
        self.votes.append(std::slice::from_ref(&record))?;
        self.votes.sync()?;
        self.votes.purge(index - 1)
    }

    /// Reads the terms of all entries; returns the newest commit index that was noted.
    fn note_terms(&mut self, directory: &Path, position: Position) -> Result<u64, LogError> {
        if self.entries.first_index() == position.index + 1 {
            self.terms = Terms::starting_behind(position);
        }
        let mut commit = 0;
        for record in self.entries.read(self.entries.first_index())? {
            let (entry, noted) = decode(record?, directory)?;
            self.terms.push(entry.index, entry.term);
            commit = commit.max(noted);
        }
        Ok(commit)
    }

    /// Finishes an installation that a crash interrupted, where the file was replaced; true if the log was restarted.
    fn agree_with(&mut self, directory: &Path, position: Position) -> Result<bool, LogError> {
        let (first, next) = (self.first_index(), self.next_index());
        let joins = first <= position.index + 1 && next > position.index;
        if joins && self.term(position.index).is_none_or(|term| term == position.term) {
            return Ok(false);
        }
        if position.index > 0 && self.installing == position {
            self.finish_install()?;
            return Ok(true);
        }
        Err(LogError::Apart {
            directory: directory.to_owned(),
            first,
            next,
            position: position.index,
        })
    }
}

/// What the last record of the hard state's log says.
#[derive(Default)]
struct Noted {
    hard_state: HardState,
    installing: Position,
    replacement: Option<Entry>,
}

fn open_votes(disk: Arc<dyn Disk>, directory: &Path) -> Result<(Log, Noted), LogError> {
    let options = Options {
        first_index: 1,
        segment_bytes: HARD_STATE_SEGMENT_BYTES,
    };
    let (mut votes, _torn) = Log::open(disk, directory, options)?;
    let mut noted = Noted::default();
    if votes.first_index() < votes.next_index() {
        let last = votes.read(votes.next_index() - 1)?.next();
        let record = last.ok_or_else(|| LogError::corrupt(directory, 0, "the last record is not there"))??;
        let unknown = || LogError::corrupt(directory, 0, "this is no record of term and vote");
        let (numbers, rest) = record.payload.split_at_checked(HARD_STATE_BYTES).ok_or_else(unknown)?;
        noted.hard_state = HardState {
            term: number_at(numbers, 0),
            vote: number_at(numbers, 8),
            commit: number_at(numbers, 16),
        };
        noted.installing = Position {
            index: number_at(numbers, 24),
            term: number_at(numbers, 32),
        };
        noted.replacement = match (record.kind, rest.len()) {
            (HARD_STATE_KIND, 0) => None,
            (replacement::REPLACEMENT_KIND, _) => Some(replacement::decode(&record.payload).ok_or_else(unknown)?),
            _ => return Err(unknown()),
        };
        votes.purge(record.index - 1)?;
    }
    Ok((votes, noted))
}

/// The payload of a hard state's record.
fn numbers(hard_state: HardState, installing: Position) -> Vec<u8> {
    let numbers = [
        hard_state.term,
        hard_state.vote,
        hard_state.commit,
        installing.index,
        installing.term,
    ];
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn entry_head(term: u64, commit: u64) -> [u8; ENTRY_HEAD_BYTES] {
    let mut head = [0; ENTRY_HEAD_BYTES];
    head[..8].copy_from_slice(&term.to_le_bytes());
    head[8..].copy_from_slice(&commit.to_le_bytes());
    head
}

/// The entry that a record holds, and the commit index that was noted with it.
fn decode(record: Record, directory: &Path) -> Result<(Entry, u64), LogError> {
    let Some(head) = record.payload.get(..ENTRY_HEAD_BYTES) else {
        return Err(LogError::Corrupt {
            file: PathBuf::from(directory),
            offset: 0,
            reason: format!("record {} is no entry: it has no term", record.index),
        });
    };
    let (term, commit) = (number_at(head, 0), number_at(head, 8));
    let entry = Entry {
        index: record.index,
        term,
        kind: record.kind,
        payload: record.payload.slice(ENTRY_HEAD_BYTES..),
    };
    Ok((entry, commit))
}

fn number_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

/// The terms of a row of entries, as the runs that they come in.
#[derive(Debug, Default)]
struct Terms {
    /// Where each term begins; both ascend.
    runs: Vec<Position>,
    /// The last entry; below the first run's index there is none.
    last: u64,
}

impl Terms {
    fn starting_behind(position: Position) -> Self {
        Self {
            runs: vec![position],
            last: position.index,
        }
    }

    fn push(&mut self, index: u64, term: u64) {
        if self.runs.last().is_none_or(|run| run.term != term) {
            self.runs.push(Position { index, term });
        }
        self.last = index;
    }

    fn get(&self, index: u64) -> Option<u64> {
        if self.runs.is_empty() || index > self.last {
            return None;
        }
        let runs = self.runs.partition_point(|run| run.index <= index);
        Some(self.runs[runs.checked_sub(1)?].term)
    }

    /// The last entry's term.
    fn newest(&self) -> u64 {
        self.runs.last().map_or(0, |run| run.term)
    }

    fn truncate(&mut self, index: u64) {
        self.runs.retain(|run| run.index < index);
        self.last = self.last.min(index.saturating_sub(1));
    }

    /// Forgets what is before the entry in front of `first`.
    fn purge(&mut self, first: u64) {
        let known = first.saturating_sub(1);
        let dead = self.runs.partition_point(|run| run.index <= known).saturating_sub(1);
        self.runs.drain(..dead);
        if let Some(run) = self.runs.first_mut() {
            run.index = run.index.max(known);
        }
    }
}
