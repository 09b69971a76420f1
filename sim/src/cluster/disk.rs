//! A member's disk, as far as consensus sees it: quick, and exact about what is durable.
//!
//! Writes go in and become durable in order, some time later; a crash in between leaves the first parts of them, cut
//! anywhere. It does not write bytes: [`super::stable`] does, with the real log, for a part of the worlds; there this disk
//! says what was written and synced, and takes over what the log finds after a crash.

use std::collections::VecDeque;
use std::sync::Arc;

use raft::consensus::{Entry, HardState, Index, Position, Restored, Snapshot, Term, Write, WriteId};

use super::observer::{promise, seen};
use super::stable::{Flip, Stable};
use crate::invariant::{self, Seen};
use crate::world::Random;

/// What a crash does to the writes that are under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// None of them happened.
    All,
    /// The first of their parts happened, up to any place.
    Torn,
    /// All happened, and no one was told.
    None,
}

/// A snapshot with its state.
#[derive(Debug)]
pub struct Kept<S> {
    pub snapshot: Snapshot,
    pub state: Arc<S>,
}

impl<S> Clone for Kept<S> {
    fn clone(&self) -> Self {
        Self {
            snapshot: self.snapshot.clone(),
            state: Arc::clone(&self.state),
        }
    }
}

/// A write, and the state that is to be installed with it.
#[derive(Debug)]
pub struct Queued<S> {
    pub write: Write,
    pub state: Option<Arc<S>>,
    /// What the core took for committed when it wanted this written.
    pub commit: Index,
}

/// What a real log found after a crash, and what it should have.
#[derive(Debug, Default)]
pub struct Found {
    pub written: invariant::Kept,
    /// This many of the first entries were synced.
    pub synced: usize,
    pub found: invariant::Kept,
    pub flip: Option<Flip>,
}

/// What is durable, and what is on its way.
#[derive(Debug)]
pub struct Disk<S> {
    hard_state: HardState,
    kept: Kept<S>,
    purged: Position,
    /// The entries after `purged`.
    entries: VecDeque<Entry>,
    under_way: VecDeque<Queued<S>>,
    /// The real log beside it, if this world has one.
    stable: Option<Box<Stable>>,
}

impl<S> Disk<S> {
    /// The disk of a member that starts for the first time.
    pub fn new(first: Kept<S>, writes_bytes: bool) -> Self {
        Self {
            stable: writes_bytes.then(|| Box::new(Stable::new(first.snapshot.last))),
            hard_state: HardState::default(),
            purged: first.snapshot.last,
            kept: first,
            entries: VecDeque::new(),
            under_way: VecDeque::new(),
        }
    }

    pub fn hard_state(&self) -> HardState {
        self.hard_state
    }

    pub fn kept(&self) -> &Kept<S> {
        &self.kept
    }

    pub fn purged(&self) -> Position {
        self.purged
    }

    pub fn last_index(&self) -> Index {
        self.purged.index + self.entries.len() as u64
    }

    /// The durable entry at `index`.
    pub fn entry(&self, index: Index) -> Option<&Entry> {
        self.entries
            .get(usize::try_from(index.checked_sub(self.purged.index + 1)?).ok()?)
    }

    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    pub fn term(&self, index: Index) -> Option<Term> {
        if index == self.purged.index {
            return Some(self.purged.term);
        }
        if index == self.kept.snapshot.last.index {
            return Some(self.kept.snapshot.last.term);
        }
        self.entry(index).map(|entry| entry.term)
    }

    pub fn queue(&mut self, queued: Queued<S>) {
        self.under_way.push_back(queued);
    }

    pub fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// The oldest write that is under way.
    pub fn oldest(&self) -> Option<WriteId> {
        self.under_way.front().map(|queued| queued.write.id)
    }

    /// The newest write that is under way.
    pub fn newest(&self) -> Option<WriteId> {
        self.under_way.back().map(|queued| queued.write.id)
    }

    /// Makes everything up to write `last` durable. Returns the first and the last of them, and whether a snapshot was
    /// installed.
    pub fn sync(&mut self, last: WriteId) -> Option<(WriteId, WriteId, bool)> {
        let mut done: Option<(WriteId, WriteId, bool)> = None;
        while self.under_way.front().is_some_and(|queued| queued.write.id <= last) {
            let queued = self.under_way.pop_front()?;
            let (id, installs) = (queued.write.id, queued.write.install.is_some());
            self.carry_out(queued, usize::MAX, false);
            let (first, _, before) = done.unwrap_or((id, id, false));
            done = Some((first, id, before || installs));
        }
        self.sync_bytes();
        done
    }

