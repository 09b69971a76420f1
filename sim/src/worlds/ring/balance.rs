//! No member is above its capacity, and every key is owned.

use cluster::ring::Assignment;

use crate::invariant::{Check, require};

pub fn balanced(assignment: &Assignment, keys: u64) -> Check {
    require(assignment.most() <= assignment.capacity(), "balance", || {
        format!(
            "a member has {} keys, and its capacity is {}",
            assignment.most(),
            assignment.capacity()
        )
    })?;
    require(assignment.len() as u64 == keys, "balance", || {
        format!("{} of {keys} keys are owned", assignment.len())
    })
}
