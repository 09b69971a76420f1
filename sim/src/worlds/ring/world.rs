//! The world `ring`: a set of members that changes by one at each turn.

use std::collections::BTreeSet;

use cluster::Plant;
use cluster::ring::{Assignment, POINTS, Ring, moved};

use super::balance::balanced;
use super::movement::{bounded_moves_little, plain_moves_its_own};
use crate::actor::{Figures, Idle, Plan, Planted, Simulation, World};
use crate::invariant::Check;
use crate::world::{Address, MILLISECOND, Random, SECOND};
use crate::worlds::PlantGuard;

/// So large that no member is ever full: plain consistent hashing.
const UNBOUNDED: u64 = 1_000_000_000;

#[derive(Debug)]
pub struct RingWorld {
    members: BTreeSet<u64>,
    next: u64,
    keys: u64,
    epsilon: u64,
    seed: u64,
    bounded: Assignment,
    plain: Assignment,
    check: Check,
    changes: u64,
    moved_bounded: u64,
    moved_plain: u64,
    plain_most_percent: u64,
    bounded_most_percent: u64,
    plant: PlantGuard,
}

impl RingWorld {
    fn change(&mut self, random: &mut Random) -> Check {
        let leaves = self.members.len() > 3 && random.percent(50);
        let changed = if leaves {
            let place = random.below(self.members.len() as u64) as usize;
            self.members.iter().nth(place).copied().unwrap_or(0)
        } else {
            self.next += 1;
            self.next
        };
        if leaves {
            self.members.remove(&changed);
        } else {
            self.members.insert(changed);
        }
        let ring = Ring::new(self.members.iter().copied(), POINTS, self.seed);
        let bounded = Assignment::new(&ring, 0..self.keys, self.epsilon);
        let plain = Assignment::new(&ring, 0..self.keys, UNBOUNDED);
        balanced(&bounded, self.keys)?;
        let own = |before: &Assignment, after: &Assignment| {
            let side = if leaves { before } else { after };
            side.loads().get(&changed).copied().unwrap_or(0)
        };
        if !self.bounded.is_empty() {
            let (moved_plain, moved_bounded) = (moved(&self.plain, &plain), moved(&self.bounded, &bounded));
            plain_moves_its_own(moved_plain, own(&self.plain, &plain))?;
            let members = self.members.len() as u64;
            bounded_moves_little(moved_bounded, own(&self.bounded, &bounded), members, self.epsilon)?;
            self.changes += 1;
            self.moved_plain += moved_plain;
            self.moved_bounded += moved_bounded;
        }
        let mean = (self.keys / self.members.len() as u64).max(1);
        self.plain_most_percent = self.plain_most_percent.max(100 * plain.most() / mean);
        self.bounded_most_percent = self.bounded_most_percent.max(100 * bounded.most() / mean);
        (self.bounded, self.plain) = (bounded, plain);
        Ok(())
    }
}

impl World for RingWorld {
    type Actor = Idle;
    type Fault = Plant;
    const FAULTS: &'static [Planted<Plant>] = &[Planted {
        fault: Plant::LoadUnbounded,
        name: "ring: a full member takes another key",
        budget: 20,
    }];

    fn draw(random: &mut Random, fault: Option<Plant>) -> (Self, Plan) {
        let members = random.between(3, 24);
        let world = Self {
            members: (1..=members).collect(),
            next: members,
            keys: random.between(200, 800),
            epsilon: *random.pick(&[100, 250, 500, 1_000]).unwrap_or(&250),
            seed: random.draw(),
            bounded: Assignment::default(),
            plain: Assignment::default(),
            check: Ok(()),
            changes: 0,
            moved_bounded: 0,
            moved_plain: 0,
            plain_most_percent: 0,
            bounded_most_percent: 0,
            plant: PlantGuard::new(fault),
        };
        let mut plan = Plan::quiet(1, 20 * SECOND);
        plan.turn_every = 150 * MILLISECOND;
        (world, plan)
    }

    fn actor(&self, _: Address) -> Idle {
        Idle
    }

    fn turn(&mut self, simulation: &mut Simulation<Idle>) {
        if self.check.is_ok() {
            self.check = self.change(&mut simulation.random);
            simulation.mark(self.moved_bounded, self.members.len() as u64);
            let (members, bounded, plain) = (self.members.len(), self.moved_bounded, self.moved_plain);
            simulation.tell(format_args!(
                "{members} members; moved so far: {bounded} bounded, {plain} plain"
            ));
        }
    }

    fn noted(&mut self, _: Address, (): (), _: &Simulation<Idle>) -> Check {
        Ok(())
    }

    fn end(&mut self, _: &Simulation<Idle>) -> Check {
        self.check.clone()
    }

    fn operations(&self) -> (u64, u64) {
        (self.changes, self.changes)
    }

    fn figures(&self, _: &Simulation<Idle>, figures: &mut Figures) {
        let _guarded = &self.plant;
        figures.most("fullest member, plain, percent of the mean", self.plain_most_percent);
        figures.most(
            "fullest member, bounded, percent of the mean",
            self.bounded_most_percent,
        );
        figures.mean("keys moved by a change, plain", self.moved_plain / self.changes.max(1));
        figures.mean(
            "keys moved by a change, bounded",
            self.moved_bounded / self.changes.max(1),
        );
    }
}
