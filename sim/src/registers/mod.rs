//! The scenario `raft`: consensus under a few registers.
//!
//! Clients write, read and compare-and-set registers; whom they ask is whom they take for the leader, or anyone. What they
//! saw is searched for an order at the end ([`crate::history`]); what the members did is watched all along
//! ([`crate::invariant`]). After the faults all is mended, and everyone must come to agree.
//!
//! A client whose request is refused knows that nothing happened, and a refused command that happens nevertheless is a
//! violation. A client that hears nothing knows nothing, and goes on with another operation.

mod clients;
mod machine;

use clients::{Clients, Own};
use machine::Registers;

use crate::cluster::{Cluster, Happening, Plan};
use crate::history::Verdict;
use crate::invariant::require;
use crate::outcome::Outcome;
use crate::world::{MILLISECOND, Random, Trace};

/// Runs the world of a seed, changed by `adjust`.
pub fn run_with(seed: u64, trace: Trace, adjust: impl FnOnce(&mut Plan)) -> (Outcome, Trace) {
    let mut random = Random::new(seed);
    let mut plan = Plan::draw(&mut random.fork());
    adjust(&mut plan);
    let clients = Clients::new(&mut random.fork(), &plan);
    let mut world = World {
        cluster: Cluster::new(seed, plan, random, trace, clients.count()),
        clients,
    };
    world.run();
    world.outcome()
}

/// Runs the world of a seed.
pub fn run(seed: u64, trace: Trace) -> (Outcome, Trace) {
    run_with(seed, trace, |_| {})
}

struct World {
    cluster: Cluster<Registers, Own>,
    clients: Clients,
}

impl World {
    fn run(&mut self) {
        let plan = self.cluster.plan.clone();
        self.clients.begin(&mut self.cluster);
        self.run_until(plan.faults_until);
        self.cluster.mend();
        self.clients.count_from_here();
        // Clients stop early enough for the last of their doings to reach everyone.
        self.clients.stop_at(plan.end - 8 * plan.election_ms * MILLISECOND);
        self.run_until(plan.end);
        if self.cluster.violation().is_none() {
            self.cluster.check_convergence(self.clients.counted());
        }
    }

    fn run_until(&mut self, end: u64) {
        while let Some(happening) = self.cluster.events.next_before(end) {
            match happening {
                Happening::Own(own) => self.clients.happen(&mut self.cluster, own),
                other => self.cluster.handle(other),
            }
            if self.cluster.has_told() {
                self.clients.hear(&mut self.cluster);
            }
            if self.cluster.violation().is_some() {
                return;
            }
        }
    }

    fn outcome(mut self) -> (Outcome, Trace) {
        let mut undecided = 0;
        if self.cluster.violation().is_none() {
            for (register, verdict) in self.clients.verdicts().into_iter().enumerate() {
                undecided += u64::from(verdict == Verdict::Undecided);
                let check = require(verdict != Verdict::Impossible, "linearizability", || {
                    format!("no order explains what clients saw of register {register}")
                });
                self.cluster.note(check);
            }
        }
        let cluster = self.cluster;
        let outcome = Outcome {
            violation: cluster.violation().cloned(),
            digest: cluster.trace.digest(),
            steps: cluster.trace.steps(),
            simulated: cluster.events.now(),
            operations: self.clients.operations(),
            answered: self.clients.answered(),
            leaders: cluster.observer.leaders,
            committed: cluster.observer.committed().0,
            tally: cluster.tally,
            undecided,
            real_log: cluster.plan.real_log,
            figures: Default::default(),
        };
        (outcome, cluster.trace)
    }
}
