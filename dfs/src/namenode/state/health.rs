//! What `/healthz` answers: a thread looks at the namespace now and then, so that no request waits for its lock.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use super::{NameNode, State};

/// How often the lock is looked at, and how long it may be held before the name node counts as unhealthy.
const LOCK_WATCH_INTERVAL: Duration = Duration::from_millis(200);
pub(super) const LOCK_HELD_MAX: Duration = Duration::from_secs(10);

impl State {
    /// What cannot be served now, in one line.
    fn degraded(&self) -> Option<String> {
        if self.soft.low_on_space {
            return Some("safe mode: the disk is nearly full".to_owned());
        }
        if self.soft.blocks.in_safe_mode() {
            return Some(format!("safe mode: {}", self.soft.blocks.safe_mode_reason()));
        }
        let missing = self.soft.blocks.health().missing;
        (missing > 0).then(|| format!("{missing} blocks have no good replica: files that need them cannot be read"))
    }
}

impl NameNode {
    /// Takes the lock now and then, on a thread of its own, so that [`NameNode::health`] need not wait for it.
    pub fn watch_lock(self: &Arc<Self>) -> std::io::Result<()> {
        let watched: Weak<Self> = Arc::downgrade(self);
        std::thread::Builder::new()
            .name("nn-lock-watch".to_owned())
            .spawn(move || {
                while let Some(node) = watched.upgrade() {
                    let degraded = node.lock().degraded();
                    *node.degraded.lock().unwrap_or_else(PoisonError::into_inner) = degraded;
                    node.lock_free_at.store(node.now(), Ordering::Relaxed);
                    drop(node);
                    std::thread::sleep(LOCK_WATCH_INTERVAL);
                }
            })?;
        Ok(())
    }

    /// Whether everything can be served, read and written, as of the last look at the namespace. Never waits for its lock.
    ///
    /// # Errors
    /// Why not, in one line.
    pub fn health(&self) -> Result<(), String> {
        let held = self.now().saturating_sub(self.lock_free_at.load(Ordering::Relaxed));
        if held > LOCK_HELD_MAX.as_millis() as u64 {
            return Err(format!("the namespace lock has been held for {held} ms"));
        }
        if self.is_failed() {
            return Err("the edit log cannot be written: free disk space".to_owned());
        }
        let degraded = self.degraded.lock().unwrap_or_else(PoisonError::into_inner);
        degraded.clone().map_or(Ok(()), Err)
    }
}
