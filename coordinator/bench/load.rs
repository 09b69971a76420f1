//! Closed loops: each client sends its next request when it has the answer to the last.

use std::future::Future;
use std::time::{Duration, Instant};

use testing::bench::percentile;

use crate::Result;
use crate::server::{Contender, Spent};

/// The figures of a round, each with its name in the table and in JSON, in the order of [`Round::figures`].
pub const FIGURES: [(&str, &str); 5] = [
    ("rate /s", "rate"),
    ("p50 ms", "p50_ms"),
    ("p99 ms", "p99_ms"),
    ("CPU µs/op", "cpu_micros"),
    ("syncs/op", "syncs"),
];

/// What one round measured.
#[derive(Debug, Clone, Default)]
pub struct Round {
    pub operations: usize,
    pub seconds: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub cpu_micros_per_operation: Option<f64>,
    pub syncs_per_operation: f64,
}

/// Latencies of one client, in microseconds.
pub type Latencies = Vec<u32>;

pub fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

/// Runs all clients at once and measures what they and the servers did. Each is given the moment when it has to end.
pub async fn run<F, Fut>(contender: &Contender, clients: Vec<F>, length: Duration) -> Result<Round>
where
    F: FnOnce(Instant) -> Fut,
    Fut: Future<Output = Result<Latencies>> + Send + 'static,
{
    let before = contender.spent().await?;
    let begun = Instant::now();
    let tasks: Vec<_> = clients
        .into_iter()
        .map(|client| tokio::spawn(client(begun + length)))
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let after = contender.spent().await?;
    Ok(Round::new(latencies, seconds, before, after))
}

/// Repeats `call` until the time is over.
pub async fn repeat<F, Fut>(end: Instant, mut call: F) -> Result<Latencies>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<()>>,
{
    let mut latencies = Vec::with_capacity(1 << 12);
    let mut now = Instant::now();
    while now < end {
        call().await?;
        let then = std::mem::replace(&mut now, Instant::now());
        latencies.push(micros(now - then));
    }
    Ok(latencies)
}

impl Round {
    fn new(mut latencies: Latencies, seconds: f64, before: Spent, after: Spent) -> Self {
        latencies.sort_unstable();
        let operations = latencies.len();
        let sorted_ms: Vec<f64> = latencies.iter().map(|micros| f64::from(*micros) / 1_000.0).collect();
        let at = |percent: f64| percentile(&sorted_ms, percent).unwrap_or_default();
        let per_operation = |count: u64| count as f64 / operations.max(1) as f64;
        let cpu = before.cpu_micros.zip(after.cpu_micros);
        Self {
            operations,
            seconds,
            p50_ms: at(50.0),
            p99_ms: at(99.0),
            cpu_micros_per_operation: cpu.map(|(before, after)| per_operation(after.saturating_sub(before))),
            syncs_per_operation: per_operation(after.syncs.saturating_sub(before.syncs)),
        }
    }

    pub fn rate(&self) -> f64 {
        self.operations as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }

    pub fn figures(&self) -> [Option<f64>; 5] {
        [
            Some(self.rate()),
            Some(self.p50_ms),
            Some(self.p99_ms),
            self.cpu_micros_per_operation,
            Some(self.syncs_per_operation),
        ]
    }
}
