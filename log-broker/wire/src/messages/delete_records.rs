//! DeleteRecords (key 21): moves the start of a log.

use crate::table;

table! {
    api DeleteRecords = 21, versions 0..=2, flexible 2, DeleteRecordsRequest => DeleteRecordsResponse;

    DeleteRecordsRequest {
        topics: Vec<DeleteRecordsTopic> [..],
        timeout_ms: i32 [..],
    }
    DeleteRecordsPartition {
        partition_index: i32 [..],
        offset: i64 [..],
    }
    DeleteRecordsTopic {
        name: String [..],
        partitions: Vec<DeleteRecordsPartition> [..],
    }

    DeleteRecordsResponse {
        throttle_time_ms: i32 [..],
        topics: Vec<DeleteRecordsTopicResult> [..],
    }
    DeleteRecordsPartitionResult {
        partition_index: i32 [..],
        low_watermark: i64 [..],
        error_code: i16 [..],
    }
    DeleteRecordsTopicResult {
        name: String [..],
        partitions: Vec<DeleteRecordsPartitionResult> [..],
    }
}
