//! The kinds of worlds there are, and running one of them safely.

use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

use clap::ValueEnum;

use crate::actor::{self, Explored, Story, World};
use crate::coordination;
use crate::invariant::Violation;
use crate::outcome::Outcome;
use crate::registers;
use crate::world::{Tally, Trace};
use crate::worlds;

/// A kind of world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum Scenario {
    /// Five members of `raft::consensus` under a few registers.
    Raft,
    /// The coordinator's machine (store, leases, watches, compaction) on consensus.
    Coordinator,
    /// One value, agreed upon by Paxos.
    Paxos,
    /// A log, agreed upon by Paxos with a leader.
    MultiPaxos,
    /// Who is there: SWIM with Lifeguard's refinements, from some members to thousands.
    Gossip,
    /// Who owns what: consistent hashing with and without bounded loads.
    Ring,
    /// The actual state becomes the ideal one, over racks, while nodes die.
    Reconcile,
    /// Physical, logical and hybrid clocks on nodes whose time is wrong.
    Clocks,
    /// FloodMax, LCR, HS and layered breadth-first search, against the textbook's bounds.
    Elections,
    /// A consistent cut of a network with money on its way (Chandy and Lamport).
    Snapshot,
    /// Two-phase commit, three-phase commit, saga, while nodes crash.
    Commit,
    /// Chord's ring as it was published and as it was corrected, and lookups in it.
    Chord,
    /// Counters, sets, maps and text that converge without coordination.
    Crdt,
    /// Sloppy quorums, hints, read repair, Merkle trees, siblings.
    Dynamo,
}

impl Scenario {
    pub const ALL: &[Self] = &[
        Self::Raft,
        Self::Coordinator,
        Self::Paxos,
        Self::MultiPaxos,
        Self::Gossip,
        Self::Ring,
        Self::Reconcile,
        Self::Clocks,
        Self::Elections,
        Self::Snapshot,
        Self::Commit,
        Self::Chord,
        Self::Crdt,
        Self::Dynamo,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Raft => "raft",
            Self::Coordinator => "coordinator",
            Self::Paxos => "paxos",
            Self::MultiPaxos => "multi-paxos",
            Self::Gossip => "gossip",
            Self::Ring => "ring",
            Self::Reconcile => "reconcile",
            Self::Clocks => "clocks",
            Self::Elections => "elections",
            Self::Snapshot => "snapshot",
            Self::Commit => "commit",
            Self::Chord => "chord",
            Self::Crdt => "crdt",
            Self::Dynamo => "dynamo",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|scenario| scenario.name() == name)
    }

    /// The world of actors that it is; none for those that drive consensus with all its edges.
    pub fn kind(self) -> Option<&'static dyn Kind> {
        Some(match self {
            Self::Raft | Self::Coordinator => return None,
            Self::Paxos => &Of::<worlds::paxos::Single>(PhantomData),
            Self::MultiPaxos => &Of::<worlds::paxos::Multi>(PhantomData),
            Self::Gossip => &Of::<worlds::gossip::Gossip>(PhantomData),
            Self::Ring => &Of::<worlds::ring::RingWorld>(PhantomData),
            Self::Reconcile => &Of::<worlds::reconcile::Reconcile>(PhantomData),
            Self::Clocks => &Of::<worlds::clocks::Clocks>(PhantomData),
            Self::Elections => &Of::<worlds::elections::Elections>(PhantomData),
            Self::Snapshot => &Of::<worlds::snapshot::Snapshot>(PhantomData),
            Self::Commit => &Of::<worlds::commit::Commit>(PhantomData),
            Self::Chord => &Of::<worlds::chord::Chord>(PhantomData),
            Self::Crdt => &Of::<worlds::crdt::Crdts>(PhantomData),
            Self::Dynamo => &Of::<worlds::dynamo::Dynamo>(PhantomData),
        })
    }

    /// Runs the world of a seed. A panic of the code under test is a violation like any other.
    pub fn run(self, seed: u64, trace: Trace) -> (Outcome, Trace) {
        guarded(|| match self {
            Self::Raft => registers::run(seed, trace),
            Self::Coordinator => coordination::run(seed, trace),
            other => {
                let kind = other.kind().expect("every other scenario is a world of actors");
                let (outcome, trace, _) = kind.run(seed, trace, None, false);
                (outcome, trace)
            }
        })
    }

    /// Explores all orders of its small world, if it has one; with a planted fault, by its place in [`Kind::faults`].
    pub fn explore(self, fault: Option<usize>, states_max: usize) -> Option<Explored> {
        match self {
            Self::Paxos => Some(explored::<worlds::paxos::Single>(fault, states_max)),
            Self::Chord => {
                use worlds::chord::{Rules, Small};
                let rules = if fault.is_some() {
                    Rules::PUBLISHED
                } else {
                    Rules::CORRECTED
                };
                Some(actor::explore(&Small(rules), states_max))
            }
            _ => None,
        }
    }
}

impl Scenario {
    /// The world's claim as a table, one row a size; only worlds whose claim is about sizes have one.
    pub fn measure(self, sizes: &[usize]) -> Option<String> {
        match self {
            Self::Gossip => Some(worlds::gossip::measure(sizes)),
            _ => None,
        }
    }
}

fn explored<W: actor::Explorable>(fault: Option<usize>, states_max: usize) -> Explored {
    let fault = fault.and_then(|place| Some(W::FAULTS.get(place)?.fault));
    actor::explore_world::<W>(fault, states_max)
}

/// A world of actors, whatever its actors are.
pub trait Kind: Sync {
    /// Runs the world of a seed, with one of its faults planted if one is given.
    fn run(&self, seed: u64, trace: Trace, fault: Option<usize>, tells: bool) -> (Outcome, Trace, Option<Story>);

    /// The names of its planted faults, and the worlds within which each must be caught.
    fn faults(&self) -> Vec<(&'static str, u64)>;
}

struct Of<W>(PhantomData<fn() -> W>);

impl<W: World> Kind for Of<W> {
    fn run(&self, seed: u64, trace: Trace, fault: Option<usize>, tells: bool) -> (Outcome, Trace, Option<Story>) {
        let fault = fault.and_then(|place| Some(W::FAULTS.get(place)?.fault));
        actor::run::<W>(seed, trace, fault, tells)
    }

    fn faults(&self) -> Vec<(&'static str, u64)> {
        W::FAULTS.iter().map(|planted| (planted.name, planted.budget)).collect()
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
            figures: Default::default(),
        };
        (outcome, Trace::default())
    })
}
