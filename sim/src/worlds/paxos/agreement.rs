//! A slot is decided once: no two nodes ever learn two values for it, nor does one.

use std::collections::BTreeMap;

use super::{Slot, Value};
use crate::invariant::{Check, require};
use crate::world::Address;

#[derive(Debug, Default)]
pub struct Agreement {
    decided: BTreeMap<Slot, (Value, Address)>,
}

impl Agreement {
    pub fn decided(&mut self, node: Address, slot: Slot, value: Value) -> Check {
        let (first, by) = *self.decided.entry(slot).or_insert((value, node));
        require(first == value, "agreement", || {
            format!("slot {slot} is {first} at {by} and {value} at {node}")
        })
    }

    pub fn slots(&self) -> u64 {
        self.decided.len() as u64
    }
}
