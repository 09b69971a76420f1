//! The name node: the room around the namespace and the block map.
//!
//! [`service`] takes a call apart and hands it to [`directory`] (what is there), [`writing`] (files that are being written)
//! or [`cluster`] (what data nodes say). All of them go through [`state`], where memory lives behind one lock: a change
//! becomes a [`command`], which [`journal`], the edit log, makes durable, and which is then executed ([`execute`]) and
//! answered. Readers see nothing that is not durable. [`monitor`] does what no client asks for.

pub mod attributes;
pub mod cluster;
pub mod command;
pub mod directory;
pub mod execute;
pub mod image;
pub mod journal;
pub mod metrics;
pub mod monitor;
pub mod reach;
pub mod reshape;
pub mod retry;
pub mod service;
pub mod settings;
pub mod state;
pub mod status;
pub mod trash;
pub mod users;
pub mod writing;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use coordinator_client::registry::{self, Id, Registrar, Registration};
use disk::{Disk, RealDisk};
use host::{DataDir, Listener, Shutdown, Status};
use serde_json::json;

use journal::LostEdits;
use settings::Settings;
use state::NameNode;

/// The newest format of the data directory: image and log. 2: the log holds commands, 1: edits, which can be read.
const FORMAT: u32 = 2;
/// Clients and data nodes. Each holds a connection or two.
const RPC_CONNECTIONS_MAX: usize = 4096;
const HTTP_CONNECTIONS_MAX: usize = 1024;

/// The namespace of the file system: Hadoop RPC and WebHDFS.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Directory of the image and the edit log; an empty one is formatted.
    #[arg(long, value_name = "DIR", default_value = "data/namenode")]
    data: PathBuf,
    /// RPC address for clients and data nodes (hdfs://HOST:PORT).
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8020")]
    rpc: String,
    /// HTTP address: WebHDFS, /metrics, /healthz.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9870")]
    http: String,
    /// Start although durable edits are missing; their changes are lost.
    #[arg(long)]
    recover: bool,
    /// Property under Hadoop's name, such as dfs.replication=1; repeatable.
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Host under which the name node is registered in the coordinator, where it is not the one it listens on.
    #[arg(long, value_name = "HOST")]
    advertise: Option<String>,
    #[command(flatten)]
    coordinator: coordinator_client::Options,
    #[command(flatten)]
    telemetry: host::telemetry::Options,
}

pub fn main(argv: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match host::config::parse::<Args>("dfs namenode", argv) {
        Ok(args) => args,
        Err(code) => return code,
    };
    let settings = match Settings::parse(args.set.iter().map(String::as_str)) {
        Ok(settings) => settings,
        Err(message) => {
            host::fail(&message);
            return ExitCode::from(2);
        }
    };
    let telemetry = args.telemetry.clone();
    host::run("namenode", &telemetry, |shutdown| serve(args, settings, shutdown))
}

/// How the name node stands in the coordinator.
fn registration(args: &Args, pool_id: &str, (rpc, http): (SocketAddr, SocketAddr)) -> Registration {
    let address = |bound| registry::address(bound, args.advertise.as_deref(), &args.coordinator);
    let data = std::path::absolute(&args.data).unwrap_or_else(|_| args.data.clone());
    let owner = format!("{pool_id} {}", data.display());
    Registration::new("namenode", env!("CARGO_PKG_VERSION"), owner)
        .with_address("rpc", address(rpc))
        .with_address("http", address(http))
}

async fn serve(args: Args, settings: Settings, shutdown: Shutdown) -> Result<(), String> {
    let directory = DataDir::open(&args.data, "namenode", FORMAT).map_err(|error| error.to_string())?;
    // An earlier program must not read what this one writes.
    RealDisk
        .replace(
            &args.data.join("FORMAT"),
            format!("bonsai namenode {FORMAT}\n").as_bytes(),
        )
        .map_err(|error| format!("cannot write {}: {error}", args.data.join("FORMAT").display()))?;
    let rpc = Listener::bind(&args.rpc, RPC_CONNECTIONS_MAX)
        .await
        .map_err(|error| format!("{error}; give another address with --rpc"))?;
    let http = Listener::bind(&args.http, HTTP_CONNECTIONS_MAX)
        .await
        .map_err(|error| format!("{error}; give another address with --http"))?;
    let addresses = (
        rpc.local_addr().map_err(|error| error.to_string())?,
        http.local_addr().map_err(|error| error.to_string())?,
    );
    let user = std::env::var("HADOOP_USER_NAME").unwrap_or_else(|_| users::account());
    let pool = format!("BP-{}", uuid::Uuid::new_v4());
    let path = directory.path().to_owned();
    let lost = match args.recover {
        true => LostEdits::Accept,
        false => LostEdits::Refuse,
    };
    let opened =
        tokio::task::spawn_blocking(move || NameNode::open(Arc::new(RealDisk), path, settings, user, pool, lost));
    let opened = opened.await.map_err(|error| error.to_string())?;
    let node = Arc::new(opened.map_err(|error| error.to_string())?);

    let registry = metrics::registry(&node).map_err(|error| error.to_string())?;
    let watched = Arc::clone(&node);
    node.watch_lock().map_err(|error| error.to_string())?;
    let health: host::admin::Health = Arc::new(move || watched.health());
    let facts = Arc::clone(&node);
    let status = Status::new("namenode", "namenode")
        .address("rpc", addresses.0)
        .http(addresses.1)
        .data_directory(directory.path())
        .facts(move || [("block_pool_id", json!(facts.pool_id))]);
    let pages = host::admin::router(registry, health, status.clone())
        .merge(crate::webhdfs::namenode_router(Arc::clone(&node), addresses.0));
    let tasks = [
        tokio::spawn(crate::ipc::serve(rpc, Arc::clone(&node), shutdown.clone())),
        tokio::spawn(host::admin::serve(http, pages, shutdown.clone())),
        tokio::spawn(monitor::run(Arc::clone(&node), shutdown.clone())),
    ];
    let registered = registration(&args, &node.pool_id, addresses);
    let registrar = Registrar::start(&args.coordinator, registered, Id::Fixed("0".to_owned()));
    let registrar = registrar.await.map_err(|error| error.to_string())?;
    let until = shutdown.clone();
    let registrar = registrar.map(|registrar| tokio::spawn(registrar.keep(async move { until.requested().await })));

    status.announce_ready();
    for task in tasks {
        let _ = task.await;
    }
    if let Some(registrar) = registrar {
        let _ = registrar.await;
    }
    let last = tokio::task::spawn_blocking(move || node.checkpoint()).await;
    if let Ok(Err(error)) = last {
        tracing::warn!(%error, "no image was saved at shutdown; the edit log is complete");
    }
    Ok(())
}
