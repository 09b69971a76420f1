//! The expirer: proposes the revocation of leases whose time is over.
//!
//! It also finds out when a full disk is not full any more: that shows only when something is written, which nobody does
//! who has looked at `/health` first.

use std::sync::Arc;
use std::time::Duration;

use coordinator_wire::etcdserverpb::LeaseRevokeRequest;

use super::node::Node;
use crate::Error;
use crate::auth;
use crate::machine::Request;

/// How often deadlines are looked at, as in etcd.
const INTERVAL: Duration = Duration::from_millis(500);
/// Revocations under way at a time, so that the expiry of a million leases does not crowd out requests.
const REVOCATIONS_MAX: usize = 1_000;

pub(super) async fn run(node: Arc<Node>, shutdown: host::Shutdown) {
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
    }
}

async fn revoke(node: &Node, id: i64) {
    let revocation = Request::LeaseRevoke(LeaseRevokeRequest { id });
    match node.propose(auth::root(), revocation).await {
        Ok(_) => node.metrics.lease_expired.inc(),
        // A client revoked it a moment before.
        Err(Error::LeaseNotFound) => node.deadlines().remove(id),
        Err(error) => {
            tracing::debug!(lease = id, %error, "could not expire a lease; trying again");
            node.deadlines().put_off(id, node.now_ms());
        }
    }
}
