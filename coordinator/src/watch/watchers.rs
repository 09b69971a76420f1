//! The watchers of one client stream.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use coordinator_wire::etcdserverpb::WatchCreateRequest;
use coordinator_wire::etcdserverpb::watch_create_request::FilterType;

use crate::plant::{Plant, is_planted};
use crate::store::{Bounds, Version};

/// Watchers that one stream may have; a bound on the memory that one client can take.
pub const WATCHERS_PER_STREAM_MAX: usize = 100_000;

/// The watch id of an answer that is for no watcher, or for the whole stream.
const NO_WATCHER: i64 = -1;

/// What the client is to be told.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Created {
        id: i64,
        revision: i64,
    },
    /// Not created, and why.
    Refused {
        revision: i64,
        reason: &'static str,
    },
    /// Cancelled at the client's wish.
    Cancelled {
        id: i64,
        revision: i64,
    },
    /// Cancelled because it needs revisions before `compacted`.
    Compacted {
        id: i64,
        revision: i64,
        compacted: i64,
    },
    /// Changes in order; all that there is for this watcher up to the last of them. `revision` is the stream's.
    Changes {
        id: i64,
        revision: i64,
        changes: Vec<Arc<Version>>,
        prev_kv: bool,
        fragment: bool,
    },
    /// Everything up to `revision` has been told: to one watcher, or (id -1) to all of the stream.
    Progress {
        id: i64,
        revision: i64,
    },
}

#[derive(Debug)]
struct Watcher {
    bounds: Bounds,
    /// The first revision that it has not been told of.
    next: i64,
    no_put: bool,
    no_delete: bool,
    prev_kv: bool,
    fragment: bool,
    progress_notify: bool,
    /// Whether it was told something since the last periodic progress.
    told: bool,
}

impl Watcher {
    fn wants(&self, version: &Version) -> bool {
        version.revision.main >= self.next
            && !(if version.deleted { self.no_delete } else { self.no_put })
            && self.bounds.contains(&version.kv.key)
    }
}

/// One stream's watchers.
///
/// - A watcher that is not behind has been told everything up to the cursor.
/// - A watcher that is behind has `next <= cursor`.
#[derive(Debug)]
pub struct Watchers {
    watchers: BTreeMap<i64, Watcher>,
    /// Watchers of a single key, by the key: the usual case, found without looking at the others.
    of_key: BTreeMap<Bytes, BTreeSet<i64>>,
    of_range: BTreeSet<i64>,
    behind: BTreeSet<i64>,
    cursor: i64,
    next_id: i64,
    progress_wanted: bool,
}

impl Watchers {
    /// A stream that begins at the store's revision.
    pub fn new(revision: i64) -> Self {
        Self {
            watchers: BTreeMap::new(),
            of_key: BTreeMap::new(),
            of_range: BTreeSet::new(),
            behind: BTreeSet::new(),
            cursor: revision,
            next_id: 0,
            progress_wanted: false,
        }
    }

    pub fn len(&self) -> usize {
        self.watchers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.watchers.is_empty()
    }

    /// How many are behind.
    pub fn behind(&self) -> usize {
        self.behind.len()
    }

    /// Up to where the feed has been read.
    pub fn cursor(&self) -> i64 {
        self.cursor
    }

    /// Adds a watcher, at the store's `revision` and compaction.
    pub fn create(&mut self, request: &WatchCreateRequest, revision: i64, compacted: i64) -> Vec<Answer> {
        // No key is the first key.
        let key = if request.key.is_empty() {
            Bytes::from_static(b"\0")
        } else {
            request.key.clone()
        };
        let bounds = Bounds::new(&key, &request.range_end);
        let refused = |reason| vec![Answer::Refused { revision, reason }];
        if request.start_revision < 0 {
            return refused("etcdserver: mvcc: required revision has been compacted");
        }
        if bounds.is_empty() {
            return refused("mvcc: watcher range is empty");
        }
        if self.watchers.len() >= WATCHERS_PER_STREAM_MAX {
            return refused("etcdserver: too many requests");
        }
        let id = if request.watch_id != 0 {
            request.watch_id
        } else {
            self.free_id()
        };
        if self.watchers.contains_key(&id) {
            return refused("mvcc: duplicate watch ID provided on the WatchStream");
        }
        let created = Answer::Created { id, revision };
        let next = if request.start_revision > 0 {
            request.start_revision
        } else {
            revision + 1
        };
        if next < compacted {
            return vec![
                created,
                Answer::Compacted {
                    id,
                    revision,
                    compacted,
                },
            ];
        }
        let has_filter = |filter: FilterType| request.filters.contains(&filter.into());
        let watcher = Watcher {
            bounds,
            next,
            no_put: has_filter(FilterType::Noput),
            no_delete: has_filter(FilterType::Nodelete),
            prev_kv: request.prev_kv,
            fragment: request.fragment,
            progress_notify: request.progress_notify,
            told: false,
        };
        match &watcher.bounds {
            Bounds::One(key) => {
                self.of_key.entry(key.clone()).or_default().insert(id);
            }
            _ => {
                self.of_range.insert(id);
            }
        }
        if next <= self.cursor {
            self.behind.insert(id);
        }
        self.watchers.insert(id, watcher);
        vec![created]
    }

    fn free_id(&mut self) -> i64 {
        while self.watchers.contains_key(&self.next_id) {
            self.next_id += 1;
        }
        self.next_id += 1;
        self.next_id - 1
    }

