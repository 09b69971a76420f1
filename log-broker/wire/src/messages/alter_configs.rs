//! AlterConfigs (key 33): replaces the properties of a topic.

use crate::table;

table! {
    api AlterConfigs = 33, versions 0..=2, flexible 2, AlterConfigsRequest => AlterConfigsResponse;

    AlterConfigsRequest {
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
        value: Option<String> [..],
    }

    AlterConfigsResponse {
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
