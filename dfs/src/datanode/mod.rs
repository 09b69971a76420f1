//! The data node: the room around replicas on disk.
//!
//! [`transceiver`] waits for operations on the data transfer port and gives each a thread: [`receive`] writes a replica and
//! passes it on, [`send`] reads one, [`transfer`] copies one elsewhere through a [`link`]. [`store`] is what is on disk,
//! [`live`] what is being written. [`reporter`] keeps the name node informed and carries out its orders, among them to lead
//! a [`recovery`]. [`service`] answers on the IPC port.

pub mod identity;
pub mod link;
pub mod live;
pub mod metrics;
pub mod receive;
pub mod recovery;
mod registration;
pub mod reporter;
pub mod send;
pub mod service;
pub mod settings;
pub mod store;
pub mod transceiver;
pub mod transfer;
pub mod wire;

use std::collections::HashSet;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use clap::Parser;
use dfs_wire::proto::hdfs::DatanodeIdProto;
use disk::{Disk, RealDisk};
use host::{DataDir, Listener, Shutdown, Status};
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;

use crate::Error;
use crate::ipc::{CLUSTER_PROTOCOL, Client};
use identity::Identity;
use reporter::IncrementalReport;
use settings::Settings;
use store::Store;

/// The newest format of the data directory: identity and replicas.
const FORMAT: u32 = 1;
/// Stack of a thread that moves a block: its buffers are on the heap.
pub(crate) const STACK_BYTES: usize = 256 << 10;
const IPC_CONNECTIONS_MAX: usize = 1024;
const HTTP_CONNECTIONS_MAX: usize = 1024;

/// The blocks of the file system: data transfer, IPC and HTTP.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Directory of the replicas; an empty one is formatted.
    #[arg(long, value_name = "DIR", default_value = "data/datanode")]
    data: PathBuf,
    /// RPC address of the name node; 127.0.0.1:8020, or with --coordinator the one that is registered there.
    #[arg(long, value_name = "HOST:PORT")]
    namenode: Option<String>,
    /// Data transfer address, for reading and writing blocks.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9866")]
    transfer: String,
    /// IPC address, for readers of open files and for block recovery.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9867")]
    ipc: String,
    /// HTTP address: WebHDFS, /metrics, /healthz.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9864")]
    http: String,
    /// Property under Hadoop's name, such as dfs.datanode.du.reserved=1g; repeatable.
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Host that clients and other data nodes connect to, where it is not the one this data node listens on.
    #[arg(long, value_name = "HOST")]
    advertise: Option<String>,
    #[command(flatten)]
    coordinator: coordinator_client::Options,
    #[command(flatten)]
    telemetry: host::telemetry::Options,
}

/// The data node.
#[derive(Debug)]
pub struct DataNode {
    pub store: Store,
    pub identity: Identity,
    pub settings: Settings,
    name_node: RwLock<String>,
    /// Host that clients are given, where it is not the one listened on.
    advertised: Option<String>,
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    pool: Mutex<String>,
    addresses: Addresses,
    incremental_reports: UnboundedSender<IncrementalReport>,
    /// Replicas that are to be compared with their checksums, or are just being.
    suspects: Mutex<HashSet<u64>>,
    registered: watch::Sender<bool>,
    pub connections: AtomicU32,
    pub transfers: AtomicU32,
    pub read_bytes: AtomicU64,
    pub started: Instant,
}

/// Where a data node is reached.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    pub transfer: SocketAddr,
    pub ipc: SocketAddr,
    pub http: SocketAddr,
}

impl DataNode {
    /// Reads what is on disk. Blocks.
    pub fn open(
        disk: Arc<dyn Disk>,
        directory: &Path,
        name_node: String,
        settings: Settings,
        addresses: Addresses,
        advertised: Option<String>,
    ) -> std::io::Result<(Arc<Self>, UnboundedReceiver<IncrementalReport>)> {
        let identity = Identity::open(&disk, directory)?;
        let store = Store::open(Arc::clone(&disk), directory.join("blocks"), settings.reserved)?;
        let (incremental_reports, receiver) = unbounded_channel();
        let node = Self {
            store,
            pool: Mutex::new(identity.pool_id.clone()),
            identity,
            settings,
            name_node: RwLock::new(name_node),
            advertised,
            disk,
            directory: directory.to_owned(),
            addresses,
            incremental_reports,
            suspects: Mutex::default(),
            registered: watch::Sender::new(false),
            connections: AtomicU32::new(0),
            transfers: AtomicU32::new(0),
            read_bytes: AtomicU64::new(0),
            started: Instant::now(),
        };
        Ok((Arc::new(node), receiver))
    }

