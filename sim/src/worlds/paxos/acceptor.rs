//! The acceptor: what it promised and accepted, all of it durable before it is told.

use std::collections::BTreeMap;

use super::{Ballot, Slot, Value};

/// Never goes back: `promised` only grows, and a slot's accepted ballot too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Acceptor {
    pub promised: Ballot,
    pub accepted: BTreeMap<Slot, (Ballot, Value)>,
}

impl Acceptor {
    /// Promises, unless something newer was promised.
    pub fn prepare(&mut self, ballot: Ballot) -> bool {
        let newer = ballot >= self.promised;
        if newer {
            self.promised = ballot;
        }
        newer
    }

    /// Accepts, unless something newer was promised.
    pub fn accept(&mut self, ballot: Ballot, slot: Slot, value: Value) -> bool {
        let newer = ballot >= self.promised;
        if newer {
            self.promised = ballot;
            self.accepted.insert(slot, (ballot, value));
        }
        newer
    }

    /// What was accepted from a slot on.
    pub fn accepted_from(&self, slot: Slot) -> Vec<(Slot, Ballot, Value)> {
        let from = self.accepted.range(slot..);
        from.map(|(slot, (ballot, value))| (*slot, *ballot, *value)).collect()
    }
}
