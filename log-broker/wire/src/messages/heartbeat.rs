//! Heartbeat (key 12): keeps a member in its group.

use crate::table;

table! {
    api Heartbeat = 12, versions 0..=4, flexible 4, HeartbeatRequest => HeartbeatResponse;

    HeartbeatRequest {
        group_id: String [..],
        generation_id: i32 [..],
        member_id: String [..],
        group_instance_id: Option<String> [3..],
    }

    HeartbeatResponse {
        throttle_time_ms: i32 [1..],
        error_code: i16 [..],
    }
}
