//! An addition that was acknowledged stays.

use std::collections::BTreeSet;

use crate::invariant::{Check, require};

pub fn nothing_lost(key: u64, acknowledged: &BTreeSet<u64>, found: &BTreeSet<u64>) -> Check {
    let lost: Vec<u64> = acknowledged.difference(found).copied().collect();
    require(lost.is_empty(), "nothing_lost", || {
        format!("of cart {key} the items {lost:?} were acknowledged and are gone")
    })
}
