//! Watches are ordered, unique, atomic, reliable and resumable. Source: etcd's "Watch API guarantees", and its robustness
//! tests' validators of these names.
//!
//! A watcher has been told everything before `next`. What comes must not be from before it (ordered, unique), nothing of its
//! range may lie between (reliable, over reconnections too: resumable), and of a revision all must come at once (atomic).

use std::sync::Arc;

use bytes::Bytes;
use coordinator::store::Version;

use super::oracle::{Change, Oracle};
use crate::invariant::{Check, require};

/// What one watcher was told.
#[derive(Debug, Clone)]
pub struct Watched {
    pub from: Bytes,
    pub to: Bytes,
    /// The first revision that it has not been told of.
    pub next: i64,
}

impl Watched {
    fn contains(&self, key: &Bytes) -> bool {
        *key >= self.from && *key < self.to
    }

    fn relevant<'a>(&'a self, oracle: &'a Oracle, revision: i64) -> impl Iterator<Item = &'a Change> {
        oracle
            .changes(revision)
            .iter()
            .filter(|change| self.contains(&change.key))
    }

    /// It is told these changes.
    pub fn told(&mut self, oracle: &Oracle, changes: &[Arc<Version>]) -> Check {
        for of_revision in changes.chunk_by(|a, b| a.revision.main == b.revision.main) {
            let revision = of_revision[0].revision.main;
            require(revision >= self.next, "watch_promises", || {
                format!(
                    "a watcher that was told everything before {} is told of {revision}",
                    self.next
                )
            })?;
            self.nothing_missed(oracle, revision - 1)?;
            let told: Vec<Change> = of_revision.iter().map(|version| change_of(version)).collect();
            let wanted: Vec<Change> = self.relevant(oracle, revision).cloned().collect();
            require(told == wanted, "watch_promises", || {
                format!("of revision {revision} a watcher is told {told:?}, and there was {wanted:?}")
            })?;
            self.next = revision + 1;
        }
        Ok(())
    }

    /// It is told that it knows everything up to `revision`.
    pub fn progress(&mut self, oracle: &Oracle, revision: i64) -> Check {
        self.nothing_missed(oracle, revision)?;
        self.next = self.next.max(revision + 1);
        Ok(())
    }

    fn nothing_missed(&self, oracle: &Oracle, up_to: i64) -> Check {
        let missed = (self.next..=up_to).find(|revision| self.relevant(oracle, *revision).next().is_some());
        require(missed.is_none(), "watch_promises", || {
            format!(
                "a watcher is told of {up_to} or later, and never of {}",
                missed.unwrap_or_default()
            )
        })
    }
}

fn change_of(version: &Version) -> Change {
    Change {
        key: version.kv.key.clone(),
        value: (!version.deleted).then(|| version.kv.value.clone()),
        version: version.kv.version,
        lease: version.kv.lease,
    }
}

#[cfg(test)]
mod tests {
    use coordinator::machine::Request;
    use coordinator::store::Revision;
    use coordinator_wire::etcdserverpb::PutRequest;
    use coordinator_wire::mvccpb::KeyValue;

    use super::super::machine::Entry;
    use super::*;

    fn put(oracle: &mut Oracle, key: &'static str) {
        let request = Request::Put(PutRequest {
            key: key.into(),
            ..Default::default()
        });
        let entry = Entry {
            request: Some(request),
            ..Entry::default()
        };
        oracle.agreed(oracle.index + 1, Some(&entry));
    }

    fn version(key: &'static str, main: i64, version: i64) -> Arc<Version> {
        let kv = KeyValue {
            key: key.into(),
            version,
            ..Default::default()
        };
        Arc::new(Version {
            revision: Revision::new(main, 0),
            deleted: false,
            kv,
        })
    }

    #[test]
    fn a_gap_a_repetition_and_a_false_progress_are_seen() {
        let mut oracle = Oracle::default();
        for key in ["a", "b", "a", "z"] {
            put(&mut oracle, key);
        }
        let watched = Watched {
            from: "a".into(),
            to: "c".into(),
            next: 2,
        };
        let mut good = watched.clone();
        assert!(good.told(&oracle, &[version("a", 2, 1), version("b", 3, 1)]).is_ok());
        assert!(good.told(&oracle, &[version("a", 4, 2)]).is_ok());
        assert!(good.progress(&oracle, 5).is_ok(), "z is not its business");
        assert!(watched.clone().told(&oracle, &[version("b", 3, 1)]).is_err(), "a gap");
        assert!(good.told(&oracle, &[version("a", 4, 2)]).is_err(), "a repetition");
        assert!(watched.clone().progress(&oracle, 2).is_err(), "not told yet");
        assert!(
            watched.clone().told(&oracle, &[version("a", 2, 7)]).is_err(),
            "another change"
        );
    }
}
