//! The service Election: one leader among candidates, named by a prefix and owned through a lease.
//!
//! The leader's key carries his value; its create revision is the fencing token, and every change of the leader's is
//! conditional on it ([`LeaderKey::rev`]).

use std::sync::Arc;

use coordinator_wire::etcdserverpb as pb;
use coordinator_wire::mvccpb::event::EventType;
use coordinator_wire::v3electionpb::election_server::Election;
use coordinator_wire::v3electionpb::{
    CampaignRequest, CampaignResponse, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest, ProclaimResponse,
    ResignRequest, ResignResponse,
};
use futures::StreamExt;
use pb::range_request::SortOrder;
use pb::request_op::Request as Step;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::server::metrics::Running;
use crate::server::service::lock_queue::{
    LockQueue, RequestContext, by_creation, created_at, end_of_prefix, first_of, own_key, prefix, revision_of, step,
};
use crate::server::service::watch::WatchService;

/// Changes that may wait for an observer to read them.
const CHANGES_WAITING_MAX: usize = 16;

const NOT_LEADER: &str = "election: not leader";
const NO_LEADER: &str = "election: no leader";
const NO_LEADER_KEY: &str = "\"leader\" field must be provided";

pub(in crate::server) struct ElectionService {
    pub(in crate::server) queue: Arc<LockQueue>,
    pub(in crate::server) watches: WatchService,
}

/// Gives a candidacy up when the candidate gives up waiting.
struct Withdrawal {
    queue: Arc<LockQueue>,
    context: RequestContext,
    leader: Option<LeaderKey>,
}

impl Drop for Withdrawal {
    fn drop(&mut self) {
        let Some(leader) = self.leader.take() else { return };
        let (queue, context) = (Arc::clone(&self.queue), self.context.clone());
        tokio::spawn(async move {
            if let Err(status) = resign(&queue, &context, &leader).await {
                // It goes with its lease.
                tracing::debug!(%status, "could not withdraw from an election");
            }
        });
    }
}

async fn resign(queue: &LockQueue, context: &RequestContext, leader: &LeaderKey) -> Result<pb::TxnResponse, Status> {
    let delete = pb::DeleteRangeRequest {
        key: leader.key.clone(),
        ..Default::default()
    };
    let request = pb::TxnRequest {
        compare: vec![created_at(&leader.key, leader.rev)],
        success: vec![step(Step::RequestDeleteRange(delete))],
        failure: Vec::new(),
    };
    queue.txn(context, request).await
}

async fn proclaim(
    queue: &LockQueue,
    context: &RequestContext,
    leader: &LeaderKey,
    value: bytes::Bytes,
) -> Result<pb::TxnResponse, Status> {
    let put = pb::PutRequest {
        key: leader.key.clone(),
        value,
        lease: leader.lease,
        ..Default::default()
    };
    let request = pb::TxnRequest {
        compare: vec![created_at(&leader.key, leader.rev)],
        success: vec![step(Step::RequestPut(put))],
        failure: Vec::new(),
    };
    let response = queue.txn(context, request).await?;
    if response.succeeded {
        Ok(response)
    } else {
        Err(Status::unknown(NOT_LEADER))
    }
}

impl ElectionService {
    async fn do_campaign(&self, context: RequestContext, request: CampaignRequest) -> Result<CampaignResponse, Status> {
        let queue = &self.queue;
        let lease = queue.session(&context, request.lease).await?;
        let prefix = prefix(&request.name);
        let key = own_key(&prefix, lease);
        let put = pb::PutRequest {
            key: key.clone(),
            value: request.value.clone(),
            lease,
            ..Default::default()
        };
        let get = pb::RangeRequest {
            key: key.clone(),
            ..Default::default()
        };
        let stood = pb::TxnRequest {
            compare: vec![created_at(&key, 0)],
            success: vec![step(Step::RequestPut(put))],
            failure: vec![step(Step::RequestRange(get))],
        };
        let stood = queue.txn(&context, stood).await?;
        let before = first_of(&stood, 0);
        let leader = LeaderKey {
            name: request.name,
            key,
            rev: before.map_or(revision_of(&stood.header), |own| own.create_revision),
            lease,
        };
        let mut withdrawal = Withdrawal {
            queue: Arc::clone(queue),
            context: context.clone(),
            leader: Some(leader.clone()),
        };
        if before.is_some_and(|own| own.value != request.value) {
            proclaim(queue, &context, &leader, request.value).await?;
        }
        queue.wait(&context, &prefix, leader.rev - 1).await?;
        withdrawal.leader = None;
        Ok(CampaignResponse {
            header: stood.header,
            leader: Some(leader),
        })
    }

