//! OffsetCommit (key 8): stores a group's positions.

use uuid::Uuid;

use crate::table;

table! {
    api OffsetCommit = 8, versions 2..=9, flexible 8, OffsetCommitRequest => OffsetCommitResponse;

    OffsetCommitRequest {
        group_id: String [..],
        generation_id_or_member_epoch: i32 [..] = -1,
        member_id: String [..],
        group_instance_id: Option<String> [7..],
        retention_time_ms: i64 [..=4] = -1,
        topics: Vec<OffsetCommitRequestTopic> [..],
    }
    OffsetCommitRequestPartition {
        partition_index: i32 [..],
        committed_offset: i64 [..],
        committed_leader_epoch: i32 [6..] = -1,
        committed_metadata: Option<String> [..],
    }
    OffsetCommitRequestTopic {
        name: String [..],
        partitions: Vec<OffsetCommitRequestPartition> [..],
    }

    OffsetCommitResponse {
        throttle_time_ms: i32 [3..],
        topics: Vec<OffsetCommitResponseTopic> [..],
    }
    OffsetCommitResponsePartition {
        partition_index: i32 [..],
        error_code: i16 [..],
    }
    OffsetCommitResponseTopic {
        name: String [..=9],
        topic_id: Uuid [10..],
        partitions: Vec<OffsetCommitResponsePartition> [..],
    }
}
