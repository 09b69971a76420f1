//! WriteTxnMarkers (key 27): the transaction coordinator ends transactions in partitions; an administrator aborts a hanging
//! one by it.

use crate::table;

table! {
    api WriteTxnMarkers = 27, versions 1..=1, flexible 1, WriteTxnMarkersRequest => WriteTxnMarkersResponse;

    WriteTxnMarkersRequest {
        markers: Vec<WritableTxnMarker> [..],
    }
    WritableTxnMarker {
        producer_id: i64 [..],
        producer_epoch: i16 [..],
        transaction_result: bool [..],
        topics: Vec<WritableTxnMarkerTopic> [..],
        coordinator_epoch: i32 [..],
    }
    WritableTxnMarkerTopic {
        name: String [..],
        partition_indexes: Vec<i32> [..],
    }

    WriteTxnMarkersResponse {
        markers: Vec<WritableTxnMarkerResult> [..],
    }
    WritableTxnMarkerResult {
        producer_id: i64 [..],
        topics: Vec<WritableTxnMarkerTopicResult> [..],
    }
    WritableTxnMarkerTopicResult {
        name: String [..],
        partitions: Vec<WritableTxnMarkerPartitionResult> [..],
    }
    WritableTxnMarkerPartitionResult {
        partition_index: i32 [..],
        error_code: i16 [..],
    }
}
