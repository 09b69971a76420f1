//! One entry of the log, carried out.

use std::sync::Arc;

use coordinator_wire::etcdserverpb as pb;

use super::{Machine, Outcome, Request, txn};
use crate::Error;
use crate::auth::Caller;
use crate::lease::Leases;
use crate::store::{Bounds, Store, Version, Writer};

pub(super) fn apply(
    machine: &mut Machine,
    caller: &Caller,
    request: &Request,
) -> Result<(Outcome, Vec<Arc<Version>>), Error> {
    let Machine {
        store,
        leases,
        alarms,
        auth,
        members,
        applied,
        term: _,
    } = machine;
    match request {
        Request::Put(request) => {
            check_put(store, leases, request)?;
            let mut writer = store.write();
            let response = put(&mut writer, leases, request)?;
            Ok((Outcome::Put(response), writer.finish()))
        }
        Request::DeleteRange(request) => {
            let mut writer = store.write();
            let response = delete_range(&mut writer, leases, request)?;
            Ok((Outcome::DeleteRange(response), writer.finish()))
        }
        Request::Txn(request) => {
            let (response, changes) = txn::write(store, leases, request)?;
            Ok((Outcome::Txn(response), changes))
        }
        Request::Compaction(request) => {
            store.compact(request.revision)?;
            let response = pb::CompactionResponse {
                header: header(store.revision()),
            };
            Ok((Outcome::Compaction(response), Vec::new()))
        }
        Request::LeaseGrant(request) => {
            let ttl = leases.grant(request.id, request.ttl)?;
            let header = header(store.revision());
            let response = pb::LeaseGrantResponse {
                header,
                id: request.id,
                ttl,
                error: String::new(),
            };
            Ok((Outcome::LeaseGrant(response), Vec::new()))
        }
        Request::LeaseRevoke(request) => {
            let keys = leases.revoke(request.id)?;
            let mut writer = store.write();
            for key in keys {
                writer.delete(&Bounds::One(key));
            }
            let header = header(writer.revision());
            Ok((
                Outcome::LeaseRevoke(pb::LeaseRevokeResponse { header }),
                writer.finish(),
            ))
        }
        Request::LeaseCheckpoints(request) => {
            for checkpoint in &request.checkpoints {
                leases.checkpoint(checkpoint.id, checkpoint.remaining_ttl);
            }
            Ok((Outcome::Done, Vec::new()))
        }
        Request::MemberAttributes(attributes) => {
            members.set_attributes(attributes);
            Ok((Outcome::Done, Vec::new()))
        }
        Request::Downgrade(job) => {
            members.set_downgrade_target(&job.target_version);
            Ok((Outcome::Done, Vec::new()))
        }
        Request::Auth(request) => {
            // A request that this program does not know is refused when the log is read.
            let change = request.request.as_ref().ok_or(Error::InvalidAuthManagement)?;
            Ok((Outcome::Auth(auth.apply(*applied, caller, change)?), Vec::new()))
        }
        Request::Alarm(request) => {
            let response = pb::AlarmResponse {
                header: header(store.revision()),
                alarms: alarms.apply(request),
            };
            Ok((Outcome::Alarm(response), Vec::new()))
        }
    }
}

/// The part of an answer's header that the state knows; the server adds who it is.
pub(super) fn header(revision: i64) -> Option<pb::ResponseHeader> {
    Some(pb::ResponseHeader {
        revision,
        ..Default::default()
    })
}

/// Whether a put can be carried out; after this it is not refused any more.
pub(super) fn check_put(store: &Store, leases: &Leases, request: &pb::PutRequest) -> Result<(), Error> {
    if (request.ignore_value || request.ignore_lease) && store.count(&Bounds::One(request.key.clone()), 0) == 0 {
        return Err(Error::KeyNotFound);
    }
    if request.lease != 0 && leases.get(request.lease).is_none() {
        return Err(Error::LeaseNotFound);
    }
    Ok(())
}

pub(super) fn put(
    writer: &mut Writer<'_>,
    leases: &mut Leases,
    request: &pb::PutRequest,
) -> Result<pb::PutResponse, Error> {
    let needs_before = request.prev_kv || request.ignore_value;
    let before = if needs_before {
        writer.store().get(&request.key, 0)?
    } else {
        None
    };
    let value = match &before {
        Some(before) if request.ignore_value => &before.kv.value,
        _ => &request.value,
    };
    let lease = if request.ignore_lease {
        leases.of_key(&request.key)
    } else {
        request.lease
    };
    let key = writer.put(&request.key, value, lease);
    leases.attach(&key, lease);
    let prev_kv = before.filter(|_| request.prev_kv).map(|before| before.kv.clone());
    Ok(pb::PutResponse {
        header: header(writer.revision()),
        prev_kv,
    })
}

pub(super) fn delete_range(
    writer: &mut Writer<'_>,
    leases: &mut Leases,
    request: &pb::DeleteRangeRequest,
) -> Result<pb::DeleteRangeResponse, Error> {
    let bounds = Bounds::new(&request.key, &request.range_end);
    let mut prev_kvs = Vec::new();
    if request.prev_kv {
        let before = writer.store().select(&bounds, 0, 0).load()?;
        prev_kvs = before.iter().map(|version| version.kv.clone()).collect();
    }
    let keys = writer.delete(&bounds);
    for key in &keys {
        leases.detach(key);
    }
    let deleted = i64::try_from(keys.len()).unwrap_or(i64::MAX);
    Ok(pb::DeleteRangeResponse {
        header: header(writer.revision()),
        deleted,
        prev_kvs,
    })
}
