//! When leases end, by the clock of the member that leads.

use std::collections::{BTreeMap, BTreeSet};

use crate::plant::{Plant, is_planted};

/// How long a revocation that could not be written is put off, in milliseconds.
const RETRY_MS: u64 = 500;

/// The deadlines of all leases, in milliseconds of a clock that the caller reads.
///
/// Only the leader keeps any ([`Deadlines::promote`]); elsewhere nothing is ever due.
#[derive(Debug, Default)]
pub struct Deadlines {
    leading: bool,
    at: BTreeMap<i64, u64>,
    queue: BTreeSet<(u64, i64)>,
    /// Leases whose time is over and whose revocation is on its way: nothing renews them any more.
    over: BTreeSet<i64>,
}

impl Deadlines {
    /// This member leads from now on, and gives each lease this many seconds.
    pub fn promote(&mut self, leases: impl IntoIterator<Item = (i64, i64)>, extra_ms: u64, now_ms: u64) {
        self.demote();
        self.leading = true;
        for (id, seconds) in leases {
            self.set(
                id,
                now_ms.saturating_add(extra_ms).saturating_add(milliseconds(seconds)),
            );
        }
    }

    /// Another member leads: its clock counts.
    pub fn demote(&mut self) {
        *self = Self::default();
    }

    pub fn is_leading(&self) -> bool {
        self.leading
    }

    /// The leases that have at least this many milliseconds left, and how many: for checkpoints.
    pub fn with_at_least(&self, remaining_ms: u64, now_ms: u64) -> impl Iterator<Item = (i64, u64)> {
        self.queue
            .range((now_ms.saturating_add(remaining_ms), i64::MIN)..)
            .map(move |(at, id)| (*id, at - now_ms))
    }

    /// A lease was granted: its time starts now.
    pub fn start(&mut self, id: i64, ttl_seconds: i64, now_ms: u64) {
        if !self.leading {
            return;
        }
        self.over.remove(&id);
        self.set(id, now_ms.saturating_add(milliseconds(ttl_seconds)));
    }

    /// Renews a lease. False if it is over or unknown.
    pub fn renew(&mut self, id: i64, ttl_seconds: i64, now_ms: u64) -> bool {
        match self.at.get(&id) {
            // The deadline may have passed a moment before anyone looked; it stays passed.
            Some(at) if (*at > now_ms && !self.over.contains(&id)) || is_planted(Plant::RenewedWhenOver) => {
                self.set(id, now_ms.saturating_add(milliseconds(ttl_seconds)));
                true
            }
            _ => false,
        }
    }

    /// A lease was revoked.
    pub fn remove(&mut self, id: i64) {
        if let Some(at) = self.at.remove(&id) {
            self.queue.remove(&(at, id));
        }
        self.over.remove(&id);
    }

    /// The leases whose time is over, at most `limit` of them, soonest first. Each is named once; see
    /// [`Deadlines::put_off`].
    pub fn due(&mut self, now_ms: u64, limit: usize) -> Vec<i64> {
        let mut due = Vec::new();
        while due.len() < limit
            && let Some(&(at, id)) = self.queue.first()
            && at <= now_ms
        {
            self.queue.pop_first();
            self.over.insert(id);
            due.push(id);
        }
        due
    }

    /// The revocation of a lease that was due could not be written: it is due again after a while.
    pub fn put_off(&mut self, id: i64, now_ms: u64) {
        if self.at.contains_key(&id) {
            self.set(id, now_ms + RETRY_MS);
        }
    }

    /// When the next lease is due.
    pub fn next(&self) -> Option<u64> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// The milliseconds that a lease has left; 0 if it is over, none if it is unknown.
    pub fn remaining_ms(&self, id: i64, now_ms: u64) -> Option<u64> {
        let at = *self.at.get(&id)?;
        Some(if self.over.contains(&id) {
            0
        } else {
            at.saturating_sub(now_ms)
        })
    }

    fn set(&mut self, id: i64, at: u64) {
        if let Some(before) = self.at.insert(id, at) {
            self.queue.remove(&(before, id));
        }
        self.queue.insert((at, id));
    }
}

fn milliseconds(ttl_seconds: i64) -> u64 {
    let milliseconds = if is_planted(Plant::LeaseEarly) { 500 } else { 1_000 };
    u64::try_from(ttl_seconds).unwrap_or(0).saturating_mul(milliseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewed_lease_lives_and_an_overdue_one_is_named_once() {
        let mut deadlines = Deadlines::default();
        deadlines.promote([], 0, 0);
        deadlines.start(1, 10, 0);
        deadlines.start(2, 5, 0);
        assert_eq!(deadlines.next(), Some(5_000));
        assert!(deadlines.renew(2, 5, 4_999));
        assert!(deadlines.due(9_998, 10).is_empty(), "not a millisecond early");
        assert_eq!(deadlines.due(9_999, 10), [2]);
        assert!(!deadlines.renew(2, 5, 9_999), "it is over");
        assert!(deadlines.due(9_999, 10).is_empty());
        assert_eq!(deadlines.remaining_ms(2, 9_999), Some(0));
        assert_eq!(deadlines.due(10_000, 10), [1]);
        deadlines.remove(1);
        assert_eq!((deadlines.next(), deadlines.remaining_ms(1, 10_000)), (None, None));
    }

    #[test]
    fn only_a_leader_keeps_deadlines_and_a_new_one_gives_the_time_again() {
        let mut deadlines = Deadlines::default();
        deadlines.start(1, 10, 0);
        assert_eq!((deadlines.next(), deadlines.renew(1, 10, 0)), (None, false));
        deadlines.promote([(1, 10), (2, 4)], 500, 60_000);
        assert!(deadlines.due(64_499, 10).is_empty(), "not a millisecond early");
        assert_eq!(deadlines.due(64_500, 10), [2]);
        assert_eq!(deadlines.with_at_least(1_000, 64_500).collect::<Vec<_>>(), [(1, 6_000)]);
        deadlines.demote();
        assert!(deadlines.due(u64::MAX, 10).is_empty());
    }

    #[test]
    fn a_deadline_that_passed_unseen_cannot_be_renewed() {
        let mut deadlines = Deadlines::default();
        deadlines.promote([], 0, 0);
        deadlines.start(1, 2, 0);
        assert!(!deadlines.renew(1, 2, 2_000));
        assert_eq!(deadlines.due(2_000, 1), [1]);
        deadlines.put_off(1, 2_000);
        assert!(deadlines.due(2_000, 1).is_empty());
        assert!(!deadlines.renew(1, 2, 2_001), "put off, but over");
        assert_eq!(deadlines.due(2_500, 1), [1]);
    }
}
