//! OffsetForLeaderEpoch (key 23): tells where a leader epoch ended.

use crate::table;

table! {
    api OffsetForLeaderEpoch = 23, versions 2..=4, flexible 4, OffsetForLeaderEpochRequest => OffsetForLeaderEpochResponse;

    OffsetForLeaderEpochRequest {
        replica_id: i32 [3..] = -2,
        topics: Vec<OffsetForLeaderTopic> [..],
    }
    OffsetForLeaderPartition {
        partition: i32 [..],
        current_leader_epoch: i32 [..] = -1,
        leader_epoch: i32 [..],
    }
    OffsetForLeaderTopic {
        topic: String [..],
        partitions: Vec<OffsetForLeaderPartition> [..],
    }

    OffsetForLeaderEpochResponse {
        throttle_time_ms: i32 [..],
        topics: Vec<OffsetForLeaderTopicResult> [..],
    }
    EpochEndOffset {
        error_code: i16 [..],
        partition: i32 [..],
        leader_epoch: i32 [..] = -1,
        end_offset: i64 [..] = -1,
    }
    OffsetForLeaderTopicResult {
        topic: String [..],
        partitions: Vec<EpochEndOffset> [..],
    }
}
