//! Where copies go: over racks first, then by load, free space and distance.
//!
//! [`place`] puts the copies of one thing: it never puts two on one node; never two on one rack while a rack without one
//! has a node that fits; within that it takes the node of the least [cost](Candidate::cost). [`Placement::improve`] looks
//! for swaps that lower the cost of a whole placement, a bounded number of them, each of which keeps the rack rule. Ties
//! are broken by a seed, so equal inputs give equal placements, and not every placement begins at the first node.

mod picture;
mod placement;

pub use picture::svg;
pub use placement::{Placement, Swap};

use crate::mix;

/// A node that may hold a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub node: u64,
    pub rack: String,
    /// What it does already, in thousandths of what it can do.
    pub load_thousandths: u32,
    pub free_bytes: u64,
    /// Measured round trip from the writer, or from the leader.
    pub round_trip_micros: u32,
}

impl Candidate {
    /// Lower is better: load counts most, a fuller disk and a longer way less.
    pub fn cost(&self) -> u64 {
        let load = u64::from(self.load_thousandths);
        // A terabyte free is as good as ten.
        let fullness = 1_000 - (self.free_bytes >> 30).min(1_000);
        let way = u64::from(self.round_trip_micros / 100).min(1_000);
        4 * load + fullness + way
    }
}

/// What a placement must keep to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Constraints {
    /// Nodes with less free space hold none.
    pub free_bytes_min: u64,
    /// Nodes that hold none: being drained, or holding one already.
    pub excluded: Vec<u64>,
    /// Racks that have copies already.
    pub racks_taken: Vec<String>,
    /// At most this many racks are used, where the original's rule says so (HDFS: two for three copies); 0 is any number.
    pub racks_max: usize,
}

/// The nodes for `count` copies, best first. Fewer, if fewer fit.
pub fn place(count: usize, candidates: &[Candidate], constraints: &Constraints, seed: u64) -> Vec<u64> {
    let mut fitting: Vec<&Candidate> = candidates
        .iter()
        .filter(|candidate| candidate.free_bytes >= constraints.free_bytes_min)
        .filter(|candidate| !constraints.excluded.contains(&candidate.node))
        .collect();
    fitting.sort_unstable_by_key(|candidate| (candidate.cost(), mix(candidate.node ^ seed), candidate.node));
    fitting.dedup_by_key(|candidate| candidate.node);
    let mut racks: Vec<&str> = constraints.racks_taken.iter().map(String::as_str).collect();
    racks.sort_unstable();
    racks.dedup();
    let mut on_rack: Vec<(&str, usize)> = racks.iter().map(|rack| (*rack, 1)).collect();
    let mut chosen = Vec::new();
    while chosen.len() < count {
        let copies = |rack: &str| {
            on_rack
                .iter()
                .find(|(known, _)| *known == rack)
                .map_or(0, |(_, copies)| *copies)
        };
        let may_open = constraints.racks_max == 0 || on_rack.len() < constraints.racks_max;
        // The rack with the fewest copies; among its nodes the first is the best.
        let usable = fitting
            .iter()
            .enumerate()
            .filter(|(_, candidate)| may_open || copies(&candidate.rack) > 0);
        let Some((place, _)) = usable.min_by_key(|(_, candidate)| copies(&candidate.rack)) else {
            break;
        };
        let taken = fitting.remove(place);
        match on_rack.iter_mut().find(|(known, _)| *known == taken.rack) {
            Some((_, copies)) => *copies += 1,
            None => on_rack.push((&taken.rack, 1)),
        }
        chosen.push(taken.node);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    pub fn candidate(node: u64, rack: u64, load: u32) -> Candidate {
        Candidate {
            node,
            rack: format!("r{rack}"),
            load_thousandths: load,
            free_bytes: 1 << 40,
            round_trip_micros: 100,
        }
    }

    #[test]
    fn racks_come_before_load_and_load_before_distance() {
        let mut candidates = vec![
            candidate(1, 1, 0),
            candidate(2, 1, 10),
            candidate(3, 2, 900),
            candidate(4, 3, 500),
        ];
        assert_eq!(place(3, &candidates, &Constraints::default(), 1), [1, 4, 3]);
        let two = Constraints {
            racks_max: 2,
            ..Constraints::default()
        };
        assert_eq!(place(3, &candidates, &two, 1), [1, 4, 2], "three copies on two racks");
        candidates[0].round_trip_micros = 3_000;
        assert_eq!(
            place(1, &candidates, &Constraints::default(), 1),
            [1],
            "30 for the way, 40 for the load"
        );
        let full = Constraints {
            excluded: vec![1],
            free_bytes_min: 1 << 41,
            ..Constraints::default()
        };
        assert_eq!(place(3, &candidates, &full, 1), []);
    }

    #[test]
    fn ties_are_broken_by_the_seed() {
        let candidates: Vec<Candidate> = (0..20).map(|node| candidate(node, node, 0)).collect();
        let firsts: BTreeSet<u64> = (0..50)
            .map(|seed| place(1, &candidates, &Constraints::default(), seed)[0])
            .collect();
        assert!(firsts.len() > 10, "{firsts:?}");
    }

    proptest! {
        #[test]
        fn no_rack_has_two_while_another_has_none(
            nodes in prop::collection::vec((0..5u64, 0..1_000u32), 1..20), count in 1..6usize, seed: u64
        ) {
            let candidates: Vec<Candidate> = nodes.iter().zip(0..)
                .map(|((rack, load), node)| candidate(node, *rack, *load)).collect();
            let chosen = place(count, &candidates, &Constraints::default(), seed);
            prop_assert_eq!(chosen.len(), count.min(candidates.len()));
            let distinct: BTreeSet<u64> = chosen.iter().copied().collect();
            prop_assert_eq!(distinct.len(), chosen.len());
            let racks: BTreeSet<&str> = candidates.iter().map(|candidate| candidate.rack.as_str()).collect();
            let used: BTreeSet<&str> = chosen.iter().map(|node| candidates[*node as usize].rack.as_str()).collect();
            prop_assert_eq!(used.len(), count.min(racks.len()));
        }
    }
}