    async fn do_proclaim(&self, context: RequestContext, request: ProclaimRequest) -> Result<ProclaimResponse, Status> {
        let mut leader = request.leader.ok_or_else(|| Status::unknown(NO_LEADER_KEY))?;
        leader.lease = self.queue.session(&context, leader.lease).await?;
        let header = proclaim(&self.queue, &context, &leader, request.value).await?.header;
        Ok(ProclaimResponse { header })
    }

    async fn do_resign(&self, context: RequestContext, request: ResignRequest) -> Result<ResignResponse, Status> {
        let leader = request.leader.ok_or_else(|| Status::unknown(NO_LEADER_KEY))?;
        let header = resign(&self.queue, &context, &leader).await?.header;
        Ok(ResignResponse { header })
    }

    async fn do_leader(&self, context: RequestContext, request: LeaderRequest) -> Result<LeaderResponse, Status> {
        let first = by_creation(&prefix(&request.name), SortOrder::Ascend);
        let found = self.queue.range(&context, first).await?;
        match found.kvs.into_iter().next() {
            Some(kv) => Ok(LeaderResponse {
                header: found.header,
                kv: Some(kv),
            }),
            None => Err(Status::unknown(NO_LEADER)),
        }
    }
}

/// One observer: each leader, and each value that he proclaims.
struct Observer {
    queue: Arc<LockQueue>,
    watches: WatchService,
    context: RequestContext,
    /// Counts the stream while it lives.
    _running: Running,
    prefix: bytes::Bytes,
    changes: mpsc::Sender<Result<LeaderResponse, Status>>,
}

/// The client is gone, or has been told the end.
struct Closed;

impl Observer {
    async fn run(self) {
        loop {
            let first = by_creation(&self.prefix, SortOrder::Ascend);
            let found = match self.queue.range(&self.context, first).await {
                Ok(found) => found,
                Err(status) => {
                    let _client_gone = self.changes.send(Err(status)).await;
                    return;
                }
            };
            let revision = revision_of(&found.header);
            let outcome = match found.kvs.into_iter().next() {
                Some(kv) => {
                    let key = kv.key.clone();
                    let leader = LeaderResponse {
                        header: found.header,
                        kv: Some(kv),
                    };
                    match self.changes.send(Ok(leader)).await {
                        Ok(()) => self.follow(key, revision + 1).await,
                        Err(_client_gone) => Err(Closed),
                    }
                }
                None => self.wait(revision + 1).await,
            };
            if outcome.is_err() {
                return;
            }
        }
    }

    fn watch(
        &self,
        key: bytes::Bytes,
        range_end: bytes::Bytes,
        start_revision: i64,
    ) -> ReceiverStream<Result<pb::WatchResponse, Status>> {
        let create = pb::WatchCreateRequest {
            key,
            range_end,
            start_revision,
            ..Default::default()
        };
        let request = pb::WatchRequest {
            request_union: Some(pb::watch_request::RequestUnion::CreateRequest(create)),
        };
        // The stream of requests stays open: what ends the watch is that no one reads it any more.
        let requests = futures::stream::iter([Ok(request)]).chain(futures::stream::pending());
        self.watches.open(self.context.request(requests))
    }

