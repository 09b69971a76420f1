//! The key index: for each key, in order, the revisions at which it changed.

use std::collections::{BTreeMap, VecDeque};

use super::bounds::Bounds;
use super::version::{Revision, Version};
use crate::plant::{Plant, is_planted};

/// One change of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    revision: Revision,
    deleted: bool,
}

/// What is known of a key. Most were put once, which fits into the map itself: with a million keys every word counts.
#[derive(Debug, Clone)]
enum History {
    /// Put once, at this revision; its parts stand here so that all of it takes two words.
    Once {
        main: i64,
        sub: u32,
    },
    Changes(Box<Changes>),
}

/// - There is at least one stamp, and they ascend.
#[derive(Debug, Clone)]
struct Changes {
    stamps: Vec<Stamp>,
    /// Where the current generation began: the create revision. Meaningless after a deletion.
    created: i64,
    /// How often the current generation was put. Meaningless after a deletion.
    version: i64,
}

impl History {
    fn once(revision: Revision) -> Self {
        let Revision { main, sub } = revision;
        Self::Once { main, sub }
    }

    fn is_deleted(&self) -> bool {
        match self {
            Self::Once { .. } => false,
            Self::Changes(changes) => changes.stamps.last().is_some_and(|stamp| stamp.deleted),
        }
    }

    /// The revision of the version that a reader at `revision` sees, if the key lives there.
    fn at(&self, revision: i64) -> Option<Revision> {
        match self {
            Self::Once { main, sub } => (*main <= revision).then_some(Revision::new(*main, *sub)),
            Self::Changes(changes) => {
                let stamps = &changes.stamps;
                let seen = stamps.partition_point(|stamp| stamp.revision.main <= revision);
                let last = stamps[seen.checked_sub(1)?];
                (!last.deleted).then_some(last.revision)
            }
        }
    }

    /// The same in the form that can grow.
    fn changes(&mut self) -> &mut Changes {
        if let Self::Once { main, sub } = *self {
            let first = Stamp {
                revision: Revision::new(main, sub),
                deleted: false,
            };
            *self = Self::Changes(Box::new(Changes {
                stamps: vec![first],
                created: main,
                version: 1,
            }));
        }
        match self {
            Self::Changes(changes) => changes,
            Self::Once { .. } => unreachable!("it was just made the other"),
        }
    }
}

impl Changes {
    /// What is left of them in the smaller form, where that says it all.
    fn as_once(&self) -> Option<History> {
        match self.stamps[..] {
            [
                Stamp {
                    revision,
                    deleted: false,
                },
            ] if self.created == revision.main && self.version == 1 => Some(History::once(revision)),
            _ => None,
        }
    }
}

/// What a put continues: the create revision and version number that the new pair has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Generation {
    pub created: i64,
    pub version: i64,
}

/// All keys with their history since the last compaction.
///
/// - The stamps of a key ascend; the first one after a tombstone, or of all, is a put.
/// - `superseded` names every key whose history holds something that a compaction at that revision could remove, in
///   ascending order, so that compaction costs what it removes and not what there is.
#[derive(Debug, Default)]
pub struct Index {
    keys: BTreeMap<Box<[u8]>, History>,
    superseded: VecDeque<(i64, Box<[u8]>)>,
    /// How many keys live now.
    living: usize,
}

impl Index {
    /// How many keys live now.
    pub fn living(&self) -> usize {
        self.living
    }

    /// Marks a key put.
    pub(super) fn put(&mut self, key: &[u8], revision: Revision) -> Generation {
        let Some(history) = self.keys.get_mut(key) else {
            self.keys.insert(key.into(), History::once(revision));
            self.living += 1;
            return Generation {
                created: revision.main,
                version: 1,
            };
        };
        let changes = history.changes();
        if changes.stamps.last().is_some_and(|last| last.deleted) {
            (changes.created, changes.version) = (revision.main, 1);
            self.living += 1;
        } else {
            changes.version += 1;
        }
        changes.stamps.push(Stamp {
            revision,
            deleted: false,
        });
        self.superseded.push_back((revision.main, key.into()));
        Generation {
            created: changes.created,
            version: changes.version,
        }
    }

