//! What is committed, on its way to the state machine.

use super::Driver;
use crate::consensus::{self, Event, Index, Payload};
use crate::node::state_machine::{Committed, ProposalError, StateMachine};

/// Entries are handed to the state machine in portions of about this many bytes.
const PORTION_BYTES: usize = 8 << 20;

impl<M: StateMachine> Driver<M> {
    /// Hands the entries `start..end` to the state machine.
    pub(super) fn deliver(&mut self, start: Index, end: Index) {
        let mut index = start.max(self.delivered + 1);
        // Alone, whatever is in the log is committed.
        if !self.shared.gauges.is_alone() && index < end {
            self.storage.note_commit(end - 1);
        }
        while index < end {
            let mut portion = Vec::new();
            let mut bytes = 0;
            while index < end && bytes < PORTION_BYTES {
                let Some(entry) = self.entry(index) else {
                    return self.fail_with(format!("entry {index}, which is committed, cannot be read"));
                };
                bytes += match &entry.payload {
                    Payload::Command(command) => command.len(),
                    _ => 0,
                };
                portion.push(self.with_waiting(entry));
                index += 1;
            }
            self.delivered = index - 1;
            self.machine.apply(portion);
            self.step_applied(index - 1);
        }
    }

    /// The state machine has them in its queue, and does not come back for them.
    pub(super) fn step_applied(&mut self, index: Index) {
        let mut effects = Box::default();
        let now = self.now();
        self.consensus.step_into(Event::Applied { index }, now, &mut effects);
        self.carry_out(&mut effects);
    }

    pub(super) fn entry(&self, index: Index) -> Option<consensus::Entry> {
        if let Some(entry) = self.consensus.entry(index) {
            return Some(entry.clone());
        }
        let entry = self.storage.read(index, index + 1, usize::MAX).ok()?.pop()?;
        Some(consensus::Entry {
            index,
            term: entry.term,
            payload: Payload::decode(entry.kind, entry.payload)?,
        })
    }

    pub(super) fn with_waiting(&mut self, entry: consensus::Entry) -> Committed<M::Waiting> {
        let waiting = match self.waiting.first_key_value() {
            Some((index, _)) if *index <= entry.index => self.waiting.pop_first(),
            _ => None,
        };
        let waiting = waiting.and_then(|(index, (term, waiting))| {
            if (index, term) == (entry.index, entry.term) {
                return Some(waiting);
            }
            self.machine.refuse(waiting, ProposalError::Replaced);
            None
        });
        Committed {
            index: entry.index,
            term: entry.term,
            payload: entry.payload,
            waiting,
        }
    }
}
