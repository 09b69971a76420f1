//! Many worlds, one after the other, and a table of what was done to them.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::actor::Figures;
use crate::invariant::Violation;
use crate::outcome::Outcome;
use crate::scenario::Scenario;
use crate::world::{Fault, SECOND, Tally, Trace};

/// Violations after which a soak ends: the first ones are those that are looked at.
const VIOLATIONS_MAX: usize = 20;
/// How often the progress line is written.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// What a soak has seen so far.
#[derive(Debug, Clone)]
pub struct Sums {
    pub scenario: Scenario,
    pub first_seed: u64,
    pub worlds: u64,
    pub took: Duration,
    /// How much of it this thread had a core for; nothing where the system does not tell.
    pub on_core: Option<Duration>,
    pub simulated_micros: u64,
    pub steps: u64,
    pub operations: u64,
    pub answered: u64,
    pub leaders: u64,
    pub committed: u64,
    pub undecided: u64,
    /// Worlds whose members wrote with the real log.
    pub real_logs: u64,
    pub faults: Tally,
    pub figures: Figures,
    pub violations: Vec<(u64, Violation)>,
}

impl Sums {
    fn new(scenario: Scenario, first_seed: u64) -> Self {
        Self {
            scenario,
            first_seed,
            worlds: 0,
            took: Duration::ZERO,
            on_core: None,
            simulated_micros: 0,
            steps: 0,
            operations: 0,
            answered: 0,
            leaders: 0,
            committed: 0,
            undecided: 0,
            real_logs: 0,
            faults: Tally::default(),
            figures: Figures::default(),
            violations: Vec::new(),
        }
    }

    fn add(&mut self, seed: u64, outcome: Outcome) {
        self.worlds += 1;
        self.simulated_micros += outcome.simulated;
        self.steps += outcome.steps;
        self.operations += outcome.operations;
        self.answered += outcome.answered;
        self.leaders += outcome.leaders;
        self.committed += outcome.committed;
        self.undecided += outcome.undecided;
        self.real_logs += u64::from(outcome.real_log);
        self.faults.add(&outcome.tally);
        self.figures.add(&outcome.figures);
        self.violations
            .extend(outcome.violation.map(|violation| (seed, violation)));
    }

    fn per_second(&self, count: f64) -> f64 {
        count / self.took.as_secs_f64().max(1e-9)
    }

    pub fn simulated_seconds_per_second(&self) -> f64 {
        self.per_second(self.simulated_micros as f64 / SECOND as f64)
    }

    /// The same for each second on a core: what other programs take on a busy machine does not count.
    pub fn simulated_seconds_per_core_second(&self) -> Option<f64> {
        let on_core = self.on_core?.as_secs_f64().max(1e-9);
        Some(self.simulated_micros as f64 / SECOND as f64 / on_core)
    }

    /// The table.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let mut row = |name: &str, value: String| {
            let _infallible = writeln!(text, "{name:<52} {value:>14}");
        };
        row("scenario", self.scenario.name().to_owned());
        row(
            "seeds",
            format!("{}..{}", self.first_seed, self.first_seed + self.worlds),
        );
        row("seconds", format!("{:.1}", self.took.as_secs_f64()));
        row("worlds", self.worlds.to_string());
        let drives_consensus = self.scenario.kind().is_none();
        if drives_consensus {
            row("  with the real log on a disk of bytes", self.real_logs.to_string());
        }
        row("worlds a second", format!("{:.1}", self.per_second(self.worlds as f64)));
        row(
            "simulated seconds a second",
            format!("{:.0}", self.simulated_seconds_per_second()),
        );
        if let Some(simulated) = self.simulated_seconds_per_core_second() {
            row("simulated seconds a second on a core", format!("{simulated:.0}"));
        }
        row("steps a second", format!("{:.0}", self.per_second(self.steps as f64)));
        if drives_consensus {
            row("elections won", self.leaders.to_string());
            row("entries agreed upon", self.committed.to_string());
        }
        row("operations of clients", self.operations.to_string());
        row("  answered", self.answered.to_string());
        if drives_consensus {
            row("  histories that were too long to check", self.undecided.to_string());
        }
        for (name, value) in self.figures.over(self.worlds) {
            row(name, value.to_string());
        }
        row("faults", self.faults.total().to_string());
        for (fault, times) in self.faults.iter() {
            row(&format!("  {fault}"), times.to_string());
        }
        row("violations", self.violations.len().to_string());
        for (seed, violation) in &self.violations {
            let _infallible = writeln!(text, "\n{violation}\n  {}", self.replay_command(*seed));
        }
        text
    }

    pub fn replay_command(&self, seed: u64) -> String {
        format!(
            "cargo run --release -p sim -- replay --scenario {} --seed {seed} --trace",
            self.scenario.name()
        )
    }

    pub fn json(&self) -> Value {
        let faults: serde_json::Map<String, Value> = Fault::ALL
            .iter()
            .map(|fault| (fault.name().to_owned(), self.faults.of(*fault).into()))
            .collect();
        let figures: serde_json::Map<String, Value> = self
            .figures
            .over(self.worlds)
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        let violations: Vec<Value> = self
            .violations
            .iter()
            .map(|(seed, violation)| {
                json!({
                    "seed": seed,
                    "invariant": violation.invariant,
                    "told": violation.told,
                    "replay": self.replay_command(*seed),
                })
            })
            .collect();
        json!({
            "scenario": self.scenario.name(),
            "first_seed": self.first_seed,
            "seconds": self.took.as_secs_f64(),
            "worlds": self.worlds,
            "worlds_per_second": self.per_second(self.worlds as f64),
            "simulated_seconds_per_second": self.simulated_seconds_per_second(),
            "simulated_seconds_per_core_second": self.simulated_seconds_per_core_second(),
            "steps_per_second": self.per_second(self.steps as f64),
            "elections_won": self.leaders,
            "entries_agreed_upon": self.committed,
            "operations": self.operations,
            "answered": self.answered,
            "undecided": self.undecided,
            "real_logs": self.real_logs,
            "faults": faults,
            "figures": figures,
            "violations": violations,
        })
    }
}

/// Runs worlds from `first_seed` on until `time` is over, or there are many violations. Shows how far it is on a
/// terminal if `shows`.
pub fn soak(scenario: Scenario, first_seed: u64, time: Duration, shows: bool) -> Sums {
    let shows = shows && std::io::stderr().is_terminal();
    let began = Instant::now();
    let mut shown = began;
    let began_on_core = time_on_core();
    let mut sums = Sums::new(scenario, first_seed);
    while began.elapsed() < time && sums.violations.len() < VIOLATIONS_MAX {
        let seed = first_seed + sums.worlds;
        let (outcome, _) = scenario.run(seed, Trace::default());
        sums.add(seed, outcome);
        sums.took = began.elapsed();
        sums.on_core = time_on_core().zip(began_on_core).map(|(now, then)| now - then);
        if shows && shown.elapsed() > PROGRESS_EVERY {
            shown = Instant::now();
            eprint!(
                "\r{:>4.0} s  {} worlds  {:.0} simulated seconds a second  {} faults  {} violations ",
                sums.took.as_secs_f64(),
                sums.worlds,
                sums.simulated_seconds_per_second(),
                sums.faults.total(),
                sums.violations.len()
            );
            let _best_effort = std::io::stderr().flush();
        }
    }
    if shows {
        eprint!("\r{:100}\r", "");
    }
    sums
}

/// How long this thread has had a core so far, as Linux counts it.
fn time_on_core() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds = text.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}
