//! The sockets of `stream serve`.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use host::{Listener, Shutdown, Status};
use prometheus::{IntGauge, Registry};
use serde_json::json;

use super::jobs::Jobs;
use super::session::Sessions;
use super::{engine, rest};
use crate::runtime::Meter;

/// How often idle sessions are looked for.
const EXPIRY_PERIOD: Duration = Duration::from_secs(5);

/// Serves the gateway, with `/metrics` and `/healthz` beside it, until `shutdown`; says on stdout when it is ready.
///
/// # Errors
/// In words, if the listener's address cannot be told.
/// Jobs are kept in `state`, and those that an earlier process left there go on.
pub async fn serve(listener: Listener, state: Option<&Path>, shutdown: Shutdown) -> Result<(), String> {
    let address = listener
        .local_addr()
        .map_err(|error| format!("cannot tell the listening address: {error}"))?;
    let registry = Registry::new();
    let open = IntGauge::new("stream_gateway_sessions", "Open sessions.").map_err(|error| error.to_string())?;
    registry
        .register(Box::new(open.clone()))
        .map_err(|error| error.to_string())?;
    let jobs = Arc::new(Jobs::open(state).map_err(|error| error.to_string())?);
    let meter = Meter::new(&registry);
    for record in jobs.found().map_err(|error| error.to_string())? {
        let id = record.id.clone();
        if let Err(error) = engine::resume(record, &jobs, &meter, &shutdown) {
            tracing::error!(job = id, %error, "the job cannot go on");
        }
    }
    let sessions = Arc::new(Sessions::new(Arc::clone(&jobs), shutdown.clone()));
    let facts = Arc::clone(&sessions);
    let mut status = Status::new("stream", "sql-gateway")
        .address("sql", address)
        .http(address)
        .facts(move || [("sessions", json!(facts.count()))]);
    if let Some(state) = state {
        status = status.data_directory(state);
    }
    let pages = host::admin::router(registry, Arc::new(|| Ok(())), status.clone());
    let router = rest::router(Arc::clone(&sessions)).merge(pages);
    let expiring = Arc::clone(&sessions);
    let expiry = tokio::spawn(async move {
        loop {
            tokio::time::sleep(EXPIRY_PERIOD).await;
            expiring.expire(Instant::now());
            open.set(i64::try_from(expiring.count()).unwrap_or(i64::MAX));
        }
    });
    status.announce_ready();
    host::admin::serve(listener, router, shutdown).await;
    expiry.abort();
    sessions.close_all();
    jobs.stop_all().await;
    Ok(())
}
