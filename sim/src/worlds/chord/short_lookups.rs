//! Lookups by fingers: right, and within the paper's bound.

use super::Peers;
use super::peers::between;
use crate::invariant::{Check, require};

/// Each member's fingers: the owner of the place 1, 2, 4, … after it.
pub fn fingers(peers: &Peers) -> Vec<Vec<usize>> {
    let places = peers.peers.len();
    let bits = places.next_power_of_two().trailing_zeros();
    let owner = |place: usize| {
        (0..places)
            .map(|step| (place + step) % places)
            .find(|id| peers.lives(*id))
    };
    let of = |id: usize| (0..bits).filter_map(|bit| owner((id + (1 << bit)) % places)).collect();
    (0..places).map(of).collect()
}

/// The owner of a place, looked for from a member, and the hops it took.
pub fn lookup(peers: &Peers, fingers: &[Vec<usize>], from: usize, place: usize) -> Option<(usize, u64)> {
    let mut at = from;
    for hops in 0..peers.peers.len() as u64 {
        let next = peers.live_successor(at)?;
        if place == next || between(at, place, next) {
            return Some((next, hops + 1));
        }
        // The farthest finger that is not beyond the place.
        let nearer = fingers[at]
            .iter()
            .rev()
            .copied()
            .find(|finger| between(at, *finger, place));
        at = nearer.unwrap_or(next);
    }
    None
}

pub fn short(found: Option<(usize, u64)>, owner: usize, members: u64) -> Check {
    let bound = 2 * u64::from(members.next_power_of_two().trailing_zeros()) + 1;
    require(
        found.is_some_and(|(found, hops)| found == owner && hops <= bound),
        "short_lookups",
        || format!("{found:?} (owner and hops) instead of {owner} within {bound} hops"),
    )
}
