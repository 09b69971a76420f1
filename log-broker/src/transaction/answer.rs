//! What is told of transactions, and what is looked up without changing them.

use log_broker_wire::ErrorCode;

use super::{State, Transactions};

/// Which incarnation of a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    pub producer_id: i64,
    pub producer_epoch: i16,
}

/// A transactional id as administrators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    pub transactional_id: String,
    pub state: &'static str,
    pub producer: Identity,
    pub timeout_ms: i32,
    /// -1 where no transaction is open.
    pub start_ms: i64,
    pub partitions: Vec<(String, i32)>,
}

/// The states' names, which ListTransactions filters by.
pub const STATE_NAMES: [&str; 8] = [
    "Empty",
    "Ongoing",
    "PrepareCommit",
    "PrepareAbort",
    "CompleteCommit",
    "CompleteAbort",
    "Dead",
    "PrepareEpochFence",
];

impl State {
    fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::Ongoing => "Ongoing",
            State::PrepareCommit => "PrepareCommit",
            State::PrepareAbort => "PrepareAbort",
            State::CompleteCommit => "CompleteCommit",
            State::CompleteAbort => "CompleteAbort",
        }
    }
}

impl Transactions {
    /// Whether all `partitions` are part of the producer's open transaction.
    ///
    /// # Errors
    /// The code that the producer is answered with, if not.
    pub fn verify(
        &self,
        transactional_id: &str,
        producer: Identity,
        partitions: &[(String, i32)],
    ) -> Result<(), ErrorCode> {
        let entry = self.entries.get(transactional_id);
        let entry = entry.ok_or(ErrorCode::INVALID_PRODUCER_ID_MAPPING)?;
        let current = entry.of(producer)?;
        if matches!(current.state, State::PrepareCommit | State::PrepareAbort) {
            return Err(ErrorCode::CONCURRENT_TRANSACTIONS);
        }
        let has_all = partitions
            .iter()
            .all(|partition| current.partitions.contains(partition));
        match (current.state, has_all) {
            (State::Ongoing, true) => Ok(()),
            _ if entry.pending.is_some() => Err(ErrorCode::CONCURRENT_TRANSACTIONS),
            _ => Err(ErrorCode::INVALID_TXN_STATE),
        }
    }

    pub fn describe(&self, transactional_id: &str) -> Option<Described> {
        let current = self.entries.get(transactional_id)?.current.as_ref()?;
        Some(Described {
            transactional_id: transactional_id.to_owned(),
            state: current.state.name(),
            producer: current.identity(),
            timeout_ms: current.timeout_ms,
            start_ms: match current.state {
                State::Ongoing | State::PrepareCommit | State::PrepareAbort => current.start_ms,
                _ => -1,
            },
            partitions: current.partitions.iter().cloned().collect(),
        })
    }

    pub fn list(&self) -> Vec<Described> {
        self.entries.keys().filter_map(|id| self.describe(id)).collect()
    }
}
