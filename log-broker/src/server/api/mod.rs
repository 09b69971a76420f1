//! One function a call: from its request to its response. What a call refuses, it refuses with Kafka's error code.

pub(super) mod cluster;
pub(super) mod committed_offsets;
pub(super) mod configs;
pub(super) mod fetch;
pub(super) mod groups;
pub(super) mod offsets;
pub(super) mod produce;
pub(super) mod topics;
pub(super) mod transactional_offsets;
pub(super) mod transactions;

use std::sync::Arc;

use log_broker_wire::ErrorCode;

use super::broker::Broker;
use super::partition::Refused;

/// Does something that blocks on the disk, on a thread for that.
pub(super) async fn blocking<T: Send + 'static>(
    broker: &Arc<Broker>,
    action: impl FnOnce(&Broker) -> Result<T, Refused> + Send + 'static,
) -> Result<T, Refused> {
    let broker = Arc::clone(broker);
    match tokio::task::spawn_blocking(move || action(&broker)).await {
        Ok(outcome) => outcome,
        Err(error) => {
            tracing::error!(%error, "a request failed");
            Err(ErrorCode::UNKNOWN_SERVER_ERROR.into())
        }
    }
}

/// The code and message of an outcome.
fn outcome<T>(outcome: Result<T, Refused>) -> (i16, Option<String>) {
    match outcome {
        Ok(_) => (ErrorCode::NONE.0, None),
        Err(refused) => (
            refused.code.0,
            Some(refused.message.unwrap_or_else(|| refused.code.name().to_owned())),
        ),
    }
}
