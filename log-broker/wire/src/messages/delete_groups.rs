//! DeleteGroups (key 42): forgets groups with their positions.

use crate::table;

table! {
    api DeleteGroups = 42, versions 0..=2, flexible 2, DeleteGroupsRequest => DeleteGroupsResponse;

    DeleteGroupsRequest {
        groups_names: Vec<String> [..],
    }

    DeleteGroupsResponse {
        throttle_time_ms: i32 [..],
        results: Vec<DeletableGroupResult> [..],
    }
    DeletableGroupResult {
        group_id: String [..],
        error_code: i16 [..],
    }
}
