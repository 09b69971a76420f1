//! IncrementalAlterConfigs (key 44): changes single properties of a topic.

use crate::table;

table! {
    api IncrementalAlterConfigs = 44, versions 0..=1, flexible 1, IncrementalAlterConfigsRequest => IncrementalAlterConfigsResponse;

    IncrementalAlterConfigsRequest {
        resources: Vec<AlterConfigsResource> [..],
        validate_only: bool [..],
    }
    AlterConfigsResource {
        resource_type: i8 [..],
        resource_name: String [..],
        configs: Vec<AlterableConfig> [..],
    }
    AlterableConfig {
        name: String [..],
        config_operation: i8 [..],
        value: Option<String> [..],
    }

    IncrementalAlterConfigsResponse {
        throttle_time_ms: i32 [..],
        responses: Vec<AlterConfigsResourceResponse> [..],
    }
    AlterConfigsResourceResponse {
        error_code: i16 [..],
        error_message: Option<String> [..],
        resource_type: i8 [..],
        resource_name: String [..],
    }
}
