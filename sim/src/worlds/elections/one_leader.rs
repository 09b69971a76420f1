//! One node leads, and every node knows which.

use crate::invariant::{Check, require};
use crate::world::Address;

/// `known`: whom each node takes for the leader, by number; `claims`: nodes that say they lead.
pub fn one_leader(known: &[Option<u64>], claims: &[Address]) -> Check {
    require(claims.len() == 1, "one_leader", || {
        format!("{claims:?} say that they lead")
    })?;
    let first = known.first().copied().flatten();
    require(
        first.is_some() && known.iter().all(|leader| *leader == first),
        "one_leader",
        || format!("the nodes take these for the leader: {known:?}"),
    )
}
