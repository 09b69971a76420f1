//! The service KV.

use std::sync::Arc;

use coordinator_wire::etcdserverpb as pb;
use pb::kv_server::Kv;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status};

use crate::Error;
use crate::auth::Access;
use crate::machine::{self, Outcome, validate};
use crate::server::replica::node::Node;
use crate::server::replica::quota;
use crate::store::RangePlan;

/// A range that loads more versions than this from the store file does so on a thread of its own, so that the others on
/// this one need not wait.
const LOADED_INLINE_MAX: usize = 256;

/// Pieces of a streamed range that may wait for a client to read them.
const PIECES_WAITING_MAX: usize = 2;

type Answer<A> = Result<Response<A>, Status>;

pub(in crate::server) struct KvService(pub(in crate::server) Arc<Node>);

/// The calls that also go the fast path ([`crate::server::listen::fast_path`]).
impl KvService {
    pub(in crate::server) async fn answer_range(
        &self,
        request: Request<pb::RangeRequest>,
    ) -> Answer<pb::RangeResponse> {
        self.0.metrics.answer("KV", "Range", self.do_range(request).await)
    }

    pub(in crate::server) async fn answer_put(&self, request: Request<pb::PutRequest>) -> Answer<pb::PutResponse> {
        self.0.metrics.answer("KV", "Put", self.do_put(request).await)
    }

    pub(in crate::server) async fn answer_txn(&self, request: Request<pb::TxnRequest>) -> Answer<pb::TxnResponse> {
        self.0.metrics.answer("KV", "Txn", self.do_txn(request).await)
    }
}

impl KvService {
    async fn do_range(&self, request: Request<pb::RangeRequest>) -> Result<pb::RangeResponse, Error> {
        if !request.get_ref().serializable && self.0.is_learner() {
            return Err(Error::NotSupportedForLearner);
        }
        validate::range(request.get_ref())?;
        let caller = self.0.caller(&request).await?;
        let request = request.into_inner();
        self.0.metrics.ranges.inc();
        if !request.serializable {
            self.0.linearizable_read().await?;
        }
        let plan = {
            let machine = self.0.machine();
            machine.check(&caller, Access::Range(&request))?;
            RangePlan::new(machine.store(), &request, machine.store().revision())?
        };
        let mut response = if plan.archived() > LOADED_INLINE_MAX {
            let loaded = tokio::task::spawn_blocking(move || plan.answer(&request)).await;
            loaded.map_err(|_ended| Error::Stopped)??
        } else {
            plan.answer(&request)?
        };
        self.complete(&mut response.header);
        Ok(response)
    }

    async fn do_range_stream(&self, request: Request<pb::RangeRequest>) -> Result<RangeStream, Status> {
        validate::range(request.get_ref())?;
        let caller = self.0.caller(&request).await?;
        let request = request.into_inner();
        self.0.metrics.ranges.inc();
        if !request.serializable {
            self.0.linearizable_read().await?;
        }
        let plan = {
            let machine = self.0.machine();
            machine.check(&caller, Access::Range(&request))?;
            RangePlan::new(machine.store(), &request, machine.store().revision())?
        };
        let refused = |what| Status::unimplemented(format!("RangeStream does not support {what}"));
        let mut chunks = plan.chunks(&request).map_err(refused)?;
        let (pieces, receiver) = mpsc::channel(PIECES_WAITING_MAX);
        let node = Arc::clone(&self.0);
        let mut running = node.metrics.running("server_stream", "etcdserverpb.KV", "RangeStream");
        tokio::task::spawn_blocking(move || {
            loop {
                let (outcome, is_last) = match chunks.next(node.limits.request_bytes_max) {
                    Ok((mut piece, is_last)) => {
                        let header = piece.header.take();
                        piece.header = header.map(|header| node.header(header.revision));
                        let range_response = Some(piece);
                        (Ok(pb::RangeStreamResponse { range_response }), is_last)
                    }
                    Err(error) => (Err(Error::from(error).into()), true),
                };
                let code = outcome.as_ref().err().map_or(Code::Ok, Status::code);
                let is_sent = pieces.blocking_send(outcome).is_ok();
                if is_last && is_sent {
                    running.ends(code);
                }
                if is_last || !is_sent {
                    return;
                }
            }
        });
        Ok(ReceiverStream::new(receiver))
    }

