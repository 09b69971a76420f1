//! What a request would add to the store, by etcd's estimate.

use coordinator_wire::etcdserverpb as pb;
use pb::request_op;

use super::Request;
use crate::plant::{Plant, is_planted};

/// What a version takes beside its key and value, in bytes.
const VERSION_OVERHEAD_BYTES: u64 = 256;
/// What a lease takes, in bytes.
const LEASE_BYTES: u64 = 64;

/// The bytes that a request would add; 0 for what adds nothing, and is therefore never refused for lack of space.
pub fn cost(request: &Request) -> u64 {
    match request {
        Request::Put(put) => of_put(put),
        Request::Txn(_) if is_planted(Plant::NoSpaceForgetsTxns) => 0,
        Request::Txn(txn) => of_txn(txn),
        Request::LeaseGrant(_) => LEASE_BYTES,
        _ => 0,
    }
}

fn of_put(put: &pb::PutRequest) -> u64 {
    VERSION_OVERHEAD_BYTES + (put.key.len() + put.value.len()) as u64
}

/// Of the two ways the dearer one, since no one knows yet which is gone.
fn of_txn(txn: &pb::TxnRequest) -> u64 {
    let of_steps = |steps: &[pb::RequestOp]| -> u64 {
        steps
            .iter()
            .map(|step| match &step.request {
                Some(request_op::Request::RequestPut(put)) => of_put(put),
                Some(request_op::Request::RequestTxn(nested)) => of_txn(nested),
                _ => 0,
            })
            .sum()
    };
    of_steps(&txn.success).max(of_steps(&txn.failure))
}
