//! A copy is dropped only if enough live ones remain.

use crate::invariant::{Check, require};

pub fn keeps_the_minimum(resource: u64, live: usize, least: usize) -> Check {
    require(live >= least, "minimum", || {
        format!("resource {resource} is down to {live} live copies by a command, {least} is the least")
    })
}
