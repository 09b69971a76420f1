//! The service Lock: mutual exclusion, named by a prefix and owned through a lease.
//!
//! The answer's key exists for as long as the lock is held. Holding it is no proof: a holder that was paused beyond its
//! lease has lost it without knowing. Anyone who writes under the lock therefore compares the key's create revision in the
//! same transaction; that is the fence.

use std::sync::Arc;

use bytes::Bytes;
use coordinator_wire::etcdserverpb as pb;
use coordinator_wire::v3lockpb::lock_server::Lock;
use coordinator_wire::v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse};
use pb::range_request::SortOrder;
use pb::request_op::Request as Step;
use tonic::{Request, Response, Status};

use crate::server::service::lock_queue::{
    LockQueue, RequestContext, by_creation, created_at, first_of, own_key, prefix, revision_of, step,
};

pub(in crate::server) struct LockService(pub(in crate::server) Arc<LockQueue>);

/// Takes a key away that was put for nothing, when its owner gives up waiting or fails.
struct Withdrawal {
    queue: Arc<LockQueue>,
    context: RequestContext,
    key: Option<Bytes>,
}

impl Drop for Withdrawal {
    fn drop(&mut self) {
        let Some(key) = self.key.take() else { return };
        let (queue, context) = (Arc::clone(&self.queue), self.context.clone());
        tokio::spawn(async move {
            if let Err(status) = queue.delete(&context, key).await {
                // It goes with its lease.
                tracing::debug!(%status, "could not withdraw from a lock");
            }
        });
    }
}

impl LockService {
    async fn do_lock(&self, context: RequestContext, request: LockRequest) -> Result<LockResponse, Status> {
        let queue = &self.0;
        let lease = queue.session(&context, request.lease).await?;
        let prefix = prefix(&request.name);
        let key = own_key(&prefix, lease);
        let put = pb::PutRequest {
            key: key.clone(),
            lease,
            ..Default::default()
        };
        let get = pb::RangeRequest {
            key: key.clone(),
            ..Default::default()
        };
        let owner = by_creation(&prefix, SortOrder::Ascend);
        let tried = pb::TxnRequest {
            compare: vec![created_at(&key, 0)],
            success: vec![step(Step::RequestPut(put)), step(Step::RequestRange(owner.clone()))],
            // The same lease asks again: it has its place in the queue, or the lock, already.
            failure: vec![step(Step::RequestRange(get.clone())), step(Step::RequestRange(owner))],
        };
        let tried = queue.txn(&context, tried).await?;
        let created = match first_of(&tried, 0) {
            Some(own) if !tried.succeeded => own.create_revision,
            _ => revision_of(&tried.header),
        };
        if first_of(&tried, 1).is_none_or(|owner| owner.create_revision == created) {
            let header = tried.header;
            return Ok(LockResponse { header, key });
        }
        let mut withdrawal = Withdrawal {
            queue: Arc::clone(queue),
            context: context.clone(),
            key: Some(key.clone()),
        };
        queue.wait(&context, &prefix, created - 1).await?;
        let own = queue.range(&context, get).await?;
        withdrawal.key = None;
        if own.kvs.is_empty() {
            return Err(Status::unknown("mutex: session is expired"));
        }
        let header = own.header;
        Ok(LockResponse { header, key })
    }
}

#[tonic::async_trait]
impl Lock for LockService {
    async fn lock(&self, request: Request<LockRequest>) -> Result<Response<LockResponse>, Status> {
        let (context, request) = RequestContext::of(request);
        let outcome = self.do_lock(context, request).await;
        self.0.node.metrics.handled("v3lockpb.Lock", "Lock", outcome)
    }

    async fn unlock(&self, request: Request<UnlockRequest>) -> Result<Response<UnlockResponse>, Status> {
        let (context, request) = RequestContext::of(request);
        let outcome = self.0.delete(&context, request.key).await;
        let outcome = outcome.map(|deleted| UnlockResponse { header: deleted.header });
        self.0.node.metrics.handled("v3lockpb.Lock", "Unlock", outcome)
    }
}
