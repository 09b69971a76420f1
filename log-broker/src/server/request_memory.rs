//! Memory for requests that are arriving or under way, shared by all connections.
//!
//! Bytes are counted when memory is taken for them, as they arrive. Large requests could so stop each other half way; then
//! one of them at a time may go beyond the limit, so that all get through in turn. A sender that does not get on while
//! others wait is closed by its connection, see [`RequestMemory::is_short`].

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use log_broker_wire::frame::FRAME_BYTES_MAX;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes that requests of all connections may hold.
const SHARED_BYTES_MAX: usize = 256 << 20;
/// Bytes that requests of one connection may hold: the longest one.
const CONNECTION_BYTES_MAX: usize = FRAME_BYTES_MAX;
/// The unit in which bytes are counted.
const UNIT: usize = 1 << 10;

/// A number of bytes that is shared out.
#[derive(Debug)]
pub(super) struct RequestMemory {
    free: Arc<Semaphore>,
    beyond: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// Memory that a request holds until it is dropped.
#[derive(Debug, Default)]
pub(super) struct Held {
    permits: Vec<OwnedSemaphorePermit>,
    /// It may take more than there is.
    beyond: Option<OwnedSemaphorePermit>,
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.permits.is_empty() && self.beyond.is_none()
    }
}

impl RequestMemory {
    pub(super) fn shared() -> Self {
        Self::with(SHARED_BYTES_MAX)
    }

    pub(super) fn of_connection() -> Self {
        Self::with(CONNECTION_BYTES_MAX)
    }

    fn with(bytes: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(bytes / UNIT)),
            beyond: Arc::new(Semaphore::new(1)),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Takes memory for a request that may hold some already; waits where there is none.
    pub(super) async fn take(&self, held: &mut Held, bytes: usize) {
        if held.beyond.is_some() {
            return;
        }
        let units = (bytes / UNIT) as u32;
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_many_owned(units) {
            held.permits.push(permit);
            return;
        }
        let _waiting = Waiting::begin(&self.waiting);
        // Neither is ever closed.
        tokio::select! {
            permit = Arc::clone(&self.free).acquire_many_owned(units) => held.permits.extend(permit.ok()),
            beyond = Arc::clone(&self.beyond).acquire_owned() => held.beyond = beyond.ok(),
        }
    }

    /// Whether somebody waits for memory.
    pub(super) fn is_short(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

/// Counts whoever waits, also one that gives up.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn large_requests_get_through_in_turn_however_little_there_is() {
        let memory = Arc::new(RequestMemory::with(100 * UNIT));
        let request = |memory: Arc<RequestMemory>| async move {
            let mut held = Held::default();
            for _ in 0..8 {
                memory.take(&mut held, 10 * UNIT).await;
                tokio::task::yield_now().await;
            }
        };
        let all: Vec<_> = (0..20).map(|_| tokio::spawn(request(Arc::clone(&memory)))).collect();
        for one in all {
            tokio::time::timeout(Duration::from_secs(10), one)
                .await
                .unwrap()
                .unwrap();
        }
        assert!(!memory.is_short());
        assert_eq!(
            (memory.free.available_permits(), memory.beyond.available_permits()),
            (100, 1)
        );
    }
}
