//! The store itself: index, tail and archive held together.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::archive::{Archive, ArchiveError};
use super::bounds::Bounds;
use super::history::History;
use super::index::{Generation, Index};
use super::version::{Revision, Version};
use super::view::View;
use super::writer::Writer;
use crate::Error;

/// The revision of a store that nothing was ever written to, as in etcd.
const REVISION_FIRST: i64 = 1;
/// What a store is compacted to that never was: below every revision that can be asked for, as in etcd.
pub const NEVER_COMPACTED: i64 = -1;

/// The multi-version store.
///
/// - Every revision that the index names is in the tail or in the archive, and nothing else of the tail is.
/// - The tail ascends without gaps but for what compaction took out of it.
/// - What was handed over stays in the tail until it is archived, so it can always be read.
#[derive(Debug)]
pub struct Store {
    index: Index,
    tail: VecDeque<Arc<Version>>,
    tail_bytes: usize,
    archive: Arc<dyn Archive>,
    /// The last revision that was handed over to the archive.
    handed_over: Revision,
    /// Archived versions that compaction removed since the last hand-over.
    removed: Vec<Revision>,
    /// Those of the last hand-over, until it is archived.
    removing: Vec<Revision>,
    revision: i64,
    compacted: i64,
}

/// What an archive has to take over to become the store's next archive.
#[derive(Debug)]
pub struct HandOver {
    pub versions: Vec<Arc<Version>>,
    pub removed: Vec<Revision>,
    /// Give this back to [`Store::archived`].
    pub up_to: Revision,
    pub revision: i64,
    pub compacted: i64,
}

/// A version that was selected: here, or still to be loaded.
#[derive(Debug, Clone)]
enum Selected {
    Here(Arc<Version>),
    Archived(Revision),
}

/// The versions that a range means, to be loaded without holding the store.
#[derive(Debug)]
pub struct Selection {
    selected: VecDeque<Selected>,
    archive: Arc<dyn Archive>,
    /// How many keys the range has, whatever the limit.
    pub total: usize,
}

impl Selection {
    /// How many of the versions are to be loaded from the archive.
    pub fn archived(&self) -> usize {
        self.selected
            .iter()
            .filter(|selected| matches!(selected, Selected::Archived(_)))
            .count()
    }

    /// The versions in the order of their keys.
    pub fn load(self) -> Result<Vec<Arc<Version>>, ArchiveError> {
        let archive = self.archive;
        let selected = self.selected.into_iter();
        selected.map(|selected| selected.load(archive.as_ref())).collect()
    }

    /// The next version in the order of the keys, which is then not selected any more.
    pub fn load_next(&mut self) -> Option<Result<Arc<Version>, ArchiveError>> {
        let selected = self.selected.pop_front()?;
        Some(selected.load(self.archive.as_ref()))
    }

    pub fn len(&self) -> usize {
        self.selected.len()
    }

    pub fn is_empty(&self) -> bool {
        self.selected.is_empty()
    }
}

impl Selected {
    fn load(self, archive: &dyn Archive) -> Result<Arc<Version>, ArchiveError> {
        match self {
            Self::Here(version) => Ok(version),
            Self::Archived(revision) => match archive.get(revision)? {
                Some(version) => Ok(Arc::new(version)),
                None => Err(ArchiveError(format!(
                    "revision {}.{} is missing",
                    revision.main, revision.sub
                ))),
            },
        }
    }
}

impl Store {
    /// The store that `archive` holds: `restore` must show all its versions in order to the closure it is given.
    ///
    /// The archive may still hold versions that the compaction up to `compacted` removed, where a crash cut the removal
    /// short: they are removed again with the next hand-over.
    pub fn restore<E>(
        archive: Arc<dyn Archive>,
        revision: i64,
        compacted: i64,
        restore: impl FnOnce(&mut dyn FnMut(&Version)) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut index = Index::default();
        let mut last = Revision::default();
        restore(&mut |version| {
            index.restore(version);
            last = version.revision;
        })?;
        let removed = index.compact(compacted);
        Ok(Self {
            index,
            tail: VecDeque::new(),
            tail_bytes: 0,
            archive,
            handed_over: last,
            removed,
            removing: Vec::new(),
            revision: revision.max(REVISION_FIRST),
            compacted,
        })
    }

    /// An empty store.
    pub fn new(archive: Arc<dyn Archive>) -> Self {
        let nothing = |_: &mut dyn FnMut(&Version)| Ok::<_, std::convert::Infallible>(());
        match Self::restore(archive, REVISION_FIRST, NEVER_COMPACTED, nothing) {
            Ok(store) => store,
            Err(never) => match never {},
        }
    }

    /// The revision of the last transaction that changed something.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The oldest revision that can be read; [`NEVER_COMPACTED`] before the first compaction.
    pub fn compacted(&self) -> i64 {
        self.compacted
    }

    /// How many keys there are.
    pub fn keys(&self) -> usize {
        self.index.living()
    }

    /// What the versions in memory take, in bytes, roughly.
    pub fn tail_bytes(&self) -> usize {
        self.tail_bytes
    }

    /// Whether a range may be read as of `revision`; 0 and less mean the current one.
    pub fn check_revision(&self, revision: i64) -> Result<(), Error> {
        if revision > self.revision {
            return Err(Error::FutureRevision);
        }
        if revision > 0 && revision < self.compacted {
            return Err(Error::Compacted);
        }
        Ok(())
    }