    /// The pool, once it joined one.
    pub fn pool_id(&self) -> Option<String> {
        let pool = self.pool.lock().expect("no holder of the pool's lock panics");
        (!pool.is_empty()).then(|| pool.clone())
    }

    /// Belongs to this pool from now on.
    fn join_pool(&self, pool_id: &str) -> std::io::Result<()> {
        let mut pool = self.pool.lock().expect("no holder of the pool's lock panics");
        if pool.is_empty() {
            Identity {
                pool_id: pool_id.to_owned(),
                ..self.identity.clone()
            }
            .save(&self.disk, &self.directory)?;
            *pool = pool_id.to_owned();
        }
        Ok(())
    }

    /// Refuses blocks of other name nodes.
    pub fn check_pool(&self, pool_id: &str) -> Result<(), Error> {
        match self.pool_id() {
            Some(own) if own == pool_id => Ok(()),
            _ => Err(Error::Io(format!("this data node does not serve block pool {pool_id}"))),
        }
    }

    fn id_message(&self) -> DatanodeIdProto {
        let ip = self.addresses.transfer.ip();
        let host = match &self.advertised {
            Some(host) => host.clone(),
            // The name node finds out.
            None if ip.is_unspecified() => String::new(),
            None => ip.to_string(),
        };
        DatanodeIdProto {
            ip_addr: host.clone(),
            host_name: host,
            datanode_uuid: self.identity.uuid.clone(),
            xfer_port: self.addresses.transfer.port().into(),
            info_port: self.addresses.http.port().into(),
            ipc_port: self.addresses.ipc.port().into(),
            info_secure_port: None,
        }
    }

    /// The name node's RPC address.
    pub fn name_node(&self) -> String {
        self.name_node.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_name_node(&self, address: String) {
        *self.name_node.write().unwrap_or_else(PoisonError::into_inner) = address;
    }

    /// A new connection to the name node, as this data node.
    pub fn name_node_client(&self) -> Client {
        Client::new(
            self.name_node(),
            "datanode",
            CLUSTER_PROTOCOL,
            *uuid::Uuid::new_v4().as_bytes(),
        )
    }

    fn report(&self, entry: IncrementalReport) {
        // The reporter ends with the process only.
        let _ = self.incremental_reports.send(entry);
    }

    /// A replica is here now.
    pub fn received(&self, block: u64) {
        self.report(IncrementalReport::Received(block));
    }

    /// Stops whoever writes a replica, and waits for it.
    pub fn stop_writer(&self, block: u64) -> Result<(), Error> {
        let Some(live) = self.store.get(block).and_then(|replica| replica.live) else {
            return Ok(());
        };
        if !live.stop_and_wait() {
            return Err(Error::Io(format!("the writer of blk_{block} does not stop")));
        }
        Ok(())
    }

    /// Compares a replica with its checksums, because a reader was not content; the name node hears of a corrupt one.
    pub fn suspect(self: &Arc<Self>, block: u64) {
        if !self
            .suspects
            .lock()
            .expect("no holder of the suspects' lock panics")
            .insert(block)
        {
            return;
        }
        let node = Arc::clone(self);
        let checking = std::thread::Builder::new()
            .name("dn-verify".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                if !node.store.verify(block) {
                    tracing::warn!(block, "a replica does not match its checksums");
                    node.report(IncrementalReport::Corrupt(block));
                }
                node.suspects
                    .lock()
                    .expect("no holder of the suspects' lock panics")
                    .remove(&block);
            });
        if let Err(error) = checking {
            tracing::warn!(%error, "no thread to verify a replica");
            self.suspects
                .lock()
                .expect("no holder of the suspects' lock panics")
                .remove(&block);
        }
    }

