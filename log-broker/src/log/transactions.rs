//! Transactions in one log: how far everything is decided, and what was aborted.

use std::collections::BTreeMap;
use std::io;

use super::producers::Ended;
use super::txn_index::{self, AbortedTransaction};
use super::{Log, LogError, ProducerState, State};

/// Transactions that are ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Transactions {
    /// First and last offset of those whose marker is not before the high watermark yet. Until it is, nobody may read past
    /// their first record: the marker could still be lost.
    unreplicated: BTreeMap<i64, i64>,
    /// In the order of their markers.
    aborted: Vec<AbortedTransaction>,
    /// Whether the newest segment has entries that its file lacks.
    changed: bool,
}

impl Transactions {
    /// As of a start: what the indexes say, all of it before the high watermark.
    pub(super) fn restored(aborted: Vec<AbortedTransaction>) -> Self {
        Self {
            aborted,
            ..Self::default()
        }
    }

    pub(super) fn ended(&mut self, ended: Option<Ended>) {
        let Some(ended) = ended else { return };
        self.unreplicated.insert(ended.first_offset, ended.last_offset);
        if let Some(aborted) = ended.aborted() {
            self.aborted.push(aborted);
            self.changed = true;
        }
    }

    pub(super) fn replicated(&mut self, high_watermark: i64) {
        self.unreplicated.retain(|_, last| *last >= high_watermark);
    }

    fn first_unreplicated(&self) -> Option<i64> {
        self.unreplicated.keys().next().copied()
    }

    /// Those with a record at or behind `from` that begin before `to`.
    fn aborted_within(&self, from: i64, to: i64) -> Vec<AbortedTransaction> {
        let first = self.aborted.partition_point(|entry| entry.last_offset < from);
        let found = self.aborted[first..].iter().filter(|entry| entry.first_offset < to);
        found.copied().collect()
    }

    /// The aborted transaction of a producer that has a record at `offset`.
    pub(super) fn is_aborted(&self, producer_id: i64, offset: i64) -> bool {
        let first = self.aborted.partition_point(|entry| entry.last_offset < offset);
        // Transactions of one producer do not overlap: its next marker decides.
        let next = self.aborted[first..]
            .iter()
            .find(|entry| entry.producer_id == producer_id);
        next.is_some_and(|entry| entry.first_offset <= offset)
    }

    /// Forgets those whose markers are gone.
    pub(super) fn forget_before(&mut self, start: i64) {
        let gone = self.aborted.partition_point(|entry| entry.last_offset < start);
        self.aborted.drain(..gone);
    }

    /// Forgets those with these markers.
    pub(super) fn forget(&mut self, markers: &[i64]) {
        self.aborted
            .retain(|entry| markers.binary_search(&entry.last_offset).is_err());
    }

    pub(super) fn of_segment(&self, base: i64, next: i64) -> Vec<AbortedTransaction> {
        let from = self.aborted.partition_point(|entry| entry.last_offset < base);
        let to = self.aborted.partition_point(|entry| entry.last_offset < next);
        self.aborted[from..to].to_vec()
    }
}

impl Log {
    /// Notes that the coordinator is about to be asked about a producer's transaction; to be called before that. `false`
    /// where the log has an open transaction of the producer already, so that there is nothing to ask.
    pub fn begin_verification(&self, producer_id: i64, epoch: i16) -> bool {
        self.state().producers.verify(producer_id, epoch)
    }

    /// Aborted transactions with records from `from` on, as far as batches reach that end before `to`.
    pub fn aborted_transactions(&self, from: i64, to: i64) -> Vec<AbortedTransaction> {
        self.state().transactions.aborted_within(from, to)
    }

    /// The producers that this log knows.
    pub fn producers(&self) -> Vec<ProducerState> {
        self.state().producers.describe()
    }

    /// Writes the index of aborted transactions of the newest segment, where it has changed. The caller holds the writer's
    /// lock.
    pub(super) fn write_txn_index(&self) -> Result<(), LogError> {
        let (base, aborted) = {
            let state = self.state();
            if !state.transactions.changed {
                return Ok(());
            }
            let active = state.active();
            (
                active.base(),
                state.transactions.of_segment(active.base(), active.next()),
            )
        };
        let written = txn_index::write(&*self.disk, &self.dir, base, &aborted);
        let mut state = self.state();
        match written {
            Ok(()) => {
                state.transactions.changed = false;
                Ok(())
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                Err(LogError::Full)
            }
            Err(error) => Err(state.stop("write of the transaction index", &error)),
        }
    }
}

impl State {
    pub(super) fn last_stable_offset(&self) -> i64 {
        let open = self.producers.first_open();
        let undecided = open.into_iter().chain(self.transactions.first_unreplicated()).min();
        undecided.map_or(self.high_watermark, |first| {
            first.clamp(self.start.min(self.high_watermark), self.high_watermark)
        })
    }
}
