//! The expirer: proposes the revocation of leases whose time is over.
//!
//! It also finds out when a full disk is not full any more: that shows only when something is written, which no one does
//! who has looked at `/health` first.

use std::sync::Arc;
use std::time::Duration;

use coordinator_wire::etcdserverpb::LeaseRevokeRequest;

use coordinator_wire::coordinatorpb::{LeaseCheckpoint, LeaseCheckpoints};

use crate::Error;
use crate::auth;
use crate::machine::Request;
use crate::server::replica::node::Node;

/// How often deadlines are looked at, as in etcd.
const INTERVAL: Duration = Duration::from_millis(500);
/// Revocations under way at a time, so that the expiry of a million leases does not crowd out requests.
const REVOCATIONS_MAX: usize = 1_000;
/// Checkpoints in one entry.
const CHECKPOINTS_MAX: usize = 1_000;

pub(in crate::server) async fn run(node: Arc<Node>, shutdown: host::Shutdown) {
    let mut checkpointed = tokio::time::Instant::now();
    loop {
        tokio::select! {
            () = shutdown.requested() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        if node.log_is_full() {
            // The machine refuses it, which changes nothing; that it could be written is what counts.
            let nothing = Request::LeaseRevoke(LeaseRevokeRequest { id: 0 });
            let _refused = node.propose(auth::root(), nothing).await;
        }
        loop {
            let due = node.deadlines().due(node.now_ms(), REVOCATIONS_MAX);
            if due.is_empty() {
                break;
            }
            futures::future::join_all(due.iter().map(|id| revoke(&node, *id))).await;
        }
        if checkpointed.elapsed() >= node.limits.checkpoint_interval {
            checkpointed = tokio::time::Instant::now();
            checkpoint(&node).await;
        }
    }
}

/// Notes in the log what long leases have left. One that is renewed meanwhile waits for it, and takes it back.
async fn checkpoint(node: &Node) {
    let interval_ms = u64::try_from(node.limits.checkpoint_interval.as_millis()).unwrap_or(u64::MAX);
    let long: Vec<i64> = {
        let deadlines = node.deadlines();
        let long = deadlines.with_at_least(interval_ms, node.now_ms());
        long.map(|(id, _)| id).collect()
    };
    for ids in long.chunks(CHECKPOINTS_MAX) {
        let _alone = node.checkpointing.write().await;
        let checkpoints = {
            let deadlines = node.deadlines();
            let now = node.now_ms();
            let left = |id: &i64| deadlines.remaining_ms(*id, now).filter(|left| *left > 0);
            let noted = ids.iter().filter_map(|id| {
                Some(LeaseCheckpoint {
                    id: *id,
                    // Rounded up: never early.
                    remaining_ttl: i64::try_from(left(id)?.div_ceil(1_000)).unwrap_or(i64::MAX),
                })
            });
            noted.collect()
        };
        let request = Request::LeaseCheckpoints(LeaseCheckpoints { checkpoints });
        if let Err(error) = node.propose_as_leader(request).await {
            tracing::debug!(%error, "failed to checkpoint lease TTLs");
            return;
        }
    }
    if !long.is_empty() {
        tracing::info!(leases = long.len(), "checkpointed lease TTLs");
    }
}

async fn revoke(node: &Node, id: i64) {
    let revocation = Request::LeaseRevoke(LeaseRevokeRequest { id });
    match node.propose_as_leader(revocation).await {
        Ok(_) => node.metrics.lease_expired.inc(),
        // A client revoked it a moment before.
        Err(Error::LeaseNotFound) => node.deadlines().remove(id),
        Err(error) => {
            tracing::debug!(lease = id, %error, "failed to revoke an expired lease; retrying");
            node.deadlines().put_off(id, node.now_ms());
        }
    }
}
