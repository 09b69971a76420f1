//! One decision for all participants of a transaction, and no commit against a vote.

use std::collections::{BTreeMap, BTreeSet};

use crate::invariant::{Check, require};
use crate::world::Address;

#[derive(Debug, Default)]
pub struct Atomic {
    decisions: BTreeMap<u64, (bool, Address)>,
    refused: BTreeSet<u64>,
}

impl Atomic {
    pub fn voted_no(&mut self, tx: u64) {
        self.refused.insert(tx);
    }

    pub fn decided(&mut self, node: Address, tx: u64, commits: bool) -> Check {
        require(!(commits && self.refused.contains(&tx)), "atomic", || {
            format!("{node} commits {tx}, and one voted against it")
        })?;
        let (first, by) = *self.decisions.entry(tx).or_insert((commits, node));
        require(first == commits, "atomic", || {
            format!("of {tx}, commit is {first} at {by} and {commits} at {node}")
        })
    }
}
