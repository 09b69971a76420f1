//! Ending a transaction: EndTxn, and what comes when its markers are written.

use log_broker_wire::ErrorCode;

use super::{EPOCH_BUMPS, EPOCH_MAX, Entry, Identity, State, Transaction};

/// How EndTxn goes on.
pub(super) enum Ending {
    /// The state to be appended, and who the producer is afterwards.
    Prepare(Transaction, Identity),
    /// It was asked before, and is done.
    Repeated(Identity),
}

impl Entry {
    pub(super) fn end(
        &self,
        producer: Identity,
        is_commit: bool,
        version: i16,
        fresh_producer_id: Option<i64>,
        now_ms: i64,
    ) -> Result<Ending, ErrorCode> {
        let current = self.current.as_ref().ok_or(ErrorCode::INVALID_PRODUCER_ID_MAPPING)?;
        let bumps = version >= EPOCH_BUMPS;
        // A repeated request carries the epoch from before the bump that it caused.
        let is_repeated = bumps && current.version >= EPOCH_BUMPS && current.was(producer);
        if !is_repeated {
            self.of(producer)?;
        }
        if self.pending.is_some() {
            return Err(ErrorCode::CONCURRENT_TRANSACTIONS);
        }
        match (current.state, is_commit) {
            (State::PrepareCommit, true) | (State::PrepareAbort, false) => Err(ErrorCode::CONCURRENT_TRANSACTIONS),
            (State::PrepareCommit, false) | (State::PrepareAbort, true) => Err(ErrorCode::INVALID_TXN_STATE),
            (State::Ongoing, _) if !is_repeated => self.prepare(current, is_commit, bumps, fresh_producer_id, now_ms),
            (State::CompleteCommit, true) | (State::CompleteAbort, false) if is_repeated || !bumps => {
                Ok(Ending::Repeated(current.identity()))
            }
            // A producer that is to begin anew after an error bumps its epoch so, whether it has written or not.
            (State::Empty | State::CompleteCommit | State::CompleteAbort, false) if bumps && !is_repeated => {
                self.prepare(current, false, true, fresh_producer_id, now_ms)
            }
            _ => Err(ErrorCode::INVALID_TXN_STATE),
        }
    }

    fn prepare(
        &self,
        current: &Transaction,
        is_commit: bool,
        bumps: bool,
        fresh_producer_id: Option<i64>,
        now_ms: i64,
    ) -> Result<Ending, ErrorCode> {
        let mut next = current.clone();
        next.state = if is_commit {
            State::PrepareCommit
        } else {
            State::PrepareAbort
        };
        next.update_ms = now_ms;
        if bumps {
            next.version = EPOCH_BUMPS;
            if current.producer_epoch >= EPOCH_MAX {
                next.next_producer_id = fresh_producer_id.ok_or(ErrorCode::CONCURRENT_TRANSACTIONS)?;
            }
            // The markers carry the bumped epoch, so that no late batch of this transaction follows them.
            next.previous_epoch = current.producer_epoch;
            next.producer_epoch = current.producer_epoch.saturating_add(1);
        }
        let answer = next.completed(now_ms).identity();
        Ok(Ending::Prepare(next, answer))
    }

    /// The state when all markers are written; `None` where that is old news.
    pub(super) fn complete(&mut self, producer_id: i64, now_ms: i64) -> Option<Transaction> {
        let current = self.current.as_ref()?;
        let is_prepared = matches!(current.state, State::PrepareCommit | State::PrepareAbort);
        if !is_prepared || current.producer_id != producer_id || self.pending.is_some() {
            return None;
        }
        self.ending = false;
        Some(current.completed(now_ms))
    }
}

impl Transaction {
    /// Whether `producer` is who the producer was before its last transaction ended.
    fn was(&self, producer: Identity) -> bool {
        let before_bump = producer.producer_id == self.producer_id
            && Some(self.producer_epoch) == producer.producer_epoch.checked_add(1)
            && self.previous_epoch == producer.producer_epoch;
        let before_new_id = producer.producer_id == self.previous_producer_id
            && producer.producer_epoch == EPOCH_MAX
            && self.producer_epoch == 0;
        before_bump || before_new_id
    }

    fn completed(&self, now_ms: i64) -> Self {
        let mut next = self.clone();
        next.state = match self.state {
            State::PrepareCommit => State::CompleteCommit,
            _ => State::CompleteAbort,
        };
        next.partitions.clear();
        next.update_ms = now_ms;
        if self.next_producer_id >= 0 {
            next.previous_producer_id = self.producer_id;
            next.producer_id = self.next_producer_id;
            next.producer_epoch = 0;
            next.previous_epoch = -1;
            next.next_producer_id = -1;
        }
        next
    }
}
