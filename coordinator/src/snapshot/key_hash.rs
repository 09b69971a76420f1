//! HashKV: the hash of all keys as they were at one moment, the same as etcd's.

use std::collections::HashSet;

use bytes::Bytes;

use super::{Bucket, content};
use crate::Error;
use crate::corruption::KeyHash;
use crate::store::{Archive, Bounds, Revision, Store, View};

/// Keys that are to be hashed, as they were at one moment.
pub struct Unhashed {
    view: View,
    compacted: i64,
    current: i64,
    revision: i64,
    any_lives: bool,
}

impl Unhashed {
    /// All versions up to `revision` (0: all) that anyone who reads at `revision` or later can tell apart.
    pub fn of(store: &Store, revision: i64) -> Result<Self, Error> {
        store.check_revision(revision)?;
        let current = store.revision();
        let revision = if revision <= 0 { current } else { revision };
        let everything = Bounds::From(Bytes::new());
        Ok(Self {
            view: store.view(),
            compacted: store.compacted(),
            current,
            revision,
            any_lives: store.count(&everything, revision) > 0,
        })
    }

    /// Reads all of them.
    pub fn hash(&self) -> Result<KeyHash, Error> {
        let (revision, compacted) = (self.revision, self.compacted);
        let superseded = if self.any_lives {
            changed(&self.view, compacted, revision)?
        } else {
            HashSet::new()
        };
        let mut hash = crc32c::crc32c(Bucket::Key.name().as_bytes());
        self.view
            .scan(Revision::default(), Revision::end_of(revision), &mut |version| {
                let main = version.revision.main;
                let skipped = (version.deleted && main == compacted)
                    || (main <= compacted && superseded.contains(&version.kv.key));
                if !skipped {
                    let (key, value) = content::pair(&version);
                    hash = crc32c::crc32c_append(crc32c::crc32c_append(hash, &key), &value);
                }
                true
            })?;
        Ok(KeyHash {
            hash,
            revision,
            compacted,
            current: self.current,
        })
    }
}

/// The keys that changed after the compaction, up to `revision`.
fn changed(view: &View, compacted: i64, revision: i64) -> Result<HashSet<Bytes>, Error> {
    let mut changed = HashSet::new();
    if compacted > 0 {
        let after = Revision::end_of(compacted);
        view.scan(after, Revision::end_of(revision), &mut |version| {
            changed.insert(version.kv.key);
            true
        })?;
    }
    Ok(changed)
}
