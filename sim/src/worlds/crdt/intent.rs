//! What was done is there.

use std::collections::{BTreeMap, BTreeSet};

use super::types::Tag;
use super::{Fault, Replica};
use crate::invariant::{Check, require};

/// Everything that was done at any replica.
#[derive(Debug, Default)]
pub struct Intent {
    pub grown: u64,
    pub counted: i64,
    pub added: BTreeMap<u64, BTreeSet<Tag>>,
    pub removed: BTreeSet<Tag>,
    pub typed: BTreeSet<Tag>,
    pub deleted: BTreeSet<Tag>,
}

impl Intent {
    pub fn holds(&self, replica: &Replica, fault: Option<Fault>) -> Check {
        let (grown, counted) = (replica.grows.value(), replica.counter.value());
        require(grown == self.grown && counted == self.counted, "intent", || {
            format!(
                "counters are {grown} and {counted}, not {} and {}",
                self.grown, self.counted
            )
        })?;
        for (element, tags) in &self.added {
            let should = !tags.is_subset(&self.removed);
            require(replica.set.contains(*element) == should, "intent", || {
                format!("that {element} is in the set should be {should}")
            })?;
        }
        let visible = replica.text.visible(fault);
        let once: BTreeSet<Tag> = visible.iter().copied().collect();
        let should: BTreeSet<Tag> = self.typed.difference(&self.deleted).copied().collect();
        require(once.len() == visible.len() && once == should, "intent", || {
            format!("the text has {} characters, not {}", visible.len(), should.len())
        })
    }
}
