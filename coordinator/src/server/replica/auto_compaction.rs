//! Auto-compaction at the edge: the clock for [`crate::compaction`], and the proposals.

use std::sync::Arc;
use std::time::Instant;

use coordinator_wire::etcdserverpb::CompactionRequest;

use crate::auth;
use crate::compaction::{Retention, Rule};
use crate::machine::Request;
use crate::server::replica::node::Node;

pub(in crate::server) async fn run(node: Arc<Node>, retention: Retention, shutdown: host::Shutdown) {
    let mut rule = Rule::new(retention);
    let started = Instant::now();
    tracing::info!(?retention, "auto-compaction enabled");
    loop {
        tokio::select! {
            () = shutdown.requested() => return,
            () = tokio::time::sleep(rule.interval()) => {}
        }
        let revision = node.machine().store().revision();
        // All members keep count, so that anyone who leads next goes on where this one stopped.
        let Some(revision) = rule.decide(started.elapsed(), revision) else {
            continue;
        };
        if !node.raft().gauges().is_leader() {
            continue;
        }
        let request = CompactionRequest {
            revision,
            physical: false,
        };
        match node.propose(auth::root(), Request::Compaction(request)).await {
            Ok(_) => tracing::info!(revision, "finished auto compaction"),
            // A client, or another member, was there before.
            Err(crate::Error::Compacted) => {}
            Err(error) => tracing::warn!(revision, %error, "failed auto compaction; retrying later"),
        }
    }
}
