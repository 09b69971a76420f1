//! The figures of `/metrics` that are kept elsewhere, read when the page is asked for.

use crate::server::listen::connections;
use crate::server::replica::node::Node;

/// Reads the figures that are kept elsewhere.
pub(in crate::server) fn refresh(node: &Node) {
    let metrics = &node.metrics;
    let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    {
        let machine = node.machine();
        metrics.keys.set(gauge(machine.store().keys() as u64));
        metrics.revision.set(machine.store().revision());
        metrics.compacted.set(machine.store().compacted().max(0));
        metrics.applied_index.set(gauge(machine.applied()));
        metrics.auth_revision.set(gauge(machine.auth().revision()));
        let local = format!("{:x}", node.identity.member);
        metrics.server_id.with_label_values(&[&local]).set(1);
        metrics.known_peers.reset();
        for other in machine
            .members()
            .iter()
            .filter(|member| member.id != node.identity.member)
        {
            let remote = format!("{:x}", other.id);
            metrics.known_peers.with_label_values(&[&local, &remote]).set(1);
        }
    }
    let raft = node.raft().gauges();
    metrics.committed.set(gauge(raft.commit()));
    metrics.has_leader.set(i64::from(raft.leader().is_some()));
    metrics.is_leader.set(i64::from(raft.is_leader()));
    metrics.is_learner.set(i64::from(node.is_learner()));
    metrics.leader_changes.set(gauge(raft.leader_changes()));
    metrics.size.set(gauge(node.space.bytes()));
    metrics.pending.set(gauge(node.pending() as u64));
    metrics.log_groups.set(gauge(node.log_stats().groups));
    metrics.quota.set(gauge(node.limits.quota_bytes));
    metrics.log_bytes.set(gauge(node.log_stats().bytes));
    metrics
        .defragmentations
        .set(i64::from(node.defragmentation.is_wanted()));
    if let Some((used, limit)) = open_files() {
        metrics.open_files.set(gauge(used));
        metrics.open_files_max.set(gauge(limit));
    }
    let (received, sent) = connections::bytes();
    metrics
        .received_bytes
        .inc_by(received.saturating_sub(metrics.received_bytes.get()));
    metrics.sent_bytes.inc_by(sent.saturating_sub(metrics.sent_bytes.get()));
    metrics.count_started();
}

/// File descriptors in use, and how many there may be; Linux says so.
fn open_files() -> Option<(u64, u64)> {
    let used = std::fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    // "unlimited" is no number.
    let limit = limit.split_whitespace().next()?.parse().unwrap_or(u64::MAX);
    Some((used, limit))
}
