//! Keys on members, none of which has more than its capacity.

use std::collections::BTreeMap;

use super::{Ring, capacity};
use crate::plant::{self, Plant};

/// Which member has which key. Depends on the set of keys and members alone: keys are placed in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Assignment {
    owners: BTreeMap<u64, u64>,
    loads: BTreeMap<u64, u64>,
    capacity: u64,
}

impl Assignment {
    /// Places all keys; ε in thousandths. Nothing is placed on an empty ring.
    pub fn new(ring: &Ring, keys: impl IntoIterator<Item = u64>, epsilon_thousandths: u64) -> Self {
        let mut keys: Vec<u64> = keys.into_iter().collect();
        keys.sort_unstable();
        keys.dedup();
        let capacity = capacity(keys.len() as u64, ring.members().len() as u64, epsilon_thousandths);
        let mut assignment = Self {
            capacity,
            ..Self::default()
        };
        for key in keys {
            let loads = &assignment.loads;
            let is_full =
                |member| !plant::is(Plant::LoadUnbounded) && loads.get(&member).copied().unwrap_or(0) >= capacity;
            if let Some(owner) = ring.owner_below(key, is_full) {
                assignment.owners.insert(key, owner);
                *assignment.loads.entry(owner).or_default() += 1;
            }
        }
        assignment
    }

    pub fn owner(&self, key: u64) -> Option<u64> {
        self.owners.get(&key).copied()
    }

    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Of each member that has any.
    pub fn loads(&self) -> &BTreeMap<u64, u64> {
        &self.loads
    }

    pub fn most(&self) -> u64 {
        self.loads.values().copied().max().unwrap_or(0)
    }

    pub fn len(&self) -> usize {
        self.owners.len()
    }

    pub fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }
}

/// How many keys have another owner, of those that both have.
pub fn moved(one: &Assignment, other: &Assignment) -> u64 {
    let both = one
        .owners
        .iter()
        .filter_map(|(key, owner)| Some((owner, other.owners.get(key)?)));
    both.filter(|(one, other)| one != other).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::POINTS;

    #[test]
    fn no_member_is_above_its_capacity_and_plain_hashing_is() {
        let ring = Ring::new(0..50, POINTS, 3);
        for epsilon in [50, 100, 250, 1_000] {
            let bounded = Assignment::new(&ring, 0..10_000, epsilon);
            assert_eq!(bounded.len(), 10_000);
            assert!(bounded.most() <= bounded.capacity(), "{epsilon}: {bounded:?}");
        }
        let plain = Assignment::new(&ring, 0..10_000, 1_000_000);
        assert!(plain.most() > 220, "the fullest has {} of a mean of 200", plain.most());
    }

    #[test]
    fn a_leaver_moves_its_keys_and_few_others() {
        let keys = 10_000;
        let (with, without) = (Ring::new(0..50, POINTS, 3), Ring::new(0..49, POINTS, 3));
        let (before, after) = (
            Assignment::new(&with, 0..keys, 250),
            Assignment::new(&without, 0..keys, 250),
        );
        let own = before.loads().get(&49).copied().unwrap_or(0);
        let others = moved(&before, &after) - own;
        // The paper's bound for each key of the leaver is a constant of 1/ε², 16 here; most need none.
        assert!(others <= 16 * own, "{own} keys left, {others} others moved");
    }
}
