//! The sockets of `batch serve`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use host::{Listener, Shutdown, Status};
use prometheus::{IntCounterVec, Opts, Registry};

use super::FlightSql;
use super::connection::accepted;
use crate::engine::Engine;

/// A request may hold a statement and little else.
const REQUEST_BYTES_MAX: usize = 4 << 20;
/// Calls at a time on one connection; more wait.
const CALLS_PER_CONNECTION_MAX: usize = 64;
/// A connection that does not answer a ping for this long, or twice this long, is closed.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// How long streams may go on after the end was requested: their clients then see the connection end and ask again.
const DRAIN: Duration = Duration::from_secs(1);

/// Serves Flight SQL on `flight` and `/metrics` and `/healthz` on `admin` until `shutdown`; says on stdout when it is
/// ready. Running queries are ended with their connections.
///
/// # Errors
/// In words: a socket failed.
pub async fn serve(engine: Engine, flight: Listener, admin: Listener, shutdown: Shutdown) -> Result<(), String> {
    let registry = Registry::new();
    let statements = IntCounterVec::new(
        Opts::new("batch_statements_total", "Statements run, by outcome."),
        &["outcome"],
    )
    .map_err(|error| error.to_string())?;
    registry
        .register(Box::new(statements.clone()))
        .map_err(|error| error.to_string())?;
    let admin_address = local_address(&admin)?;
    let status = Status::new("batch", "flight-sql")
        .address("flight", local_address(&flight)?)
        .address("admin", admin_address)
        .http(admin_address);

    let service =
        FlightServiceServer::new(FlightSql::new(engine, statements)).max_decoding_message_size(REQUEST_BYTES_MAX);
    let stop = shutdown.clone();
    let flight_server = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .concurrency_limit_per_connection(CALLS_PER_CONNECTION_MAX)
        .add_service(service)
        .serve_with_incoming_shutdown(accepted(flight), async move { stop.requested().await });
    let router = host::admin::router(registry, Arc::new(|| Ok(())), status.clone());
    let admin_server = tokio::spawn(host::admin::serve(admin, router, shutdown.clone()));

    status.announce_ready();
    let drained = async {
        shutdown.requested().await;
        tokio::time::sleep(DRAIN).await;
    };
    let outcome = tokio::select! {
        outcome = flight_server => outcome.map_err(|error| format!("the Flight SQL server failed: {error}")),
        () = drained => Ok(()),
    };
    admin_server.abort();
    outcome
}

fn local_address(listener: &Listener) -> Result<SocketAddr, String> {
    listener
        .local_addr()
        .map_err(|error| format!("cannot tell the listening address: {error}"))
}
