//! The merge laws, on states that the world came to.

use super::{Fault, Replica};
use crate::invariant::{Check, require};

pub fn laws(a: &Replica, b: &Replica, c: &Replica, fault: Option<Fault>) -> Check {
    let join = |one: &Replica, other: &Replica| {
        let mut sum = one.clone();
        sum.merge(other, fault);
        sum
    };
    let alike = |one: &Replica, other: &Replica| one.looks_like(other, fault);
    require(alike(&join(a, b), &join(b, a)), "laws", || {
        "merging is not commutative".to_owned()
    })?;
    require(alike(&join(&join(a, b), c), &join(a, &join(b, c))), "laws", || {
        "merging is not associative".to_owned()
    })?;
    require(alike(&join(a, a), a), "laws", || "merging is not idempotent".to_owned())
}
