//! Transactions: from the wire to the coordinator and back.

use std::collections::BTreeMap;
use std::sync::Arc;

use log_broker_wire::ErrorCode;
use log_broker_wire::marker::Marker;
use log_broker_wire::messages::add_partitions_to_txn::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, AddPartitionsToTxnResult,
    AddPartitionsToTxnTopic, AddPartitionsToTxnTopicResult,
};
use log_broker_wire::messages::describe_producers::{
    DescribeProducersRequest, DescribeProducersResponse, PartitionResponse, ProducerState, TopicResponse,
};
use log_broker_wire::messages::describe_transactions::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, TopicData, TransactionState,
};
use log_broker_wire::messages::end_txn::{EndTxnRequest, EndTxnResponse};
use log_broker_wire::messages::list_transactions::{
    ListTransactionsRequest, ListTransactionsResponse, TransactionState as ListedTransaction,
};
use log_broker_wire::messages::write_txn_markers::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult, WriteTxnMarkersRequest,
    WriteTxnMarkersResponse,
};

use super::super::broker::Broker;
use super::super::now_ms;
use super::super::partition::Refused;
use super::super::transactions::write_markers;
use crate::transaction::{EPOCH_BUMPS, Identity, STATE_NAMES};

/// AddPartitionsToTxn has several transactions from this version on.
const SEVERAL_TRANSACTIONS: i16 = 4;
/// EndTxn bumps the epoch from this version on.
const END_BUMPS_EPOCH: i16 = 5;
/// Calls below this version do not know PRODUCER_FENCED (KIP-588).
const KNOWS_FENCED: i16 = 2;

type Partitions = Vec<(String, i32)>;

fn flatten(topics: Vec<AddPartitionsToTxnTopic>) -> Partitions {
    topics
        .into_iter()
        .flat_map(|topic| {
            let name = topic.name;
            topic.partitions.into_iter().map(move |index| (name.clone(), index))
        })
        .collect()
}

/// What clients of a call's older versions are told instead of an error that they do not know.
pub(in super::super) fn known_to(version: i16, since: i16, refused: ErrorCode) -> ErrorCode {
    if refused == ErrorCode::PRODUCER_FENCED && version < since {
        ErrorCode::INVALID_PRODUCER_EPOCH
    } else {
        refused
    }
}

pub(in super::super) async fn add_partitions(
    broker: &Arc<Broker>,
    request: AddPartitionsToTxnRequest,
    version: i16,
) -> AddPartitionsToTxnResponse {
    if version < SEVERAL_TRANSACTIONS {
        let producer = Identity {
            producer_id: request.v3_and_below_producer_id,
            producer_epoch: request.v3_and_below_producer_epoch,
        };
        let partitions = flatten(request.v3_and_below_topics);
        let id = request.v3_and_below_transactional_id;
        let results = add(broker, &id, producer, partitions, false, version).await;
        return AddPartitionsToTxnResponse {
            results_by_topic_v3_and_below: results,
            ..Default::default()
        };
    }
    let mut results_by_transaction = Vec::with_capacity(request.transactions.len());
    for transaction in request.transactions {
        let producer = Identity {
            producer_id: transaction.producer_id,
            producer_epoch: transaction.producer_epoch,
        };
        let id = transaction.transactional_id;
        let partitions = flatten(transaction.topics);
        let topic_results = add(broker, &id, producer, partitions, transaction.verify_only, version).await;
        results_by_transaction.push(AddPartitionsToTxnResult {
            transactional_id: id,
            topic_results,
        });
    }
    AddPartitionsToTxnResponse {
        results_by_transaction,
        ..Default::default()
    }
}

