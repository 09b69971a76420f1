//! Transactions: compare, then carry out one of two lists, at one revision.
//!
//! All conditions, those of nested transactions included, are decided on the state before the transaction; then all steps
//! on the way are checked; only then is anything changed. So a transaction that is refused has changed nothing.

use std::cmp::Ordering;
use std::sync::Arc;

use coordinator_wire::etcdserverpb as pb;
use coordinator_wire::mvccpb::KeyValue;
use pb::compare::{CompareResult, CompareTarget, TargetUnion};
use pb::request_op::Request;
use pb::response_op::Response;

use super::apply::{check_put, delete_range, header, put};
use crate::Error;
use crate::lease::Leases;
use crate::plant::{Plant, is_planted};
use crate::store::{Bounds, RangePlan, Store, Version};

/// Which way each transaction goes, in the order in which they are met: the outer one, then those nested in the list
/// that it takes.
type Path = Vec<bool>;

/// Carries out a transaction; returns its answer and its changes.
pub(super) fn write(
    store: &mut Store,
    leases: &mut Leases,
    request: &pb::TxnRequest,
) -> Result<(pb::TxnResponse, Vec<Arc<Version>>), Error> {
    let path = decide(store, leases, request)?;
    let mut writer = store.write();
    let mut response = follow(request, &mut path.iter(), &mut |step| {
        Ok(match step {
            Request::RequestRange(range) => {
                Response::ResponseRange(RangePlan::new(writer.store(), range, writer.revision())?.answer(range)?)
            }
            Request::RequestPut(request) => Response::ResponsePut(put(&mut writer, leases, request)?),
            Request::RequestDeleteRange(request) => {
                Response::ResponseDeleteRange(delete_range(&mut writer, leases, request)?)
            }
            Request::RequestTxn(_) => unreachable_nested(),
        })
    })?;
    response.header = header(writer.revision());
    Ok((response, writer.finish()))
}

/// Carries out a transaction in which no step on any way changes anything.
pub(super) fn read(store: &Store, leases: &Leases, request: &pb::TxnRequest) -> Result<pb::TxnResponse, Error> {
    let path = decide(store, leases, request)?;
    let mut response = follow(request, &mut path.iter(), &mut |step| match step {
        Request::RequestRange(range) => Ok(Response::ResponseRange(
            RangePlan::new(store, range, store.revision())?.answer(range)?,
        )),
        _ => unreachable_nested(),
    })?;
    response.header = header(store.revision());
    Ok(response)
}

fn unreachable_nested() -> ! {
    unreachable!("nested transactions are followed, and a transaction with writes is not read")
}

/// Decides all conditions and checks all steps on the way.
fn decide(store: &Store, leases: &Leases, request: &pb::TxnRequest) -> Result<Path, Error> {
    let mut path = Path::new();
    decide_into(store, request, &mut path)?;
    let mut ways = path.iter();
    check(store, leases, request, &mut ways)?;
    Ok(path)
}

fn decide_into(store: &Store, request: &pb::TxnRequest, path: &mut Path) -> Result<(), Error> {
    let mut succeeded = true;
    for compare in &request.compare {
        if !holds(store, compare)? {
            succeeded = false;
            break;
        }
    }
    path.push(succeeded);
    for step in steps(request, succeeded) {
        if let Some(Request::RequestTxn(nested)) = &step.request {
            decide_into(store, nested, path)?;
        }
    }
    Ok(())
}

fn steps(request: &pb::TxnRequest, succeeded: bool) -> &[pb::RequestOp] {
    if succeeded { &request.success } else { &request.failure }
}

fn next_way(ways: &mut std::slice::Iter<'_, bool>) -> bool {
    *ways
        .next()
        .expect("a way was decided for every transaction that is met")
}

fn check(
    store: &Store,
    leases: &Leases,
    request: &pb::TxnRequest,
    ways: &mut std::slice::Iter<'_, bool>,
) -> Result<(), Error> {
    let succeeded = next_way(ways);
    for step in steps(request, succeeded) {
        match &step.request {
            Some(Request::RequestRange(range)) => store.check_revision(range.revision)?,
            Some(Request::RequestPut(put)) => check_put(store, leases, put)?,
            Some(Request::RequestTxn(nested)) => check(store, leases, nested, ways)?,
            Some(Request::RequestDeleteRange(_)) | None => {}
        }
    }
    Ok(())
}

/// Goes the ways decided and has each step carried out.
fn follow(
    request: &pb::TxnRequest,
    ways: &mut std::slice::Iter<'_, bool>,
    carry_out: &mut dyn FnMut(&Request) -> Result<Response, Error>,
) -> Result<pb::TxnResponse, Error> {
    let succeeded = next_way(ways);
    let mut responses = Vec::new();
    for step in steps(request, succeeded) {
        let response = match &step.request {
            Some(Request::RequestTxn(nested)) => {
                let mut response = follow(nested, ways, carry_out)?;
                response.header = Some(pb::ResponseHeader::default());
                Some(Response::ResponseTxn(response))
            }
            Some(step) => Some(carry_out(step)?),
            None => None,
        };
        responses.push(pb::ResponseOp { response });
    }
    Ok(pb::TxnResponse {
        header: None,
        succeeded,
        responses,
    })
}

/// Whether a condition holds for every living key within its bounds. Where there is none, an absent key is looked at,
/// whose revisions, version and lease are 0, and whose value equals nothing.
fn holds(store: &Store, compare: &pb::Compare) -> Result<bool, Error> {
    if is_planted(Plant::CompareIgnored) {
        return Ok(true);
    }
    let bounds = Bounds::new(&compare.key, &compare.range_end);
    let versions = store.select(&bounds, 0, 0).load()?;
    if versions.is_empty() {
        return Ok(compare.target() != CompareTarget::Value && pair_holds(compare, &KeyValue::default()));
    }
    Ok(versions.iter().all(|version| pair_holds(compare, &version.kv)))
}

fn pair_holds(compare: &pb::Compare, kv: &KeyValue) -> bool {
    let union = compare.target_union.as_ref();
    // A value of another kind than the target counts as not given, which is 0 or empty.
    let order = match compare.target() {
        CompareTarget::Version => kv.version.cmp(&match union {
            Some(TargetUnion::Version(version)) => *version,
            _ => 0,
        }),
        CompareTarget::Create => kv.create_revision.cmp(&match union {
            Some(TargetUnion::CreateRevision(revision)) => *revision,
            _ => 0,
        }),
        CompareTarget::Mod => kv.mod_revision.cmp(&match union {
            Some(TargetUnion::ModRevision(revision)) => *revision,
            _ => 0,
        }),
        CompareTarget::Lease => kv.lease.cmp(&match union {
            Some(TargetUnion::Lease(lease)) => *lease,
            _ => 0,
        }),
        CompareTarget::Value => match union {
            Some(TargetUnion::Value(value)) => kv.value.cmp(value),
            _ => kv.value.as_ref().cmp(&[]),
        },
    };
    match compare.result() {
        CompareResult::Equal => order == Ordering::Equal,
        CompareResult::NotEqual => order != Ordering::Equal,
        CompareResult::Greater => order == Ordering::Greater,
        CompareResult::Less => order == Ordering::Less,
    }
}
