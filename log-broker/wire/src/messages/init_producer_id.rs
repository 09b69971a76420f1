//! InitProducerId (key 22): hands out the identity of an idempotent producer.

use crate::table;

table! {
    api InitProducerId = 22, versions 0..=5, flexible 2, InitProducerIdRequest => InitProducerIdResponse;

    InitProducerIdRequest {
        transactional_id: Option<String> [..],
        transaction_timeout_ms: i32 [..],
        producer_id: i64 [3..] = -1,
        producer_epoch: i16 [3..] = -1,
    }

    InitProducerIdResponse {
        throttle_time_ms: i32 [..],
        error_code: i16 [..],
        producer_id: i64 [..] = -1,
        producer_epoch: i16 [..],
        ongoing_txn_producer_id: i64 [6..] = -1,
        ongoing_txn_producer_epoch: i16 [6..] = -1,
    }
}
