//! Places in a partition: ListOffsets, OffsetForLeaderEpoch, DeleteRecords.

use std::sync::Arc;

use log_broker_wire::ErrorCode;
use log_broker_wire::messages::delete_records::{
    DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use log_broker_wire::messages::list_offsets::{
    ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use log_broker_wire::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};

use super::super::broker::Broker;
use super::super::partition::{Partition, Refused};
use super::blocking;
use crate::log::{LogError, find_time};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
/// The record with the largest timestamp (KIP-734).
const MAX_TIMESTAMP: i64 = -3;
/// The first that is on this broker's disk, which is the first of all here (KIP-405).
const EARLIEST_LOCAL: i64 = -4;
/// The isolation level of consumers that read committed records only.
const READ_COMMITTED: i8 = 1;
/// The last that is in tiered storage: none.
const LATEST_TIERED: i64 = -5;

pub(in super::super) async fn list(broker: &Arc<Broker>, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let committed_only = request.isolation_level == READ_COMMITTED;
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            let name = topic.name.clone();
            let index = asked.partition_index;
            let found = blocking(broker, move |broker| {
                let partition = broker
                    .topics
                    .partition(&name, index)
                    .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
                partition.check_epoch(asked.current_leader_epoch)?;
                find(&partition, asked.timestamp, committed_only)
            });
            partitions.push(match found.await {
                Ok((timestamp, offset, leader_epoch)) => ListOffsetsPartitionResponse {
                    partition_index: index,
                    timestamp,
                    offset,
                    leader_epoch,
                    ..Default::default()
                },
                Err(refused) => ListOffsetsPartitionResponse {
                    partition_index: index,
                    error_code: refused.code.0,
                    ..Default::default()
                },
            });
        }
        topics.push(ListOffsetsTopicResponse {
            name: topic.name,
            partitions,
        });
    }
    ListOffsetsResponse {
        topics,
        ..Default::default()
    }
}

/// Timestamp, offset and leader epoch of what was asked for; offset -1 where there is nothing. Where only committed records
/// count, everything ends at the last stable offset.
fn find(partition: &Partition, asked: i64, committed_only: bool) -> Result<(i64, i64, i32), Refused> {
    let (slice, timestamp, start, end) = partition.with_log(|log| {
        log.check()?;
        let timestamp = if asked == MAX_TIMESTAMP {
            log.max_timestamp().unwrap_or(i64::MAX)
        } else {
            asked
        };
        let slice = if timestamp >= 0 {
            log.locate_time(timestamp)
        } else {
            None
        };
        let end = match committed_only {
            true => log.last_stable_offset(),
            false => log.high_watermark(),
        };
        Ok::<_, LogError>((slice, timestamp, log.start(), end))
    })?;
    let found = match asked {
        LATEST => Some((-1, end)),
        EARLIEST | EARLIEST_LOCAL => Some((-1, start)),
        LATEST_TIERED => None,
        asked if asked < MAX_TIMESTAMP => return Err(ErrorCode::UNSUPPORTED_VERSION.into()),
        _ => match slice {
            None => None,
            Some(slice) => find_time(&slice, timestamp, start, end).map_err(|error| Refused {
                code: ErrorCode::KAFKA_STORAGE_ERROR,
                message: Some(error.to_string()),
            })?,
        },
    };
    let Some((timestamp, offset)) = found else {
        return Ok((-1, -1, -1));
    };
    let epoch = partition.with_log(|log| Ok::<_, Refused>(log.epoch_of(offset)))?;
    Ok((timestamp, offset, epoch))
}

pub(in super::super) async fn epoch_ends(
    broker: &Arc<Broker>,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let end_of = |topic: &str, index: i32, told: i32, epoch: i32| {
        let partition = broker
            .topics
            .partition(topic, index)
            .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        partition.check_epoch(told)?;
        partition.with_log(|log| Ok::<_, Refused>(log.epoch_end(epoch)))
    };
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let partition = asked.partition;
            match end_of(&topic.topic, partition, asked.current_leader_epoch, asked.leader_epoch) {
                Ok((leader_epoch, end_offset)) => EpochEndOffset {
                    partition,
                    leader_epoch,
                    end_offset,
                    ..Default::default()
                },
                Err(refused) => EpochEndOffset {
                    partition,
                    error_code: refused.code.0,
                    ..Default::default()
                },
            }
        });
        let partitions = partitions.collect();
        OffsetForLeaderTopicResult {
            topic: topic.topic,
            partitions,
        }
    });
    OffsetForLeaderEpochResponse {
        topics: topics.collect(),
        ..Default::default()
    }
}

pub(in super::super) async fn delete_records(
    broker: &Arc<Broker>,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            let name = topic.name.clone();
            let partition_index = asked.partition_index;
            let deleted = blocking(broker, move |broker| {
                let partition = broker
                    .topics
                    .partition(&name, partition_index)
                    .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
                partition.with_log(|log| log.delete_before(asked.offset))
            });
            partitions.push(match deleted.await {
                Ok(low_watermark) => DeleteRecordsPartitionResult {
                    partition_index,
                    low_watermark,
                    error_code: 0,
                },
                Err(refused) => DeleteRecordsPartitionResult {
                    partition_index,
                    low_watermark: -1,
                    error_code: refused.code.0,
                },
            });
        }
        topics.push(DeleteRecordsTopicResult {
            name: topic.name,
            partitions,
        });
    }
    DeleteRecordsResponse {
        topics,
        ..Default::default()
    }
}
