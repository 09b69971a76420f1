//! Long after everything was mended all nodes know the same decisions, without holes, and requests are answered.

use std::collections::BTreeMap;

use super::{Slot, Value};
use crate::invariant::{Check, require};
use crate::world::Address;

pub fn learned<'a>(nodes: impl Iterator<Item = (Address, &'a BTreeMap<Slot, Value>)>, least: u64) -> Check {
    let known: Vec<_> = nodes.collect();
    let most = known.iter().map(|(_, decided)| decided.len() as u64).max().unwrap_or(0);
    require(most >= least, "learned", || {
        format!("{most} slots are decided, fewer than {least}")
    })?;
    for (node, decided) in known {
        let has = decided.len() as u64;
        // What was decided in the last moment is still on its way.
        require(has + 8 >= most, "learned", || {
            format!("{node} knows {has} of {most} slots")
        })?;
    }
    Ok(())
}
