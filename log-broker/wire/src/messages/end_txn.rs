//! EndTxn (key 26): commits or aborts a transaction. From version 5 on, the answer has the producer's next epoch (KIP-890).

use crate::table;

table! {
    api EndTxn = 26, versions 0..=5, flexible 3, EndTxnRequest => EndTxnResponse;

    EndTxnRequest {
        transactional_id: String [..],
        producer_id: i64 [..],
        producer_epoch: i16 [..],
        committed: bool [..],
    }

    EndTxnResponse {
        throttle_time_ms: i32 [..],
        error_code: i16 [..],
        producer_id: i64 [5..] = -1,
        producer_epoch: i16 [5..] = -1,
    }
}
