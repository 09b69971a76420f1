//! A group's offsets as part of a transaction: AddOffsetsToTxn, TxnOffsetCommit.

use std::sync::Arc;

use log_broker_wire::ErrorCode;
use log_broker_wire::messages::add_offsets_to_txn::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};
use log_broker_wire::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitResponse, TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};

use super::super::broker::Broker;
use super::super::now_ms;
use super::super::partition::Refused;
use super::transactions::known_to;
use crate::catalog;
use crate::group::{Committed, Identity as Member};
use crate::transaction::{EPOCH_BUMPS, Identity};

/// AddOffsetsToTxn below this version does not know PRODUCER_FENCED.
const KNOWS_FENCED: i16 = 2;
/// From this version on, TxnOffsetCommit makes the group's partition part of the transaction (KIP-890).
const ENLISTS: i16 = 5;

pub(in super::super) async fn add(
    broker: &Arc<Broker>,
    request: AddOffsetsToTxnRequest,
    version: i16,
) -> AddOffsetsToTxnResponse {
    let producer = Identity {
        producer_id: request.producer_id,
        producer_epoch: request.producer_epoch,
    };
    let added = match broker.groups.log_partition(broker, &request.group_id).await {
        Err(refused) => Err(refused),
        Ok(index) => {
            let partitions = vec![(catalog::CONSUMER_OFFSETS.to_owned(), index)];
            let id = &request.transactional_id;
            broker
                .transactions
                .add_partitions(broker, id, producer, partitions, 0)
                .await
        }
    };
    let code = added.err().unwrap_or(ErrorCode::NONE);
    AddOffsetsToTxnResponse {
        error_code: known_to(version, KNOWS_FENCED, code).0,
        ..Default::default()
    }
}

/// Sees to it that the group's partition of the log is part of the transaction.
async fn enlist(broker: &Arc<Broker>, request: &TxnOffsetCommitRequest, version: i16) -> Result<(), ErrorCode> {
    let producer = Identity {
        producer_id: request.producer_id,
        producer_epoch: request.producer_epoch,
    };
    let index = broker.groups.log_partition(broker, &request.group_id).await?;
    let partition = broker.topics.partition(catalog::CONSUMER_OFFSETS, index);
    let partition = partition.ok_or(ErrorCode::COORDINATOR_NOT_AVAILABLE)?;
    let begin_verification = || {
        partition
            .with_log(|log| Ok::<_, Refused>(log.begin_verification(producer.producer_id, producer.producer_epoch)))
    };
    if begin_verification() == Ok(false) {
        return Ok(()); // The transaction is open there already.
    }
    let partitions = [(catalog::CONSUMER_OFFSETS.to_owned(), index)];
    let client = if version >= ENLISTS { EPOCH_BUMPS } else { 0 };
    let begin_again = || {
        let _offline = begin_verification();
    };
    let id = &request.transactional_id;
    let coordinator = &broker.transactions;
    let enlisted = coordinator
        .enlist(broker, id, producer, &partitions, client, begin_again)
        .await;
    enlisted.map_err(|refused| match refused {
        ErrorCode::PRODUCER_FENCED => ErrorCode::INVALID_PRODUCER_EPOCH,
        // The one that clients try again.
        ErrorCode::CONCURRENT_TRANSACTIONS => ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
        other => other,
    })
}

pub(in super::super) async fn commit(
    broker: &Arc<Broker>,
    request: TxnOffsetCommitRequest,
    version: i16,
) -> TxnOffsetCommitResponse {
    let member = Member {
        member_id: request.member_id.clone(),
        instance_id: request.group_instance_id.clone(),
        generation: request.generation_id,
    };
    let refused = if request.group_id.is_empty() {
        Err(ErrorCode::INVALID_GROUP_ID)
    } else if let Err(refused) = broker.groups.check(broker, &request.group_id) {
        Err(refused)
    } else {
        match broker.groups.may_commit(&request.group_id, &member, true) {
            ErrorCode::NONE => enlist(broker, &request, version).await,
            refused => Err(refused),
        }
    };
    let mut refused = refused.err();
    let mut offsets = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            let metadata = asked.committed_metadata.unwrap_or_default();
            let error = if let Some(refused) = refused {
                refused
            } else if broker.topics.partition(&topic.name, asked.partition_index).is_none() {
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            } else if metadata.len() > broker.groups.metadata_bytes_max {
                ErrorCode::OFFSET_METADATA_TOO_LARGE
            } else {
                let committed = Committed {
                    offset: asked.committed_offset,
                    leader_epoch: asked.committed_leader_epoch,
                    metadata,
                    committed_at_ms: now_ms(),
                    expires_at_ms: None,
                };
                offsets.push((topic.name.clone(), asked.partition_index, committed));
                ErrorCode::NONE
            };
            partitions.push(TxnOffsetCommitResponsePartition {
                partition_index: asked.partition_index,
                error_code: error.0,
            });
        }
        let name = topic.name;
        topics.push(TxnOffsetCommitResponseTopic { name, partitions });
    }
    if !offsets.is_empty() {
        let (id, epoch) = (request.producer_id, request.producer_epoch);
        let groups = &broker.groups;
        let stored = groups.commit_transactional(&request.group_id, id, epoch, offsets).await;
        refused = stored.err();
    }
    if let Some(refused) = refused {
        let all = topics.iter_mut().flat_map(|topic| &mut topic.partitions);
        all.filter(|partition| partition.error_code == ErrorCode::NONE.0)
            .for_each(|partition| partition.error_code = refused.0);
    }
    TxnOffsetCommitResponse {
        topics,
        ..Default::default()
    }
}
