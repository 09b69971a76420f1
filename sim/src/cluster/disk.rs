//! A member's disk, as far as consensus sees it: quick, and exact about what is durable.
//!
//! Writes go in and become durable in order, some time later; a crash in between leaves the first parts of them, cut
//! anywhere. It does not write bytes: [`super::stable`] does, with the real log, for a part of the worlds.

use std::collections::VecDeque;
use std::sync::Arc;

use raft::consensus::{Entry, HardState, Index, Position, Restored, Snapshot, Term, Write, WriteId};

use crate::world::Random;

/// What a crash does to the writes that are under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// None of them happened.
    All,
    /// The first of their parts happened, up to any place.
    Torn,
    /// All happened, and nobody was told.
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
}

impl<S> Disk<S> {
    /// The disk of a member that starts for the first time.
    pub fn new(first: Kept<S>) -> Self {
        Self {
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
            self.carry_out(queued, usize::MAX);
            let (first, _, before) = done.unwrap_or((id, id, false));
            done = Some((first, id, before || installs));
        }
        done
    }

    /// The power fails.
    pub fn crash(&mut self, loss: Loss, random: &mut Random) {
        let mut under_way = std::mem::take(&mut self.under_way);
        match loss {
            Loss::All => {}
            Loss::None => {
                for queued in under_way {
                    self.carry_out(queued, usize::MAX);
                }
            }
            Loss::Torn => {
                let all: usize = under_way.iter().map(|queued| parts(&queued.write)).sum();
                let mut left = random.below(all as u64 + 1) as usize;
                while left > 0 {
                    let Some(queued) = under_way.pop_front() else { break };
                    let whole = parts(&queued.write);
                    self.carry_out(queued, left);
                    left = left.saturating_sub(whole);
                }
            }
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

    /// Carries out the first `parts_left` parts of a write: term and vote, snapshot, cut, then entry by entry.
    fn carry_out(&mut self, queued: Queued<S>, mut parts_left: usize) {
        let Queued { write, state } = queued;
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
