//! In the end all replicas look alike.

use super::{Fault, Replica};
use crate::invariant::{Check, require};
use crate::world::Address;

pub fn converged<'a>(replicas: impl Iterator<Item = (Address, &'a Replica)>, fault: Option<Fault>) -> Check {
    let mut first: Option<&Replica> = None;
    for (node, replica) in replicas {
        let first = *first.get_or_insert(replica);
        require(first.looks_like(replica, fault), "converged", || {
            format!("replica {node} looks different from the first")
        })?;
    }
    Ok(())
}
