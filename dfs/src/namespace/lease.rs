//! Leases: who writes which files, and since when they were not heard of.

use std::collections::{BTreeMap, BTreeSet};

use super::InodeId;

/// After this a file may be taken over by another client. Hadoop: `HdfsConstants.LEASE_SOFTLIMIT_PERIOD`.
pub const SOFT_LIMIT_MS: u64 = 60_000;
/// After this the name node closes the file. Hadoop: `dfs.namenode.lease-hard-limit-sec`, 20 minutes.
pub const HARD_LIMIT_MS: u64 = 20 * 60_000;

#[derive(Debug, Default)]
struct Lease {
    renewed: u64,
    files: BTreeSet<InodeId>,
}

/// All leases, by holder.
#[derive(Debug, Default)]
pub struct Leases {
    holders: BTreeMap<Box<str>, Lease>,
}

impl Leases {
    pub fn add(&mut self, holder: &str, file: InodeId, now: u64) {
        let lease = self.holders.entry(holder.into()).or_default();
        lease.renewed = lease.renewed.max(now);
        lease.files.insert(file);
    }

    pub fn remove(&mut self, holder: &str, file: InodeId) {
        if let Some(lease) = self.holders.get_mut(holder) {
            lease.files.remove(&file);
            if lease.files.is_empty() {
                self.holders.remove(holder);
            }
        }
    }

    pub fn renew(&mut self, holder: &str, now: u64) {
        if let Some(lease) = self.holders.get_mut(holder) {
            lease.renewed = lease.renewed.max(now);
        }
    }

    /// Starts every term anew, as after a restart.
    pub fn renew_all(&mut self, now: u64) {
        for lease in self.holders.values_mut() {
            lease.renewed = now;
        }
    }

    /// True if the holder was not heard of for `limit` milliseconds.
    pub fn expired(&self, holder: &str, now: u64, limit: u64) -> bool {
        self.holders
            .get(holder)
            .is_none_or(|lease| lease.renewed + limit <= now)
    }

    /// Files whose holders were not heard of for `limit` milliseconds.
    pub fn expired_files(&self, now: u64, limit: u64) -> Vec<InodeId> {
        let expired = self.holders.values().filter(|lease| lease.renewed + limit <= now);
        expired.flat_map(|lease| lease.files.iter().copied()).collect()
    }

    /// Files of one holder.
    pub fn files(&self, holder: &str) -> Vec<InodeId> {
        self.holders
            .get(holder)
            .map(|lease| lease.files.iter().copied().collect())
            .unwrap_or_default()
    }

    pub fn open_files(&self) -> usize {
        self.holders.values().map(|lease| lease.files.len()).sum()
    }
}
