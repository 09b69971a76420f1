//! From settings to a serving member, and from a signal to a clean end.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, SystemTime};

use disk::{Disk, RealDisk};
use host::{DataDir, Shutdown};
use raft::log::GroupCommit;
use tonic::transport::Server;

use super::bell::Call;
use super::config::Settings;
use super::connections::Endpoint;
use super::metrics::Metrics;
use super::node::{Node, Parts};
use super::recovery::{self, Recovered};
use super::redb_disk::Space;
use super::store_file::Identity;
use super::timed_disk::TimedDisk;
use super::{applier, archivist, auth, connections, expiry, services};

/// The format of the data directory that this program writes.
pub(super) const FORMAT_VERSION: u32 = 1;
/// How long calls that are under way may take after the signal; watches and keep-alives are ended at once.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection that does not answer a ping within so long is closed, so that dead clients do not hold watches.
const PING_INTERVAL: Duration = Duration::from_secs(60);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Headers of one request, in bytes.
const HEADERS_BYTES_MAX: u32 = 16 << 10;

/// Why the coordinator could not start, or had to end.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Fatal(String);

fn fatal(error: impl std::fmt::Display) -> Fatal {
    Fatal(error.to_string())
}

/// Serves until `shutdown`.
pub(super) async fn serve(settings: Settings, shutdown: Shutdown) -> Result<(), Fatal> {
    let directory = DataDir::open(&settings.data_dir, "coordinator", FORMAT_VERSION).map_err(fatal)?;
    let (endpoints, addresses) = bind(&settings, directory.path()).await?;
    let (node, threads) = {
        let (settings, path) = (settings.clone(), directory.path().to_owned());
        let start = move || start(&settings, &path, &(Arc::new(RealDisk) as Arc<dyn Disk>));
        tokio::task::spawn_blocking(start).await.map_err(fatal)??
    };
    let mut failures = node.failures();
    tokio::spawn(expiry::run(Arc::clone(&node), shutdown.clone()));
    let router = services::routes(&node, &settings, &addresses, &shutdown);
    let incoming = connections::accept(endpoints, &shutdown);
    let ended = shutdown.clone();
    let server = Server::builder()
        .accept_http1(true)
        .max_concurrent_streams(settings.concurrent_streams_max)
        .http2_keepalive_interval(Some(PING_INTERVAL))
        .http2_keepalive_timeout(Some(PING_TIMEOUT))
        .http2_max_header_list_size(HEADERS_BYTES_MAX)
        .tcp_nodelay(true)
        .add_routes(router)
        .serve_with_incoming_shutdown(incoming, async move { ended.requested().await });
    tracing::info!(addresses = ?addresses, "ready to serve client requests");
    let named: Vec<_> = addresses.iter().map(|address| ("client", *address)).collect();
    host::announce_ready("coordinator", &named);
    let outcome = tokio::select! {
        served = server => served.map_err(fatal),
        () = drained(&shutdown) => Ok(()),
        failure = failures.wait_for(Option::is_some) => match failure {
            Ok(reason) => Err(Fatal(reason.clone().unwrap_or_default())),
            Err(_) => Ok(()),
        },
    };
    shutdown.trigger();
    tokio::task::spawn_blocking(move || stop(&node, threads))
        .await
        .map_err(fatal)?;
    outcome
}

async fn drained(shutdown: &Shutdown) {
    shutdown.requested().await;
    tokio::time::sleep(DRAIN_TIMEOUT).await;
}

/// Binds what clients connect to; returns the addresses of what has one, too.
async fn bind(settings: &Settings, directory: &Path) -> Result<(Vec<Endpoint>, Vec<SocketAddr>), Fatal> {
    let urls = &settings.listen_client;
    let tls = settings.security.client_acceptor(directory, urls).map_err(fatal)?;
    let mut endpoints = Vec::new();
    let mut addresses = Vec::new();
    for url in urls {
        let endpoint = Endpoint::bind("--listen-client-urls", url, tls.as_ref()).await;
        let endpoint = endpoint.map_err(fatal)?;
        addresses.extend(endpoint.local_addr().map_err(fatal)?);
        endpoints.push(endpoint);
    }
    Ok((endpoints, addresses))
}

/// The threads that stand between the log and the store file.
pub(super) struct Threads {
    applier: std::thread::JoinHandle<()>,
    archivist: std::thread::JoinHandle<()>,
}

/// Recovers the state and starts the threads. Blocks.
pub(super) fn start(
    settings: &Settings,
    directory: &Path,
    disk: &Arc<dyn Disk>,
) -> Result<(Arc<Node>, Threads), Fatal> {
    let metrics = Metrics::new();
    let space = Arc::new(Space::default());
    let identity = settings.identity();
    let timed: Arc<dyn Disk> = Arc::new(TimedDisk {
        inner: Arc::clone(disk),
        syncs: metrics.log_sync.clone(),
    });
    let Recovered {
        machine,
        file,
        log,
        identity,
        archived,
    } = recovery::recover(
        disk,
        timed,
        directory,
        Arc::clone(&space),
        identity,
        settings.log.clone(),
    )
    .map_err(fatal)?;
    let log = GroupCommit::start(log).map_err(fatal)?;
    let (work, queue) = mpsc::channel();
    let node = Arc::new(Node::new(Parts {
        identity,
        limits: settings.limits.clone(),
        metrics,
        space,
        gate: auth::Gate::new(&settings.security.auth),
        machine,
        log,
        work,
        archived,
        id_seed: id_seed(&identity),
    }));
    let applier = applier::start(Arc::clone(&node), queue).map_err(fatal)?;
    let archivist = archivist::start(Arc::clone(&node), file, archived).map_err(fatal)?;
    Ok((node, Threads { applier, archivist }))
}

/// As etcd makes its ids: the member, then the time, then a counter, so that they differ after a restart.
fn id_seed(identity: &Identity) -> u64 {
    let milliseconds = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis());
    let time = (u64::try_from(milliseconds).unwrap_or(0) << 8) & 0x0000_ffff_ffff_ffff;
    (identity.member << 48) | time
}

/// Applies what is durable, archives it, and ends the threads. Blocks.
pub(super) fn stop(node: &Node, threads: Threads) {
    node.stop_applier();
    let applied = threads.applier.join();
    node.space.end();
    node.bell().ring(Call::Last);
    let archived = threads.archivist.join();
    if applied.is_err() || archived.is_err() {
        tracing::error!("a thread ended with a panic; the log has all that was acknowledged");
    }
}
