//! The store against a naive model: a full copy of all pairs for every revision.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use coordinator_wire::mvccpb::KeyValue;
use proptest::prelude::*;

use super::*;
use crate::Error;

/// An archive in memory.
#[derive(Debug, Default, Clone)]
struct MemoryArchive(BTreeMap<Revision, Version>);

impl Archive for MemoryArchive {
    fn get(&self, revision: Revision) -> Result<Option<Version>, ArchiveError> {
        Ok(self.0.get(&revision).cloned())
    }

    fn scan(&self, from: Revision, to: Revision, visit: &mut dyn FnMut(Version) -> bool) -> Result<(), ArchiveError> {
        let _ended = self.0.range(from..=to).all(|(_, version)| visit(version.clone()));
        Ok(())
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// Transactions of puts and deletions, each of one key.
    Write(Vec<(u8, bool)>),
    DeleteRange(u8, u8),
    /// At the current revision minus this many.
    Compact(i64),
    /// The archive takes over what is new; true if it takes until the next such step.
    Archive(bool),
    /// True if a crash comes before what compaction removed has gone from the archive.
    Restart(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::btree_map(0..6_u8, prop::bool::weighted(0.7), 1..4)
            .prop_map(|writes| Step::Write(writes.into_iter().collect())),
        1 => (0..6_u8, 0..7_u8).prop_map(|(from, to)| Step::DeleteRange(from, to)),
        1 => (0..6_i64).prop_map(Step::Compact),
        2 => any::<bool>().prop_map(Step::Archive),
        1 => any::<bool>().prop_map(Step::Restart),
    ]
}

type Pairs = BTreeMap<Bytes, KeyValue>;

struct Pair {
    store: Store,
    archive: MemoryArchive,
    /// What was handed over and is not archived yet.
    in_flight: Option<HandOver>,
    /// The pairs at each revision, from 1 on.
    model: Vec<Pairs>,
    /// (revision, key, deleted) of each change.
    changes: Vec<(i64, Bytes, bool)>,
    compacted: i64,
}

fn key(number: u8) -> Bytes {
    vec![b'a' + number].into()
}

impl Pair {
    fn new() -> Self {
        let archive = MemoryArchive::default();
        let store = Store::new(Arc::new(archive.clone()));
        let model = vec![Pairs::new(), Pairs::new()];
        Self {
            store,
            archive,
            in_flight: None,
            model,
            changes: Vec::new(),
            compacted: NEVER_COMPACTED,
        }
    }

    fn revision(&self) -> i64 {
        self.model.len() as i64 - 1
    }

    fn write(&mut self, writes: &[(u8, bool)]) {
        let revision = self.revision() + 1;
        let mut pairs = self.model.last().expect("never empty").clone();
        let mut writer = self.store.write();
        for (number, put) in writes {
            let key = key(*number);
            if *put {
                let value = Bytes::from(revision.to_string());
                writer.put(&key, &value, 0);
                let before = pairs.get(&key);
                let created = before.map_or(revision, |before| before.create_revision);
                let version = before.map_or(1, |before| before.version + 1);
                let (create_revision, mod_revision) = (created, revision);
                let kv = KeyValue {
                    key: key.clone(),
                    create_revision,
                    mod_revision,
                    version,
                    value,
                    lease: 0,
                };
                pairs.insert(key.clone(), kv);
                self.changes.push((revision, key, false));
            } else {
                let deleted = writer.delete(&Bounds::One(key.clone()));
                assert_eq!(!deleted.is_empty(), pairs.remove(&key).is_some());
                if !deleted.is_empty() {
                    self.changes.push((revision, key, true));
                }
            }
        }
        let changed = writer.finish();
        if !changed.is_empty() {
            self.model.push(pairs);
        }
    }

    fn delete_range(&mut self, from: u8, to: u8) {
        let bounds = Bounds::new(&key(from), &key(to));
        let revision = self.revision() + 1;
        let mut pairs = self.model.last().expect("never empty").clone();
        let mut writer = self.store.write();
        let deleted = writer.delete(&bounds);
        writer.finish();
        let expected: Vec<Bytes> = pairs.keys().filter(|key| bounds.contains(key)).cloned().collect();
        assert_eq!(deleted, expected);
        for key in deleted {
            pairs.remove(&key);
            self.changes.push((revision, key, true));
        }
        if !expected.is_empty() {
            self.model.push(pairs);
        }
    }

    fn compact(&mut self, back: i64) {
        let at = self.revision() - back;
        let outcome = self.store.compact(at);
        if at <= self.compacted {
            assert_eq!(outcome, Err(Error::Compacted));
        } else {
            assert_eq!(outcome, Ok(()));
            self.compacted = at;
        }
    }

