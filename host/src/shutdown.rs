//! Orderly shutdown: one signal asks, the deadline or a second signal forces.

use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Signals so soon after the first are the same one: `timeout` sends it to a process and then to its group, a terminal to
/// everybody in the foreground.
const SAME_SIGNAL: Duration = Duration::from_millis(100);
/// How long a service may drain after it was asked to end.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(8);

/// A request to end, seen by every task that holds a clone.
#[derive(Debug, Clone)]
pub struct Shutdown {
    sender: watch::Sender<bool>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// One that only [`Shutdown::trigger`] triggers.
    pub fn new() -> Self {
        Self {
            sender: watch::Sender::new(false),
        }
    }

    /// One that SIGTERM and SIGINT trigger. Must be called inside a tokio runtime.
    pub fn on_signals() -> Self {
        let shutdown = Self::new();
        let triggered = shutdown.clone();
        // Here, not in the task: a signal that comes before the task first runs must not kill the process.
        let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        else {
            tracing::error!("cannot listen for signals");
            return shutdown;
        };
        tokio::spawn(async move {
            let mut next = async || {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            };
            next().await;
            triggered.trigger();
            tracing::info!("shutting down");
            let asked = Instant::now();
            let mut another = async || {
                next().await;
                while asked.elapsed() < SAME_SIGNAL {
                    next().await;
                }
            };
            tokio::select! {
                () = another() => crate::fail(&"ended by a second signal"),
                () = tokio::time::sleep(DRAIN_DEADLINE) => {
                    crate::fail(&format_args!("did not drain within {DRAIN_DEADLINE:?}"))
                }
            };
            std::process::exit(1);
        });
        shutdown
    }

    /// Asks every holder to end.
    pub fn trigger(&self) {
        self.sender.send_replace(true);
    }

    pub fn is_requested(&self) -> bool {
        *self.sender.borrow()
    }

    /// Resolves when the end was requested; at once if it already was. Cancel safe.
    pub async fn requested(&self) {
        let mut receiver = self.sender.subscribe();
        // An error means that the sender is gone, which `self` rules out.
        let _ = receiver.wait_for(|requested| *requested).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everybody_hears_of_it_once_and_for_all() {
        let shutdown = Shutdown::new();
        let waiting = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.requested().await }
        });
        assert!(!shutdown.is_requested());
        shutdown.trigger();
        waiting.await.unwrap();
        shutdown.requested().await;
        assert!(shutdown.is_requested());
    }
}
