//! The world `gossip`: members die, pause and return; the network loses packets.

use std::collections::BTreeMap;

use cluster::Plant;
use cluster::member::{Membership, Settings};

use super::accuracy::accurate;
use super::completeness::complete;
use super::same_view::same_view;
use super::{Note, Swimmer};
use crate::actor::{Faults, Figures, Plan, Planted, Simulation, World};
use crate::invariant::{Check, require};
use crate::world::{Address, MILLISECOND, Micros, Random, SECOND, Weather};
use crate::worlds::PlantGuard;

pub type Fault = Plant;

#[derive(Debug)]
pub struct Gossip {
    pub(super) nodes: usize,
    seed: u64,
    /// Little is lost, nothing is paused or cut: then nobody may be declared dead wrongly.
    pub(super) gentle: bool,
    /// Who dies for good, and when.
    pub(super) dies_at: Micros,
    pub(super) deaths: usize,
    dead: Vec<(Address, Micros)>,
    /// How many know of each death, and when the first and the last of them learned it.
    pub(super) heard: BTreeMap<Address, (usize, Micros, Micros)>,
    pub(super) wrong: u64,
    fault: PlantGuard,
}

impl Gossip {
    fn is_dead(&self, node: Address) -> bool {
        self.dead.iter().any(|(gone, _)| *gone == node)
    }

    pub(super) fn deaths_in_order(&self) -> &[(Address, Micros)] {
        &self.dead
    }

    pub(super) fn of(nodes: usize, deaths: usize, gentle: bool, seed: u64, fault: Option<Fault>) -> Self {
        Self {
            nodes,
            seed,
            gentle,
            dies_at: 10 * SECOND,
            deaths,
            dead: Vec::new(),
            heard: BTreeMap::new(),
            wrong: 0,
            fault: PlantGuard::new(fault),
        }
    }
}

impl World for Gossip {
    type Actor = Swimmer;
    type Fault = Fault;
    const FAULTS: &'static [Planted<Fault>] = &[
        Planted {
            fault: Plant::SuspectsAtOnce,
            name: "gossip: suspects without asking others, and never waits",
            budget: 300,
        },
        Planted {
            fault: Plant::NeverRefutes,
            name: "gossip: a suspected member does not refute",
            budget: 100,
        },
    ];

    fn draw(random: &mut Random, fault: Option<Fault>) -> (Self, Plan) {
        let nodes = *random.pick(&[4, 9, 17, 30]).unwrap_or(&9);
        let gentle = random.percent(60);
        let mut plan = Plan::quiet(nodes, 150 * SECOND);
        plan.weather = Weather {
            delay_max: 20 * MILLISECOND,
            // Fewer members ask for each other: less may be lost before a living one is declared dead.
            loss_ppm: if nodes < 9 { 10_000 } else { 20_000 },
            reorder: true,
            ..Weather::FAIR
        };
        if !gentle {
            plan.faults = Faults {
                crash: 2,
                pause: 3,
                partition: 1,
                one_way_cut: 1,
            };
            plan.weather.loss_ppm = 150_000;
            plan.drift_ppm = 50_000;
            plan.faults_until = 40 * SECOND;
            plan.fault_every = 3 * SECOND;
            plan.down_max = 15 * SECOND;
        }
        plan.turn_every = SECOND;
        let deaths = random.below(3) as usize;
        (Self::of(nodes, deaths, gentle, random.draw(), fault), plan)
    }

    fn actor(&self, _: Address) -> Swimmer {
        Swimmer::new(self.nodes, self.seed, Settings::default())
    }

    fn turn(&mut self, simulation: &mut Simulation<Swimmer>) {
        if simulation.now() < self.dies_at || self.dead.len() >= self.deaths {
            return;
        }
        let gone = simulation.random.below(self.nodes as u64) as Address;
        if !self.is_dead(gone) {
            simulation.leave(gone);
            self.dead.push((gone, simulation.now()));
        }
    }

    fn noted(&mut self, node: Address, note: Note, simulation: &Simulation<Swimmer>) -> Check {
        match note {
            Note::Down(gone) => {
                let runs = simulation.actor(gone).is_some();
                self.wrong += u64::from(runs);
                accurate(node, gone, runs, self.gentle)?;
                if self.is_dead(gone) {
                    let now = simulation.now();
                    let heard = self.heard.entry(gone).or_insert((0, now, now));
                    heard.0 += 1;
                    heard.2 = now;
                }
                Ok(())
            }
            Note::TooLong(bytes) => require(false, "packet_bounded", || format!("{bytes} bytes")),
            Note::Up(_) | Note::Doubt(_) => Ok(()),
        }
    }

    fn end(&mut self, simulation: &Simulation<Swimmer>) -> Check {
        let members: Vec<(Address, &Membership)> = simulation
            .actors()
            .filter_map(|(node, swimmer)| Some((node, swimmer.member()?)))
            .collect();
        let dead: Vec<Address> = self.dead.iter().map(|(gone, _)| *gone).collect();
        complete(&dead, &members)?;
        same_view(&members)
    }

    fn operations(&self) -> (u64, u64) {
        (self.dead.len() as u64, self.heard.len() as u64)
    }

    fn figures(&self, simulation: &Simulation<Swimmer>, figures: &mut Figures) {
        let _guarded = &self.fault;
        figures.total("declared dead wrongly, by members", self.wrong);
        for (gone, died) in &self.dead {
            if let Some((_, first, last)) = self.heard.get(gone) {
                figures.most(
                    "a death is noticed after at most, milliseconds",
                    (first - died) / MILLISECOND,
                );
                figures.most(
                    "all know of it after at most, milliseconds",
                    (last - died) / MILLISECOND,
                );
            }
        }
        let bytes: u64 = simulation.actors().map(|(_, swimmer)| swimmer.sent_bytes).sum();
        let seconds = (simulation.now() / SECOND).max(1);
        figures.mean("bytes a member and second", bytes / self.nodes as u64 / seconds);
    }
}
