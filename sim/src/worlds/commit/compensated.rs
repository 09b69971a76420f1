//! A saga's steps are all done, or all that were done are undone, the last one first.

use std::collections::BTreeMap;

use crate::invariant::{Check, require};

#[derive(Debug, Default)]
pub struct Compensated {
    /// Of each saga, the steps that stand.
    standing: BTreeMap<u64, Vec<u64>>,
}

impl Compensated {
    pub fn done(&mut self, tx: u64, step: u64) {
        self.standing.entry(tx).or_default().push(step);
    }

    pub fn undone(&mut self, tx: u64, step: u64) -> Check {
        let last = self.standing.entry(tx).or_default().pop();
        require(last == Some(step), "compensated", || {
            format!("of saga {tx} step {step} is undone before {last:?}")
        })
    }

    pub fn whole(&self, steps: u64) -> Check {
        for (tx, standing) in &self.standing {
            let count = standing.len() as u64;
            require(count == 0 || count == steps, "compensated", || {
                format!("of saga {tx} the steps {standing:?} stand")
            })?;
        }
        Ok(())
    }
}
