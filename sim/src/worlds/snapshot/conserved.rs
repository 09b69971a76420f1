//! A cut has all the money.

use crate::invariant::{Check, require};

pub fn conserved(cut: u64, found: u64, all: u64) -> Check {
    require(found == all, "conserved", || {
        format!("cut {cut} has {found}, and there is {all}")
    })
}
