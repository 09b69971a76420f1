//! Committed positions: OffsetCommit, OffsetFetch, OffsetDelete.

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
    OffsetFetchRequest, OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions, OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};

use super::super::broker::Broker;
use crate::group::{Change, Committed, Identity};

/// OffsetFetch takes several groups from this version on.
const SEVERAL_GROUPS: i16 = 8;

pub(in super::super) async fn commit(broker: &Arc<Broker>, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let member = Identity {
        member_id: request.member_id,
        instance_id: request.group_instance_id,
        generation: request.generation_id_or_member_epoch,
    };
    let mut refused = if request.group_id.is_empty() && member.generation >= 0 {
        ErrorCode::INVALID_GROUP_ID
    } else {
        broker.groups.may_commit(&request.group_id, &member)
    };
    let mut positions = Vec::new();
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
                };
                positions.push((topic.name.clone(), asked.partition_index, committed));
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
    if !positions.is_empty() {
        let change = Change::Commit {
            group: request.group_id,
            positions,
        };
        refused = broker.groups.change(change).await.err().unwrap_or(ErrorCode::NONE);
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

/// Positions by topic: those of the partitions asked for, or all that there are.
fn positions(
    broker: &Broker,
    group: &str,
    asked: Option<Vec<(String, Vec<i32>)>>,
) -> Vec<(String, Vec<(i32, Committed)>)> {
    let none = || Committed {
        offset: -1,
        leader_epoch: -1,
        metadata: String::new(),
    };
    match asked {
        Some(topics) => topics
            .into_iter()
            .map(|(topic, partitions)| {
                let found = partitions.into_iter().map(|partition| {
                    (
                        partition,
                        broker.groups.committed(group, &topic, partition).unwrap_or_else(none),
                    )
                });
                let found = found.collect();
                (topic, found)
            })
            .collect(),
        None => {
            let mut topics: BTreeMap<String, Vec<(i32, Committed)>> = BTreeMap::new();
            for (topic, partition, committed) in broker.groups.all_committed(group) {
                topics.entry(topic).or_default().push((partition, committed));
            }
            topics.into_iter().collect()
        }
    }
}

pub(in super::super) async fn fetch(
    broker: &Arc<Broker>,
    request: OffsetFetchRequest,
    version: i16,
) -> OffsetFetchResponse {
    if version < SEVERAL_GROUPS {
        let asked = request
            .topics
            .map(|topics| topics.into_iter().map(|t| (t.name, t.partition_indexes)).collect());
        let topics = positions(broker, &request.group_id, asked)
            .into_iter()
            .map(|(name, partitions)| {
                let partitions = partitions
                    .into_iter()
                    .map(|(partition_index, at)| OffsetFetchResponsePartition {
                        partition_index,
                        committed_offset: at.offset,
                        committed_leader_epoch: at.leader_epoch,
                        metadata: Some(at.metadata),
                        error_code: 0,
                    });
                OffsetFetchResponseTopic {
                    name,
                    partitions: partitions.collect(),
                }
            });
        return OffsetFetchResponse {
            topics: topics.collect(),
            ..Default::default()
        };
    }
    let groups = request.groups.into_iter().map(|group| {
        let asked = group
            .topics
            .map(|topics| topics.into_iter().map(|t| (t.name, t.partition_indexes)).collect());
        let topics = positions(broker, &group.group_id, asked)
            .into_iter()
            .map(|(name, partitions)| {
                let partitions = partitions
                    .into_iter()
                    .map(|(partition_index, at)| OffsetFetchResponsePartitions {
                        partition_index,
                        committed_offset: at.offset,
                        committed_leader_epoch: at.leader_epoch,
                        metadata: Some(at.metadata),
                        error_code: 0,
                    });
                OffsetFetchResponseTopics {
                    name,
                    partitions: partitions.collect(),
                    ..Default::default()
                }
            });
        let topics = topics.collect();
        OffsetFetchResponseGroup {
            group_id: group.group_id,
            topics,
            error_code: 0,
        }
    });
    OffsetFetchResponse {
        groups: groups.collect(),
        ..Default::default()
    }
}

/// Deletes offsets of a group, those of topics that a member still subscribes to excepted (KIP-496).
pub(in super::super) async fn delete(broker: &Arc<Broker>, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let group = request.group_id;
    let mut refused = if broker.groups.has_members(&group) || broker.groups.has_offsets(&group) {
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
        let change = Change::Forget {
            group,
            partitions: doomed,
        };
        refused = broker.groups.change(change).await.err().unwrap_or(ErrorCode::NONE);
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
