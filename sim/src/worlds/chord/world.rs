//! The world `chord`: a larger ring, at random, and lookups in it.

use super::one_ring::{ideal, one_ring};
use super::short_lookups::{fingers, lookup, short};
use super::{Peers, Rules};
use crate::actor::{Figures, Idle, Plan, Planted, Simulation, World};
use crate::invariant::Check;
use crate::world::{Address, MILLISECOND, Random, SECOND};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Published,
}

#[derive(Debug)]
pub struct Chord {
    peers: Peers,
    rules: Rules,
    check: Check,
    lookups: u64,
    hops: u64,
    hops_most: u64,
    members: u64,
}

impl Chord {
    fn step(&mut self, random: &mut Random) -> Check {
        let places = self.peers.peers.len() as u64;
        let id = random.below(places) as usize;
        // A small ring changes quickly.
        match random.below(if places < 16 { 4 } else { 10 }) {
            0 => {
                let members: Vec<usize> = self.peers.members().collect();
                let known = random.pick(&members).copied().unwrap_or(0);
                self.peers.join(id, known, self.rules);
            }
            1 if self.peers.may_fail(id, self.rules) => self.peers.fail(id),
            _ if self.peers.lives(id) => self.peers.stabilize(id, self.rules),
            _ => {}
        }
        one_ring(&self.peers)
    }

    /// Everyone repairs until nothing is left to repair.
    fn settle(&mut self) -> Check {
        for _ in 0..4 * self.peers.peers.len() {
            for id in 0..self.peers.peers.len() {
                if self.peers.lives(id) {
                    self.peers.stabilize(id, self.rules);
                }
            }
        }
        ideal(&self.peers, self.rules.successors)
    }

    fn look_up(&mut self) -> Check {
        let places = self.peers.peers.len();
        let fingers = fingers(&self.peers);
        let members: Vec<usize> = self.peers.members().collect();
        self.members = members.len() as u64;
        for from in &members {
            for place in 0..places {
                let owner = (0..places)
                    .map(|step| (place + step) % places)
                    .find(|id| self.peers.lives(*id));
                let found = lookup(&self.peers, &fingers, *from, place);
                short(found, owner.unwrap_or(0), self.members)?;
                let hops = found.map_or(0, |(_, hops)| hops);
                self.lookups += 1;
                self.hops += hops;
                self.hops_most = self.hops_most.max(hops);
            }
        }
        Ok(())
    }
}

impl World for Chord {
    type Actor = Idle;
    type Fault = Fault;
    const FAULTS: &'static [Planted<Fault>] = &[Planted {
        fault: Fault::Published,
        name: "chord: the protocol as it was published",
        budget: 2_000,
    }];

    fn draw(random: &mut Random, fault: Option<Fault>) -> (Self, Plan) {
        let drawn = 1 << random.between(4, 7);
        // A ring of two is the shortest that the published protocol loses.
        let (rules, places) = match fault {
            Some(Fault::Published) => (Rules::PUBLISHED, 6),
            None => (Rules::CORRECTED, drawn),
        };
        let members: &[usize] = if rules.base > 0 { &[0, 2, 4] } else { &[0, 3] };
        let mut plan = Plan::quiet(1, 20 * SECOND);
        plan.turn_every = 50 * MILLISECOND;
        let world = Self {
            peers: Peers::ring(places, members, rules.successors),
            rules,
            check: Ok(()),
            lookups: 0,
            hops: 0,
            hops_most: 0,
            members: 0,
        };
        (world, plan)
    }

    fn actor(&self, _: Address) -> Idle {
        Idle
    }

    fn turn(&mut self, simulation: &mut Simulation<Idle>) {
        if self.check.is_err() {
            return;
        }
        self.check = self.step(&mut simulation.random);
        let members = self.peers.members().count();
        simulation.mark(members as u64, self.peers.members().sum::<usize>() as u64);
        simulation.tell(format_args!("{members} members"));
    }

    fn noted(&mut self, _: Address, (): (), _: &Simulation<Idle>) -> Check {
        Ok(())
    }

    fn end(&mut self, _: &Simulation<Idle>) -> Check {
        self.check.clone()?;
        self.settle()?;
        self.look_up()
    }

    fn operations(&self) -> (u64, u64) {
        (self.lookups, self.lookups)
    }

    fn figures(&self, _: &Simulation<Idle>, figures: &mut Figures) {
        figures.mean("members in the end", self.members);
        figures.mean("hops of a lookup, in hundredths", 100 * self.hops / self.lookups.max(1));
        figures.most("hops of a lookup, at most", self.hops_most);
    }
}