    /// The versions of the keys within `bounds` that live at `revision` (0 and less: now), the first `limit` of them
    /// (0: all).
    pub fn select(&self, bounds: &Bounds, revision: i64, limit: usize) -> Selection {
        let revision = if revision <= 0 { i64::MAX } else { revision };
        let limit = if limit == 0 { usize::MAX } else { limit };
        let (mut selected, mut total) = (VecDeque::new(), 0);
        self.index.visit(bounds, revision, |_, found| {
            total += 1;
            if selected.len() < limit {
                selected.push_back(match self.in_tail(found) {
                    Some(version) => Selected::Here(Arc::clone(version)),
                    None => Selected::Archived(found),
                });
            }
        });
        Selection {
            selected,
            archive: Arc::clone(&self.archive),
            total,
        }
    }

    /// How many keys within `bounds` live at `revision` (0 and less: now).
    pub fn count(&self, bounds: &Bounds, revision: i64) -> usize {
        let revision = if revision <= 0 { i64::MAX } else { revision };
        let mut total = 0;
        self.index.visit(bounds, revision, |_, _| total += 1);
        total
    }

    /// The pair of one key as of `revision` (0 and less: now).
    pub fn get(&self, key: &Bytes, revision: i64) -> Result<Option<Arc<Version>>, ArchiveError> {
        Ok(self.select(&Bounds::One(key.clone()), revision, 1).load()?.pop())
    }

    /// The living keys within `bounds`, in order.
    pub(super) fn living(&self, bounds: &Bounds) -> Vec<Bytes> {
        let mut keys = Vec::new();
        self.index
            .visit(bounds, i64::MAX, |key, _| keys.push(Bytes::copy_from_slice(key)));
        keys
    }

    /// Whether the archive holds versions that compaction removed, apart from those of a hand-over under way.
    pub fn has_removed(&self) -> bool {
        !self.removed.is_empty()
    }

    /// Starts the next revision.
    pub fn write(&mut self) -> Writer<'_> {
        Writer::new(self)
    }

    /// Forgets all that only readers before `revision` could see.
    ///
    /// # Errors
    /// [`Error::Compacted`] if that was done already, [`Error::FutureRevision`] if it does not exist yet.
    pub fn compact(&mut self, revision: i64) -> Result<(), Error> {
        if revision <= self.compacted {
            return Err(Error::Compacted);
        }
        if revision > self.revision {
            return Err(Error::FutureRevision);
        }
        self.compacted = revision;
        let removed = self.index.compact(revision);
        // What the archive has, or is about to have, it must remove; the rest never gets there.
        let archived = removed.partition_point(|removed| *removed <= self.handed_over);
        self.removed.extend_from_slice(&removed[..archived]);
        let gone = &removed[archived..];
        if !gone.is_empty() {
            self.tail
                .retain(|version| gone.binary_search(&version.revision).is_err());
            self.tail_bytes = self.tail.iter().map(|version| version.bytes()).sum();
        }
        Ok(())
    }

    /// Everything that the archive does not have yet. Call it again only after [`Store::archived`].
    pub fn hand_over(&mut self) -> HandOver {
        let first = self
            .tail
            .partition_point(|version| version.revision <= self.handed_over);
        let versions: Vec<_> = self.tail.range(first..).map(Arc::clone).collect();
        if let Some(last) = versions.last() {
            self.handed_over = last.revision;
        }
        self.removing = std::mem::take(&mut self.removed);
        HandOver {
            versions,
            removed: self.removing.clone(),
            up_to: self.handed_over,
            revision: self.revision,
            compacted: self.compacted,
        }
    }

    /// `archive` has taken over everything up to `up_to`: reads go there from now on.
    pub fn archived(&mut self, up_to: Revision, archive: Arc<dyn Archive>) {
        self.archived_in_part(up_to, archive);
        self.removing.clear();
    }

    /// As [`Store::archived`], of the first part of a hand-over: what it removes is still in the archive.
    pub fn archived_in_part(&mut self, up_to: Revision, archive: Arc<dyn Archive>) {
        self.archive = archive;
        while self.tail.front().is_some_and(|version| version.revision <= up_to) {
            if let Some(version) = self.tail.pop_front() {
                self.tail_bytes -= version.bytes();
            }
        }
    }

    /// Puts an archive of the same versions in the place of the one there is, such as one that was rewritten.
    pub fn replace_archive(&mut self, archive: Arc<dyn Archive>) {
        self.archive = archive;
    }

    /// All versions as they are now, to be gone through without holding the store.
    pub fn view(&self) -> View {
        let mut gone = [self.removing.as_slice(), self.removed.as_slice()].concat();
        gone.sort_unstable();
        View::new(
            Arc::clone(&self.archive),
            self.tail.iter().map(Arc::clone).collect(),
            gone,
        )
    }

    /// All versions from revision `from` on, for those that catches up.
    ///
    /// # Errors
    /// [`Error::Compacted`] where some of them are gone.
    pub fn history(&self, from: i64) -> Result<History, Error> {
        if from < self.compacted {
            return Err(Error::Compacted);
        }
        let first = self.tail.partition_point(|version| version.revision.main < from);
        let tail = self.tail.range(first..).map(Arc::clone).collect();
        Ok(History::new(from, Arc::clone(&self.archive), tail))
    }

    fn in_tail(&self, revision: Revision) -> Option<&Arc<Version>> {
        if self.tail.front()?.revision > revision {
            return None;
        }
        self.tail
            .binary_search_by(|version| version.revision.cmp(&revision))
            .ok()
            .map(|at| &self.tail[at])
    }

    pub(super) fn index_put(&mut self, key: &[u8], revision: Revision) -> Generation {
        self.index.put(key, revision)
    }

    pub(super) fn index_delete(&mut self, key: &Bytes, revision: Revision) {
        self.index.delete(key, revision);
    }

    pub(super) fn push(&mut self, version: Arc<Version>) {
        self.tail_bytes += version.bytes();
        self.tail.push_back(version);
    }

    pub(super) fn advance(&mut self, revision: i64) {
        self.revision = revision;
    }
}
