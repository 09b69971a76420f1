//! The services as JSON over HTTP: `POST /v3/kv/range` and so on, as etcd's grpc-gateway has them.
//!
//! # How it moves
//! A request's JSON becomes a message by the protocol's own description ([`messages`]), the message a gRPC call to the very
//! services that serve gRPC, in this process ([`call`]); the answer goes the same way back. So there is nothing here about
//! any one call, and permissions, limits and figures are the same on both ways.
//!
//! # The rules of the translation
//! They are protobuf's: bytes in base64, 64-bit numbers as strings in answers and either in questions, enums by name or
//! number, field names as in the `.proto` or in camelCase; what has its default value is left out of answers; unknown fields
//! are ignored. A streaming call takes any number of JSON values and answers one `{"result":…}` a line. An error is
//! `{"code":…,"message":…}` with gRPC's code, under the HTTP status that goes with it.
//!
//! # Where it stops
//! A client's certificate does not count here, as in etcd: only the token in `Authorization` says who asks.

mod call;
mod messages;
mod paths;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::{any, post};

use call::Call;
use messages::Messages;
use paths::PATHS;

/// All paths. `services` are called for every request; `received_max` bounds one of its messages.
pub(in crate::server) fn router(services: Router, received_max: usize) -> Router {
    let messages = Arc::new(Messages::new());
    let mut router = Router::new();
    for (path, service, method) in PATHS {
        let Some(method) = messages.method(service, method) else {
            // A test walks through all of them.
            tracing::error!(path, "the gateway has no method for this path");
            continue;
        };
        let call = Call {
            services: services.clone(),
            method,
            // Base64 takes a third more, and JSON around it something.
            received_max: received_max * 2,
        };
        let answer = post(call::answer).fallback(call::not_a_post);
        router = router.route(path, answer.with_state(Arc::new(call)));
    }
    router.route("/v3/{*path}", any(call::unknown))
}

type CallState = State<Arc<Call>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_is_a_call_of_the_protocol() {
        let messages = Messages::new();
        for (path, service, method) in PATHS {
            assert!(messages.method(service, method).is_some(), "{path}");
        }
    }
}
