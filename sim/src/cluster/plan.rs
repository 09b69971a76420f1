//! What a world is like: sizes, times, and which faults it knows. Drawn from the seed.
//!
//! Not every world has every fault (Groce and others, Swarm Testing, 2012): a bug that needs a hundred quiet elections never
//! shows where every second brings a partition.

use crate::world::{MILLISECOND, Micros, Random, SECOND, Weather};

/// In one of this many worlds the real log runs.
const REAL_LOG_ONE_IN: u64 = 8;

/// Which faults happen in a world, each as a weight among the others; 0 is never.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    pub one_way_cut: u32,
    pub partition: u32,
    pub crash: u32,
    pub pause: u32,
    pub slow_disk: u32,
    pub full_disk: u32,
    pub weather: u32,
    pub membership: u32,
    pub transfer: u32,
    pub campaign: u32,
    pub replace: u32,
}

impl Faults {
    pub fn weights(&self) -> [u32; 11] {
        [
            self.one_way_cut,
            self.partition,
            self.crash,
            self.pause,
            self.slow_disk,
            self.full_disk,
            self.weather,
            self.membership,
            self.transfer,
            self.campaign,
            self.replace,
        ]
    }
}

/// What a world is like.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Those that vote at first.
    pub voters: usize,
    /// All that there can be.
    pub members: usize,
    pub drift_ppm: u32,
    pub election_ms: u64,
    pub heartbeat_ms: u64,
    pub append_bytes_max: usize,
    pub inflight_max: usize,
    pub cache_bytes: usize,
    pub pre_vote: bool,
    pub check_quorum: bool,
    pub forward: bool,
    /// A snapshot is written after this many entries.
    pub snapshot_every: u64,
    pub keep_behind_snapshot: u64,
    pub snapshot_transfer_max: Micros,
    pub sync_min: Micros,
    pub sync_max: Micros,
    /// Whether reports of durable writes overtake each other.
    pub late_reports: bool,
    pub apply_max: Micros,
    pub weather: Weather,
    pub faults: Faults,
    /// The time between two faults, on average.
    pub fault_every: Micros,
    /// Until then faults happen; afterwards the world is mended.
    pub faults_until: Micros,
    /// Until then everyone must have come to agree.
    pub end: Micros,
    /// A disk that acknowledges what it has not written: a fault to be found, never part of a world otherwise.
    pub lying_disk: bool,
    /// Whether members write with the real log as well, and start with what it finds.
    pub real_log: bool,
}

impl Plan {
    /// Draws a world's nature.
    pub fn draw(random: &mut Random) -> Self {
        let mut pick = |from: &[u64]| from[random.below(from.len() as u64) as usize];
        let heartbeat_ms = pick(&[50, 100, 100, 200]);
        let election_ms = heartbeat_ms * pick(&[5, 10, 10]);
        let snapshot_every = pick(&[8, 30, 100, 1_000_000]);
        let keep_behind_snapshot = pick(&[0, 5, 20]);
        let append_bytes_max = pick(&[1, 300, 1 << 20]) as usize;
        let inflight_max = pick(&[1, 2, 8, 256]) as usize;
        let cache_bytes = pick(&[0, 500, 1 << 20]) as usize;
        let sync_max = pick(&[200, 2_000, 20_000]);
        let apply_max = pick(&[0, 0, 5_000, 50_000]);
        let fault_every = pick(&[300, 1_000, 3_000]) * MILLISECOND;
        let faults_until = pick(&[10, 20, 40]) * SECOND;
        let spare = pick(&[0, 1, 2]) as usize;
        let drift_ppm = pick(&[0, 1_000, 50_000]) as u32;
        let members = 5 + spare;
        let (pre_vote, check_quorum) = (random.percent(80), random.percent(80));
        let mut faults = faults(random);
        if !pre_vote && !check_quorum {
            // Nothing keeps a member that was removed from disturbing the others then; that is what these are for.
            faults.membership = 0;
        }
        Self {
            voters: 5,
            members,
            drift_ppm,
            election_ms,
            heartbeat_ms,
            append_bytes_max,
            inflight_max,
            cache_bytes,
            pre_vote,
            check_quorum,
            forward: random.percent(50),
            snapshot_every,
            keep_behind_snapshot,
            snapshot_transfer_max: 300 * MILLISECOND,
            sync_min: 100,
            sync_max,
            late_reports: random.percent(30),
            apply_max,
            weather: weather(random),
            faults,
            fault_every,
            faults_until,
            end: faults_until + 40 * election_ms * MILLISECOND,
            lying_disk: false,
            real_log: random.below(REAL_LOG_ONE_IN) == 0,
        }
    }
}

/// What the network is like between faults.
pub fn weather(random: &mut Random) -> Weather {
    if random.percent(40) {
        return Weather::FAIR;
    }
    let mut pick = |from: &[u32]| from[random.below(from.len() as u64) as usize];
    Weather {
        delay_min: 200,
        delay_max: u64::from(pick(&[1_000, 5_000, 50_000])),
        loss_ppm: pick(&[0, 1_000, 20_000, 150_000]),
        duplicate_ppm: pick(&[0, 10_000, 100_000]),
        stray_ppm: pick(&[0, 1_000, 20_000]),
        stray_max: u64::from(pick(&[500_000, 3_000_000])),
        reorder: random.percent(50),
    }
}

fn faults(random: &mut Random) -> Faults {
    let mut weight = |of: u32| if random.percent(60) { of } else { 0 };
    Faults {
        one_way_cut: weight(4),
        partition: weight(4),
        crash: weight(6),
        pause: weight(4),
        slow_disk: weight(2),
        full_disk: weight(1),
        weather: weight(2),
        membership: weight(6),
        transfer: weight(3),
        campaign: weight(2),
        replace: weight(3),
    }
}
