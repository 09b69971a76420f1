//! What is asked for, and how long it takes.

use std::collections::BTreeMap;

use super::Value;
use crate::actor::Figures;
use crate::world::Micros;

#[derive(Debug, Default)]
pub struct Requests {
    last: Value,
    open: BTreeMap<Value, Micros>,
    latencies: Vec<Micros>,
}

impl Requests {
    /// The next value, asked for now.
    pub fn ask(&mut self, now: Micros) -> Value {
        self.last += 1;
        self.open.insert(self.last, now);
        self.last
    }

    /// The first node knows that it is decided.
    pub fn decided(&mut self, value: Value, now: Micros) {
        if let Some(asked) = self.open.remove(&value) {
            self.latencies.push(now - asked);
        }
    }

    pub fn last(&self) -> Value {
        self.last
    }

    pub fn counts(&self) -> (u64, u64) {
        (self.last, self.latencies.len() as u64)
    }

    pub fn figures(&self, messages: u64, figures: &mut Figures) {
        let mut latencies = self.latencies.clone();
        latencies.sort_unstable();
        let at = |percent: usize| {
            latencies
                .get(latencies.len().saturating_sub(1) * percent / 100)
                .copied()
        };
        figures.mean("latency, median, microseconds", at(50).unwrap_or(0));
        figures.mean("latency, 99th percentile, microseconds", at(99).unwrap_or(0));
        figures.mean(
            "messages an entry, in hundredths",
            100 * messages / (latencies.len() as u64).max(1),
        );
    }
}
