//! How the archivist is called before its time.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

/// What the archivist is called for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(in crate::server) enum Call {
    /// Nothing: its time has come.
    #[default]
    Routine,
    /// There is much to do, or someone waits.
    Now,
    /// Once more, then end.
    Last,
}

#[derive(Debug, Default)]
pub(in crate::server) struct Bell {
    call: Mutex<Call>,
    rung: Condvar,
}

impl Bell {
    pub(in crate::server) fn ring(&self, call: Call) {
        let mut waiting = self.call.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *waiting = (*waiting).max(call);
        self.rung.notify_all();
    }

    /// Waits until rung, or for `interval`.
    pub(in crate::server) fn wait(&self, interval: Duration) -> Call {
        let waiting = self.call.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (mut call, _timeout) = self
            .rung
            .wait_timeout_while(waiting, interval, |call| *call == Call::Routine)
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        std::mem::take(&mut *call)
    }
}
