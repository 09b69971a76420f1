//! What a world of actors is like: its size, its times, its faults.

use crate::world::{MILLISECOND, Micros, Random, SECOND, Weather};

/// Which faults happen, each as a weight among the others; 0 is never.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    pub crash: u32,
    pub pause: u32,
    pub partition: u32,
    pub one_way_cut: u32,
}

impl Faults {
    /// All kinds, each of them with some luck absent (Groce and others, Swarm Testing, 2012).
    pub fn draw(random: &mut Random) -> Self {
        let mut weight = |of: u32| if random.percent(60) { of } else { 0 };
        Self {
            crash: weight(3),
            pause: weight(2),
            partition: weight(2),
            one_way_cut: weight(2),
        }
    }

    pub fn weights(&self) -> [u32; 4] {
        [self.crash, self.pause, self.partition, self.one_way_cut]
    }
}

/// What a world is like.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub nodes: usize,
    /// Nodes behind the first `faulty` are neither crashed nor paused: clients, say.
    pub faulty: usize,
    pub weather: Weather,
    /// Up to this much are clocks too fast or too slow; 0 is exact.
    pub drift_ppm: u32,
    /// A write is durable after up to this long.
    pub sync_max: Micros,
    pub faults: Faults,
    /// The time between two faults, on average.
    pub fault_every: Micros,
    /// Until then faults happen; afterwards the world is mended.
    pub faults_until: Micros,
    /// A crashed or paused node comes back after up to this long.
    pub down_max: Micros,
    /// How often the world has its turn; 0 is never.
    pub turn_every: Micros,
    pub end: Micros,
}

impl Plan {
    /// A quiet world: nothing is lost, no node fails.
    pub fn quiet(nodes: usize, end: Micros) -> Self {
        Self {
            nodes,
            faulty: nodes,
            weather: Weather::FAIR,
            drift_ppm: 0,
            sync_max: 0,
            faults: Faults::default(),
            fault_every: SECOND,
            faults_until: 0,
            down_max: SECOND,
            turn_every: 0,
            end,
        }
    }

    /// A world in which everything happens, for ten seconds, and ten more to mend.
    pub fn draw(nodes: usize, random: &mut Random) -> Self {
        let mut pick = |from: &[u64]| from[random.below(from.len() as u64) as usize];
        let fault_every = pick(&[300, 1_000, 3_000]) * MILLISECOND;
        let sync_max = pick(&[200, 2_000, 20_000]);
        let drift_ppm = pick(&[0, 1_000, 50_000]) as u32;
        Self {
            weather: crate::cluster::weather(random),
            faults: Faults::draw(random),
            fault_every,
            sync_max,
            drift_ppm,
            faults_until: 10 * SECOND,
            down_max: 3 * SECOND,
            turn_every: 50 * MILLISECOND,
            ..Self::quiet(nodes, 20 * SECOND)
        }
    }
}
