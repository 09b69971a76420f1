//! In the end nothing is left undecided.

use crate::invariant::{Check, require};
use crate::world::Address;

pub fn decided(node: Address, open: usize) -> Check {
    require(open == 0, "decided", || {
        format!("{node} has {open} transactions that are not decided")
    })
}
