//! Wakes the persister before its interval is over.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

/// Why the persister is woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(in crate::server) enum WakeReason {
    /// Its interval is over.
    #[default]
    Interval,
    /// There is much to do, or a request waits for it.
    Requested,
    /// Once more, then end.
    Shutdown,
}

#[derive(Debug, Default)]
pub(in crate::server) struct WakeUp {
    reason: Mutex<WakeReason>,
    woken: Condvar,
}

impl WakeUp {
    pub(in crate::server) fn wake(&self, reason: WakeReason) {
        let mut waiting = self.reason.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *waiting = (*waiting).max(reason);
        self.woken.notify_all();
    }

    /// Waits until woken, or for `interval`.
    pub(in crate::server) fn wait(&self, interval: Duration) -> WakeReason {
        let waiting = self.reason.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (mut call, _timeout) = self
            .woken
            .wait_timeout_while(waiting, interval, |call| *call == WakeReason::Interval)
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        std::mem::take(&mut *call)
    }
}
