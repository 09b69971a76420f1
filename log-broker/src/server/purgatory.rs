//! Who waits for a partition: produce requests for the high watermark to reach an offset, long polls for it to move.
//!
//! A deadline is the waiting task's own: it drops its receiver, and the entry goes with the next look at the list.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use tokio::sync::{Notify, oneshot};

use super::partition::Refused;

/// Entries are looked through for dropped ones when there are this many more.
const PRUNED_AT: usize = 32;

/// Tells how waiting for an offset ended.
pub(super) type Reached = oneshot::Receiver<Result<(), Refused>>;

#[derive(Debug)]
pub(super) struct Purgatory {
    /// By the offset that the high watermark must reach, and the number of the entry.
    by_offset: BTreeMap<(i64, u64), oneshot::Sender<Result<(), Refused>>>,
    next_number: u64,
    prune_offsets_at: usize,
    long_polls: Vec<Weak<Notify>>,
    prune_polls_at: usize,
}

impl Default for Purgatory {
    fn default() -> Self {
        Self {
            by_offset: BTreeMap::new(),
            next_number: 0,
            prune_offsets_at: PRUNED_AT,
            long_polls: Vec::new(),
            prune_polls_at: PRUNED_AT,
        }
    }
}

impl Purgatory {
    /// Waits for the high watermark to reach `offset`, which it has not yet.
    pub(super) fn wait_for(&mut self, offset: i64) -> Reached {
        if self.by_offset.len() >= self.prune_offsets_at {
            self.by_offset.retain(|_, waiting| !waiting.is_closed());
            self.prune_offsets_at = (self.by_offset.len() * 2).max(PRUNED_AT);
        }
        let (waiting, reached) = oneshot::channel();
        self.by_offset.insert((offset, self.next_number), waiting);
        self.next_number += 1;
        reached
    }

    /// Notifies `notify` when the high watermark has moved, once. A long poll that has ended drops it.
    pub(super) fn poll_with(&mut self, notify: &Arc<Notify>) {
        if self.long_polls.len() >= self.prune_polls_at {
            self.long_polls.retain(|waiter| waiter.strong_count() > 0);
            self.prune_polls_at = (self.long_polls.len() * 2).max(PRUNED_AT);
        }
        self.long_polls.push(Arc::downgrade(notify));
    }

    /// The high watermark has moved.
    pub(super) fn advance(&mut self, high_watermark: i64) {
        let later = self.by_offset.split_off(&(high_watermark + 1, 0));
        for (_, waiting) in std::mem::replace(&mut self.by_offset, later) {
            let _ = waiting.send(Ok(()));
        }
        self.wake();
    }

    /// Nothing that is waited for will come.
    pub(super) fn fail(&mut self, refused: &Refused) {
        for (_, waiting) in std::mem::take(&mut self.by_offset) {
            let _ = waiting.send(Err(refused.clone()));
        }
        self.wake();
    }

    fn wake(&mut self) {
        for waiter in self.long_polls.drain(..) {
            if let Some(notify) = waiter.upgrade() {
                notify.notify_one();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use log_broker_wire::ErrorCode;

    use super::*;

    #[test]
    fn those_whose_offset_is_reached_are_answered() {
        let mut purgatory = Purgatory::default();
        let (mut five, mut six) = (purgatory.wait_for(5), purgatory.wait_for(6));
        purgatory.advance(5);
        assert_eq!(five.try_recv().unwrap(), Ok(()));
        assert!(six.try_recv().is_err());
        let refused = Refused::from(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        purgatory.fail(&refused);
        assert_eq!(six.try_recv().unwrap(), Err(refused));
    }

    #[test]
    fn requests_that_timed_out_leave_nothing() {
        let mut purgatory = Purgatory::default();
        for offset in 0..1000 {
            drop(purgatory.wait_for(offset));
        }
        assert!(purgatory.by_offset.len() <= PRUNED_AT);
    }
}
