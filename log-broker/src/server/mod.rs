//! The only room with sockets, threads and a clock.
//!
//! ```text
//!  socket -> connection -> dispatch -> api::* -> topics / partition -> log        (append, read)
//!                                          |                 |
//!                                          |                 +-> flusher (threads): fdatasync, high watermark, purgatory
//!                                          +-> coordinator -> group               (join, sync, commit)
//! ```
//!
//! A connection's requests are answered in order, but a produced batch is appended as soon as it is read, so the batches
//! that one client has in flight share an fdatasync. A long poll costs a waiting task and an entry in the list of each
//! partition it looks at; it wakes when records become visible there.

mod api;
mod broker;
mod connection;
mod coordinator;
mod dispatch;
mod flusher;
mod gate;
mod metrics;
mod partition;
mod purgatory;
mod request_memory;
#[cfg(test)]
mod tests;
mod topics;
mod transactions;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use coordinator_client::registry::{self, Id, Registrar, Registration};
use disk::{Disk, PooledDisk, RealDisk};
use host::{DataDir, DataDirError, Listener, Shutdown, Status};
use serde_json::json;

use crate::Args;
use crate::property::BrokerProperties;

pub use broker::Broker;

/// Connections that the admin page serves at a time.
const ADMIN_CONNECTIONS_MAX: usize = 64;

/// How long connections may finish what they are at after a shutdown was asked for.
const DRAIN_TIME: Duration = Duration::from_secs(3);

/// Files that are neither logs nor connections: the write-ahead log, small files that are replaced, the runtime's own.
const FILES_RESERVED: usize = 128;
/// Files of logs that are kept open at least, and at most.
const LOG_FILES_MIN: usize = 64;
const LOG_FILES_MAX: usize = 100_000;

/// Version of the data directory's format.
const FORMAT: u32 = 1;

/// What ends the broker, or keeps it from starting.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Operator: correct the setting.
    #[error("{0}")]
    Setting(String),
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// Operator: choose another address.
    #[error("{0}")]
    Listen(std::io::Error),
    /// Operator: look at the disk.
    #[error("cannot use {path}: {reason}")]
    Storage { path: String, reason: String },
}

/// Serves until shutdown is requested.
///
/// # Errors
/// See [`Error`].
pub async fn serve(args: Args, shutdown: Shutdown) -> Result<(), Error> {
    let properties = BrokerProperties::parse(args.set.iter().map(String::as_str)).map_err(Error::Setting)?;
    for (property, reason) in properties.ignored() {
        tracing::warn!(property, reason, "a property has no effect");
    }
    let connections_max = usize::try_from(properties.number("max.connections")).unwrap_or(usize::MAX);
    let data = DataDir::open(&args.data, "log-broker", FORMAT)?;
    let listener = Listener::bind_for("--listen", &args.listen, connections_max)
        .await
        .map_err(Error::Listen)?;
    let admin = Listener::bind_for("--admin", &args.admin, ADMIN_CONNECTIONS_MAX)
        .await
        .map_err(Error::Listen)?;
    let listen = listener.local_addr().map_err(Error::Listen)?;
    let admin_address = admin.local_addr().map_err(Error::Listen)?;
    let advertised = advertised(args.advertise.as_deref(), listen)?;

    let disk: Arc<dyn Disk> = Arc::new(PooledDisk::new(Arc::new(RealDisk), log_files_max(connections_max)));
    let directory = data.path().to_owned();
    let flush = args.flush;
    let opened = tokio::task::spawn_blocking(move || {
        Broker::open(disk, &directory, properties, flush, advertised, listen.to_string())
    });
    let broker = opened.await.map_err(|error| Error::Storage {
        path: args.data.display().to_string(),
        reason: error.to_string(),
    })??;

    let health = Arc::clone(&broker);
    let status = status(&broker, listen, admin_address);
    let router = host::admin::router(
        broker.metrics().registry(),
        Arc::new(move || health.health()),
        status.clone(),
    );
    let admin_task = tokio::spawn(host::admin::serve(admin, router, shutdown.clone()));
    let chores = [
        tokio::spawn(broker::retention(Arc::clone(&broker), shutdown.clone())),
        tokio::spawn(broker::compaction(Arc::clone(&broker), shutdown.clone())),
        tokio::spawn(coordinator::timers(Arc::clone(&broker), shutdown.clone())),
        tokio::spawn(transactions::timers(Arc::clone(&broker), shutdown.clone())),
    ];
    let registrar = Registrar::start(
        &args.coordinator,
        registration(&broker, &args, listen, admin_address),
        Id::Fixed(broker.node_id.to_string()),
    );
    let registrar = registrar.await.map_err(|error| Error::Setting(error.to_string()))?;
    let until = shutdown.clone();
    let registration = registrar.map(|registrar| tokio::spawn(registrar.keep(async move { until.requested().await })));

    status.announce_ready();
    accept(&listener, &broker, &shutdown).await;

    for chore in chores {
        chore.abort();
    }
    if let Some(registration) = registration {
        let _ended = tokio::time::timeout(DRAIN_TIME, registration).await;
    }
    admin_task.abort();
    let closing = Arc::clone(&broker);
    tokio::task::spawn_blocking(move || closing.close())
        .await
        .map_err(|error| Error::Storage {
            path: args.data.display().to_string(),
            reason: error.to_string(),
        })?;
    drop(data);
    Ok(())
}

