//! Faults that are known, planted to see whether the net catches them.
//!
//! A net that has never caught anything proves nothing. Each of these is one line of the code under test, or of the world's
//! rules, made wrong; each must be caught by an invariant within its budget of worlds. What is listed here runs as a
//! test too.

use std::time::Instant;

use raft::consensus::Plant;

use crate::coordination;
use crate::invariant::Violation;
use crate::outcome::Outcome;
use crate::registers;
use crate::scenario::{Scenario, guarded};
use crate::world::Trace;

/// Where a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A line of `raft::consensus`.
    Consensus(Plant),
    /// A line of the coordinator's pure rooms.
    Coordinator(coordinator::Plant),
    /// The member answers a keep-alive without asking whether it still leads.
    HastyRenewals,
    /// The disk says that it has synced, and has not.
    LyingDisk,
    /// A fault of a world of actors, by its place in the list of that world.
    World(usize),
}

/// A fault to plant.
#[derive(Debug, Clone, Copy)]
pub struct Planted {
    pub name: &'static str,
    pub place: Place,
    pub scenario: Scenario,
    /// Worlds within which it must be caught.
    pub budget: u64,
}

/// What became of one.
#[derive(Debug, Clone)]
pub struct Catch {
    pub worlds: u64,
    pub violation: Option<Violation>,
    pub seconds: f64,
}

/// The list.
pub fn all() -> Vec<Planted> {
    let mut all: Vec<Planted> = Plant::ALL
        .iter()
        .map(|plant| Planted {
            name: name_of(*plant),
            place: Place::Consensus(*plant),
            scenario: Scenario::Raft,
            budget: 2_000,
        })
        .collect();
    all.extend(coordinator::Plant::ALL.iter().map(|plant| Planted {
        name: name_of_coordinators(*plant),
        place: Place::Coordinator(*plant),
        scenario: Scenario::Coordinator,
        budget: 300,
    }));
    all.push(Planted {
        name: "the log compares no checksums, under the coordinator",
        place: Place::Consensus(Plant::ChecksumIgnored),
        scenario: Scenario::Coordinator,
        budget: 2_000,
    });
    all.push(Planted {
        name: "keep-alives without asking a quorum",
        place: Place::HastyRenewals,
        scenario: Scenario::Coordinator,
        budget: 2_000,
    });
    all.push(Planted {
        name: "the disk skips the sync",
        place: Place::LyingDisk,
        scenario: Scenario::Raft,
        budget: 100,
    });
    for scenario in Scenario::ALL {
        let faults = scenario.kind().map(|kind| kind.faults()).unwrap_or_default();
        all.extend(faults.into_iter().enumerate().map(|(place, (name, budget))| Planted {
            name,
            place: Place::World(place),
            scenario: *scenario,
            budget,
        }));
    }
    all
}

fn name_of(plant: Plant) -> &'static str {
    match plant {
        Plant::QuorumMinusOne => "a majority less one",
        Plant::StaleTermAccepted => "messages of older terms count",
        Plant::LeaseCheckSkipped => "votes although there is a leader",
        Plant::VotesTwice => "two votes in a term",
        Plant::StaleLogElected => "votes for a log that is behind",
        Plant::PreviousUnchecked => "appends without looking at what is before",
        Plant::AcknowledgedUnsynced => "acknowledges before the sync",
        Plant::NoBlankEntry => "no entry of the leader's own term",
        Plant::OldTermCommitted => "commits older terms by counting",
        Plant::OwnUnsyncedCounted => "the leader counts itself before its sync",
        Plant::ForwardedTwice => "appends a repeated batch again",
        Plant::ReadRoundReused => "reads share one context",
        Plant::ReadUnconfirmed => "reads without asking a quorum",
        Plant::ReadBeforeOwnTerm => "reads before an entry of the own term",
        Plant::QuorumUnchecked => "leads on without hearing a quorum",
        Plant::ChangesOverlap => "two changes of members at once",
        Plant::ChangeBeforeOwnTerm => "changes members before the own term",
        Plant::RemovedLeaderStays => "a removed leader leads on",
        Plant::SessionIgnored => "acknowledgements of a former life count",
        Plant::ChecksumIgnored => "the log compares no checksums",
    }
}

