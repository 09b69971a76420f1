//! gRPC's own health check.

use std::sync::Arc;
use std::time::Duration;

use coordinator_wire::health::health_check_response::ServingStatus;
use coordinator_wire::health::health_server::Health;
use coordinator_wire::health::{HealthCheckRequest, HealthCheckResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::server::replica::node::Node;

/// How often someone who watches is told of a change.
const WATCH_INTERVAL: Duration = Duration::from_millis(200);

pub(in crate::server) struct HealthService {
    pub(in crate::server) node: Arc<Node>,
    pub(in crate::server) shutdown: host::Shutdown,
}

/// The empty name asks for the whole server, which is all there is.
fn is_known(service: &str) -> bool {
    service.is_empty()
}

fn status(node: &Node) -> ServingStatus {
    let is_rewriting = node.limits.stops_on_defragmentation && node.defragmentation.is_wanted();
    if node.unhealthy().is_none() && !is_rewriting {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    }
}

#[tonic::async_trait]
impl Health for HealthService {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        if !is_known(&request.get_ref().service) {
            return Err(Status::not_found("unknown service"));
        }
        let status = status(&self.node).into();
        Ok(Response::new(HealthCheckResponse { status }))
    }

    type WatchStream = ReceiverStream<Result<HealthCheckResponse, Status>>;

    /// The status of now, then each change. A name that is not known may be known later, says the protocol; so it is told
    /// as such, and the stream stays.
    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let known = is_known(&request.get_ref().service);
        let (changes, receiver) = mpsc::channel(1);
        let (node, shutdown) = (Arc::clone(&self.node), self.shutdown.clone());
        tokio::spawn(async move {
            let mut told = None;
            loop {
                let now = if known {
                    status(&node)
                } else {
                    ServingStatus::ServiceUnknown
                };
                if told != Some(now) {
                    told = Some(now);
                    let status = now.into();
                    if changes.send(Ok(HealthCheckResponse { status })).await.is_err() {
                        return;
                    }
                }
                tokio::select! {
                    () = shutdown.requested() => return,
                    () = changes.closed() => return,
                    () = tokio::time::sleep(WATCH_INTERVAL) => {}
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}
