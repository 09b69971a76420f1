//! The transaction coordinator's decisions: a state machine over one partition of `__transaction_state`.
//!
//! ```text
//!            AddPartitions            EndTxn, timeout, fencing        markers are written
//!   Empty -----------------> Ongoing ----------> PrepareCommit ----------> CompleteCommit --+
//!     ^                        ^  +------------> PrepareAbort  ----------> CompleteAbort ---+
//!     |                        +-----------------AddPartitions---------------------------+
//!     +------------------------InitProducerId--------------------------------------------+
//! ```
//!
//! Pure: events and the time go in, effects come out. A change is first a pending one: its record is to be appended, and
//! only when that is before the high watermark it takes effect and is answered. While one is pending, or a transaction is
//! being ended, other requests for the same transactional id are answered CONCURRENT_TRANSACTIONS, which clients retry.
//!
//! Both protocols: before KIP-890, a producer keeps its epoch from one transaction to the next; from `transaction.version`
//! 2 on, each end of a transaction bumps the epoch, and no late message of an earlier one is taken for the next one's.
//!
//! Deliberately missing: prepared transactions of external coordinators (KIP-939).

mod answer;
mod end;
mod record;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use log_broker_wire::ErrorCode;
use log_broker_wire::internal::transaction_state::TransactionValue;

pub use answer::{Described, Identity, STATE_NAMES};

/// Who asked, for the answer to find its way.
pub type Ticket = u64;

/// A client that bumps the epoch with each transaction has this version (KIP-890).
pub const EPOCH_BUMPS: i16 = 2;

/// The highest epoch that is given to a producer; the one after it is for fencing.
const EPOCH_MAX: i16 = i16::MAX - 1;

/// What the operator has set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    pub timeout_ms_max: i32,
    /// A transactional id that was idle for so long is forgotten.
    pub expiration_ms: i64,
}

/// What a transactional id is at. The names are Kafka's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Empty,
    Ongoing,
    PrepareCommit,
    PrepareAbort,
    CompleteCommit,
    CompleteAbort,
}

/// A transactional id as its record has it.
///
/// * There are partitions only while it is ongoing or prepared.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Transaction {
    state: State,
    producer_id: i64,
    producer_epoch: i16,
    /// The epoch before the last bump, so that a repeated InitProducerId is recognised; -1 where there was none.
    previous_epoch: i16,
    /// The producer id before this one, so that a repeated EndTxn is; and the one after it, where the epochs are used up.
    previous_producer_id: i64,
    next_producer_id: i64,
    timeout_ms: i32,
    partitions: BTreeSet<(String, i32)>,
    start_ms: i64,
    update_ms: i64,
    version: i16,
}

/// A change whose record is being appended.
#[derive(Debug)]
struct Pending {
    /// `None` forgets the transactional id.
    next: Option<Transaction>,
    /// Who is answered afterwards, and how.
    answer: Option<(Ticket, Result<Identity, ErrorCode>)>,
}

#[derive(Debug, Default)]
struct Entry {
    /// `None` before the first record is appended.
    current: Option<Transaction>,
    pending: Option<Pending>,
    /// The markers of the prepared transaction are being written.
    ending: bool,
}

/// What happens.
#[derive(Debug, Clone)]
pub enum Event {
    /// `expected` is what the producer believes to be; `fresh_producer_id` is one that was never given before, where
    /// [`Transactions::needs_producer_id`] said so.
    InitProducerId {
        ticket: Ticket,
        transactional_id: String,
        timeout_ms: i32,
        expected: Option<Identity>,
        fresh_producer_id: Option<i64>,
    },
    AddPartitions {
        ticket: Ticket,
        transactional_id: String,
        producer: Identity,
        partitions: Vec<(String, i32)>,
        /// The client's transaction version.
        version: i16,
    },
    EndTransaction {
        ticket: Ticket,
        transactional_id: String,
        producer: Identity,
        is_commit: bool,
        version: i16,
        fresh_producer_id: Option<i64>,
    },
    /// The record of the pending change is before the high watermark, or could not be appended.
    Appended { transactional_id: String, succeeded: bool },
    /// All partitions of a prepared transaction have their marker.
    MarkersWritten { transactional_id: String, producer_id: i64 },
    /// Time has passed.
    Tick,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Append the record of a transactional id, or a tombstone, then say [`Event::Appended`].
    Append {
        transactional_id: String,
        value: Option<TransactionValue>,
    },
    /// Write markers to all partitions, however often that has to be tried, then say [`Event::MarkersWritten`].
    WriteMarkers {
        transactional_id: String,
        producer: Identity,
        is_commit: bool,
        partitions: Vec<(String, i32)>,
    },
    Answer(Ticket, Result<Identity, ErrorCode>),
}

