//! What the driver has with the disk: one sync for all that a turn wrote, a full disk that is waited out, entries for those
//! who are behind.

use super::{Driver, incarnation_after, restore};
use crate::consensus::{self, Consensus, Event, Fetch, Index, Payload, Snapshot, Write};
use crate::log::{self, LogError};
use crate::node::state_machine::{ProposalError, StateMachine};
use crate::node::transport::locked;

/// How often a full disk is tried again by itself.
const FULL_RETRY_MS: u64 = 500;

impl<M: StateMachine> Driver<M> {
    /// Writes; durable after [`Driver::sync`].
    pub(super) fn write(&mut self, write: Write) {
        let outcome = self.write_parts(&write);
        if let Err(error) = outcome {
            return self.write_failed(error);
        }
        let first = self.unsynced.map_or(write.id, |(first, _)| first);
        self.unsynced = Some((first, write.id));
    }

    pub(super) fn write_parts(&mut self, write: &Write) -> Result<(), LogError> {
        let commit = self.consensus.commit();
        if let Some(hard_state) = write.hard_state {
            self.storage.save_hard_state(log::HardState {
                term: hard_state.term,
                vote: hard_state.vote.unwrap_or(0),
                commit,
            })?;
        }
        if let Some(snapshot) = &write.install {
            self.install(snapshot)?;
        }
        if let Some(index) = write.truncate_from {
            self.storage.truncate(index)?;
        }
        if !write.entries.is_empty() {
            let entries: Vec<log::Entry> = write
                .entries
                .iter()
                .map(|entry| log::Entry {
                    index: entry.index,
                    term: entry.term,
                    kind: entry.payload.kind(),
                    payload: entry.payload.encode(),
                })
                .collect();
            self.storage.append(&entries, commit)?;
            self.unsynced_entries += entries.len() as u64;
            self.unsynced_bytes += entries.iter().map(|entry| entry.payload.len() as u64).sum::<u64>();
        }
        Ok(())
    }

    pub(super) fn install(&mut self, snapshot: &Snapshot) -> Result<(), LogError> {
        self.storage.begin_install(log::Position {
            index: snapshot.last.index,
            term: snapshot.last.term,
        })?;
        if let Err(error) = self.machine.install(snapshot) {
            return Err(LogError::Stopped(format!("cannot install a snapshot: {error}")));
        }
        self.storage.finish_install()?;
        self.snapshot = snapshot.clone();
        self.delivered = snapshot.last.index;
        let later = self.waiting.split_off(&(snapshot.last.index + 1));
        for (_, waiting) in std::mem::replace(&mut self.waiting, later).into_values() {
            self.machine.refuse(waiting, ProposalError::Unknown);
        }
        Ok(())
    }

    /// One sync for all that was written in this turn, and what comes of it, until nothing is left to be written.
    pub(super) fn sync(&mut self) {
        while let Some((first, last)) = self.unsynced.take() {
            if let Err(error) = self.storage.sync() {
                return self.write_failed(error);
            }
            let (entries, bytes) = (self.unsynced_entries, self.unsynced_bytes);
            (self.unsynced_entries, self.unsynced_bytes) = (0, 0);
            if entries > 0 {
                self.shared.gauges.note_group(entries, bytes);
            }
            if locked(&self.shared.failure).is_some() {
                *locked(&self.shared.failure) = None;
            }
            self.step(Event::Persisted { first, last });
        }
        self.shared.gauges.set_commit(self.consensus.commit());
        self.shared.gauges.set_last(self.consensus.last().index);
    }

    pub(super) fn write_failed(&mut self, error: LogError) {
        *locked(&self.shared.failure) = Some(error.clone());
        self.unsynced = None;
        if matches!(error, LogError::NoSpace(_)) {
            return self.start_over();
        }
        self.fail_with(error.to_string());
        for (_, (_, waiting)) in std::mem::take(&mut self.waiting) {
            self.machine
                .refuse(waiting, ProposalError::Stopped(Some(error.clone())));
        }
        self.refuse_tickets(&ProposalError::Stopped(Some(error)));
    }

    pub(super) fn fail_with(&mut self, reason: String) {
        self.failed = true;
        self.machine.fail(reason);
    }

    /// The disk is full: begins again from what is on it, and rests.
    pub(super) fn start_over(&mut self) {
        self.shared.gauges.set_full(true);
        // Alone, what was not written happens nowhere. With others it may, through them.
        let alone = self.shared.gauges.is_alone();
        let why = if alone {
            ProposalError::NoSpace
        } else {
            ProposalError::Unknown
        };
        for (_, (_, waiting)) in std::mem::take(&mut self.waiting) {
            self.machine.refuse(waiting, why.clone());
        }
        self.refuse_tickets(&why);
        (self.unsynced_entries, self.unsynced_bytes) = (0, 0);
        let from = self.snapshot.last.index + 1;
        let entries = match self.storage.read(from, self.storage.next_index(), usize::MAX) {
            Ok(entries) => entries,
            Err(error) => return self.fail_with(error.to_string()),
        };
        self.config.incarnation = incarnation_after(self.config.incarnation);
        self.config.seed = self.config.seed.wrapping_add(1);
        let restored = restore(&self.config, &self.storage, &entries, &self.snapshot, self.delivered);
        let Some(restored) = restored else {
            return self.fail_with("the log cannot be read any more".to_owned());
        };
        let now = self.now();
        self.consensus = Consensus::new(self.config.clone(), restored, now);
        self.retry_at = Some(now + FULL_RETRY_MS);
        self.note_standing();
        self.note_membership();
    }

    /// Whether a full disk still is.
    pub(super) fn try_again(&mut self) {
        match self.storage.save_hard_state(self.storage.hard_state()) {
            Ok(()) => {
                self.retry_at = None;
                self.shared.gauges.set_full(false);
                *locked(&self.shared.failure) = None;
                self.tick_if_due();
            }
            Err(LogError::NoSpace(_)) => self.retry_at = Some(self.now() + FULL_RETRY_MS),
            Err(error) => self.write_failed(error),
        }
    }

    pub(super) fn fetch(&mut self, fetch: Fetch) {
        let entries = match self.storage.read(fetch.first, fetch.last + 1, fetch.bytes_max) {
            Ok(entries) => entries,
            Err(error) => {
                tracing::warn!(%error, "cannot read entries for a member");
                Vec::new()
            }
        };
        let entries = entries
            .into_iter()
            .map_while(|entry| {
                Some(consensus::Entry {
                    index: entry.index,
                    term: entry.term,
                    payload: Payload::decode(entry.kind, entry.payload)?,
                })
            })
            .collect();
        self.step(Event::Fetched { fetch, entries });
    }

    pub(super) fn compact(&mut self, snapshot: Snapshot, keep: Index) {
        if self.failed || snapshot.last.index < self.snapshot.last.index {
            return;
        }
        let held = self.held.values().min().copied().unwrap_or(Index::MAX);
        let purge = snapshot.last.index.saturating_sub(keep).min(held);
        let index = snapshot.last.index;
        self.snapshot = snapshot;
        if let Err(error) = self.storage.purge(purge) {
            return self.write_failed(error);
        }
        let purged = self.storage.first_index() - 1;
        self.step(Event::Compacted {
            snapshot: index,
            purged: purged.min(index),
        });
    }
}