/// How many files of logs are kept open: what the process may have, without what connections need.
fn log_files_max(connections_max: usize) -> usize {
    let limit = usize::try_from(host::open_files_max()).unwrap_or(usize::MAX);
    let others = connections_max.saturating_add(ADMIN_CONNECTIONS_MAX + FILES_RESERVED);
    limit.saturating_sub(others).clamp(LOG_FILES_MIN, LOG_FILES_MAX)
}

/// Takes connections until shutdown is requested, then waits a while for those that are open.
async fn accept(listener: &Listener, broker: &Arc<Broker>, shutdown: &Shutdown) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.requested() => break,
            (stream, peer, permit) = listener.accept() => {
                connections.spawn(connection::run(Arc::clone(broker), stream, peer, permit, shutdown.clone()));
            }
            Some(_ended) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_TIME, drained).await.is_err() {
        tracing::info!("closing the connections that are still busy");
    }
}

/// What the broker is, for its ready line and `/status`.
fn status(broker: &Arc<Broker>, listen: SocketAddr, admin: SocketAddr) -> Status {
    let facts = Arc::clone(broker);
    Status::new("log-broker", "broker")
        .address("listen", listen)
        .address("admin", admin)
        .http(admin)
        .data_directory(broker.data())
        .facts(move || {
            let topics = facts.topics.all();
            let partitions: usize = topics.iter().map(|(_, topic)| topic.partitions.len()).sum();
            [
                ("node_id", json!(facts.node_id)),
                ("topics", json!(topics.len())),
                ("partitions", json!(partitions)),
            ]
        })
}

/// How the broker stands in the coordinator.
fn registration(broker: &Broker, args: &Args, listen: SocketAddr, admin: SocketAddr) -> Registration {
    let (host, port) = &broker.advertised;
    let address = |bound| registry::address(bound, host.as_deref(), &args.coordinator);
    let data = std::path::absolute(&args.data).unwrap_or_else(|_| args.data.clone());
    let owner = format!("{} {}", broker.topics.cluster_id(), data.display());
    Registration::new("log-broker", env!("CARGO_PKG_VERSION"), owner)
        .with_address("listen", address(SocketAddr::new(listen.ip(), *port)))
        .with_address("admin", address(admin))
}

/// The host and port that clients are given. On all addresses there is no host: each client is given the one it came in on.
fn advertised(advertise: Option<&str>, listen: SocketAddr) -> Result<(Option<String>, u16), Error> {
    let Some(address) = advertise else {
        let host = (!listen.ip().is_unspecified()).then(|| listen.ip().to_string());
        return Ok((host, listen.port()));
    };
    let parsed = address
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    match parsed {
        Some((host, port)) if !host.is_empty() => {
            let port = if port == 0 { listen.port() } else { port };
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            Ok((Some(host), port))
        }
        _ => Err(Error::Setting(format!("--advertise {address}: write it as HOST:PORT"))),
    }
}

/// Does something that blocks on the disk, or takes long, while this worker's other tasks move to another thread.
fn off_worker<T>(action: impl FnOnce() -> T) -> T {
    let runtime = tokio::runtime::Handle::try_current().map(|handle| handle.runtime_flavor());
    match runtime {
        Ok(tokio::runtime::RuntimeFlavor::MultiThread) => tokio::task::block_in_place(action),
        _ => action(),
    }
}

/// Milliseconds since 1970.
fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64)
}
