//! From records to states and back: how a coordinator knows its transactions again.

use std::collections::BTreeMap;

use log_broker_wire::internal::transaction_state::{TransactionPartitions, TransactionValue};

use super::{EPOCH_BUMPS, Effect, Entry, State, Transaction, Transactions};

impl State {
    fn number(self) -> i8 {
        match self {
            State::Empty => 0,
            State::Ongoing => 1,
            State::PrepareCommit => 2,
            State::PrepareAbort => 3,
            State::CompleteCommit => 4,
            State::CompleteAbort => 5,
        }
    }

    fn from_number(number: i8) -> Option<Self> {
        let all = [
            State::Empty,
            State::Ongoing,
            State::PrepareCommit,
            State::PrepareAbort,
            State::CompleteCommit,
            State::CompleteAbort,
        ];
        all.into_iter().find(|state| state.number() == number)
    }
}

impl Transactions {
    /// Takes note of a record, as the log has it: of a transactional id the newest counts. `false` for one that is unknown.
    pub fn restore(&mut self, transactional_id: String, value: Option<TransactionValue>) -> bool {
        let Some(value) = value else {
            self.entries.remove(&transactional_id);
            return true;
        };
        let Some(current) = Transaction::decode(value) else {
            return false;
        };
        let entry = Entry {
            current: Some(current),
            ..Entry::default()
        };
        self.entries.insert(transactional_id, entry);
        true
    }

    /// All records are read: goes on with transactions whose end was interrupted.
    pub fn loaded(&mut self) -> Vec<Effect> {
        let entries = self.entries.iter_mut();
        entries
            .filter_map(|(transactional_id, entry)| entry.write_markers(transactional_id))
            .collect()
    }
}

impl Transaction {
    pub(super) fn encode(&self) -> TransactionValue {
        let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for (topic, partition) in &self.partitions {
            topics.entry(topic).or_default().push(*partition);
        }
        let partitions = topics.into_iter().map(|(topic, partition_ids)| TransactionPartitions {
            topic: topic.to_owned(),
            partition_ids,
        });
        TransactionValue {
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            transaction_timeout_ms: self.timeout_ms,
            transaction_status: self.state.number(),
            // Null where there can be none, as Kafka has it.
            transaction_partitions: (self.state != State::Empty).then(|| partitions.collect()),
            transaction_last_update_timestamp_ms: self.update_ms,
            transaction_start_timestamp_ms: self.start_ms,
            previous_producer_id: self.previous_producer_id,
            next_producer_id: self.next_producer_id,
            client_transaction_version: self.version,
        }
    }

    fn decode(value: TransactionValue) -> Option<Self> {
        let state = State::from_number(value.transaction_status)?;
        let topics = value.transaction_partitions.unwrap_or_default();
        let partitions = topics
            .into_iter()
            .flat_map(|TransactionPartitions { topic, partition_ids }| {
                partition_ids
                    .into_iter()
                    .map(move |partition| (topic.clone(), partition))
            });
        let version = value.client_transaction_version;
        let was_bumped = version >= EPOCH_BUMPS && !matches!(state, State::Empty | State::Ongoing);
        Some(Self {
            state,
            producer_id: value.producer_id,
            producer_epoch: value.producer_epoch,
            // The record does not have it; an end in the newer protocol is always behind a bump.
            previous_epoch: if was_bumped { value.producer_epoch - 1 } else { -1 },
            previous_producer_id: value.previous_producer_id,
            next_producer_id: value.next_producer_id,
            timeout_ms: value.transaction_timeout_ms,
            partitions: partitions.collect(),
            start_ms: value.transaction_start_timestamp_ms,
            update_ms: value.transaction_last_update_timestamp_ms,
            version,
        })
    }
}
