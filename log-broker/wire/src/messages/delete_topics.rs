//! DeleteTopics (key 20): deletes topics with their records.

use uuid::Uuid;

use crate::table;

table! {
    api DeleteTopics = 20, versions 1..=6, flexible 4, DeleteTopicsRequest => DeleteTopicsResponse;

    DeleteTopicsRequest {
        topics: Vec<DeleteTopicState> [6..],
        topic_names: Vec<String> [..=5],
        timeout_ms: i32 [..],
    }
    DeleteTopicState {
        name: Option<String> [6..] null [6..],
        topic_id: Uuid [6..],
    }

    DeleteTopicsResponse {
        throttle_time_ms: i32 [..],
        responses: Vec<DeletableTopicResult> [..],
    }
    DeletableTopicResult {
        name: Option<String> [..] null [6..],
        topic_id: Uuid [6..],
        error_code: i16 [..],
        error_message: Option<String> [5..],
    }
}
