//! AddOffsetsToTxn (key 25): tells the transaction coordinator that a transaction commits a group's offsets.

use crate::table;

table! {
    api AddOffsetsToTxn = 25, versions 0..=4, flexible 3, AddOffsetsToTxnRequest => AddOffsetsToTxnResponse;

    AddOffsetsToTxnRequest {
        transactional_id: String [..],
        producer_id: i64 [..],
        producer_epoch: i16 [..],
        group_id: String [..],
    }

    AddOffsetsToTxnResponse {
        throttle_time_ms: i32 [..],
        error_code: i16 [..],
    }
}
