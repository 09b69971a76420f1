//! How many queries run at a time.
//!
//! The memory limit is shared by all that run; many at once would leave none enough to work. A bounded number runs, the
//! others wait in the order in which they came, and not for ever.

use std::sync::Arc;
use std::time::Duration;

use datafusion::common::{DataFusionError, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is admitted.
#[derive(Debug, Clone)]
pub struct Limits {
    pub running: usize,
    pub wait: Duration,
}

#[derive(Debug, Clone)]
pub struct Admission {
    places: Arc<Semaphore>,
    limits: Limits,
}

/// A place among the running; given back when this is dropped.
pub type Place = OwnedSemaphorePermit;

impl Admission {
    pub fn new(limits: Limits) -> Admission {
        Admission {
            places: Arc::new(Semaphore::new(limits.running.clamp(1, Semaphore::MAX_PERMITS))),
            limits,
        }
    }

    /// Waits for a place.
    pub async fn place(&self) -> Result<Place> {
        let waited = tokio::time::timeout(self.limits.wait, Arc::clone(&self.places).acquire_owned()).await;
        match waited {
            Ok(Ok(place)) => Ok(place),
            _ => Err(DataFusionError::ResourcesExhausted(format!(
                "{} queries are running, which is the limit (--max-queries), and none ended within {} s (--queue-timeout): try \
                 again later",
                self.limits.running,
                self.limits.wait.as_secs()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_that_is_too_many_waits_and_is_refused_at_last() {
        let admission = Admission::new(Limits {
            running: 1,
            wait: Duration::from_millis(50),
        });
        let first = admission.place().await.unwrap();
        let refused = admission.place().await.unwrap_err().to_string();
        assert!(refused.contains("1 queries are running"), "{refused}");
        drop(first);
        drop(admission.place().await.unwrap());
    }
}
