//! A whole placement, and swaps that make it better.

use std::collections::BTreeMap;

use super::Candidate;

/// Which nodes hold which thing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placement {
    pub copies: BTreeMap<u64, Vec<u64>>,
}

/// A copy that goes from one node to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Swap {
    pub thing: u64,
    pub from: u64,
    pub to: u64,
}

/// What two copies on one rack cost, while there is another rack: more than any load can.
const RACK_BROKEN: u64 = 1_000_000_000;

impl Placement {
    /// How many copies each node holds.
    pub fn loads(&self, nodes: &[Candidate]) -> BTreeMap<u64, u64> {
        let mut loads: BTreeMap<u64, u64> = nodes.iter().map(|node| (node.node, 0)).collect();
        for node in self.copies.values().flatten() {
            *loads.entry(*node).or_default() += 1;
        }
        loads
    }

    /// The squares of loads (a level placement is the cheapest), and a heavy price for each rack that has more copies of
    /// a thing than it must.
    pub fn cost(&self, nodes: &[Candidate]) -> u64 {
        let loads = self.loads(nodes);
        let level: u64 = loads.values().map(|load| load * load).sum();
        let racks = rack_count(nodes);
        let broken: u64 = self
            .copies
            .values()
            .map(|copies| superfluous_on_racks(copies, nodes, racks))
            .sum();
        level.saturating_add(broken.saturating_mul(RACK_BROKEN))
    }

    /// Looks for up to `budget` swaps, each of which lowers the cost, and makes them.
    pub fn improve(&mut self, nodes: &[Candidate], budget: usize) -> Vec<Swap> {
        let racks = rack_count(nodes);
        let mut loads = self.loads(nodes);
        let mut swaps = Vec::new();
        while swaps.len() < budget {
            let Some((gain, swap)) = self.best_swap(nodes, &loads, racks) else {
                break;
            };
            debug_assert!(gain > 0, "only what lowers the cost is a swap");
            if let Some(copy) = self
                .copies
                .get_mut(&swap.thing)
                .and_then(|copies| copies.iter_mut().find(|node| **node == swap.from))
            {
                *copy = swap.to;
            }
            *loads.entry(swap.from).or_default() -= 1;
            *loads.entry(swap.to).or_default() += 1;
            swaps.push(swap);
        }
        swaps
    }

    fn best_swap(&self, nodes: &[Candidate], loads: &BTreeMap<u64, u64>, racks: usize) -> Option<(u64, Swap)> {
        let mut best: Option<(u64, Swap)> = None;
        for (thing, copies) in &self.copies {
            let broken = superfluous_on_racks(copies, nodes, racks);
            for from in copies {
                let load_from = loads.get(from).copied().unwrap_or(0);
                for to in nodes.iter().filter(|node| !copies.contains(&node.node)) {
                    let load_to = loads.get(&to.node).copied().unwrap_or(0);
                    if broken == 0 && load_from <= load_to + 1 {
                        continue;
                    }
                    let after: Vec<u64> = copies
                        .iter()
                        .map(|node| if node == from { to.node } else { *node })
                        .collect();
                    let broken_after = superfluous_on_racks(&after, nodes, racks);
                    // (from-1)² + (to+1)² instead of from² + to².
                    let before = broken * RACK_BROKEN + 2 * load_from;
                    let later = broken_after * RACK_BROKEN + 2 * load_to + 2;
                    let gain = before.saturating_sub(later);
                    if gain > best.map_or(0, |(gain, _)| gain) {
                        best = Some((
                            gain,
                            Swap {
                                thing: *thing,
                                from: *from,
                                to: to.node,
                            },
                        ));
                    }
                }
            }
        }
        best
    }
}

fn rack_count(nodes: &[Candidate]) -> usize {
    let mut racks: Vec<&str> = nodes.iter().map(|node| node.rack.as_str()).collect();
    racks.sort_unstable();
    racks.dedup();
    racks.len()
}

/// Copies that share a rack although there is one without.
fn superfluous_on_racks(copies: &[u64], nodes: &[Candidate], racks: usize) -> u64 {
    let rack_of = |node: &u64| nodes.iter().find(|candidate| candidate.node == *node);
    let mut used: Vec<&str> = copies
        .iter()
        .filter_map(rack_of)
        .map(|node| node.rack.as_str())
        .collect();
    used.sort_unstable();
    used.dedup();
    copies.len().min(racks).saturating_sub(used.len()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes() -> Vec<Candidate> {
        (0..6)
            .map(|node| Candidate {
                node,
                rack: format!("r{}", node % 3),
                load_thousandths: 0,
                free_bytes: 1 << 40,
                round_trip_micros: 100,
            })
            .collect()
    }

    #[test]
    fn swaps_mend_racks_first_and_then_level_loads() {
        let nodes = nodes();
        // All on two nodes of one rack: 0 and 3.
        let copies = (0..12).map(|thing| (thing, vec![0, 3])).collect();
        let mut placement = Placement { copies };
        let before = placement.cost(&nodes);
        let first = placement.improve(&nodes, 1)[0];
        assert!(first.from.is_multiple_of(3) && !first.to.is_multiple_of(3), "{first:?}");
        let swaps = placement.improve(&nodes, 100);
        assert!(swaps.len() < 40, "it ends by itself");
        let loads = placement.loads(&nodes);
        assert!(loads.values().all(|load| (3..=5).contains(load)), "{loads:?}");
        assert!(placement.cost(&nodes) < before / 1_000);
        for copies in placement.copies.values() {
            assert_eq!(superfluous_on_racks(copies, &nodes, 3), 0);
        }
        assert_eq!(placement.improve(&nodes, 100), [], "nothing is left to gain");
    }
}
