//! What bounds a member: sizes, times, and which changes of members are allowed.

use std::time::Duration;

/// What the node was told by its flags.
#[derive(Debug, Clone)]
pub(in crate::server) struct Limits {
    /// The largest request, in bytes.
    pub(in crate::server) request_bytes_max: usize,
    /// The most operations of a transaction.
    pub(in crate::server) txn_operations_max: usize,
    /// How often a watcher that wants progress gets it.
    pub(in crate::server) progress_interval: std::time::Duration,
    /// How long a request may wait for its entry, as in etcd.
    pub(in crate::server) request_timeout: Duration,
    /// How long a leader may be silent.
    pub(in crate::server) election: Duration,
    /// How often what leases have left is noted.
    pub(in crate::server) checkpoint_interval: Duration,
    pub(in crate::server) changes: ChangeRules,
    /// Entries that stay in the log for members that are a little behind.
    pub(in crate::server) catch_up_entries: u64,
    /// What the store may take before it takes no more, in bytes.
    pub(in crate::server) quota_bytes: u64,
    /// What takes longer to apply, or to answer, is logged.
    pub(in crate::server) slow_apply: Duration,
    pub(in crate::server) slow_answer: Duration,
    /// Whether gRPC's health check says "not serving" while the store is defragmented.
    pub(in crate::server) stops_on_defragmentation: bool,
    /// Whether what a compaction is about is hashed.
    pub(in crate::server) hashes_compactions: bool,
}

/// What is done about changes.
#[derive(Debug, Clone)]
pub(in crate::server) struct ChangeRules {
    pub(in crate::server) strict: bool,
    pub(in crate::server) learners_max: usize,
}

/// etcd's default, in bytes.
pub(in crate::server) const QUOTA_BYTES: u64 = 2 << 30;

/// etcd's flag: 0 is the default, less is no quota.
pub(in crate::server) fn quota_bytes(flag: i64) -> u64 {
    match u64::try_from(flag) {
        Ok(0) => QUOTA_BYTES,
        Ok(bytes) => bytes,
        Err(_) => u64::MAX,
    }
}
