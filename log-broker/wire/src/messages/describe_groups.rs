//! DescribeGroups (key 15): shows groups with their members.

use bytes::Bytes;

use crate::table;

table! {
    api DescribeGroups = 15, versions 0..=6, flexible 5, DescribeGroupsRequest => DescribeGroupsResponse;

    DescribeGroupsRequest {
        groups: Vec<String> [..],
        include_authorized_operations: bool [3..],
    }

    DescribeGroupsResponse {
        throttle_time_ms: i32 [1..],
        groups: Vec<DescribedGroup> [..],
    }
    DescribedGroup {
        error_code: i16 [..],
        error_message: Option<String> [6..],
        group_id: String [..],
        group_state: String [..],
        protocol_type: String [..],
        protocol_data: String [..],
        members: Vec<DescribedGroupMember> [..],
        authorized_operations: i32 [3..] = i32::MIN,
    }
    DescribedGroupMember {
        member_id: String [..],
        group_instance_id: Option<String> [4..],
        client_id: String [..],
        client_host: String [..],
        member_metadata: Bytes [..],
        member_assignment: Bytes [..],
    }
}