/// The transactional ids of one partition.
#[derive(Debug)]
pub struct Transactions {
    settings: Settings,
    entries: BTreeMap<String, Entry>,
}

impl Transactions {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            entries: BTreeMap::new(),
        }
    }

    /// Whether the next InitProducerId or EndTxn of this transactional id takes a fresh producer id.
    pub fn needs_producer_id(&self, transactional_id: &str) -> bool {
        let current = self
            .entries
            .get(transactional_id)
            .and_then(|entry| entry.current.as_ref());
        current.is_none_or(|current| current.producer_epoch >= EPOCH_MAX)
    }

    pub fn step(&mut self, event: Event, now_ms: i64) -> Vec<Effect> {
        match event {
            Event::InitProducerId {
                ticket,
                transactional_id,
                timeout_ms,
                expected,
                fresh_producer_id,
            } => {
                if timeout_ms <= 0 || timeout_ms > self.settings.timeout_ms_max {
                    return refuse(ticket, ErrorCode::INVALID_TRANSACTION_TIMEOUT);
                }
                let entry = self.entries.entry(transactional_id.clone()).or_default();
                match entry.init(timeout_ms, expected, fresh_producer_id, now_ms) {
                    Ok((next, answer)) => entry.append(&transactional_id, Some(next), Some((ticket, answer))),
                    Err(refused) => refuse(ticket, refused),
                }
            }
            Event::AddPartitions {
                ticket,
                transactional_id,
                producer,
                partitions,
                version,
            } => {
                let Some(entry) = self.entries.get_mut(&transactional_id) else {
                    return refuse(ticket, ErrorCode::INVALID_PRODUCER_ID_MAPPING);
                };
                match entry.add_partitions(producer, partitions, version, now_ms) {
                    Ok(Some(next)) => entry.append(&transactional_id, Some(next), Some((ticket, Ok(producer)))),
                    Ok(None) => vec![Effect::Answer(ticket, Ok(producer))],
                    Err(refused) => refuse(ticket, refused),
                }
            }
            Event::EndTransaction {
                ticket,
                transactional_id,
                producer,
                is_commit,
                version,
                fresh_producer_id,
            } => {
                let Some(entry) = self.entries.get_mut(&transactional_id) else {
                    return refuse(ticket, ErrorCode::INVALID_PRODUCER_ID_MAPPING);
                };
                match entry.end(producer, is_commit, version, fresh_producer_id, now_ms) {
                    Ok(end::Ending::Prepare(next, answer)) => {
                        entry.append(&transactional_id, Some(next), Some((ticket, Ok(answer))))
                    }
                    Ok(end::Ending::Repeated(answer)) => vec![Effect::Answer(ticket, Ok(answer))],
                    Err(refused) => refuse(ticket, refused),
                }
            }
            Event::Appended {
                transactional_id,
                succeeded,
            } => self.appended(&transactional_id, succeeded),
            Event::MarkersWritten {
                transactional_id,
                producer_id,
            } => {
                let Some(entry) = self.entries.get_mut(&transactional_id) else {
                    return Vec::new();
                };
                match entry.complete(producer_id, now_ms) {
                    Some(next) => entry.append(&transactional_id, Some(next), None),
                    None => Vec::new(),
                }
            }
            Event::Tick => self.tick(now_ms),
        }
    }

    fn appended(&mut self, transactional_id: &str, succeeded: bool) -> Vec<Effect> {
        let Some(entry) = self.entries.get_mut(transactional_id) else {
            return Vec::new();
        };
        let Some(pending) = entry.pending.take() else {
            return Vec::new();
        };
        let mut effects = Vec::new();
        if succeeded {
            entry.current = pending.next;
        }
        if let Some((ticket, answer)) = pending.answer {
            let answer = if succeeded {
                answer
            } else {
                Err(ErrorCode::COORDINATOR_NOT_AVAILABLE)
            };
            effects.push(Effect::Answer(ticket, answer));
        }
        if succeeded {
            effects.extend(entry.write_markers(transactional_id));
        }
        if entry.current.is_none() && entry.pending.is_none() {
            self.entries.remove(transactional_id);
        }
        effects
    }

    /// Aborts transactions that have timed out, ends those whose end was interrupted, and forgets idle transactional ids.
    fn tick(&mut self, now_ms: i64) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (transactional_id, entry) in &mut self.entries {
            let Some(current) = entry.current.as_ref().filter(|_| entry.pending.is_none()) else {
                continue;
            };
            let idle_ms = now_ms.saturating_sub(current.update_ms);
            match current.state {
                State::Ongoing if now_ms.saturating_sub(current.start_ms) > i64::from(current.timeout_ms) => {
                    let next = current.fenced(now_ms);
                    effects.extend(entry.append(transactional_id, Some(next), None));
                }
                State::Empty | State::CompleteCommit | State::CompleteAbort
                    if idle_ms > self.settings.expiration_ms =>
                {
                    effects.extend(entry.append(transactional_id, None, None));
                }
                _ => effects.extend(entry.write_markers(transactional_id)),
            }
        }
        effects
    }
}