    async fn do_put(&self, request: Request<pb::PutRequest>) -> Result<pb::PutResponse, Error> {
        validate::put(request.get_ref())?;
        let caller = self.0.caller(&request).await?;
        let request = machine::Request::Put(request.into_inner());
        quota::check(&self.0, &request).await?;
        let outcome = self.0.propose(caller, request).await?;
        let Outcome::Put(mut response) = outcome else {
            return Err(Error::Stopped);
        };
        self.complete(&mut response.header);
        Ok(response)
    }

    async fn do_delete_range(
        &self,
        request: Request<pb::DeleteRangeRequest>,
    ) -> Result<pb::DeleteRangeResponse, Error> {
        validate::delete_range(request.get_ref())?;
        let caller = self.0.caller(&request).await?;
        let request = machine::Request::DeleteRange(request.into_inner());
        let outcome = self.0.propose(caller, request).await?;
        let Outcome::DeleteRange(mut response) = outcome else {
            return Err(Error::Stopped);
        };
        self.complete(&mut response.header);
        Ok(response)
    }

    async fn do_txn(&self, request: Request<pb::TxnRequest>) -> Result<pb::TxnResponse, Error> {
        validate::txn(request.get_ref(), self.0.limits.txn_operations_max)?;
        let caller = self.0.caller(&request).await?;
        let request = request.into_inner();
        self.0.metrics.txns.inc();
        let mut response = if validate::is_read_only(&request) {
            if !validate::is_serializable(&request) {
                self.0.linearizable_read().await?;
            }
            let machine = self.0.machine();
            machine.check(&caller, Access::Txn(&request))?;
            machine.read(&request)?
        } else {
            let request = machine::Request::Txn(request);
            quota::check(&self.0, &request).await?;
            let outcome = self.0.propose(caller, request).await?;
            let Outcome::Txn(response) = outcome else {
                return Err(Error::Stopped);
            };
            response
        };
        self.complete(&mut response.header);
        Ok(response)
    }

    async fn do_compact(&self, request: Request<pb::CompactionRequest>) -> Result<pb::CompactionResponse, Error> {
        let caller = self.0.caller(&request).await?;
        let request = request.into_inner();
        let physical = request.physical;
        let outcome = self.0.propose(caller, machine::Request::Compaction(request)).await?;
        let Outcome::Compaction(mut response) = outcome else {
            return Err(Error::Stopped);
        };
        if physical {
            let applied = self.0.machine().applied();
            self.0.archived(applied).await;
        }
        self.complete(&mut response.header);
        Ok(response)
    }

    fn complete(&self, header: &mut Option<pb::ResponseHeader>) {
        let revision = header.as_ref().map_or(0, |header| header.revision);
        *header = Some(self.0.header(revision));
    }
}

type RangeStream = ReceiverStream<Result<pb::RangeStreamResponse, Status>>;

#[tonic::async_trait]
impl Kv for KvService {
    type RangeStreamStream = RangeStream;

    async fn range_stream(&self, request: Request<pb::RangeRequest>) -> Answer<RangeStream> {
        self.do_range_stream(request).await.map(Response::new)
    }

    async fn range(&self, request: Request<pb::RangeRequest>) -> Result<Response<pb::RangeResponse>, Status> {
        self.answer_range(request).await
    }

    async fn put(&self, request: Request<pb::PutRequest>) -> Result<Response<pb::PutResponse>, Status> {
        self.answer_put(request).await
    }

    async fn delete_range(
        &self,
        request: Request<pb::DeleteRangeRequest>,
    ) -> Result<Response<pb::DeleteRangeResponse>, Status> {
        self.0
            .metrics
            .answer("KV", "DeleteRange", self.do_delete_range(request).await)
    }

    async fn txn(&self, request: Request<pb::TxnRequest>) -> Result<Response<pb::TxnResponse>, Status> {
        self.answer_txn(request).await
    }

    async fn compact(
        &self,
        request: Request<pb::CompactionRequest>,
    ) -> Result<Response<pb::CompactionResponse>, Status> {
        self.0.metrics.answer("KV", "Compact", self.do_compact(request).await)
    }
}
