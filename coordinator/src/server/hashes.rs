//! Hashes of the keys for other members, and those of the last compactions.
//!
//! A compaction happens at the same entry everywhere, so the hash of what was there just before it is one that all members
//! can compare at leisure, however far each has gone meanwhile. It is made in the background of a view that was taken as the
//! compaction was applied; only where the comparison is wanted (`--feature-gates=CompactHashCheck=true`, on all members),
//! since it reads the whole store.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use super::node::Node;
use super::snapshot::Unhashed;
use crate::Error;
use crate::corruption::KeyHash;
use crate::machine::{Machine, Outcome, Request};

/// Compactions whose hashes are kept, as in etcd.
const KEPT_MAX: usize = 10;

/// The hashes of the last compactions.
pub(super) struct Hashes {
    of_compactions: Mutex<VecDeque<KeyHash>>,
    /// One is made at a time; a compaction meanwhile goes without.
    is_busy: AtomicBool,
    /// Each reads the whole store, so others wait for their turn.
    turn: Semaphore,
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
    pub(super) fn of_compactions(&self) -> Vec<KeyHash> {
        let kept = self.of_compactions.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().rev().copied().collect()
    }

    fn keep(&self, hash: KeyHash) {
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

/// What is to be hashed if `request` is a compaction, as it is before it is applied.
pub(super) fn before(node: &Node, machine: &Machine, request: &Request) -> Option<Unhashed> {
    match request {
        Request::Compaction(request) if node.limits.hashes_compactions && request.revision > 0 => {
            Unhashed::of(machine.store(), request.revision).ok()
        }
        _ => None,
    }
}

/// Hashes it in the background, where the compaction was carried out.
pub(super) fn after(node: &Node, unhashed: Unhashed, outcome: &Result<Outcome, Error>) {
    let hashes = Arc::clone(&node.hashes);
    if outcome.is_err() || hashes.is_busy.swap(true, Ordering::AcqRel) {
        return;
    }
    node.runtime.spawn_blocking(move || {
        match unhashed.hash() {
            Ok(hash) => hashes.keep(hash),
            Err(error) => tracing::warn!(%error, "could not hash what a compaction is about"),
        }
        hashes.is_busy.store(false, Ordering::Release);
    });
}

/// The hash at `revision` (0: now), as it was just before a compaction to it where there was one.
pub(super) async fn hash_at(node: &Node, revision: i64) -> Result<KeyHash, Error> {
    let kept = node.hashes.of_compactions();
    if let Some(kept) = kept.into_iter().find(|kept| kept.revision == revision) {
        let current = node.machine().store().revision();
        return Ok(KeyHash { current, ..kept });
    }
    let _turn = node.hashes.turn.acquire().await.map_err(|_ended| Error::Stopped)?;
    let unhashed = Unhashed::of(node.machine().store(), revision)?;
    let hashed = tokio::task::spawn_blocking(move || unhashed.hash()).await;
    hashed.map_err(|_ended| Error::Stopped)?
}