fn refuse(ticket: Ticket, refused: ErrorCode) -> Vec<Effect> {
    vec![Effect::Answer(ticket, Err(refused))]
}

impl Entry {
    /// The effect that appends a change, which is pending from now on.
    fn append(
        &mut self,
        transactional_id: &str,
        next: Option<Transaction>,
        answer: Option<(Ticket, Result<Identity, ErrorCode>)>,
    ) -> Vec<Effect> {
        let value = next.as_ref().map(Transaction::encode);
        self.pending = Some(Pending { next, answer });
        vec![Effect::Append {
            transactional_id: transactional_id.to_owned(),
            value,
        }]
    }

    /// The effect that ends a prepared transaction, unless that is under way.
    fn write_markers(&mut self, transactional_id: &str) -> Option<Effect> {
        let current = self.current.as_ref()?;
        let is_commit = match current.state {
            State::PrepareCommit => true,
            State::PrepareAbort => false,
            _ => return None,
        };
        if std::mem::replace(&mut self.ending, true) {
            return None;
        }
        Some(Effect::WriteMarkers {
            transactional_id: transactional_id.to_owned(),
            producer: current.identity(),
            is_commit,
            partitions: current.partitions.iter().cloned().collect(),
        })
    }

    /// The next state for InitProducerId, and its answer.
    fn init(
        &self,
        timeout_ms: i32,
        expected: Option<Identity>,
        fresh_producer_id: Option<i64>,
        now_ms: i64,
    ) -> Result<(Transaction, Result<Identity, ErrorCode>), ErrorCode> {
        if self.pending.is_some() {
            return Err(ErrorCode::CONCURRENT_TRANSACTIONS);
        }
        let Some(current) = &self.current else {
            let producer_id = fresh_producer_id.ok_or(ErrorCode::CONCURRENT_TRANSACTIONS)?;
            let next = Transaction::new(producer_id, timeout_ms, now_ms);
            let identity = next.identity();
            return Ok((next, Ok(identity)));
        };
        // A producer that was replaced, or that has used up its epochs, is told so; its epoch is looked at below.
        let is_known = expected.is_none_or(|expected| {
            expected.producer_id == current.producer_id
                || (expected.producer_id == current.previous_producer_id && expected.producer_epoch >= EPOCH_MAX)
        });
        if !is_known {
            return Err(ErrorCode::PRODUCER_FENCED);
        }
        match current.state {
            State::PrepareCommit | State::PrepareAbort => Err(ErrorCode::CONCURRENT_TRANSACTIONS),
            // The transaction of the producer's predecessor is aborted first; the client asks again meanwhile.
            State::Ongoing => match expected {
                Some(expected) if expected != current.identity() => Err(ErrorCode::PRODUCER_FENCED),
                _ => Ok((current.fenced(now_ms), Err(ErrorCode::CONCURRENT_TRANSACTIONS))),
            },
            State::Empty | State::CompleteCommit | State::CompleteAbort => {
                let mut next = current.bumped(expected, fresh_producer_id)?;
                next.state = State::Empty;
                next.timeout_ms = timeout_ms;
                next.start_ms = -1;
                next.update_ms = now_ms;
                let identity = next.identity();
                Ok((next, Ok(identity)))
            }
        }
    }