async fn add(
    broker: &Arc<Broker>,
    transactional_id: &str,
    producer: Identity,
    partitions: Partitions,
    verify_only: bool,
    version: i16,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let is_there = |(topic, index): &(String, i32)| broker.topics.partition(topic, *index).is_some();
    let missing: Vec<bool> = partitions.iter().map(|partition| !is_there(partition)).collect();
    let outcome = if transactional_id.is_empty() {
        Err(ErrorCode::INVALID_REQUEST)
    } else if missing.contains(&true) {
        Err(ErrorCode::OPERATION_NOT_ATTEMPTED)
    } else if verify_only {
        let coordinator = &broker.transactions;
        coordinator
            .verify(broker, transactional_id, producer, &partitions)
            .await
    } else {
        let client = if version >= SEVERAL_TRANSACTIONS {
            EPOCH_BUMPS
        } else {
            0
        };
        let coordinator = &broker.transactions;
        coordinator
            .add_partitions(broker, transactional_id, producer, partitions.clone(), client)
            .await
    };
    let code = outcome.err().unwrap_or(ErrorCode::NONE);
    let code = known_to(version, KNOWS_FENCED, code);
    let mut results: BTreeMap<String, Vec<AddPartitionsToTxnPartitionResult>> = BTreeMap::new();
    for ((topic, partition_index), is_missing) in partitions.into_iter().zip(missing) {
        let code = if is_missing {
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        } else {
            code
        };
        results
            .entry(topic)
            .or_default()
            .push(AddPartitionsToTxnPartitionResult {
                partition_index,
                partition_error_code: code.0,
            });
    }
    results
        .into_iter()
        .map(|(name, results_by_partition)| AddPartitionsToTxnTopicResult {
            name,
            results_by_partition,
        })
        .collect()
}

pub(in super::super) async fn end(broker: &Arc<Broker>, request: EndTxnRequest, version: i16) -> EndTxnResponse {
    let producer = Identity {
        producer_id: request.producer_id,
        producer_epoch: request.producer_epoch,
    };
    let client = if version >= END_BUMPS_EPOCH { EPOCH_BUMPS } else { 0 };
    let coordinator = &broker.transactions;
    let ended = coordinator
        .end(broker, request.transactional_id, producer, request.committed, client)
        .await;
    match ended {
        Ok(identity) => EndTxnResponse {
            producer_id: identity.producer_id,
            producer_epoch: identity.producer_epoch,
            ..Default::default()
        },
        Err(refused) => EndTxnResponse {
            error_code: known_to(version, KNOWS_FENCED, refused).0,
            ..Default::default()
        },
    }
}

/// Markers from outside: an administrator ends a hanging transaction.
pub(in super::super) async fn write(broker: &Arc<Broker>, request: WriteTxnMarkersRequest) -> WriteTxnMarkersResponse {
    let mut markers = Vec::with_capacity(request.markers.len());
    for asked in request.markers {
        let marker = Marker {
            producer_id: asked.producer_id,
            producer_epoch: asked.producer_epoch,
            is_commit: asked.transaction_result,
            coordinator_epoch: asked.coordinator_epoch,
        };
        let partitions = asked.topics.into_iter().flat_map(|topic| {
            let name = topic.name;
            topic
                .partition_indexes
                .into_iter()
                .map(move |index| (name.clone(), index))
        });
        let mut topics: BTreeMap<String, Vec<WritableTxnMarkerPartitionResult>> = BTreeMap::new();
        for ((topic, partition_index), outcome) in write_markers(broker, &marker, partitions.collect()).await {
            let error_code = outcome.err().map_or(ErrorCode::NONE, |refused| refused.code).0;
            topics.entry(topic).or_default().push(WritableTxnMarkerPartitionResult {
                partition_index,
                error_code,
            });
        }
        let topics = topics
            .into_iter()
            .map(|(name, partitions)| WritableTxnMarkerTopicResult { name, partitions });
        markers.push(WritableTxnMarkerResult {
            producer_id: asked.producer_id,
            topics: topics.collect(),
        });
    }
    WriteTxnMarkersResponse { markers }
}

