//! Which of the log is durable, told from reports that may come in any order.

use std::collections::VecDeque;

use super::effects::WriteId;
use super::entry::Index;

/// The writes that are on their way to the disk.
///
/// - Ids in `pending` follow each other without gaps; the first is the oldest that is not known to be durable.
/// - `durable` counts only entries that are still in the log as they were written: a report about entries that were cut
///   off meanwhile says nothing about those that stand in their place (openraft #1823).
#[derive(Debug)]
pub(super) struct Writes {
    next: WriteId,
    pending: VecDeque<Pending>,
    durable: Index,
}

#[derive(Debug)]
struct Pending {
    /// The log's last index after this write, or less if it has been truncated since.
    last_index: Index,
    is_reported: bool,
}

impl Writes {
    /// Nothing on its way; everything up to this index is durable.
    pub fn new(durable: Index) -> Self {
        Self {
            next: 1,
            pending: VecDeque::new(),
            durable,
        }
    }

    /// Up to where the log is durable as it is now.
    pub fn durable(&self) -> Index {
        self.durable
    }

    /// Whether this write is durable. Zero stands for no write.
    pub fn is_done(&self, id: WriteId) -> bool {
        id + (self.pending.len() as u64) < self.next
    }

    /// A write begins; the log ends with `last_index`.
    pub fn begin(&mut self, last_index: Index) -> WriteId {
        self.pending.push_back(Pending {
            last_index,
            is_reported: false,
        });
        self.next += 1;
        self.next - 1
    }

    /// The write that began last cuts off the log from this index on: what earlier ones wrote there does not count.
    pub fn truncate(&mut self, from: Index) {
        let below = from - 1;
        self.durable = self.durable.min(below);
        for write in &mut self.pending {
            write.last_index = write.last_index.min(below);
        }
    }

    /// The write that began last appends up to this index.
    pub fn extend(&mut self, last_index: Index) {
        if let Some(write) = self.pending.back_mut() {
            write.last_index = last_index;
        }
    }

    /// These writes are reported as durable. Whether anything more is known to be durable than before.
    pub fn report(&mut self, first: WriteId, last: WriteId) -> bool {
        let oldest = self.next - self.pending.len() as u64;
        let last = last.min(self.next - 1);
        for id in first.max(oldest)..=last {
            self.pending[(id - oldest) as usize].is_reported = true;
        }
        let mut is_more = false;
        while let Some(write) = self.pending.pop_front_if(|write| write.is_reported) {
            self.durable = self.durable.max(write.last_index);
            is_more = true;
        }
        is_more
    }
}
