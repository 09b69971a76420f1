//! No member that runs is declared dead, unless the world made it look so.

use crate::invariant::{Check, require};
use crate::world::Address;

pub fn accurate(by: Address, declared: Address, runs: bool, is_gentle: bool) -> Check {
    require(!(runs && is_gentle), "accuracy", || {
        format!("{by} declares {declared} dead, which runs, and little is lost")
    })
}