    /// Removes a watcher at the client's wish.
    pub fn cancel(&mut self, id: i64) -> Option<Answer> {
        self.remove(id).then_some(Answer::Cancelled {
            id,
            revision: self.cursor,
        })
    }

    fn remove(&mut self, id: i64) -> bool {
        let Some(watcher) = self.watchers.remove(&id) else {
            return false;
        };
        self.behind.remove(&id);
        self.of_range.remove(&id);
        if let Bounds::One(key) = &watcher.bounds
            && let Some(ids) = self.of_key.get_mut(key)
        {
            ids.remove(&id);
            if ids.is_empty() {
                self.of_key.remove(key);
            }
        }
        true
    }

    /// The next revisions of the feed: the first one must be the one after the cursor.
    pub fn advance<'a>(&mut self, revisions: impl IntoIterator<Item = &'a [Arc<Version>]>) -> Vec<Answer> {
        let mut told: BTreeMap<i64, Vec<Arc<Version>>> = BTreeMap::new();
        for changes in revisions {
            let Some(first) = changes.first() else { continue };
            debug_assert_eq!(
                first.revision.main,
                self.cursor + 1,
                "no revision is skipped or told twice"
            );
            self.cursor = first.revision.main;
            for version in changes {
                let of_key = self.of_key.get(&version.kv.key);
                for id in of_key.into_iter().flatten().chain(&self.of_range) {
                    if !self.behind.contains(id) && self.watchers[id].wants(version) {
                        told.entry(*id).or_default().push(Arc::clone(version));
                    }
                }
            }
        }
        told.into_iter().map(|(id, changes)| self.tell(id, changes)).collect()
    }

    fn tell(&mut self, id: i64, changes: Vec<Arc<Version>>) -> Answer {
        let revision = self.cursor;
        let watcher = self
            .watchers
            .get_mut(&id)
            .expect("only watchers that exist are notified");
        watcher.told = true;
        Answer::Changes {
            id,
            revision,
            changes,
            prev_kv: watcher.prev_kv,
            fragment: watcher.fragment,
        }
    }

    /// The feed has lost what comes after the cursor: goes on at `revision`, everyone catches up from the store.
    pub fn fall_behind(&mut self, revision: i64) {
        for (id, watcher) in &mut self.watchers {
            if !self.behind.contains(id) {
                let missed = if is_planted(Plant::WatchGap) {
                    revision
                } else {
                    self.cursor
                };
                watcher.next = watcher.next.max(missed + 1);
                if watcher.next <= revision {
                    self.behind.insert(*id);
                }
            }
        }
        self.cursor = revision;
    }

    /// From which revision up to which the store must be read for those behind: to the cursor, never beyond.
    pub fn missing(&self) -> Option<(i64, i64)> {
        self.behind
            .iter()
            .map(|id| self.watchers[id].next)
            .min()
            .map(|next| (next, self.cursor))
    }

    /// Part of what [`Watchers::missing`] asked for: all changes from there up to revision `to`, in order.
    pub fn catch_up(&mut self, changes: &[Arc<Version>], to: i64) -> Vec<Answer> {
        let mut told: BTreeMap<i64, Vec<Arc<Version>>> = BTreeMap::new();
        debug_assert!(to <= self.cursor, "events after the cursor come from the feed");
        for version in changes {
            for id in &self.behind {
                if self.watchers[id].wants(version) {
                    told.entry(*id).or_default().push(Arc::clone(version));
                }
            }
        }
        for id in self.behind.clone() {
            let watcher = self.watchers.get_mut(&id).expect("those behind exist");
            watcher.next = watcher.next.max(to + 1);
            if watcher.next > self.cursor {
                self.behind.remove(&id);
            }
        }
        told.into_iter().map(|(id, changes)| self.tell(id, changes)).collect()
    }

    /// The store was compacted: those that still needed what is gone are cancelled.
    pub fn compacted(&mut self, compacted: i64) -> Vec<Answer> {
        let lost: Vec<i64> = self
            .behind
            .iter()
            .copied()
            .filter(|id| self.watchers[id].next < compacted)
            .collect();
        for id in &lost {
            self.remove(*id);
        }
        let revision = self.cursor;
        lost.into_iter()
            .map(|id| Answer::Compacted {
                id,
                revision,
                compacted,
            })
            .collect()
    }

    /// The client asks how far the whole stream is; the answer comes from [`Watchers::progress`].
    pub fn want_progress(&mut self) {
        self.progress_wanted = true;
    }

    /// The answer to [`Watchers::want_progress`], once no one is behind or waits for a future revision.
    pub fn progress(&mut self) -> Option<Answer> {
        let ready = self.progress_wanted
            && self.behind.is_empty()
            && !self.watchers.is_empty()
            && self.watchers.values().all(|watcher| watcher.next <= self.cursor + 1);
        if !ready {
            return None;
        }
        self.progress_wanted = false;
        Some(Answer::Progress {
            id: NO_WATCHER,
            revision: self.cursor,
        })
    }

    /// Once a period: progress for those that asked for it and were told nothing meanwhile.
    pub fn periodic_progress(&mut self) -> Vec<Answer> {
        let mut answers = Vec::new();
        for (id, watcher) in &mut self.watchers {
            let idle = !std::mem::take(&mut watcher.told);
            if watcher.progress_notify && idle && !self.behind.contains(id) && watcher.next <= self.cursor + 1 {
                answers.push(Answer::Progress {
                    id: *id,
                    revision: self.cursor,
                });
            }
        }
        answers
    }
}