    /// Marks a key deleted; does nothing where it does not live.
    pub(super) fn delete(&mut self, key: &[u8], revision: Revision) {
        let Some(history) = self.keys.get_mut(key) else { return };
        if !history.is_deleted() {
            history.changes().stamps.push(Stamp {
                revision,
                deleted: true,
            });
            self.superseded.push_back((revision.main, key.into()));
            self.living -= 1;
        }
    }

    /// Takes in a version read from an archive; they must come in the order of their revisions.
    pub(super) fn restore(&mut self, version: &Version) {
        let stamp = Stamp {
            revision: version.revision,
            deleted: version.deleted,
        };
        let key: &[u8] = &version.kv.key;
        let (created, count) = (version.kv.create_revision, version.kv.version);
        if let Some(history) = self.keys.get_mut(key) {
            match (history.is_deleted(), version.deleted) {
                (false, true) => self.living -= 1,
                (true, false) => self.living += 1,
                _ => {}
            }
            let changes = history.changes();
            changes.stamps.push(stamp);
            if !version.deleted {
                (changes.created, changes.version) = (created, count);
            }
            self.superseded.push_back((version.revision.main, key.into()));
            return;
        }
        if version.deleted {
            // Kept by a compaction at just this revision.
            self.superseded.push_back((version.revision.main, key.into()));
        } else {
            self.living += 1;
        }
        let changes = Changes {
            stamps: vec![stamp],
            created,
            version: count,
        };
        let history = changes.as_once();
        let history = history.unwrap_or_else(|| History::Changes(Box::new(changes)));
        self.keys.insert(key.into(), history);
    }

    /// Shows each living key within `bounds` as of `revision`, in order, with the revision of its version.
    pub(super) fn visit<'a>(&'a self, bounds: &Bounds, revision: i64, mut visit: impl FnMut(&'a [u8], Revision)) {
        if let Bounds::One(key) = bounds {
            if let Some((key, history)) = self.keys.get_key_value(key.as_ref())
                && let Some(found) = history.at(revision)
            {
                visit(key, found);
            }
            return;
        }
        let Some(range) = bounds.as_range() else { return };
        for (key, history) in self.keys.range::<[u8], _>(range) {
            if let Some(found) = history.at(revision) {
                visit(key, found);
            }
        }
    }

    /// Forgets what no reader at `revision` or later can see, and returns the revisions of the versions forgotten.
    ///
    /// A tombstone of exactly `revision` is kept, since a watch may still start there.
    pub(super) fn compact(&mut self, revision: i64) -> Vec<Revision> {
        let mut removed = Vec::new();
        let mut again = Vec::new();
        while self.superseded.front().is_some_and(|(at, _)| *at <= revision) {
            let Some((at, key)) = self.superseded.pop_front() else {
                break;
            };
            // What was put once holds nothing that could go.
            let Some(history @ History::Changes(_)) = self.keys.get_mut(&key) else {
                continue;
            };
            let changes = history.changes();
            let stamps = &changes.stamps;
            let up_to = revision + i64::from(is_planted(Plant::CompactsTooMuch));
            let seen = stamps.partition_point(|stamp| stamp.revision.main <= up_to);
            let Some(last) = seen.checked_sub(1) else { continue };
            let kept = match stamps[last] {
                Stamp { deleted: false, .. } => last,
                Stamp { revision: stamp, .. } if stamp.main == revision && !is_planted(Plant::TombstoneForgotten) => {
                    if at == revision {
                        again.push((at, key.clone()));
                    }
                    last
                }
                _ => seen,
            };
            removed.extend(changes.stamps.drain(..kept).map(|stamp| stamp.revision));
            if changes.stamps.is_empty() {
                self.keys.remove(&key);
                continue;
            }
            if kept > 0 {
                changes.stamps.shrink_to_fit();
            }
            if let Some(once) = changes.as_once() {
                *history = once;
            }
        }
        for entry in again.into_iter().rev() {
            self.superseded.push_front(entry);
        }
        removed.sort_unstable();
        removed
    }
}
