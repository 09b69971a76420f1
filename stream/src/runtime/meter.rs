//! What a job has done so far, for people: the progress line, `/metrics`, the summary.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{IntGauge, Registry};

use crate::checkpoint::TaskId;
use crate::operator::Counters;

/// Counters of all tasks. Those of finished jobs of the program are kept in `base`.
#[derive(Debug, Clone)]
pub struct Meter {
    tasks: Arc<Mutex<State>>,
    gauges: [IntGauge; 4],
}

#[derive(Debug, Default)]
struct State {
    base: Counters,
    tasks: BTreeMap<TaskId, Counters>,
    checkpoints: u64,
}

impl Meter {
    /// Registers the metrics; a name that is taken is left alone.
    pub fn new(registry: &Registry) -> Self {
        let gauge = |name: &str, help: &str| {
            // The names and texts below are valid, so this cannot fail.
            let gauge = IntGauge::new(name, help).unwrap_or_else(|_| unreachable!("a metric's name is fixed"));
            let _taken = registry.register(Box::new(gauge.clone()));
            gauge
        };
        let gauges = [
            gauge("stream_rows_read_total", "Rows that sources have read."),
            gauge(
                "stream_late_rows_total",
                "Rows that came too late for their window and were left out.",
            ),
            gauge("stream_window_rows_total", "Rows that fired windows have emitted."),
            gauge("stream_checkpoints_total", "Checkpoints published."),
        ];
        Self {
            tasks: Arc::default(),
            gauges,
        }
    }

    pub fn set(&self, task: TaskId, counters: Counters) {
        self.with(|state| {
            state.tasks.insert(task, counters);
        });
    }

    pub fn checkpoint(&self) {
        self.with(|state| state.checkpoints += 1);
    }

    /// The job is over: its counts stay, its tasks go.
    pub fn settle(&self, counters: Counters) {
        self.with(|state| {
            state.base.add(counters);
            state.tasks.clear();
        });
    }

    /// The job restarts: what its tasks had counted is void.
    pub fn clear(&self) {
        self.with(|state| state.tasks.clear());
    }

    pub fn total(&self) -> (Counters, u64) {
        let state = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut total = state.base;
        state.tasks.values().for_each(|counters| total.add(*counters));
        (total, state.checkpoints)
    }

    fn with(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        let (total, checkpoints) = self.total();
        for (gauge, value) in self
            .gauges
            .iter()
            .zip([total.rows_read, total.late_rows, total.windows, checkpoints])
        {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        }
    }
}
