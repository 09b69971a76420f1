//! Who owns a key: consistent hashing with virtual nodes and bounded loads.
//!
//! Members and keys are points on a circle; a key belongs to the next member clockwise (Karger and others, 1997). Each
//! member has many points, so shares are near each other, but the fullest member still has more than the mean by a factor
//! that grows with the logarithm of the members over their points. Mirrokni, Thorup and Zadimoghaddam (*Consistent
//! Hashing with Bounded Loads*, 2018) add a capacity of ⌈(1+ε)·mean⌉: a full member passes a key on to the next one. When
//! a member leaves, its own keys move, and of the others an expected number that depends on ε only, O(1/ε²) for each of
//! them, not on how many members there are.
//!
//! Hashes are fixed for ever ([`crate::mix`]): two builds and two machines agree.

mod assignment;

pub use assignment::{Assignment, moved};

use crate::mix;

/// Virtual nodes of one member by default: shares of 100 members differ by some ten percent.
pub const POINTS: u32 = 128;

/// A circle of members. Equal members and seeds give equal rings, in whatever order they came.
#[derive(Debug, Clone)]
pub struct Ring {
    /// In order; the member's number with each point.
    points: Vec<(u64, u64)>,
    members: Vec<u64>,
    seed: u64,
}

impl Ring {
    pub fn new(members: impl IntoIterator<Item = u64>, points: u32, seed: u64) -> Self {
        let mut members: Vec<u64> = members.into_iter().collect();
        members.sort_unstable();
        members.dedup();
        let of =
            |member: u64| (0..points.max(1)).map(move |point| (mix(mix(member ^ seed) ^ u64::from(point)), member));
        let mut points: Vec<_> = members.iter().copied().flat_map(of).collect();
        points.sort_unstable();
        Self { points, members, seed }
    }

    pub fn members(&self) -> &[u64] {
        &self.members
    }

    fn place(&self, key: u64) -> usize {
        let hash = mix(key ^ self.seed.rotate_left(32));
        self.points.partition_point(|(point, _)| *point < hash)
    }

    /// Members in the order in which they are asked for a key, each as often as it has points.
    fn clockwise(&self, key: u64) -> impl Iterator<Item = u64> {
        let (before, from) = self.points.split_at(self.place(key).min(self.points.len()));
        from.iter().chain(before).map(|(_, member)| *member)
    }

    /// The owner of a key without regard to loads; none on an empty ring.
    pub fn owner(&self, key: u64) -> Option<u64> {
        self.clockwise(key).next()
    }

    /// The first `count` distinct members for a key: its owner and those that hold copies.
    pub fn owners(&self, key: u64, count: usize) -> Vec<u64> {
        let mut owners = Vec::new();
        for member in self.clockwise(key) {
            if owners.len() >= count.min(self.members.len()) {
                break;
            }
            if !owners.contains(&member) {
                owners.push(member);
            }
        }
        owners
    }

    /// The first member for a key that is not at its capacity, given by `is_full`.
    pub fn owner_below(&self, key: u64, mut is_full: impl FnMut(u64) -> bool) -> Option<u64> {
        self.clockwise(key).find(|member| !is_full(*member))
    }
}

/// ⌈(1+ε)·mean⌉ of `keys` over `members`; ε in thousandths.
pub fn capacity(keys: u64, members: u64, epsilon_thousandths: u64) -> u64 {
    let wide = u128::from(keys) * u128::from(1_000 + epsilon_thousandths);
    u64::try_from(wide.div_ceil(1_000 * u128::from(members.max(1)))).unwrap_or(u64::MAX)
}

/// A name's number: FNV-1a, mixed.
pub fn number_of(name: &str) -> u64 {
    let fnv = name.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    mix(fnv)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_distinct_and_stay_when_others_leave() {
        let ring = Ring::new(0..20, POINTS, 7);
        let smaller = Ring::new((0..20).filter(|member| *member != 13), POINTS, 7);
        for key in 0..2_000 {
            let owners = ring.owners(key, 3);
            assert!(owners[0] != owners[1] && owners[1] != owners[2] && owners[0] != owners[2]);
            let kept: Vec<u64> = owners.iter().copied().filter(|owner| *owner != 13).collect();
            assert!(
                smaller.owners(key, 3).starts_with(&kept),
                "a leaver moves nothing but its own"
            );
        }
        assert_eq!(Ring::new([], POINTS, 7).owner(1), None);
        assert_eq!(Ring::new([3], POINTS, 7).owners(1, 3), [3]);
    }

    #[test]
    fn hashes_never_change() {
        // What these are is of no interest, but that they stay: keys that were placed are looked for by them.
        let owners: Vec<_> = (0..8)
            .filter_map(|key| Ring::new(0..10, POINTS, 1).owner(key))
            .collect();
        assert_eq!(owners, HASHES_OF_ALL_TIME);
        assert_eq!(number_of("flights-3"), NUMBER_OF_ALL_TIME);
    }

    const HASHES_OF_ALL_TIME: [u64; 8] = [1, 0, 5, 8, 7, 9, 4, 6];
    const NUMBER_OF_ALL_TIME: u64 = 0x8820_CD88_765B_3CBF;

    #[test]
    fn capacity_is_rounded_up_and_holds_all() {
        assert_eq!(capacity(1_000, 10, 250), 125);
        assert_eq!(capacity(1, 10, 0), 1);
        for keys in 0..50 {
            assert!(7 * capacity(keys, 7, 0) >= keys);
        }
        assert!(capacity(u64::MAX, 1, 1_000) == u64::MAX);
    }
}
