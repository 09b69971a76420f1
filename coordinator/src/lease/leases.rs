//! Which leases exist and which keys hang on them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::Error;
use crate::plant::{Plant, is_planted};

/// The shortest time granted, in seconds: one and a half election timeouts, as in etcd, so that a lease outlives a change
/// of leader.
pub const TTL_SECONDS_MIN: i64 = 2;
/// The longest time that can be asked for, in seconds: etcd's limit.
pub const TTL_SECONDS_MAX: i64 = 9_000_000_000;

/// One lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub ttl_seconds: i64,
    /// What it had left at its last checkpoint; its full time if there was none since it was renewed.
    pub remaining_seconds: i64,
    pub keys: BTreeSet<Bytes>,
}

/// A lease as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseChange {
    pub ttl_seconds: i64,
    pub remaining_seconds: i64,
}

/// All leases.
///
/// - A key hangs on at most one lease, and `of_key` and `Lease::keys` say the same.
#[derive(Debug, Default)]
pub struct Leases {
    leases: BTreeMap<i64, Lease>,
    of_key: BTreeMap<Bytes, i64>,
    /// What changed since [`Leases::take_changed`].
    changed: BTreeSet<i64>,
}

impl Leases {
    /// Grants lease `id`, which the caller chose, and returns the time granted.
    pub fn grant(&mut self, id: i64, ttl_seconds: i64) -> Result<i64, Error> {
        if id == 0 {
            return Err(Error::LeaseNotFound);
        }
        if ttl_seconds > TTL_SECONDS_MAX {
            return Err(Error::LeaseTtlTooLarge);
        }
        if self.leases.contains_key(&id) {
            return Err(Error::LeaseExists);
        }
        let ttl_seconds = ttl_seconds.max(TTL_SECONDS_MIN);
        self.leases.insert(
            id,
            Lease {
                ttl_seconds,
                remaining_seconds: ttl_seconds,
                keys: BTreeSet::new(),
            },
        );
        self.changed.insert(id);
        Ok(ttl_seconds)
    }

    /// Takes in a lease read from disk.
    pub fn restore(&mut self, id: i64, lease: LeaseChange) {
        self.leases.insert(
            id,
            Lease {
                ttl_seconds: lease.ttl_seconds,
                remaining_seconds: lease.remaining_seconds,
                keys: BTreeSet::new(),
            },
        );
    }

    /// Notes what a lease has left: so much a leader after this one gives it. 0 stands for its full time.
    pub fn checkpoint(&mut self, id: i64, remaining_seconds: i64) {
        if let Some(lease) = self.leases.get_mut(&id) {
            lease.remaining_seconds = match remaining_seconds {
                left if left > 0 => left.min(lease.ttl_seconds),
                _ => lease.ttl_seconds,
            };
            self.changed.insert(id);
        }
    }

    /// Ends a lease and returns the keys that die with it.
    pub fn revoke(&mut self, id: i64) -> Result<BTreeSet<Bytes>, Error> {
        let lease = self.leases.remove(&id).ok_or(Error::LeaseNotFound)?;
        for key in &lease.keys {
            self.of_key.remove(key);
        }
        self.changed.insert(id);
        if is_planted(Plant::RevokedKeysStay) {
            return Ok(BTreeSet::new());
        }
        Ok(lease.keys)
    }

    /// Hangs a key on lease `id` and off any other; 0 is no lease.
    pub fn attach(&mut self, key: &Bytes, id: i64) {
        if id == 0 {
            return self.detach(key);
        }
        let before = self.of_key.insert(key.clone(), id);
        if before == Some(id) {
            return;
        }
        if let Some(lease) = before.and_then(|before| self.leases.get_mut(&before)) {
            lease.keys.remove(key);
        }
        if let Some(lease) = self.leases.get_mut(&id) {
            lease.keys.insert(key.clone());
        }
    }

    pub fn detach(&mut self, key: &Bytes) {
        if let Some(id) = self.of_key.remove(key)
            && let Some(lease) = self.leases.get_mut(&id)
        {
            lease.keys.remove(key);
        }
    }

    /// The lease that a key hangs on; 0 for none.
    pub fn of_key(&self, key: &Bytes) -> i64 {
        self.of_key.get(key).copied().unwrap_or(0)
    }

    pub fn get(&self, id: i64) -> Option<&Lease> {
        self.leases.get(&id)
    }

    /// All leases in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (i64, &Lease)> {
        self.leases.iter().map(|(id, lease)| (*id, lease))
    }

    /// The leases that changed since the last call; none for those that are gone.
    pub fn take_changed(&mut self) -> Vec<(i64, Option<LeaseChange>)> {
        let changed = std::mem::take(&mut self.changed);
        changed
            .into_iter()
            .map(|id| {
                let lease = self.leases.get(&id).map(|lease| LeaseChange {
                    ttl_seconds: lease.ttl_seconds,
                    remaining_seconds: lease.remaining_seconds,
                });
                (id, lease)
            })
            .collect()
    }
}
