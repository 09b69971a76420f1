//! Purged ≤ snapshot ≤ applied ≤ committed ≤ last, in every member after every step. Source: openraft's `RaftState`
//! documents this chain; it follows from what each of them is for.

use super::{Check, Member, require};

/// How far a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bounds {
    pub purged: u64,
    pub snapshot: u64,
    pub applied: u64,
    pub committed: u64,
    pub last: u64,
}

pub fn check_bounds(member: Member, bounds: Bounds) -> Check {
    let Bounds {
        purged,
        snapshot,
        applied,
        committed,
        last,
    } = bounds;
    require(
        [purged, snapshot, applied, committed, last].is_sorted(),
        "bounds",
        || format!("member {member}: {bounds:?}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_link_of_the_chain_counts() {
        let bounds = |n: [u64; 5]| Bounds {
            purged: n[0],
            snapshot: n[1],
            applied: n[2],
            committed: n[3],
            last: n[4],
        };
        assert!(check_bounds(1, bounds([1, 2, 3, 4, 5])).is_ok() && check_bounds(1, bounds([0; 5])).is_ok());
        for broken in [[3, 2, 3, 4, 5], [1, 4, 3, 4, 5], [1, 2, 5, 4, 5], [1, 2, 3, 6, 5]] {
            assert!(check_bounds(1, bounds(broken)).is_err());
        }
    }
}