    fn set_registered(&self, registered: bool) {
        self.registered.send_replace(registered);
    }

    pub fn is_registered(&self) -> bool {
        *self.registered.borrow()
    }
}

pub fn main(argv: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match host::config::parse::<Args>("dfs datanode", argv) {
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
    host::run("datanode", &telemetry, |shutdown| serve(args, settings, shutdown))
}

async fn bind(flag: &str, address: &str, connections_max: usize) -> Result<(Listener, SocketAddr), String> {
    let listener = Listener::bind(address, connections_max)
        .await
        .map_err(|error| format!("{error}; give another address with --{flag}"))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    Ok((listener, address))
}

/// Ready is who can be written to: once the name node knows this data node and all it has.
async fn announce(node: Arc<DataNode>, status: Status) {
    // The sender lives in the node.
    let _ = node.registered.subscribe().wait_for(|registered| *registered).await;
    status.announce_ready();
}

async fn serve(args: Args, settings: Settings, shutdown: Shutdown) -> Result<(), String> {
    let directory = DataDir::open(&args.data, "datanode", FORMAT).map_err(|error| error.to_string())?;
    let (transfer, transfer_address) = bind("transfer", &args.transfer, settings.transfer_connections).await?;
    let (ipc, ipc_address) = bind("ipc", &args.ipc, IPC_CONNECTIONS_MAX).await?;
    let (http, http_address) = bind("http", &args.http, HTTP_CONNECTIONS_MAX).await?;
    let addresses = Addresses {
        transfer: transfer_address,
        ipc: ipc_address,
        http: http_address,
    };
    let path = directory.path().to_owned();
    let coordinator = args.coordinator.client().map_err(|error| error.to_string())?;
    let found = registration::name_node(args.namenode.as_deref(), coordinator.as_ref(), &shutdown).await;
    let Some(name_node) = found else {
        return Ok(()); // Shutdown was requested meanwhile.
    };
    let advertised = args.advertise.clone();
    let opened = tokio::task::spawn_blocking(move || {
        DataNode::open(Arc::new(RealDisk), &path, name_node, settings, addresses, advertised)
    });
    let (node, reports) = opened
        .await
        .map_err(|error| error.to_string())?
        .map_err(|error| format!("cannot read {}: {error}", directory.path().display()))?;

    let registry = metrics::registry(&node).map_err(|error| error.to_string())?;
    let watched = Arc::clone(&node);
    let health: host::admin::Health = Arc::new(move || match watched.is_registered() {
        true => Ok(()),
        false => Err(format!("not registered with the name node at {}", watched.name_node())),
    });
    let facts = Arc::clone(&node);
    let status = Status::new("datanode", "datanode")
        .address("transfer", transfer_address)
        .address("ipc", ipc_address)
        .http(http_address)
        .data_directory(directory.path())
        .facts(move || {
            [
                ("block_pool_id", json!(facts.pool_id())),
                ("name_node", json!(facts.name_node())),
            ]
        });
    let pages =
        host::admin::router(registry, health, status.clone()).merge(crate::webhdfs::datanode_router(Arc::clone(&node)));
    let tasks = [
        tokio::spawn(transceiver::serve(transfer, Arc::clone(&node), shutdown.clone())),
        tokio::spawn(crate::ipc::serve(ipc, Arc::clone(&node), shutdown.clone())),
        tokio::spawn(host::admin::serve(http, pages, shutdown.clone())),
    ];
    tokio::spawn(announce(Arc::clone(&node), status));
    if let Some(client) = coordinator.filter(|_| args.namenode.is_none()) {
        tokio::spawn(registration::follow_name_node(client, Arc::clone(&node)));
    }
    let registrar = registration::start(&args, &node)
        .await
        .map_err(|error| error.to_string())?;
    let until = shutdown.clone();
    let registrar = registrar.map(|registrar| tokio::spawn(registrar.keep(async move { until.requested().await })));
    let outcome = reporter::run(node, reports, shutdown.clone()).await;
    shutdown.trigger();
    for task in tasks {
        let _ = task.await;
    }
    if let Some(registrar) = registrar {
        let _ = registrar.await;
    }
    outcome
}
