//! Trying again, with growing pauses, until a deadline.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::Error;

const PAUSE_FIRST: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// One call's patience.
#[derive(Debug)]
pub(crate) struct Retry {
    within: Duration,
    started: Instant,
    pause: Duration,
}

impl Retry {
    pub(crate) fn new(within: Duration) -> Self {
        Self {
            within,
            started: Instant::now(),
            pause: PAUSE_FIRST,
        }
    }

    /// Pauses after `error`, or returns it when it is final or the time is over.
    pub(crate) async fn after(&mut self, what: &str, error: Error) -> Result<(), Error> {
        if !error.is_retriable() {
            return Err(error);
        }
        if self.started.elapsed() + self.pause >= self.within {
            return Err(Error::Deadline {
                what: what.to_owned(),
                within: self.within,
                source: Box::new(error),
            });
        }
        tracing::debug!(%error, what, "trying again");
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        Ok(())
    }
}
