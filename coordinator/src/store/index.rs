//! The key index: for each key, in order, the revisions at which it changed.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use bytes::Bytes;

use super::bounds::Bounds;
use super::version::{Revision, Version};
use crate::plant::{Plant, is_planted};

/// One change of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    revision: Revision,
    deleted: bool,
}

/// The stamps of a key, oldest first. Most keys have one, which then needs no memory of its own.
#[derive(Debug, Clone)]
enum Stamps {
    One(Stamp),
    Many(Vec<Stamp>),
}

impl Stamps {
    fn as_slice(&self) -> &[Stamp] {
        match self {
            Self::One(stamp) => std::slice::from_ref(stamp),
            Self::Many(stamps) => stamps,
        }
    }

    fn push(&mut self, stamp: Stamp) {
        match self {
            Self::One(first) => *self = Self::Many(vec![*first, stamp]),
            Self::Many(stamps) => stamps.push(stamp),
        }
    }
}

/// What is known of a key.
#[derive(Debug, Clone)]
struct History {
    stamps: Stamps,
    /// Where the current generation began: the create revision. Meaningless after a deletion.
    created: i64,
    /// How often the current generation was put. Meaningless after a deletion.
    version: i64,
}

impl History {
    fn last(&self) -> Stamp {
        *self.stamps.as_slice().last().expect("a history has at least one stamp")
    }

    /// The stamp that a reader at `revision` sees.
    fn at(&self, revision: i64) -> Option<Stamp> {
        let stamps = self.stamps.as_slice();
        let seen = stamps.partition_point(|stamp| stamp.revision.main <= revision);
        seen.checked_sub(1).map(|last| stamps[last])
    }
}

/// What a put continues: the create revision and version number that the new pair has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Generation {
    pub created: i64,
    pub version: i64,
}

/// A key's history, with the map's own copy of the key.
fn find<'a>(keys: &'a mut BTreeMap<Bytes, History>, key: &[u8]) -> Option<(&'a Bytes, &'a mut History)> {
    keys.range_mut::<[u8], _>((Bound::Included(key), Bound::Included(key)))
        .next()
}

/// All keys with their history since the last compaction.
///
/// - The stamps of a key ascend; the first one after a tombstone, or of all, is a put.
/// - `superseded` names every key whose history holds something that a compaction at that revision could remove, in
///   ascending order, so that compaction costs what it removes and not what there is.
#[derive(Debug, Default)]
pub struct Index {
    keys: BTreeMap<Bytes, History>,
    superseded: VecDeque<(i64, Bytes)>,
}

impl Index {
    /// How many keys have a history, deleted ones included.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Marks a key put, and returns the index's own copy of it, which does not hold on to what it was received in.
    pub(super) fn put(&mut self, key: &[u8], revision: Revision) -> (Bytes, Generation) {
        let stamp = Stamp {
            revision,
            deleted: false,
        };
        let Some((own, history)) = find(&mut self.keys, key) else {
            let history = History {
                stamps: Stamps::One(stamp),
                created: revision.main,
                version: 1,
            };
            let own = Bytes::copy_from_slice(key);
            self.keys.insert(own.clone(), history);
            let generation = Generation {
                created: revision.main,
                version: 1,
            };
            return (own, generation);
        };
        if history.last().deleted {
            (history.created, history.version) = (revision.main, 1);
        } else {
            history.version += 1;
        }
        history.stamps.push(stamp);
        let generation = Generation {
            created: history.created,
            version: history.version,
        };
        self.superseded.push_back((revision.main, own.clone()));
        (own.clone(), generation)
    }

    /// Marks a key deleted; does nothing where it does not live.
    pub(super) fn delete(&mut self, key: &Bytes, revision: Revision) {
        let Some(history) = self.keys.get_mut(key) else { return };
        if !history.last().deleted {
            history.stamps.push(Stamp {
                revision,
                deleted: true,
            });
            self.superseded.push_back((revision.main, key.clone()));
        }
    }

    /// Takes in a version read from an archive; they must come in the order of their revisions.
    pub(super) fn restore(&mut self, version: &Version) {
        let stamp = Stamp {
            revision: version.revision,
            deleted: version.deleted,
        };
        let (created, count) = (version.kv.create_revision, version.kv.version);
        match find(&mut self.keys, &version.kv.key) {
            Some((own, history)) => {
                history.stamps.push(stamp);
                if !version.deleted {
                    (history.created, history.version) = (created, count);
                }
                self.superseded.push_back((version.revision.main, own.clone()));
            }
            None => {
                if version.deleted {
                    // Kept by a compaction at just this revision.
                    self.superseded
                        .push_back((version.revision.main, version.kv.key.clone()));
                }
                let history = History {
                    stamps: Stamps::One(stamp),
                    created,
                    version: count,
                };
                self.keys.insert(version.kv.key.clone(), history);
            }
        }
    }

    /// Shows each living key within `bounds` as of `revision`, in order, with the revision of its version.
    pub(super) fn visit<'a>(&'a self, bounds: &Bounds, revision: i64, mut visit: impl FnMut(&'a Bytes, Revision)) {
        if let Bounds::One(key) = bounds {
            if let Some((key, history)) = self.keys.get_key_value(key)
                && let Some(stamp) = history.at(revision)
                && !stamp.deleted
            {
                visit(key, stamp.revision);
            }
            return;
        }
        let Some(range) = bounds.as_range() else { return };
        for (key, history) in self.keys.range::<[u8], _>(range) {
            match history.at(revision) {
                Some(stamp) if !stamp.deleted => visit(key, stamp.revision),
                _ => {}
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
            let Some(history) = self.keys.get_mut(&key) else {
                continue;
            };
            let stamps = history.stamps.as_slice();
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
            removed.extend(stamps[..kept].iter().map(|stamp| stamp.revision));
            match &stamps[kept..] {
                [] => {
                    self.keys.remove(&key);
                }
                [one] => history.stamps = Stamps::One(*one),
                rest if kept > 0 => history.stamps = Stamps::Many(rest.to_vec()),
                _ => {}
            }
        }
        for entry in again.into_iter().rev() {
            self.superseded.push_front(entry);
        }
        removed.sort_unstable();
        removed
    }
}