    /// The next state where partitions are new; `None` where the transaction has them all.
    fn add_partitions(
        &self,
        producer: Identity,
        partitions: Vec<(String, i32)>,
        version: i16,
        now_ms: i64,
    ) -> Result<Option<Transaction>, ErrorCode> {
        let current = self.of(producer)?;
        if self.pending.is_some() || matches!(current.state, State::PrepareCommit | State::PrepareAbort) {
            return Err(ErrorCode::CONCURRENT_TRANSACTIONS);
        }
        let is_ongoing = current.state == State::Ongoing;
        if is_ongoing
            && partitions
                .iter()
                .all(|partition| current.partitions.contains(partition))
        {
            return Ok(None);
        }
        let mut next = current.clone();
        if !is_ongoing {
            next.state = State::Ongoing;
            next.start_ms = now_ms;
        }
        next.partitions.extend(partitions);
        next.update_ms = now_ms;
        next.version = version;
        Ok(Some(next))
    }

    /// The transaction, if `producer` is its current producer.
    fn of(&self, producer: Identity) -> Result<&Transaction, ErrorCode> {
        let current = self.current.as_ref().ok_or(ErrorCode::INVALID_PRODUCER_ID_MAPPING)?;
        if current.producer_id != producer.producer_id {
            return Err(ErrorCode::INVALID_PRODUCER_ID_MAPPING);
        }
        if current.producer_epoch != producer.producer_epoch {
            return Err(ErrorCode::PRODUCER_FENCED);
        }
        Ok(current)
    }
}

impl Transaction {
    fn new(producer_id: i64, timeout_ms: i32, now_ms: i64) -> Self {
        Self {
            state: State::Empty,
            producer_id,
            producer_epoch: 0,
            previous_epoch: -1,
            previous_producer_id: -1,
            next_producer_id: -1,
            timeout_ms,
            partitions: BTreeSet::new(),
            start_ms: -1,
            update_ms: now_ms,
            version: 0,
        }
    }

    fn identity(&self) -> Identity {
        Identity {
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
        }
    }

    /// The next incarnation of the producer; the same one where it has only asked again.
    fn bumped(&self, expected: Option<Identity>, fresh_producer_id: Option<i64>) -> Result<Self, ErrorCode> {
        let mut next = self.clone();
        let expected = expected.filter(|expected| expected.producer_id == self.producer_id);
        if let Some(expected) = expected
            && expected.producer_epoch != self.producer_epoch
        {
            let is_repeated = expected.producer_epoch == self.previous_epoch;
            return is_repeated.then_some(next).ok_or(ErrorCode::PRODUCER_FENCED);
        }
        if self.producer_epoch >= EPOCH_MAX {
            next.previous_producer_id = self.producer_id;
            next.producer_id = fresh_producer_id.ok_or(ErrorCode::CONCURRENT_TRANSACTIONS)?;
            next.producer_epoch = 0;
            next.previous_epoch = -1;
        } else {
            next.producer_epoch = self.producer_epoch + 1;
            // Who does not say which epoch it had cannot ask again.
            next.previous_epoch = expected.map_or(-1, |expected| expected.producer_epoch);
        }
        Ok(next)
    }

    /// Aborted on the coordinator's own account: in an epoch in which its producer can write nothing any more.
    fn fenced(&self, now_ms: i64) -> Self {
        Self {
            state: State::PrepareAbort,
            producer_epoch: self.producer_epoch.saturating_add(1),
            previous_epoch: -1,
            next_producer_id: -1,
            update_ms: now_ms,
            ..self.clone()
        }
    }
}
