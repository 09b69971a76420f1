//! Hashes of the keys for other members, and those of the last compactions.
//!
//! A compaction happens at the same entry everywhere, so the hash of what was there just before it is one that all members
//! can compare at leisure, however far each has gone meanwhile. It is made in the background of a view that was taken as the
//! compaction was applied; only where the comparison is wanted (`--feature-gates=CompactHashCheck=true`, on all members),
//! since it reads the whole store.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Semaphore;

use crate::corruption::KeyHash;

/// Compactions whose hashes are kept, as in etcd.
const KEPT_MAX: usize = 10;

/// The hashes of the last compactions.
pub(in crate::server) struct Hashes {
    of_compactions: Mutex<VecDeque<KeyHash>>,
    /// One is made at a time; a compaction meanwhile goes without.
    pub(super) is_busy: AtomicBool,
    /// Each reads the whole store, so others wait for their turn.
    pub(super) turn: Semaphore,
}

impl Default for Hashes {
    fn default() -> Self {
        Self {
            of_compactions: Mutex::default(),
            is_busy: AtomicBool::new(false),
            turn: Semaphore::new(1),
        }
    }
}

impl Hashes {
    /// Those of compactions, the newest first.
    pub(in crate::server) fn of_compactions(&self) -> Vec<KeyHash> {
        let kept = self.of_compactions.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().rev().copied().collect()
    }

    pub(super) fn keep(&self, hash: KeyHash) {
        tracing::info!(
            hash = hash.hash,
            revision = hash.revision,
            compact_revision = hash.compacted,
            "storing new hash"
        );
        let mut kept = self.of_compactions.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back(hash);
        if kept.len() > KEPT_MAX {
            kept.pop_front();
        }
    }
}
