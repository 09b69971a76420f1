//! The claim in numbers: one run for each size.

use std::fmt::Write as _;

use super::Gossip;
use crate::actor::{Plan, run_as};
use crate::world::{MILLISECOND, SECOND, Weather};

/// Members that die, each at another moment.
const DEATHS: usize = 10;
/// What a run lasts: deaths begin after ten seconds, one a second.
const END: u64 = 60 * SECOND;

/// A row for each size: how soon a death is noticed, how soon all know, what a member sends.
pub fn measure(sizes: &[usize]) -> String {
    let mut table = format!(
        "{:>7} {:>8} {:>12} {:>12} {:>12} {:>12} {:>8} {:>12}\n",
        "members", "paused", "first p50 ms", "first p99 ms", "all p50 ms", "all p99 ms", "wrongly", "bytes/s each"
    );
    for nodes in sizes {
        for pauses in [false, true] {
            let row = measure_one(*nodes, pauses);
            let _infallible = writeln!(
                table,
                "{nodes:>7} {:>8} {:>12} {:>12} {:>12} {:>12} {:>8} {:>12}",
                if pauses { "some" } else { "none" },
                row.first.0,
                row.first.1,
                row.all.0,
                row.all.1,
                row.wrong,
                row.bytes
            );
        }
    }
    table
}

/// In milliseconds: median and 99th percentile.
#[derive(Debug, Clone, Copy, Default)]
pub struct Row {
    pub first: (u64, u64),
    pub all: (u64, u64),
    pub wrong: u64,
    pub bytes: u64,
}

/// Five percent of all packets are lost; if `pauses`, a process stops for up to a second every 300 ms.
pub fn measure_one(nodes: usize, pauses: bool) -> Row {
    let mut plan = Plan::quiet(nodes, END);
    plan.weather = Weather {
        delay_max: 5 * MILLISECOND,
        loss_ppm: 50_000,
        reorder: true,
        ..Weather::FAIR
    };
    plan.turn_every = SECOND;
    if pauses {
        plan.faults.pause = 1;
        plan.fault_every = 300 * MILLISECOND;
        plan.faults_until = END;
        plan.down_max = SECOND;
    }
    let mut world = Gossip::of(nodes, DEATHS, false, nodes as u64, None);
    let outcome = run_as(&mut world, plan, 1);
    let percentiles = |mut values: Vec<u64>| {
        values.sort_unstable();
        let at = |percent: usize| {
            values
                .get(values.len().saturating_sub(1) * percent / 100)
                .copied()
                .unwrap_or(0)
        };
        (at(50) / MILLISECOND, at(99) / MILLISECOND)
    };
    let since = |pick: fn((usize, u64, u64)) -> u64| {
        let all = world.deaths_in_order().iter();
        all.filter_map(|(gone, died)| Some(pick(*world.heard.get(gone)?) - died))
            .collect()
    };
    Row {
        first: percentiles(since(|(_, first, _)| first)),
        all: percentiles(since(|(_, _, last)| last)),
        wrong: world.wrong,
        bytes: outcome.figures.get("bytes a member and second").unwrap_or(0),
    }
}
