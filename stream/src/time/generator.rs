//! Flink's watermark assigner for one stream of rows.

use serde::{Deserialize, Serialize};

use super::NONE;

/// How far a watermark must rise before it is emitted: `pipeline.auto-watermark-interval`, in milliseconds.
pub const AUTO_INTERVAL_MS: i64 = 200;

/// The largest candidate so far, and what of it was emitted.
///
/// - Never falls.
/// - Starts at 0, as Flink's does: candidates before 1970 are not emitted.
/// - Is emitted behind the row that raised it by more than the interval, so that row itself is not late by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generator {
    largest: i64,
    emitted: i64,
    interval: i64,
}

impl Default for Generator {
    fn default() -> Self {
        Self::new(AUTO_INTERVAL_MS)
    }
}

impl Generator {
    pub fn new(interval_ms: i64) -> Self {
        Self {
            largest: 0,
            emitted: 0,
            interval: interval_ms,
        }
    }

    /// What downstream has been told.
    pub fn emitted(&self) -> i64 {
        if self.emitted == 0 { NONE } else { self.emitted }
    }

    /// Emits what has been held back because it had not risen by more than the interval.
    pub fn flush(&mut self) {
        self.emitted = self.largest;
    }

    /// Takes the candidate of the next row and returns the watermark that the row meets.
    pub fn row(&mut self, candidate: Option<i64>) -> i64 {
        let before = self.emitted();
        if let Some(candidate) = candidate {
            self.largest = self.largest.max(candidate);
        }
        if self.largest.saturating_sub(self.emitted) > self.interval {
            self.emitted = self.largest;
        }
        before
    }
}
