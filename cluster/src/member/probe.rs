//! The probes under way: one of the member's own, and those it makes for others.

use super::{MemberId, Millis};

/// Whom to probe next: a shuffled round robin, so that every member is probed within two rounds.
#[derive(Debug, Default)]
pub struct RoundRobin {
    order: Vec<u32>,
    next: usize,
}

impl RoundRobin {
    /// The next place of a table of `members`; shuffled again after each round, with a number drawn by `below`.
    pub fn next(&mut self, members: usize, mut below: impl FnMut(u64) -> u64) -> Option<usize> {
        if self.next >= self.order.len() || self.order.len() != members {
            // A table that grew or shrank begins a new round: places moved.
            self.order = (0..members as u32).collect();
            for end in (1..self.order.len()).rev() {
                self.order.swap(end, below(end as u64 + 1) as usize);
            }
            self.next = 0;
        }
        let place = *self.order.get(self.next)?;
        self.next += 1;
        Some(place as usize)
    }
}

/// The member's own probe of this period.
#[derive(Debug, Clone)]
pub struct Probe {
    pub number: u64,
    pub target: MemberId,
    /// When others are asked; none once they were.
    pub asks_at: Option<Millis>,
    pub ends_at: Millis,
    /// How many were asked that refuse or acknowledge.
    pub asked: u32,
    pub nacks: u32,
}

/// A probe for another member.
#[derive(Debug, Clone)]
pub struct Errand {
    pub number: u64,
    /// Who asked, and by which number.
    pub by: MemberId,
    pub their_number: u64,
    /// When the asker gets a nack, because no acknowledgement came.
    pub nack_at: Millis,
}