    fn archive(&mut self, at_once: bool) {
        self.archive_and_remove(at_once, true);
    }

    fn archive_and_remove(&mut self, at_once: bool, removes: bool) {
        let hand_over = self.in_flight.take().unwrap_or_else(|| self.store.hand_over());
        if !at_once {
            self.in_flight = Some(hand_over);
            return;
        }
        for version in &hand_over.versions {
            self.archive.0.insert(version.revision, version.as_ref().clone());
        }
        for removed in hand_over.removed.iter().filter(|_| removes) {
            assert!(
                self.archive.0.remove(removed).is_some(),
                "{removed:?} was archived once"
            );
        }
        self.store.archived(hand_over.up_to, Arc::new(self.archive.clone()));
    }

    /// Everything is archived, then read back.
    fn restart(&mut self, crashes_before_removal: bool) {
        self.archive(true);
        self.archive_and_remove(true, !crashes_before_removal);
        let archive = self.archive.clone();
        let (revision, compacted) = (self.store.revision(), self.store.compacted());
        self.store = Store::restore(Arc::new(archive.clone()), revision, compacted, |restore| {
            archive.0.values().for_each(restore);
            Ok::<(), Infallible>(())
        })
        .expect("infallible");
    }

    /// What a view shows.
    fn viewed(&self) -> Vec<(i64, Bytes, bool)> {
        let mut viewed = Vec::new();
        let all = (Revision::default(), Revision::end_of(i64::MAX));
        let visited = self.store.view().scan(all.0, all.1, &mut |version| {
            viewed.push((version.revision.main, version.kv.key, version.deleted));
            true
        });
        visited.expect("all is there");
        viewed
    }

    /// What is to be kept: all changes after the compaction, and of those before it the last one of each key, if it is a
    /// pair, or a tombstone of just that revision.
    fn kept(&self) -> Vec<(i64, Bytes, bool)> {
        let kept = |at: usize| {
            let (main, key, deleted) = &self.changes[at];
            let is_last = || {
                let mut later = self.changes[at + 1..].iter();
                !later.any(|(other, other_key, _)| other_key == key && *other <= self.compacted)
            };
            *main > self.compacted || (is_last() && (!deleted || *main == self.compacted))
        };
        let all = 0..self.changes.len();
        all.filter(|at| kept(*at)).map(|at| self.changes[at].clone()).collect()
    }

    fn check(&self) {
        assert_eq!(
            (self.store.revision(), self.store.compacted()),
            (self.revision(), self.compacted)
        );
        assert_eq!(self.store.keys(), self.model[self.revision() as usize].len());
        let everything = Bounds::From(key(0));
        for revision in self.compacted.max(1)..=self.revision() {
            let found = self
                .store
                .select(&everything, revision, 0)
                .load()
                .expect("all is there");
            let found: Vec<&KeyValue> = found.iter().map(|version| &version.kv).collect();
            let expected: Vec<&KeyValue> = self.model[revision as usize].values().collect();
            assert_eq!(found, expected, "at revision {revision}");
        }
        assert_eq!(self.viewed(), self.kept());
        for from in self.compacted.max(1)..=self.revision() {
            // In small parts, as a slow watcher would.
            let (mut next, mut told) = (from, Vec::new());
            while next <= self.revision() {
                let history = self.store.history(next).expect("not compacted");
                let (versions, to) = history.read(self.revision(), 2).expect("all is there");
                told.extend(versions.iter().map(|v| (v.revision.main, v.kv.key.clone(), v.deleted)));
                next = to + 1;
            }
            let at_least: Vec<_> = self.changes.iter().filter(|(at, ..)| *at >= from).cloned().collect();
            assert_eq!(told, at_least, "the history from {from} on");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_revision_reads_as_it_was(steps in prop::collection::vec(step(), 1..30)) {
        let mut pair = Pair::new();
        for step in &steps {
            match step {
                Step::Write(writes) => pair.write(writes),
                Step::DeleteRange(from, to) => pair.delete_range(*from, *to),
                Step::Compact(back) => pair.compact(*back),
                Step::Archive(at_once) => pair.archive(*at_once),
                Step::Restart(crashes) => pair.restart(*crashes),
            }
            pair.check();
        }
        // Nothing is left behind: all that a compaction at the end keeps is what lives.
        pair.restart(false);
        pair.archive(true);
        if pair.revision() > pair.compacted {
            pair.compact(0);
            pair.archive(true);
            let last = pair.revision();
            let living = pair.model[last as usize].len();
            let tombstones = pair.changes.iter().filter(|(at, _, deleted)| *at == last && *deleted).count();
            prop_assert_eq!(pair.archive.0.len(), living + tombstones);
        }
    }
}
