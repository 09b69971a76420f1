//! The lock queue: waiters ordered by create revision, shared by the services Lock and Election.
//!
//! Each waiter puts a key under a common prefix, attached to its lease. The owner is the key with the lowest create revision,
//! which is also the fencing token. A waiter waits for the deletion of the key created just before its own, so one
//! deletion wakes one waiter. All of it is done with the services KV and Lease, on behalf of the client
//! that asked, so permissions, quota and log are the same as for a client that does the steps itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use coordinator_wire::etcdserverpb as pb;
use pb::compare::{CompareResult, CompareTarget, TargetUnion};
use pb::kv_server::Kv;
use pb::lease_server::Lease;
use pb::range_request::{SortOrder, SortTarget};
use tokio::sync::oneshot;
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Request, Status};

use crate::server::replica::node::Node;
use crate::server::service::kv::KvService;
use crate::server::service::lease::LeaseService;

/// The seconds of a lease for someone who brings none, as in etcd.
const SESSION_TTL_SECONDS: i64 = 60;
/// Revisions looked through at a time.
const REVISIONS_MAX: usize = 512;

/// What locks and elections stand on.
pub(in crate::server) struct LockQueue {
    pub(in crate::server) node: Arc<Node>,
    pub(in crate::server) kv: KvService,
    pub(in crate::server) leases: LeaseService,
    /// Those who wait for a key to be deleted.
    waiting: Mutex<HashMap<Bytes, Vec<oneshot::Sender<()>>>>,
}

/// Who asked: what came with his request beside the message.
#[derive(Clone)]
pub(in crate::server) struct RequestContext {
    metadata: MetadataMap,
    extensions: Extensions,
}

impl RequestContext {
    /// Takes a request apart.
    pub(in crate::server) fn of<T>(request: Request<T>) -> (Self, T) {
        let (metadata, extensions, message) = request.into_parts();
        (Self { metadata, extensions }, message)
    }

    pub(in crate::server) fn request<T>(&self, message: T) -> Request<T> {
        Request::from_parts(self.metadata.clone(), self.extensions.clone(), message)
    }
}

impl LockQueue {
    pub(in crate::server) fn new(node: Arc<Node>, kv: KvService, leases: LeaseService) -> Self {
        let waiting = Mutex::default();
        Self {
            node,
            kv,
            leases,
            waiting,
        }
    }

