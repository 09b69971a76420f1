//! CreatePartitions (key 37): adds partitions to topics.

use crate::table;

table! {
    api CreatePartitions = 37, versions 0..=3, flexible 2, CreatePartitionsRequest => CreatePartitionsResponse;

    CreatePartitionsRequest {
        topics: Vec<CreatePartitionsTopic> [..],
        timeout_ms: i32 [..],
        validate_only: bool [..],
    }
    CreatePartitionsAssignment {
        broker_ids: Vec<i32> [..],
    }
    CreatePartitionsTopic {
        name: String [..],
        count: i32 [..],
        assignments: Option<Vec<CreatePartitionsAssignment>> [..],
    }

    CreatePartitionsResponse {
        throttle_time_ms: i32 [..],
        results: Vec<CreatePartitionsTopicResult> [..],
    }
    CreatePartitionsTopicResult {
        name: String [..],
        error_code: i16 [..],
        error_message: Option<String> [..],
    }
}