pub(in super::super) async fn describe(
    broker: &Arc<Broker>,
    request: DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let mut transaction_states = Vec::with_capacity(request.transactional_ids.len());
    for transactional_id in request.transactional_ids {
        let described = broker.transactions.describe(broker, &transactional_id).await;
        let error = match described {
            Ok(Some(found)) => {
                let mut topics: BTreeMap<String, Vec<i32>> = BTreeMap::new();
                for (topic, index) in found.partitions {
                    topics.entry(topic).or_default().push(index);
                }
                transaction_states.push(TransactionState {
                    transactional_id,
                    transaction_state: found.state.to_owned(),
                    transaction_timeout_ms: found.timeout_ms,
                    transaction_start_time_ms: found.start_ms,
                    producer_id: found.producer.producer_id,
                    producer_epoch: found.producer.producer_epoch,
                    topics: topics
                        .into_iter()
                        .map(|(topic, partitions)| TopicData { topic, partitions })
                        .collect(),
                    ..Default::default()
                });
                continue;
            }
            Ok(None) => ErrorCode::TRANSACTIONAL_ID_NOT_FOUND,
            Err(refused) => refused,
        };
        transaction_states.push(TransactionState {
            error_code: error.0,
            transactional_id,
            ..Default::default()
        });
    }
    DescribeTransactionsResponse {
        transaction_states,
        ..Default::default()
    }
}

pub(in super::super) async fn list(broker: &Arc<Broker>, request: ListTransactionsRequest) -> ListTransactionsResponse {
    let now_ms = now_ms();
    let unknown = request
        .state_filters
        .iter()
        .filter(|state| !STATE_NAMES.contains(&state.as_str()));
    let unknown_state_filters: Vec<String> = unknown.cloned().collect();
    let listed = broker.transactions.list().into_iter().filter(|found| {
        let has_state = request.state_filters.is_empty() || request.state_filters.iter().any(|s| s == found.state);
        let ids = &request.producer_id_filters;
        let has_producer = ids.is_empty() || ids.contains(&found.producer.producer_id);
        let is_long = request.duration_filter < 0
            || (found.start_ms >= 0 && now_ms.saturating_sub(found.start_ms) > request.duration_filter);
        has_state && has_producer && is_long
    });
    ListTransactionsResponse {
        unknown_state_filters,
        transaction_states: listed
            .map(|found| ListedTransaction {
                transactional_id: found.transactional_id,
                producer_id: found.producer.producer_id,
                transaction_state: found.state.to_owned(),
            })
            .collect(),
        ..Default::default()
    }
}

pub(in super::super) async fn describe_producers(
    broker: &Arc<Broker>,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partition_indexes.iter().map(|index| {
            let found = broker.topics.partition(&topic.name, *index);
            let producers = found
                .ok_or(Refused::from(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION))
                .and_then(|partition| partition.with_log(|log| Ok::<_, Refused>(log.producers())));
            match producers {
                Ok(producers) => PartitionResponse {
                    partition_index: *index,
                    active_producers: producers
                        .into_iter()
                        .map(|producer| ProducerState {
                            producer_id: producer.producer_id,
                            producer_epoch: i32::from(producer.epoch),
                            last_sequence: producer.last_sequence,
                            last_timestamp: producer.last_timestamp,
                            coordinator_epoch: producer.coordinator_epoch,
                            current_txn_start_offset: producer.transaction_start.unwrap_or(-1),
                        })
                        .collect(),
                    ..Default::default()
                },
                Err(refused) => PartitionResponse {
                    partition_index: *index,
                    error_code: refused.code.0,
                    error_message: refused.message,
                    ..Default::default()
                },
            }
        });
        let partitions = partitions.collect();
        TopicResponse {
            name: topic.name,
            partitions,
        }
    });
    DescribeProducersResponse {
        topics: topics.collect(),
        ..Default::default()
    }
}
