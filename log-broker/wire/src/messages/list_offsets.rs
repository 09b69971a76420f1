//! ListOffsets (key 2): finds the offset of a time, or the ends of a partition.

use crate::table;

table! {
    api ListOffsets = 2, versions 1..=10, flexible 6, ListOffsetsRequest => ListOffsetsResponse;

    ListOffsetsRequest {
        replica_id: i32 [..],
        isolation_level: i8 [2..],
        topics: Vec<ListOffsetsTopic> [..],
        timeout_ms: i32 [10..],
    }
    ListOffsetsPartition {
        partition_index: i32 [..],
        current_leader_epoch: i32 [4..] = -1,
        timestamp: i64 [..],
    }
    ListOffsetsTopic {
        name: String [..],
        partitions: Vec<ListOffsetsPartition> [..],
    }

    ListOffsetsResponse {
        throttle_time_ms: i32 [2..],
        topics: Vec<ListOffsetsTopicResponse> [..],
    }
    ListOffsetsPartitionResponse {
        partition_index: i32 [..],
        error_code: i16 [..],
        timestamp: i64 [..] = -1,
        offset: i64 [..] = -1,
        leader_epoch: i32 [4..] = -1,
    }
    ListOffsetsTopicResponse {
        name: String [..],
        partitions: Vec<ListOffsetsPartitionResponse> [..],
    }
}
