//! ListTransactions (key 66): the transactional ids of a coordinator.

use crate::table;

table! {
    api ListTransactions = 66, versions 0..=2, flexible 0, ListTransactionsRequest => ListTransactionsResponse;

    ListTransactionsRequest {
        state_filters: Vec<String> [..],
        producer_id_filters: Vec<i64> [..],
        duration_filter: i64 [1..] = -1,
        transactional_id_pattern: Option<String> [2..],
    }

    ListTransactionsResponse {
        throttle_time_ms: i32 [..],
        error_code: i16 [..],
        unknown_state_filters: Vec<String> [..],
        transaction_states: Vec<TransactionState> [..],
    }
    TransactionState {
        transactional_id: String [..],
        producer_id: i64 [..],
        transaction_state: String [..],
    }
}