    /// Wakes those whose key is deleted, until shutdown.
    pub(in crate::server) async fn run(self: Arc<Self>, shutdown: host::Shutdown) {
        let mut revisions = self.node.revisions();
        let mut cursor = self.node.feed().last();
        loop {
            tokio::select! {
                () = shutdown.requested() => return,
                changed = revisions.changed() => if changed.is_err() { return },
            }
            loop {
                let (found, last) = {
                    let feed = self.node.feed();
                    (feed.after(cursor, REVISIONS_MAX), feed.last())
                };
                let Some(found) = found else {
                    // Too late to know which; everyone looks for himself.
                    self.waiting().clear();
                    cursor = last;
                    break;
                };
                if found.is_empty() {
                    break;
                }
                cursor += i64::try_from(found.len()).unwrap_or(0);
                let deleted = found
                    .iter()
                    .flat_map(|changes| changes.iter())
                    .filter(|version| version.deleted);
                for version in deleted {
                    // Dropping the senders wakes those who wait.
                    self.waiting().remove(&version.kv.key);
                }
            }
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<Bytes, Vec<oneshot::Sender<()>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A lease of the context's: the one that he named, or a new one.
    pub(in crate::server) async fn session(&self, context: &RequestContext, lease: i64) -> Result<i64, Status> {
        if lease != 0 {
            return Ok(lease);
        }
        let request = pb::LeaseGrantRequest {
            ttl: SESSION_TTL_SECONDS,
            id: 0,
        };
        let granted = self.leases.lease_grant(context.request(request)).await.map_err(plain)?;
        Ok(granted.into_inner().id)
    }

    pub(in crate::server) async fn txn(
        &self,
        context: &RequestContext,
        request: pb::TxnRequest,
    ) -> Result<pb::TxnResponse, Status> {
        let response = self.kv.txn(context.request(request)).await.map_err(plain)?;
        Ok(response.into_inner())
    }

    pub(in crate::server) async fn range(
        &self,
        context: &RequestContext,
        request: pb::RangeRequest,
    ) -> Result<pb::RangeResponse, Status> {
        let response = self.kv.range(context.request(request)).await.map_err(plain)?;
        Ok(response.into_inner())
    }

    pub(in crate::server) async fn delete(
        &self,
        context: &RequestContext,
        key: Bytes,
    ) -> Result<pb::DeleteRangeResponse, Status> {
        let request = pb::DeleteRangeRequest {
            key,
            ..Default::default()
        };
        let response = self.kv.delete_range(context.request(request)).await.map_err(plain)?;
        Ok(response.into_inner())
    }

    /// Waits until no key under `prefix` is left that was created at `created_max` or before.
    pub(in crate::server) async fn wait(
        &self,
        context: &RequestContext,
        prefix: &Bytes,
        created_max: i64,
    ) -> Result<(), Status> {
        loop {
            let last_before = pb::RangeRequest {
                max_create_revision: created_max,
                ..by_creation(prefix, SortOrder::Descend)
            };
            let found = self.range(context, last_before).await?;
            let Some(before) = found.kvs.into_iter().next() else {
                return Ok(());
            };
            let (wake, woken) = oneshot::channel();
            {
                let mut waiting = self.waiting();
                let others = waiting.entry(before.key.clone()).or_default();
                others.retain(|other| !other.is_closed());
                others.push(wake);
            }
            // It may have been deleted before anyone was told to look.
            let is_there = {
                let machine = self.node.machine();
                let now = machine.store().get(&before.key, 0).map_err(crate::Error::Archive)?;
                now.is_some_and(|now| now.kv.create_revision == before.create_revision)
            };
            if is_there {
                let _woken = woken.await;
            }
        }
    }
}

/// Refusals come through the services' own clients in etcd, which keep the text and lose the code.
fn plain(status: Status) -> Status {
    Status::unknown(status.message())
}

/// The first key under `prefix` in the order of creation, or the last one.
pub(in crate::server) fn by_creation(prefix: &Bytes, order: SortOrder) -> pb::RangeRequest {
    pb::RangeRequest {
        key: prefix.clone(),
        range_end: end_of_prefix(prefix),
        sort_order: order.into(),
        sort_target: SortTarget::Create.into(),
        limit: 1,
        ..Default::default()
    }
}

pub(in crate::server) fn end_of_prefix(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end.into();
        }
    }
    Bytes::from_static(b"\0")
}

/// Everything under NAME/.
pub(in crate::server) fn prefix(name: &[u8]) -> Bytes {
    [name, b"/"].concat().into()
}

/// The key of the one that holds `lease`.
pub(in crate::server) fn own_key(prefix: &Bytes, lease: i64) -> Bytes {
    let sign = if lease < 0 { "-" } else { "" };
    let suffix = format!("{sign}{:x}", lease.unsigned_abs());
    [prefix.as_ref(), suffix.as_bytes()].concat().into()
}

/// "`key` was created at `revision`"; 0 means that it is not there.
pub(in crate::server) fn created_at(key: &Bytes, revision: i64) -> pb::Compare {
    pb::Compare {
        key: key.clone(),
        target: CompareTarget::Create.into(),
        result: CompareResult::Equal.into(),
        target_union: Some(TargetUnion::CreateRevision(revision)),
        range_end: Bytes::new(),
    }
}

pub(in crate::server) fn step(request: pb::request_op::Request) -> pb::RequestOp {
    pb::RequestOp { request: Some(request) }
}

/// What the range that is step `at` of a transaction found first.
pub(in crate::server) fn first_of(
    response: &pb::TxnResponse,
    at: usize,
) -> Option<&coordinator_wire::mvccpb::KeyValue> {
    match response.responses.get(at)?.response.as_ref()? {
        pb::response_op::Response::ResponseRange(range) => range.kvs.first(),
        _ => None,
    }
}

pub(in crate::server) fn revision_of(header: &Option<pb::ResponseHeader>) -> i64 {
    header.as_ref().map_or(0, |header| header.revision)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_prefixes_are_etcds() {
        let prefix = prefix(b"seat");
        assert_eq!(own_key(&prefix, 0x1a2b), "seat/1a2b");
        assert_eq!(own_key(&prefix, -0x1a2b), "seat/-1a2b");
        assert_eq!(end_of_prefix(&prefix), "seat0");
        assert_eq!(end_of_prefix(b"a\xff"), "b");
        assert_eq!(end_of_prefix(b"\xff"), "\0");
    }
}
