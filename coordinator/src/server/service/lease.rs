//! The service Lease.

use std::sync::Arc;

use coordinator_wire::etcdserverpb as pb;
use futures::StreamExt;
use pb::lease_server::Lease;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::Error;
use crate::auth::Access;
use crate::machine::{self, Outcome};
use crate::server::replica::node::Node;
use crate::server::replica::quota;
use crate::server::service::auth::credentials::Credentials;

/// Keep-alive answers that may wait for a client to read them.
const ANSWERS_WAITING_MAX: usize = 64;
/// What etcd says of a lease that does not exist.
const TTL_UNKNOWN: i64 = -1;

pub(in crate::server) struct LeaseService {
    pub(in crate::server) node: Arc<Node>,
    pub(in crate::server) shutdown: host::Shutdown,
}

impl LeaseService {
    async fn do_grant(&self, request: Request<pb::LeaseGrantRequest>) -> Result<pb::LeaseGrantResponse, Error> {
        let caller = self.node.caller(&request).await?;
        let mut request = request.into_inner();
        if request.id == 0 {
            request.id = self.node.lease_id();
        }
        let request = machine::Request::LeaseGrant(request);
        quota::check(&self.node, &request).await?;
        let outcome = self.node.propose(caller, request).await?;
        let Outcome::LeaseGrant(mut response) = outcome else {
            return Err(Error::Stopped);
        };
        self.node.metrics.lease_granted.inc();
        self.complete(&mut response.header);
        Ok(response)
    }

    async fn do_revoke(&self, request: Request<pb::LeaseRevokeRequest>) -> Result<pb::LeaseRevokeResponse, Error> {
        let caller = self.node.caller(&request).await?;
        let request = machine::Request::LeaseRevoke(request.into_inner());
        let outcome = self.node.propose(caller, request).await?;
        let Outcome::LeaseRevoke(mut response) = outcome else {
            return Err(Error::Stopped);
        };
        self.node.metrics.lease_revoked.inc();
        self.complete(&mut response.header);
        Ok(response)
    }

    async fn do_time_to_live(
        &self,
        request: Request<pb::LeaseTimeToLiveRequest>,
    ) -> Result<pb::LeaseTimeToLiveResponse, Error> {
        let caller = self.node.caller(&request).await?;
        let request = request.into_inner();
        // Only the keys are a secret.
        let access = if request.keys {
            Access::LeaseRead(request.id)
        } else {
            Access::Somebody
        };
        self.node.machine().check(&caller, access)?;
        let left = self.node.time_to_live(request).await?;
        let machine = self.node.machine();
        let header = Some(self.node.header(machine.store().revision()));
        let id = request.id;
        Ok(match left {
            Some((ttl, granted_ttl)) => pb::LeaseTimeToLiveResponse {
                header,
                id,
                ttl,
                granted_ttl,
                keys: match machine.leases().get(id) {
                    Some(lease) if request.keys => lease.keys.iter().cloned().collect(),
                    _ => Vec::new(),
                },
            },
            None => pb::LeaseTimeToLiveResponse {
                header,
                id,
                ttl: TTL_UNKNOWN,
                ..Default::default()
            },
        })
    }

    async fn do_leases(&self, request: Request<pb::LeaseLeasesRequest>) -> Result<pb::LeaseLeasesResponse, Error> {
        let caller = self.node.caller(&request).await?;
        let machine = self.node.machine();
        machine.check(&caller, Access::Leases)?;
        let leases = machine.leases().iter().map(|(id, _)| pb::LeaseStatus { id }).collect();
        Ok(pb::LeaseLeasesResponse {
            header: Some(self.node.header(machine.store().revision())),
            leases,
        })
    }

    fn complete(&self, header: &mut Option<pb::ResponseHeader>) {
        let revision = header.as_ref().map_or(0, |header| header.revision);
        *header = Some(self.node.header(revision));
    }
}

/// Renews a lease; the answer's time is 0 where there is nothing to renew. Who asks is established again each time: a stream
/// lives longer than a token or a permission.
async fn renew(node: &Arc<Node>, credentials: &Credentials, id: i64) -> Result<pb::LeaseKeepAliveResponse, Error> {
    let caller = node.establish(credentials).await?;
    node.machine().check(&caller, Access::LeaseWrite(id))?;
    let ttl = node.renew(id).await?;
    if ttl > 0 {
        node.metrics.lease_renewed.inc();
    }
    Ok(pb::LeaseKeepAliveResponse {
        header: Some(node.header(node.machine().store().revision())),
        id,
        ttl,
    })
}

#[tonic::async_trait]
impl Lease for LeaseService {
    async fn lease_grant(
        &self,
        request: Request<pb::LeaseGrantRequest>,
    ) -> Result<Response<pb::LeaseGrantResponse>, Status> {
        self.node
            .metrics
            .answer("Lease", "LeaseGrant", self.do_grant(request).await)
    }

    async fn lease_revoke(
        &self,
        request: Request<pb::LeaseRevokeRequest>,
    ) -> Result<Response<pb::LeaseRevokeResponse>, Status> {
        self.node
            .metrics
            .answer("Lease", "LeaseRevoke", self.do_revoke(request).await)
    }

    type LeaseKeepAliveStream = ReceiverStream<Result<pb::LeaseKeepAliveResponse, Status>>;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<pb::LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let credentials = Credentials::of(&request);
        let mut requests = request.into_inner();
        let (answers, receiver) = mpsc::channel(ANSWERS_WAITING_MAX);
        let (node, shutdown) = (Arc::clone(&self.node), self.shutdown.clone());
        let mut running = self
            .node
            .metrics
            .running("bidi_stream", "etcdserverpb.Lease", "LeaseKeepAlive");
        tokio::spawn(async move {
            loop {
                let answer = tokio::select! {
                    () = shutdown.requested() => Err(Error::Stopped.into()),
                    request = requests.next() => match request {
                        Some(Ok(request)) => renew(&node, &credentials, request.id).await.map_err(Status::from),
                        // Most clients are gone by then; the gateway's are not.
                        Some(Err(status)) => {
                            let _client_gone = answers.send(Err(status)).await;
                            return;
                        }
                        // The client has nothing more to say.
                        None => return running.ends(Code::Ok),
                    },
                };
                let last = answer.as_ref().err().map(Status::code);
                running.ends(last.unwrap_or(Code::Cancelled));
                let last = last.is_some();
                if answers.send(answer).await.is_err() || last {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<pb::LeaseTimeToLiveRequest>,
    ) -> Result<Response<pb::LeaseTimeToLiveResponse>, Status> {
        self.node
            .metrics
            .answer("Lease", "LeaseTimeToLive", self.do_time_to_live(request).await)
    }

    async fn lease_leases(
        &self,
        request: Request<pb::LeaseLeasesRequest>,
    ) -> Result<Response<pb::LeaseLeasesResponse>, Status> {
        self.node
            .metrics
            .answer("Lease", "LeaseLeases", self.do_leases(request).await)
    }
}
