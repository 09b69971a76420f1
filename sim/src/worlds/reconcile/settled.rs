//! In the end every resource is where it should be.

use std::collections::{BTreeMap, BTreeSet};

use cluster::reconcile::Ideal;

use crate::invariant::{Check, require};

pub fn settled(
    ideal: &BTreeMap<u64, Ideal>,
    copies: &BTreeMap<u64, BTreeSet<u64>>,
    rack_of: impl Fn(u64) -> u64,
    racks: usize,
) -> Check {
    for (resource, wanted) in ideal {
        let should: BTreeSet<u64> = wanted.nodes.iter().copied().collect();
        let is = copies.get(resource).cloned().unwrap_or_default();
        require(is == should, "settled", || {
            format!("resource {resource} is on {is:?}, not on {should:?}")
        })?;
        let used: BTreeSet<u64> = is.iter().map(|node| rack_of(*node)).collect();
        require(used.len() == racks.min(is.len()), "settled", || {
            format!("resource {resource} on {is:?} uses {} of {racks} racks", used.len())
        })?;
    }
    Ok(())
}
