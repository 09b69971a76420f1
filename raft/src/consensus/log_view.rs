//! What the core knows of the log: which term every entry has, and the newest entries themselves.

use std::collections::VecDeque;

use super::config::Restored;
use super::entry::{Entry, Index, Position, Term};

/// The log as the core sees it, durable or not.
///
/// - Terms never decrease with the index.
/// - `cached` is the log's end without gaps: its last entry is the log's last, if it holds any.
/// - What is not yet durable, committed and applied is in `cached`, if it was written since the start.
#[derive(Debug)]
pub(super) struct LogView {
    /// The last entry that was purged.
    purged: Position,
    /// Where each term begins after `purged`. Few: one for each leader that wrote something.
    terms: VecDeque<(Index, Term)>,
    last_index: Index,
    cached: VecDeque<Entry>,
    cached_bytes: usize,
}

impl LogView {
    pub fn new(restored: &Restored) -> Self {
        Self {
            purged: restored.purged,
            terms: restored.terms.iter().copied().collect(),
            last_index: restored.last_index,
            cached: VecDeque::new(),
            cached_bytes: 0,
        }
    }

    #[inline]
    pub fn last_index(&self) -> Index {
        self.last_index
    }

    #[inline]
    pub fn last(&self) -> Position {
        Position {
            term: self.terms.back().map_or(self.purged.term, |run| run.1),
            index: self.last_index,
        }
    }

    /// The last entry that is not in the log any more.
    pub fn purged(&self) -> Position {
        self.purged
    }

    /// The term of the entry, if it is in the log or was the last purged one.
    #[inline]
    pub fn term_at(&self, index: Index) -> Option<Term> {
        if index > self.last_index || index < self.purged.index {
            return None;
        }
        if index == self.purged.index {
            return Some(self.purged.term);
        }
        match self.terms.back() {
            Some((first, term)) if *first <= index => Some(*term),
            _ => {
                let after = self.terms.partition_point(|(first, _)| *first <= index);
                Some(self.terms[after - 1].1)
            }
        }
    }

    pub fn position_at(&self, index: Index) -> Option<Position> {
        self.term_at(index).map(|term| Position { term, index })
    }

    pub fn holds(&self, position: Position) -> bool {
        self.term_at(position.index) == Some(position.term)
    }

    /// The last entry that is neither beyond `limit.index` nor of a later term than `limit.term`: the last one at which
    /// this log can agree with another that has `limit`. Skips whole terms at a time (Raft paper, end of §5.3).
    pub fn last_possible(&self, limit: Position) -> Position {
        let mut index = limit.index.min(self.last_index);
        for (first, term) in self.terms.iter().rev() {
            if index < *first {
                continue;
            }
            if *term <= limit.term {
                return Position { term: *term, index };
            }
            index = first - 1;
        }
        self.purged
    }

    /// Appends entries that follow the log's last.
    pub fn append(&mut self, entries: impl IntoIterator<Item = Entry>) {
        for entry in entries {
            debug_assert_eq!(entry.index, self.last_index + 1, "entries follow each other");
            let last_term = self.last().term;
            debug_assert!(entry.term >= last_term, "terms never decrease");
            if self.terms.is_empty() || entry.term > last_term {
                self.terms.push_back((entry.index, entry.term));
            }
            self.last_index = entry.index;
            self.cached_bytes += entry.weight();
            self.cached.push_back(entry);
        }
    }

    /// Cuts off the entries from this index on.
    pub fn truncate(&mut self, from: Index) {
        debug_assert!(from > self.purged.index, "what was purged was committed");
        while self.terms.back().is_some_and(|(first, _)| *first >= from) {
            self.terms.pop_back();
        }
        while let Some(entry) = self.cached.pop_back_if(|entry| entry.index >= from) {
            self.cached_bytes -= entry.weight();
        }
        self.last_index = self.last_index.min(from - 1);
    }

    /// Forgets everything and begins after this position.
    pub fn restart(&mut self, at: Position) {
        self.purged = at;
        self.last_index = at.index;
        self.terms.clear();
        self.cached.clear();
        self.cached_bytes = 0;
    }

    /// Forgets the entries up to and including this index, which is in the log.
    pub fn purge(&mut self, up_to: Index) {
        let Some(position) = self.position_at(up_to) else {
            return;
        };
        self.purged = position;
        while self.terms.get(1).is_some_and(|(first, _)| *first <= up_to + 1) {
            self.terms.pop_front();
        }
        if up_to == self.last_index {
            self.terms.clear();
        } else if let Some(run) = self.terms.front_mut() {
            run.0 = run.0.max(up_to + 1);
        }
        self.evict(up_to, 0);
    }

    /// Drops the oldest entries from memory, up to and including `up_to` at most, until `bytes` are left.
    pub fn evict(&mut self, up_to: Index, bytes: usize) {
        while self.cached_bytes > bytes {
            let Some(entry) = self.cached.pop_front_if(|entry| entry.index <= up_to) else {
                return;
            };
            self.cached_bytes -= entry.weight();
        }
    }

    /// The entry, if it is in memory.
    #[inline]
    pub fn cached(&self, index: Index) -> Option<&Entry> {
        let first = self.cached.front()?.index;
        self.cached.get(usize::try_from(index.checked_sub(first)?).ok()?)
    }

    /// The index of the first entry in memory; the one after the last if there is none.
    pub fn first_cached(&self) -> Index {
        self.cached.front().map_or(self.last_index + 1, |entry| entry.index)
    }

    /// The entries in memory from this index on: as many as have this weight together, at least one.
    pub fn batch(&self, from: Index, bytes_max: usize) -> Vec<Entry> {
        let mut bytes = 0;
        let Some(skip) = from.checked_sub(self.first_cached()) else {
            return Vec::new();
        };
        let rest = self.cached.range((skip as usize).min(self.cached.len())..);
        let fitting = rest
            .clone()
            .take_while(|entry| {
                let is_first = bytes == 0;
                let fits = bytes + entry.weight() <= bytes_max;
                if fits || is_first {
                    bytes += entry.weight();
                }
                fits || is_first
            })
            .count();
        rest.take(fitting).cloned().collect()
    }
}
