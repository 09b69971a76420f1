//! TxnOffsetCommit (key 28): stores a group's offsets as part of a transaction; they count once it is committed.

use crate::table;

table! {
    api TxnOffsetCommit = 28, versions 0..=5, flexible 3, TxnOffsetCommitRequest => TxnOffsetCommitResponse;

    TxnOffsetCommitRequest {
        transactional_id: String [..],
        group_id: String [..],
        producer_id: i64 [..],
        producer_epoch: i16 [..],
        generation_id: i32 [3..] = -1,
        member_id: String [3..],
        group_instance_id: Option<String> [3..],
        topics: Vec<TxnOffsetCommitRequestTopic> [..],
    }
    TxnOffsetCommitRequestTopic {
        name: String [..],
        partitions: Vec<TxnOffsetCommitRequestPartition> [..],
    }
    TxnOffsetCommitRequestPartition {
        partition_index: i32 [..],
        committed_offset: i64 [..],
        committed_leader_epoch: i32 [2..] = -1,
        committed_metadata: Option<String> [..],
    }

    TxnOffsetCommitResponse {
        throttle_time_ms: i32 [..],
        topics: Vec<TxnOffsetCommitResponseTopic> [..],
    }
    TxnOffsetCommitResponseTopic {
        name: String [..],
        partitions: Vec<TxnOffsetCommitResponsePartition> [..],
    }
    TxnOffsetCommitResponsePartition {
        partition_index: i32 [..],
        error_code: i16 [..],
    }
}
