//! Committed offsets: OffsetCommit, OffsetFetch, OffsetDelete.

use std::collections::BTreeMap;
use std::sync::Arc;

use log_broker_wire::ErrorCode;
use log_broker_wire::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use log_broker_wire::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use log_broker_wire::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchResponse, OffsetFetchResponseGroup,
    OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};

use super::super::broker::Broker;
use super::super::now_ms;
use crate::group::{Committed, Identity};

/// OffsetFetch takes several groups from this version on.
const SEVERAL_GROUPS: i16 = 8;
/// ...and can refuse a whole group from this one on.
const HAS_GROUP_ERROR: i16 = 2;

pub(in super::super) async fn commit(broker: &Arc<Broker>, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let member = Identity {
        member_id: request.member_id,
        instance_id: request.group_instance_id,
        generation: request.generation_id_or_member_epoch,
    };
    let mut refused = if request.group_id.is_empty() && member.generation >= 0 {
        ErrorCode::INVALID_GROUP_ID
    } else if let Err(error) = broker.groups.check(broker, &request.group_id) {
        error
    } else {
        broker.groups.may_commit(&request.group_id, &member, false)
    };
    let committed_at_ms = now_ms();
    let retention_ms = Some(request.retention_time_ms).filter(|retention_ms| *retention_ms >= 0);
    let mut offsets = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            let metadata = asked.committed_metadata.unwrap_or_default();
            let error = if refused != ErrorCode::NONE {
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
                    committed_at_ms,
                    expires_at_ms: retention_ms.map(|retention_ms| committed_at_ms.saturating_add(retention_ms)),
                };
                offsets.push((topic.name.clone(), asked.partition_index, committed));
                ErrorCode::NONE
            };
            partitions.push(OffsetCommitResponsePartition {
                partition_index: asked.partition_index,
                error_code: error.0,
            });
        }
        topics.push(OffsetCommitResponseTopic {
            name: topic.name,
            partitions,
            ..Default::default()
        });
    }
    if !offsets.is_empty() {
        let committed = broker.groups.commit(&request.group_id, offsets).await;
        refused = committed.err().unwrap_or(ErrorCode::NONE);
    }
    if refused != ErrorCode::NONE {
        let all = topics.iter_mut().flat_map(|topic| &mut topic.partitions);
        all.filter(|partition| partition.error_code == ErrorCode::NONE.0)
            .for_each(|p| p.error_code = refused.0);
    }
    OffsetCommitResponse {
        topics,
        ..Default::default()
    }
}

/// A committed offset, or why it is not told.
type Found = Result<Committed, ErrorCode>;

/// Committed offsets by topic: those of the partitions asked for, or all that there are. Where only stable ones are wanted,
/// those that an open transaction may change are refused (KIP-447).
fn find(
    broker: &Broker,
    group: &str,
    asked: Option<Vec<(String, Vec<i32>)>>,
    require_stable: bool,
) -> Vec<(String, Vec<(i32, Found)>)> {
    let none = || Committed {
        offset: -1,
        leader_epoch: -1,
        metadata: String::new(),
        committed_at_ms: 0,
        expires_at_ms: None,
    };
    let found = |topic: &str, partition: i32, committed: Option<Committed>| {
        if require_stable && broker.groups.is_unstable(group, topic, partition) {
            return (partition, Err(ErrorCode::UNSTABLE_OFFSET_COMMIT));
        }
        (partition, Ok(committed.unwrap_or_else(none)))
    };
    match asked {
        Some(topics) => topics
            .into_iter()
            .map(|(topic, partitions)| {
                let partitions = partitions
                    .into_iter()
                    .map(|partition| found(&topic, partition, broker.groups.committed(group, &topic, partition)));
                let partitions = partitions.collect();
                (topic, partitions)
            })
            .collect(),
        None => {
            let mut topics: BTreeMap<String, Vec<(i32, Found)>> = BTreeMap::new();
            for (topic, partition, committed) in broker.groups.all_committed(group) {
                let found = found(&topic, partition, Some(committed));
                topics.entry(topic).or_default().push(found);
            }
            topics.into_iter().collect()
        }
    }
}

/// Offset, leader epoch, metadata and error of an answer.
fn answer(found: Found) -> (i64, i32, Option<String>, i16) {
    match found {
        Ok(at) => (at.offset, at.leader_epoch, Some(at.metadata), ErrorCode::NONE.0),
        Err(error) => (-1, -1, Some(String::new()), error.0),
    }
}

