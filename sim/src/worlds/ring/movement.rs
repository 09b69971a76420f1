//! A change of one member moves what it must, and little more.

use crate::invariant::{Check, require};

/// Plain hashing: only keys of the member that left, or to the one that came.
pub fn plain_moves_its_own(moved: u64, own: u64) -> Check {
    require(moved == own, "movement", || format!("{moved} keys moved, {own} had to"))
}

/// Bounded loads. The paper's constant for small ε is O(1/ε²) for each key of the member that changed; all that were at
/// their capacity may shift by the change of the capacity itself.
pub fn bounded_moves_little(moved: u64, own: u64, members: u64, epsilon_thousandths: u64) -> Check {
    let inverse = 1_000 / epsilon_thousandths.max(1) + 1;
    let bound = (own + members) * (1 + inverse * inverse);
    require(moved <= bound, "movement", || {
        format!("{moved} keys moved, the bound is {bound} for {own}")
    })
}
