//! The kinds of worlds there are, and running one of them safely.

use std::panic::{AssertUnwindSafe, catch_unwind};

use clap::ValueEnum;

use crate::coordination;
use crate::invariant::Violation;
use crate::outcome::Outcome;
use crate::registers;
use crate::world::{Tally, Trace};

/// A kind of world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum Scenario {
    /// Five members of `raft::consensus` under a few registers.
    Raft,
    /// The coordinator's machine (store, leases, watches, compaction) on consensus.
    Coordinator,
}

impl Scenario {
    pub const ALL: [Self; 2] = [Self::Raft, Self::Coordinator];

    pub fn name(self) -> &'static str {
        match self {
            Self::Raft => "raft",
            Self::Coordinator => "coordinator",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scenario| scenario.name() == name)
    }

    /// Runs the world of a seed. A panic of the code under test is a violation like any other.
    pub fn run(self, seed: u64, trace: Trace) -> (Outcome, Trace) {
        guarded(|| match self {
            Self::Raft => registers::run(seed, trace),
            Self::Coordinator => coordination::run(seed, trace),
        })
    }
}

/// What `run` gives, or that it panicked.
pub fn guarded(run: impl FnOnce() -> (Outcome, Trace)) -> (Outcome, Trace) {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let told = text
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("without words");
        let outcome = Outcome {
            violation: Some(Violation {
                invariant: "no_panic",
                told: told.to_owned(),
            }),
            tally: Tally::default(),
            digest: 0,
            steps: 0,
            simulated: 0,
            operations: 0,
            answered: 0,
            leaders: 0,
            committed: 0,
            undecided: 0,
            real_log: false,
        };
        (outcome, Trace::default())
    })
}