pub(in super::super) async fn fetch(
    broker: &Arc<Broker>,
    request: OffsetFetchRequest,
    version: i16,
) -> OffsetFetchResponse {
    let require_stable = request.require_stable;
    if version >= SEVERAL_GROUPS {
        let groups = request
            .groups
            .into_iter()
            .map(|group| fetch_group(broker, group, require_stable));
        return OffsetFetchResponse {
            groups: groups.collect(),
            ..Default::default()
        };
    }
    let group = &request.group_id;
    let checked = broker.groups.check(broker, group);
    if let Err(error) = checked
        && version >= HAS_GROUP_ERROR
    {
        return OffsetFetchResponse {
            error_code: error.0,
            ..Default::default()
        };
    }
    let asked = request
        .topics
        .map(|topics| topics.into_iter().map(|t| (t.name, t.partition_indexes)).collect());
    let topics = find(broker, group, asked, require_stable);
    let topics = topics.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|(partition_index, found)| {
            let (committed_offset, committed_leader_epoch, metadata, error_code) = answer(checked.and(found));
            OffsetFetchResponsePartition {
                partition_index,
                committed_offset,
                committed_leader_epoch,
                metadata,
                error_code,
            }
        });
        OffsetFetchResponseTopic {
            name,
            partitions: partitions.collect(),
        }
    });
    OffsetFetchResponse {
        topics: topics.collect(),
        ..Default::default()
    }
}

fn fetch_group(broker: &Broker, asked: OffsetFetchRequestGroup, require_stable: bool) -> OffsetFetchResponseGroup {
    if let Err(error) = broker.groups.check(broker, &asked.group_id) {
        return OffsetFetchResponseGroup {
            group_id: asked.group_id,
            topics: Vec::new(),
            error_code: error.0,
        };
    }
    let partitions = asked
        .topics
        .map(|topics| topics.into_iter().map(|t| (t.name, t.partition_indexes)).collect());
    let topics = find(broker, &asked.group_id, partitions, require_stable);
    let topics = topics.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|(partition_index, found)| {
            let (committed_offset, committed_leader_epoch, metadata, error_code) = answer(found);
            OffsetFetchResponsePartitions {
                partition_index,
                committed_offset,
                committed_leader_epoch,
                metadata,
                error_code,
            }
        });
        OffsetFetchResponseTopics {
            name,
            partitions: partitions.collect(),
            ..Default::default()
        }
    });
    let topics = topics.collect();
    OffsetFetchResponseGroup {
        group_id: asked.group_id,
        topics,
        error_code: ErrorCode::NONE.0,
    }
}

/// Deletes offsets of a group, those of topics that a member still subscribes to excepted (KIP-496).
pub(in super::super) async fn delete(broker: &Arc<Broker>, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let group = request.group_id;
    let mut refused = if let Err(error) = broker.groups.check(broker, &group) {
        error
    } else if broker.groups.contains(&group) {
        ErrorCode::NONE
    } else {
        ErrorCode::GROUP_ID_NOT_FOUND
    };
    let mut doomed = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let error = broker.groups.may_delete_offsets(&group, &topic.name);
        if error == ErrorCode::NON_EMPTY_GROUP {
            refused = error; // Its members' metadata says nothing of topics.
        }
        let indexes = topic.partitions.iter().map(|partition| partition.partition_index);
        if error == ErrorCode::NONE {
            doomed.extend(indexes.clone().map(|index| (topic.name.clone(), index)));
        }
        let partitions = indexes.map(|partition_index| OffsetDeleteResponsePartition {
            partition_index,
            error_code: error.0,
        });
        let partitions = partitions.collect();
        topics.push(OffsetDeleteResponseTopic {
            name: topic.name,
            partitions,
        });
    }
    if refused == ErrorCode::NONE && !doomed.is_empty() {
        let deleted = broker.groups.delete_offsets(&group, doomed).await;
        refused = deleted.err().unwrap_or(ErrorCode::NONE);
    }
    if refused != ErrorCode::NONE {
        topics.clear();
    }
    OffsetDeleteResponse {
        error_code: refused.0,
        topics,
        ..Default::default()
    }
}
