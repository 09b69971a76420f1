//! Makes the hashes that members compare ([`super::hashes`]).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::Error;
use crate::corruption::KeyHash;
use crate::machine::{Machine, Outcome, Request};
use crate::server::replica::node::Node;
use crate::snapshot::Unhashed;

/// What is to be hashed if `request` is a compaction, as it is before it is applied.
pub(in crate::server) fn before(node: &Node, machine: &Machine, request: &Request) -> Option<Unhashed> {
    match request {
        Request::Compaction(request) if node.limits.hashes_compactions && request.revision > 0 => {
            Unhashed::of(machine.store(), request.revision).ok()
        }
        _ => None,
    }
}

/// Hashes it in the background, where the compaction was carried out.
pub(in crate::server) fn after(node: &Node, unhashed: Unhashed, outcome: &Result<Outcome, Error>) {
    let hashes = Arc::clone(&node.hashes);
    if outcome.is_err() || hashes.is_busy.swap(true, Ordering::AcqRel) {
        return;
    }
    node.runtime.spawn_blocking(move || {
        match unhashed.hash() {
            Ok(hash) => hashes.keep(hash),
            Err(error) => tracing::warn!(%error, "failed to compute the compaction hash"),
        }
        hashes.is_busy.store(false, Ordering::Release);
    });
}

/// The hash at `revision` (0: now), as it was just before a compaction to it where there was one.
pub(in crate::server) async fn hash_at(node: &Node, revision: i64) -> Result<KeyHash, Error> {
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
