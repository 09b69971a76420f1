//! gRPC's own health check.

use std::sync::Arc;

use coordinator_wire::health::health_check_response::ServingStatus;
use coordinator_wire::health::health_server::Health;
use coordinator_wire::health::{HealthCheckRequest, HealthCheckResponse};
use tokio_stream::Once;
use tonic::{Request, Response, Status};

use super::node::Node;
use super::status::not_served;

pub(super) struct HealthService(pub(super) Arc<Node>);

#[tonic::async_trait]
impl Health for HealthService {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        // The empty name asks for the whole server, which is all there is.
        if !request.get_ref().service.is_empty() {
            return Err(Status::not_found("unknown service"));
        }
        let status = if self.0.unhealthy().is_none() {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        Ok(Response::new(HealthCheckResponse { status: status.into() }))
    }

    type WatchStream = Once<Result<HealthCheckResponse, Status>>;

    async fn watch(&self, _request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(not_served("Health.Watch"))
    }
}
