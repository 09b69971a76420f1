//! Produce (key 0): appends record batches to partitions.

use bytes::Bytes;
use uuid::Uuid;

use crate::table;

table! {
    api Produce = 0, versions 3..=13, flexible 9, ProduceRequest => ProduceResponse;

    ProduceRequest {
        transactional_id: Option<String> [..],
        acks: i16 [..],
        timeout_ms: i32 [..],
        topic_data: Vec<TopicProduceData> [..],
    }
    PartitionProduceData {
        index: i32 [..],
        records: Option<Bytes> [..],
    }
    TopicProduceData {
        name: String [..=12],
        topic_id: Uuid [13..],
        partition_data: Vec<PartitionProduceData> [..],
    }

    ProduceResponse {
        responses: Vec<TopicProduceResponse> [..],
        throttle_time_ms: i32 [..],
        node_endpoints: Vec<NodeEndpoint> [10..] tag 0,
    }
    BatchIndexAndErrorMessage {
        batch_index: i32 [8..],
        batch_index_error_message: Option<String> [8..],
    }
    LeaderIdAndEpoch {
        leader_id: i32 [10..] = -1,
        leader_epoch: i32 [10..] = -1,
    }
    NodeEndpoint {
        node_id: i32 [10..],
        host: String [10..],
        port: i32 [10..],
        rack: Option<String> [10..],
    }
    PartitionProduceResponse {
        index: i32 [..],
        error_code: i16 [..],
        base_offset: i64 [..],
        log_append_time_ms: i64 [..] = -1,
        log_start_offset: i64 [5..] = -1,
        record_errors: Vec<BatchIndexAndErrorMessage> [8..],
        error_message: Option<String> [8..],
        current_leader: LeaderIdAndEpoch [10..] tag 0,
    }
    TopicProduceResponse {
        name: String [..=12],
        topic_id: Uuid [13..],
        partition_responses: Vec<PartitionProduceResponse> [..],
    }
}