fn name_of_coordinators(plant: coordinator::Plant) -> &'static str {
    use coordinator::Plant;
    match plant {
        Plant::WatchGap => "watchers that fall behind miss revisions",
        Plant::LeaseEarly => "leases end after half their time",
        Plant::RenewedWhenOver => "a lease that is over is renewed",
        Plant::RevokedKeysStay => "keys outlive their lease",
        Plant::CompareIgnored => "conditions always hold",
        Plant::CompactsTooMuch => "compaction removes one revision more",
        Plant::TombstoneForgotten => "compaction forgets a tombstone",
        Plant::OldCallersPass => "callers of an older revision of auth pass",
        Plant::PermissionsNotUnited => "what roles allow is computed once",
        Plant::TokensOutlivePasswords => "tokens outlive their password",
        Plant::NoSpaceForgetsTxns => "NOSPACE lets transactions pass",
        Plant::DisarmedInMemoryOnly => "a disarmed alarm comes back",
    }
}

impl Planted {
    /// Runs worlds until one shows the fault, or the budget is spent.
    pub fn hunt(&self) -> Catch {
        let began = Instant::now();
        for seed in 1..=self.budget {
            let (outcome, _) = self.run(seed, Trace::default());
            if outcome.violation.is_some() {
                return Catch {
                    worlds: seed,
                    violation: outcome.violation,
                    seconds: began.elapsed().as_secs_f64(),
                };
            }
        }
        Catch {
            worlds: self.budget,
            violation: None,
            seconds: began.elapsed().as_secs_f64(),
        }
    }

    /// One world with the fault in it.
    pub fn run(&self, seed: u64, trace: Trace) -> (Outcome, Trace) {
        match self.place {
            Place::Consensus(plant) => {
                let before = raft::consensus::plant(Some(plant));
                let result = self.scenario.run(seed, trace);
                raft::consensus::plant(before);
                result
            }
            Place::Coordinator(plant) => {
                let before = coordinator::plant(Some(plant));
                let result = self.scenario.run(seed, trace);
                coordinator::plant(before);
                result
            }
            Place::HastyRenewals => guarded(|| {
                let wrong = coordination::Wrong { hasty_renewals: true };
                coordination::run_with(seed, trace, wrong)
            }),
            Place::World(place) => guarded(|| {
                let kind = self.scenario.kind().expect("its faults were listed");
                let (outcome, trace, _) = kind.run(seed, trace, Some(place), false);
                (outcome, trace)
            }),
            Place::LyingDisk => guarded(|| registers::run_with(seed, trace, |plan| plan.lying_disk = true)),
        }
    }
}

/// Hunts all whose name contains `only`, prints a table, and says whether all were caught; none if there is none.
pub fn run_all(only: Option<&str>, json: bool) -> Option<bool> {
    let chosen: Vec<Planted> = all()
        .into_iter()
        .filter(|planted| only.is_none_or(|only| planted.name.contains(only)))
        .collect();
    if chosen.is_empty() {
        return None;
    }
    let mut all_caught = true;
    if !json {
        println!(
            "{:<52} {:<12} {:>7} {:>8} {:>7}  caught by",
            "planted", "scenario", "worlds", "budget", "seconds"
        );
    }
    for planted in chosen {
        let caught = planted.hunt();
        let by = caught.violation.as_ref().map(|violation| violation.invariant);
        all_caught &= by.is_some();
        if json {
            let row = serde_json::json!({
                "planted": planted.name,
                "scenario": planted.scenario.name(),
                "worlds": caught.worlds,
                "budget": planted.budget,
                "seconds": caught.seconds,
                "caught_by": by,
            });
            println!("{row}");
        } else {
            let (name, scenario) = (planted.name, planted.scenario.name());
            println!(
                "{name:<52} {scenario:<12} {:>7} {:>8} {:>7.1}  {}",
                caught.worlds,
                planted.budget,
                caught.seconds,
                by.unwrap_or("NOTHING")
            );
        }
    }
    Some(all_caught)
}