    /// The power fails. If there is a real log, says what it found.
    pub fn crash(&mut self, loss: Loss, random: &mut Random) -> Option<Found> {
        let mut under_way = std::mem::take(&mut self.under_way);
        let mut synced = self.last_index();
        match loss {
            Loss::All => {}
            Loss::None => {
                for queued in under_way {
                    self.carry_out(queued, usize::MAX, false);
                }
                self.sync_bytes();
                synced = self.last_index();
            }
            Loss::Torn => {
                let all: usize = under_way.iter().map(|queued| parts(&queued.write)).sum();
                let mut left = random.below(all as u64 + 1) as usize;
                while left > 0 {
                    let Some(queued) = under_way.pop_front() else { break };
                    let whole = parts(&queued.write);
                    let kept = queued.write.truncate_from.map_or(synced, |from| from - 1);
                    self.carry_out(queued, left, left <= whole);
                    // An entry that was cut off was not lost; what a snapshot replaced is in the snapshot.
                    synced = synced.min(kept).min(self.last_index());
                    left = left.saturating_sub(whole);
                }
            }
        }
        self.find(synced, random)
    }

    /// Opens the real log again, and goes on with what is there.
    fn find(&mut self, synced: Index, random: &mut Random) -> Option<Found> {
        let stable = self.stable.as_mut()?;
        let purged = self.purged.index;
        let found = stable.crash(self.kept.snapshot.last, purged, random);
        let found = found.unwrap_or_else(|error| panic!("the log does not open after a crash: {error}"));
        let digests = |entries: &mut dyn Iterator<Item = &Entry>| -> Vec<Seen> { entries.map(seen).collect() };
        let told = Found {
            written: invariant::Kept {
                promise: promise(self.hard_state),
                entries: digests(&mut self.entries.iter()),
            },
            synced: synced.saturating_sub(purged) as usize,
            found: invariant::Kept {
                promise: promise(found.hard_state),
                entries: digests(&mut found.entries.iter()),
            },
            flip: found.flip,
        };
        self.hard_state = found.hard_state;
        self.entries = found.entries.into();
        Some(told)
    }

    fn sync_bytes(&mut self) {
        if let Some(stable) = &mut self.stable {
            stable.sync();
        }
    }

    /// The state machine has a new durable snapshot, and the log may forget what is up to `purge`.
    pub fn compact(&mut self, kept: Kept<S>, purge: Index) {
        let purge = purge.min(kept.snapshot.last.index);
        self.kept = kept;
        while self.purged.index < purge {
            let Some(entry) = self.entries.pop_front() else { break };
            self.purged = entry.position();
        }
        if let Some(stable) = &mut self.stable {
            stable.purge(self.purged.index);
        }
    }

    /// What a member finds here when it starts.
    pub fn restored(&self) -> Restored {
        let snapshot = self.kept.snapshot.clone();
        let applied = snapshot.last.index;
        let mut restored = Restored::new(self.hard_state, snapshot, self.purged, applied);
        for entry in &self.entries {
            let follows = restored.push(entry);
            assert!(follows, "the disk holds a log without gaps");
        }
        restored
    }

    /// Carries out the first `parts_left` parts of a write: term and vote, snapshot, cut, then entry by entry. After them
    /// the machine stops, or not.
    fn carry_out(&mut self, queued: Queued<S>, mut parts_left: usize, stops: bool) {
        let Queued { write, state, commit } = queued;
        if let Some(stable) = &mut self.stable {
            stable.write(&write, parts_left, commit, stops);
        }
        let mut next_part = || {
            let more = parts_left > 0;
            parts_left = parts_left.saturating_sub(1);
            more
        };
        if let Some(hard_state) = write.hard_state {
            if !next_part() {
                return;
            }
            self.hard_state = hard_state;
        }
        if let Some(snapshot) = write.install {
            if !next_part() {
                return;
            }
            self.install(snapshot, state);
        }
        if let Some(from) = write.truncate_from {
            if !next_part() {
                return;
            }
            self.entries
                .truncate(from.saturating_sub(self.purged.index + 1) as usize);
        }
        for entry in write.entries {
            if !next_part() {
                return;
            }
            assert_eq!(entry.index, self.last_index() + 1, "entries are written without gaps");
            self.entries.push_back(entry);
        }
    }

    fn install(&mut self, snapshot: Snapshot, state: Option<Arc<S>>) {
        let state = state.expect("a snapshot is installed with its state");
        self.entries.clear();
        self.purged = snapshot.last;
        self.kept = Kept { snapshot, state };
    }
}

fn parts(write: &Write) -> usize {
    usize::from(write.hard_state.is_some())
        + usize::from(write.install.is_some())
        + usize::from(write.truncate_from.is_some())
        + write.entries.len()
}
