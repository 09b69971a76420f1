//! Our consensus core beside TiKV's `raft` crate 0.7, on the same random traces.
//!
//! Both are Raft, so where both are told the same, both must come to the same: who leads in which term, every member's log
//! entry by entry, what is committed. A trace is a list of operations: a member campaigns, the leader appends, links break
//! and heal, members crash and come back, leadership is handed over. After each one both clusters run until they are quiet
//! and two rounds of heartbeats have passed, then they are compared.
//!
//! What is not compared, because the two differ on purpose: time (no one campaigns unless told), messages and their number,
//! changes of members (theirs count from applying on, ours from appending on), and reads. Where the order of messages alone
//! decides what an outdated leader still gets across, a trace ends early; few may.

#[cfg(test)]
mod ours_world;
#[cfg(test)]
mod theirs_world;
#[cfg(test)]
mod traces;

use std::collections::BTreeSet;

/// An operation of a trace; members are numbered from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    Campaign(u64),
    /// If it leads, perhaps in a term that is over, it appends this many commands.
    Propose(u64, u64),
    /// Both directions between the two are cut.
    Cut(u64, u64),
    /// All of a member's links are cut.
    Isolate(u64),
    Heal,
    /// It crashes and starts again from its disk.
    Restart(u64),
    /// The leader of the greatest term hands over.
    Transfer(u64),
}

/// What one member has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub term: u64,
    pub leads: bool,
    pub commit: u64,
    /// The term and the command of every entry.
    pub log: Vec<(u64, Vec<u8>)>,
}

/// A cluster of one of the two.
pub trait World {
    fn carry_out(&mut self, operation: &Operation);
    fn outcome(&self) -> Vec<Outcome>;
}

/// Links that are cut.
#[derive(Debug, Default, Clone)]
pub struct Links(BTreeSet<(u64, u64)>);

impl Links {
    pub fn cut(&mut self, one: u64, other: u64) {
        self.0.insert((one.min(other), one.max(other)));
    }

    pub fn isolate(&mut self, id: u64, members: u64) {
        for other in (1..=members).filter(|other| *other != id) {
            self.cut(id, other);
        }
    }

    pub fn heal(&mut self) {
        self.0.clear();
    }

    pub fn is_whole(&self) -> bool {
        self.0.is_empty()
    }

    pub fn is_open(&self, one: u64, other: u64) -> bool {
        !self.0.contains(&(one.min(other), one.max(other)))
    }
}
