//! LeaveGroup (key 13): ends memberships at once.

use crate::table;

table! {
    api LeaveGroup = 13, versions 0..=5, flexible 4, LeaveGroupRequest => LeaveGroupResponse;

    LeaveGroupRequest {
        group_id: String [..],
        member_id: String [..=2],
        members: Vec<MemberIdentity> [3..],
    }
    MemberIdentity {
        member_id: String [3..],
        group_instance_id: Option<String> [3..],
        reason: Option<String> [5..],
    }

    LeaveGroupResponse {
        throttle_time_ms: i32 [1..],
        error_code: i16 [..],
        members: Vec<MemberResponse> [3..],
    }
    MemberResponse {
        member_id: String [3..],
        group_instance_id: Option<String> [3..],
        error_code: i16 [3..],
    }
}