    /// Tells what the leader proclaims until his key is deleted.
    async fn follow(&self, key: bytes::Bytes, from: i64) -> Result<(), Closed> {
        let mut answers = self.watch(key, bytes::Bytes::new(), from);
        while let Some(answer) = self.next(&mut answers).await? {
            for event in answer.events {
                if event.r#type() == EventType::Delete {
                    return Ok(());
                }
                let leader = LeaderResponse {
                    header: answer.header,
                    kv: event.kv,
                };
                self.changes.send(Ok(leader)).await.map_err(|_client_gone| Closed)?;
            }
        }
        Ok(())
    }

    /// Waits until someone stands.
    async fn wait(&self, from: i64) -> Result<(), Closed> {
        let mut answers = self.watch(self.prefix.clone(), end_of_prefix(&self.prefix), from);
        while let Some(answer) = self.next(&mut answers).await? {
            if answer.events.iter().any(|event| event.r#type() == EventType::Put) {
                break;
            }
        }
        Ok(())
    }

    /// The next answer of a watch; none where it has to be begun again.
    async fn next(
        &self,
        answers: &mut ReceiverStream<Result<pb::WatchResponse, Status>>,
    ) -> Result<Option<pb::WatchResponse>, Closed> {
        let answer = tokio::select! {
            answer = answers.next() => answer,
            () = self.changes.closed() => return Err(Closed),
        };
        match answer {
            // What was to be told is compacted: begin with the present.
            Some(Ok(answer)) if answer.canceled && answer.compact_revision > 0 => Ok(None),
            Some(Ok(answer)) if answer.canceled => {
                let _client_gone = self.changes.send(Err(Status::unknown(answer.cancel_reason))).await;
                Err(Closed)
            }
            Some(Ok(answer)) => Ok(Some(answer)),
            Some(Err(status)) => {
                let _client_gone = self.changes.send(Err(status)).await;
                Err(Closed)
            }
            None => Err(Closed),
        }
    }
}

#[tonic::async_trait]
impl Election for ElectionService {
    async fn campaign(&self, request: Request<CampaignRequest>) -> Result<Response<CampaignResponse>, Status> {
        let (context, request) = RequestContext::of(request);
        let outcome = self.do_campaign(context, request).await;
        self.handled("Campaign", outcome)
    }

    async fn proclaim(&self, request: Request<ProclaimRequest>) -> Result<Response<ProclaimResponse>, Status> {
        let (context, request) = RequestContext::of(request);
        let outcome = self.do_proclaim(context, request).await;
        self.handled("Proclaim", outcome)
    }

    async fn leader(&self, request: Request<LeaderRequest>) -> Result<Response<LeaderResponse>, Status> {
        let (context, request) = RequestContext::of(request);
        let outcome = self.do_leader(context, request).await;
        self.handled("Leader", outcome)
    }

    type ObserveStream = ReceiverStream<Result<LeaderResponse, Status>>;

    async fn observe(&self, request: Request<LeaderRequest>) -> Result<Response<Self::ObserveStream>, Status> {
        let (context, request) = RequestContext::of(request);
        let (changes, receiver) = mpsc::channel(CHANGES_WAITING_MAX);
        let observer = Observer {
            queue: Arc::clone(&self.queue),
            watches: self.watches.clone(),
            context,
            _running: self
                .queue
                .node
                .metrics
                .running("server_stream", "v3electionpb.Election", "Observe"),
            prefix: prefix(&request.name),
            changes,
        };
        tokio::spawn(observer.run());
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn resign(&self, request: Request<ResignRequest>) -> Result<Response<ResignResponse>, Status> {
        let (context, request) = RequestContext::of(request);
        let outcome = self.do_resign(context, request).await;
        self.handled("Resign", outcome)
    }
}

impl ElectionService {
    fn handled<T>(&self, method: &str, outcome: Result<T, Status>) -> Result<Response<T>, Status> {
        self.queue
            .node
            .metrics
            .handled("v3electionpb.Election", method, outcome)
    }
}
