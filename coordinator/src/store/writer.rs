//! One revision in the making.

use std::sync::Arc;

use bytes::Bytes;
use coordinator_wire::mvccpb::KeyValue;

use super::bounds::Bounds;
use super::kv::Store;
use super::version::{Revision, Version};

/// Changes of one transaction. They can be read through [`Writer::store`] at once, and become the store's next revision
/// with [`Writer::finish`]; a writer that changed nothing makes no revision.
#[derive(Debug)]
pub struct Writer<'a> {
    store: &'a mut Store,
    changes: Vec<Arc<Version>>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(store: &'a mut Store) -> Self {
        Self {
            store,
            changes: Vec::new(),
        }
    }

    /// The store as it is with the changes so far.
    pub fn store(&self) -> &Store {
        self.store
    }

    /// The revision that a reader of this transaction sees: the new one once something has changed.
    pub fn revision(&self) -> i64 {
        self.store.revision() + i64::from(!self.changes.is_empty())
    }

    fn next(&self) -> Revision {
        Revision::new(
            self.store.revision() + 1,
            u32::try_from(self.changes.len()).unwrap_or(u32::MAX),
        )
    }

    /// Sets a key, and returns a copy of it. What is kept is copied: a slice of the buffer in which a request
    /// was received would keep all of that buffer, for as long as the key lives.
    pub fn put(&mut self, key: &[u8], value: &[u8], lease: i64) -> Bytes {
        let revision = self.next();
        let generation = self.store.index_put(key, revision);
        let key = Bytes::copy_from_slice(key);
        let kv = KeyValue {
            key: key.clone(),
            create_revision: generation.created,
            mod_revision: revision.main,
            version: generation.version,
            value: Bytes::copy_from_slice(value),
            lease,
        };
        self.push(Version {
            revision,
            deleted: false,
            kv,
        });
        key
    }

    /// Deletes the living keys within `bounds` and returns them, in order.
    pub fn delete(&mut self, bounds: &Bounds) -> Vec<Bytes> {
        let keys = self.store.living(bounds);
        for key in &keys {
            let revision = self.next();
            self.store.index_delete(key, revision);
            let kv = KeyValue {
                key: key.clone(),
                mod_revision: revision.main,
                ..Default::default()
            };
            self.push(Version {
                revision,
                deleted: true,
                kv,
            });
        }
        keys
    }

    fn push(&mut self, version: Version) {
        let version = Arc::new(version);
        self.store.push(Arc::clone(&version));
        self.changes.push(version);
    }

    /// Ends the transaction and returns its changes in order.
    pub fn finish(self) -> Vec<Arc<Version>> {
        if !self.changes.is_empty() {
            self.store.advance(self.store.revision() + 1);
        }
        self.changes
    }
}
