//! No lease ends before its time. Source: etcd's API: a keep-alive that is answered with a time to live promises that
//! time; etcd's issue 15247 shows how a former leader breaks the promise.

use std::collections::{BTreeMap, BTreeSet};

use crate::invariant::{Check, require};
use crate::world::Micros;

/// What was promised to the holders of leases.
#[derive(Debug, Default)]
pub struct LeasesNeverEarly {
    until: BTreeMap<i64, Micros>,
    /// Those that a client asked to be revoked.
    given_up: BTreeSet<i64>,
}

impl LeasesNeverEarly {
    /// An answer reached the holder: the lease lives for `ttl` after it was asked for, at least.
    pub fn promised(&mut self, id: i64, asked: Micros, ttl: Micros) {
        let until = self.until.entry(id).or_default();
        *until = (*until).max(asked + ttl);
    }

    /// A client asked to revoke it: from now on it may end at any time.
    pub fn given_up(&mut self, id: i64) {
        self.given_up.insert(id);
    }

    /// It has ended.
    pub fn ended(&self, id: i64, now: Micros) -> Check {
        let until = self.until.get(&id).copied().unwrap_or_default();
        require(
            self.given_up.contains(&id) || now >= until,
            "leases_never_early",
            || format!("lease {id} ended at {now}, and was promised until {until}"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_early_end_is_seen() {
        let mut leases = LeasesNeverEarly::default();
        leases.promised(7, 100, 50);
        leases.promised(7, 90, 50);
        assert!(leases.ended(7, 150).is_ok() && leases.ended(7, 149).is_err());
        leases.given_up(7);
        assert!(leases.ended(7, 10).is_ok());
    }
}
