//! Siblings: versions of a value, none of which has seen another.

use std::collections::BTreeSet;

use crate::world::Micros;

/// One write: by whom, and as which of its writes.
pub type Dot = (usize, u64);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    pub dot: Dot,
    /// All writes that it has seen.
    pub past: BTreeSet<Dot>,
    pub items: BTreeSet<u64>,
    /// By the writer's clock: only for last-writer-wins.
    pub written_at: Micros,
}

/// Those that stand side by side, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Versions(pub BTreeSet<Version>);

impl Versions {
    pub fn merge(&mut self, other: &Self, last_writer_wins: bool) {
        let all: BTreeSet<Version> = self.0.union(&other.0).cloned().collect();
        if last_writer_wins {
            let last = all.into_iter().max_by_key(|version| (version.written_at, version.dot));
            self.0 = last.into_iter().collect();
            return;
        }
        let seen = |version: &Version| all.iter().any(|other| other.past.contains(&version.dot));
        self.0 = all.iter().filter(|version| !seen(version)).cloned().collect();
    }

    /// What a client sees: the union of all siblings, and their common past.
    pub fn read(&self) -> (BTreeSet<u64>, BTreeSet<Dot>) {
        let (mut items, mut past) = (BTreeSet::new(), BTreeSet::new());
        for version in &self.0 {
            items.extend(&version.items);
            past.extend(version.past.iter().copied());
            past.insert(version.dot);
        }
        (items, past)
    }

    pub fn hash(&self) -> u64 {
        self.0.iter().fold(0, |hash, version| {
            hash ^ cluster::mix(version.dot.0 as u64 ^ version.dot.1 << 8)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(dot: Dot, past: &[Dot], items: &[u64], written_at: Micros) -> Version {
        Version {
            dot,
            past: past.iter().copied().collect(),
            items: items.iter().copied().collect(),
            written_at,
        }
    }

    fn merged(versions: &[Version], last_writer_wins: bool) -> Vec<Dot> {
        let mut sum = Versions::default();
        for version in versions {
            sum.merge(&Versions(BTreeSet::from([version.clone()])), last_writer_wins);
        }
        sum.0.iter().map(|version| version.dot).collect()
    }

    #[test]
    fn what_was_seen_goes_and_what_was_not_stays_beside_it() {
        let first = version((0, 1), &[], &[1], 100);
        let aware = version((1, 1), &[(0, 1)], &[1, 2], 50);
        // Through the same coordinator as the first, without having seen it.
        let unaware = version((0, 2), &[], &[3], 200);
        let all = [first.clone(), aware.clone(), unaware.clone()];
        assert_eq!(merged(&all, false), [(0, 2), (1, 1)]);
        assert_eq!(
            merged(&[unaware, aware, first], false),
            [(0, 2), (1, 1)],
            "in any order"
        );
        assert_eq!(merged(&all, true), [(0, 2)], "by the clock two items are lost");
    }
}
