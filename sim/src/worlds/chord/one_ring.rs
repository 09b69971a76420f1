//! One ring, in order, that everyone reaches.

use super::Peers;
use super::peers::between;
use crate::invariant::{Check, require};

pub fn one_ring(peers: &Peers) -> Check {
    let members: Vec<usize> = peers.members().collect();
    let Some(first) = members.first().copied() else {
        return Ok(());
    };
    let mut rings: Vec<Vec<usize>> = Vec::new();
    for member in &members {
        let mut at = *member;
        for _ in 0..members.len() {
            let next = peers.live_successor(at);
            require(next.is_some(), "one_ring", || format!("{at} has no live successor"))?;
            at = next.unwrap_or(first);
        }
        // After as many steps as there are members one is in a ring.
        let mut ring = vec![at];
        while let Some(next) = peers.live_successor(ring[ring.len() - 1]).filter(|next| *next != at) {
            ring.push(next);
        }
        ring.sort_unstable();
        if !rings.contains(&ring) {
            rings.push(ring);
        }
    }
    require(rings.len() == 1, "one_ring", || {
        format!("there are {} rings: {rings:?}", rings.len())
    })?;
    for ring in &rings {
        for at in ring {
            let Some(next) = peers.live_successor(*at) else {
                continue;
            };
            let skipped = ring.iter().find(|other| between(*at, **other, next));
            require(skipped.is_none() || ring.len() == 1, "one_ring", || {
                format!("the ring is out of order: {next} follows {at}, and {skipped:?} is between")
            })?;
        }
    }
    Ok(())
}

/// Everything is repaired: each member's list is its true successors.
pub fn ideal(peers: &Peers, successors: usize) -> Check {
    let members: Vec<usize> = peers.members().collect();
    let perfect = Peers::ring(peers.peers.len(), &members, successors);
    for member in members {
        require(peers.peers[member] == perfect.peers[member], "one_ring", || {
            format!(
                "{member} is not repaired: {:?} instead of {:?}",
                peers.peers[member], perfect.peers[member]
            )
        })?;
    }
    Ok(())
}
