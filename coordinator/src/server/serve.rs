//! From settings to a serving member, and from a signal to a clean end.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, SystemTime};

use coordinator_wire::coordinatorpb::MemberAttributes;
use disk::{Disk, RealDisk};
use host::{DataDir, Shutdown, Status};
use raft::consensus;
use raft::node::{Connect, Door, Inbox, Transport};
use serde_json::json;

use crate::machine::Request;
use crate::members::Members;
use crate::server::listen::connections;
use crate::server::listen::connections::Endpoint;
use crate::server::listen::router;
use crate::server::metrics::Metrics;
use crate::server::replica::applier;
use crate::server::replica::corruption;
use crate::server::replica::expiry;
use crate::server::replica::force_new_cluster;
use crate::server::replica::node::{Node, Parts};
use crate::server::replica::peers::PeerInbox;
use crate::server::replica::state_machine::Replica;
use crate::server::service::auth::gate::Gate;
use crate::server::settings::data_directory::{Directories, FORMAT_VERSION, has_state};
use crate::server::settings::flags::Settings;
use crate::server::settings::url::Url;
use crate::server::startup_log;
use crate::server::storage::defragment;
use crate::server::storage::import;
use crate::server::storage::log_directory::LogDirectory;
use crate::server::storage::persister;
use crate::server::storage::recovery::{self, Recovered};
use crate::server::storage::redb_disk::Space;
use crate::server::storage::store_file::{Identity, InitialState};
use crate::server::storage::timed_disk::{TimedDisk, UnsyncedDisk};
use crate::server::storage::wake_up::WakeReason;

/// Portions of entries that may wait for the applier; then consensus waits.
const WORK_MAX: usize = 1_024;
/// How often a member that the others do not know the name of says it again.
const INTRODUCTION_INTERVAL: Duration = Duration::from_millis(200);
/// How often it is looked whether the log is replayed.
const REPLAY_LOOK_INTERVAL: Duration = Duration::from_micros(200);
/// How long calls that are under way may take after the signal; watches and keep-alives are ended at once.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
const PAGES_FLAG: &str = "--listen-metrics-urls";

/// Why the coordinator could not start, or had to end.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(in crate::server) struct Fatal(String);

fn fatal(error: impl std::fmt::Display) -> Fatal {
    Fatal(error.to_string())
}

/// Serves until `shutdown`.
pub(in crate::server) async fn serve(settings: Settings, shutdown: Shutdown) -> Result<(), Fatal> {
    startup_log::starting(&settings);
    let directory = open_data_directory(&settings.data_dir).await?;
    let (endpoints, addresses) = bind(&settings, directory.path()).await?;
    let (pages, page_addresses) = bind_urls(&settings, directory.path(), PAGES_FLAG, &settings.listen_metrics).await?;
    let peer_listeners = bind_for_peers(&settings).await?;
    let streams = settings
        .security
        .peer_streams(directory.path(), &settings.bootstrap.listen);
    let streams = streams.map_err(fatal)?;
    let connect = streams.connect();
    let disk: Arc<dyn Disk> = match settings.syncs {
        true => Arc::new(RealDisk),
        false => Arc::new(UnsyncedDisk(Arc::new(RealDisk))),
    };
    let log_directory = LogDirectory::open(&settings, &*disk, directory.path()).map_err(fatal)?;
    let founding = founding(&settings, &*disk, directory.path(), &connect).await?;
    let (node, threads) = {
        let settings = settings.clone();
        let directories = Directories {
            store: directory.path().to_owned(),
            log: log_directory.path().to_owned(),
        };
        let connect = Arc::clone(&connect);
        let start = move || start(&settings, &directories, &disk, &founding, connect);
        tokio::task::spawn_blocking(start).await.map_err(fatal)??
    };
    if settings.checks.initial
        && let Err(reason) = corruption::check_at_start(&node).await
    {
        let ending = tokio::task::spawn_blocking(move || stop(&node, threads));
        ending.await.map_err(fatal)?;
        return Err(Fatal(reason));
    }
    for (door, url) in peer_listeners {
        tokio::spawn(node.transport.clone().listen(door, streams.accept(&url)));
    }
    connect_members(&node, &settings, &connect).await?;
    let mut failures = node.failures();
    tokio::spawn(expiry::run(Arc::clone(&node), shutdown.clone()));
    let attributes = MemberAttributes {
        member: node.identity.member,
        name: settings.name.clone(),
        client_urls: settings.client_urls(&addresses),
    };
    compare_keys(&node, &settings, &shutdown);
    let introduced = tokio::spawn(introduce(Arc::clone(&node), attributes, shutdown.clone()));
    let status = status(&node, directory.path(), &addresses, &page_addresses);
    let port = router::port(&node, &settings, &status, &shutdown);
    router::serve_pages(&node, &settings, pages, &status, &shutdown);
    let incoming = connections::accept(endpoints, &shutdown);
    let server = port.serve(incoming, &shutdown);
    let announces = settings.announces;
    let listening = settings.listen_client.clone();
    tokio::spawn(async move {
        // With others, only when they have committed something that this member said.
        let _aborted = introduced.await;
        tracing::info!(addresses = ?addresses, "ready to serve client requests");
        startup_log::serving(&listening);
        if announces {
            status.announce_ready();
        }
    });
    let outcome = tokio::select! {
        () = server => Ok(()),
        () = drained(&shutdown) => Ok(()),
        failure = failures.wait_for(Option::is_some) => match failure {
            Ok(reason) => Err(Fatal(reason.clone().unwrap_or_default())),
            Err(_) => Ok(()),
        },
    };
    shutdown.trigger();
    node.hand_over_leadership().await;
    tokio::task::spawn_blocking(move || stop(&node, threads))
        .await
        .map_err(fatal)?;
    outcome
}

/// Starts to compare the members' keys, where it is asked for.
fn compare_keys(node: &Arc<Node>, settings: &Settings, shutdown: &Shutdown) {
    if let Some(interval) = settings.checks.interval {
        let checking = corruption::check_now_and_then(Arc::clone(node), interval, shutdown.clone());
        tokio::spawn(checking);
    }
    if let Some(interval) = settings.checks.compactions {
        let checking = corruption::check_compactions(Arc::clone(node), interval, shutdown.clone());
        tokio::spawn(checking);
    }
}

/// Opens the data directory; one that `etcdutl snapshot restore` made is imported first.
async fn open_data_directory(path: &Path) -> Result<DataDir, Fatal> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let mut tolerated = &[][..];
    if import::is_wanted(&*disk, path) {
        import::check(&*disk, path).map_err(Fatal)?;
        tolerated = &[import::ETCD_DIRECTORY];
    }
    let directory = DataDir::open_beside(path, "coordinator", FORMAT_VERSION, tolerated).map_err(fatal)?;
    if import::is_wanted(&*disk, directory.path()) {
        let path = directory.path().to_owned();
        let imported = tokio::task::spawn_blocking(move || import::import(&disk, &path)).await;
        imported.map_err(fatal)?.map_err(Fatal)?;
    }
    Ok(directory)
}

/// Tells the others what this member's name is and where its clients connect, unless they know.
async fn introduce(node: Arc<Node>, attributes: MemberAttributes, shutdown: Shutdown) {
    loop {
        let known = {
            let machine = node.machine();
            let own = machine.members().get(attributes.member);
            own.is_some_and(|own| own.name == attributes.name && own.client_ur_ls == attributes.client_urls)
        };
        let alone = node.raft().gauges().is_alone();
        if known && (alone || node.raft().gauges().leader().is_some()) {
            return;
        }
        let request = Request::MemberAttributes(attributes.clone());
        if node.propose(crate::auth::root(), request).await.is_ok() || shutdown.is_requested() {
            return;
        }
        // A disk that is full is no reason not to serve reads.
        if alone && node.raft().gauges().is_full() {
            return;
        }
        tokio::time::sleep(INTRODUCTION_INTERVAL).await;
    }
}

/// Opens streams to the others. A member that joins and has not been told yet who they are asks them, since it must be able
/// to answer anyone who tells it.
async fn connect_members(node: &Node, settings: &Settings, connect: &Arc<dyn Connect>) -> Result<(), Fatal> {
    let knows_nobody = node.machine().members().iter().next().is_none();
    if knows_nobody {
        let (_identity, members) = settings.bootstrap.join(Arc::clone(connect)).await.map_err(Fatal)?;
        let peers = members.list().into_iter().map(|member| (member.id, member.peer_ur_ls));
        node.transport.set_peers(peers);
    } else {
        node.connect_members();
    }
    Ok(())
}

/// What a member that has no state yet begins with.
async fn founding(
    settings: &Settings,
    disk: &dyn Disk,
    directory: &Path,
    connect: &Arc<dyn Connect>,
) -> Result<InitialState, Fatal> {
    let (identity, members) = settings.bootstrap.found();
    if has_state(disk, directory) || !settings.bootstrap.joins() {
        return Ok(InitialState {
            identity,
            members,
            applied: 1,
        });
    }
    let (identity, _members) = settings.bootstrap.join(Arc::clone(connect)).await.map_err(Fatal)?;
    Ok(InitialState {
        identity,
        // Anyone who joins knows no one until it is told: it must not vote before.
        members: Members::default(),
        applied: 0,
    })
}

async fn drained(shutdown: &Shutdown) {
    shutdown.requested().await;
    tokio::time::sleep(DRAIN_TIMEOUT).await;
}

/// What this member is, for its ready line and `/status`.
fn status(node: &Arc<Node>, data: &Path, clients: &[SocketAddr], pages: &[SocketAddr]) -> Status {
    let mut status = Status::new("coordinator", "member").data_directory(data);
    for address in clients {
        status = status.address("client", *address);
    }
    for address in pages {
        status = status.address("metrics", *address);
    }
    if let Some(address) = pages.first().or(clients.first()) {
        status = status.http(*address);
    }
    let facts = Arc::clone(node);
    status.facts(move || {
        [
            ("cluster_id", json!(facts.identity.cluster.to_string())),
            ("member_id", json!(facts.identity.member.to_string())),
            (
                "leader",
                json!(facts.leaders().borrow().map(|leader| leader.to_string())),
            ),
        ]
    })
}

/// Binds what clients connect to; returns the addresses of what has one, too.
async fn bind(settings: &Settings, directory: &Path) -> Result<(Vec<Endpoint>, Vec<SocketAddr>), Fatal> {
    bind_urls(settings, directory, "--listen-client-urls", &settings.listen_client).await
}

async fn bind_urls(
    settings: &Settings,
    directory: &Path,
    flag: &str,
    urls: &[Url],
) -> Result<(Vec<Endpoint>, Vec<SocketAddr>), Fatal> {
    let tls = settings.security.client_acceptor(directory, urls).map_err(fatal)?;
    let mut bound: Vec<(&Url, Endpoint)> = Vec::new();
    let mut addresses = Vec::new();
    for url in urls {
        if let Some((_, endpoint)) = bound.iter_mut().find(|(first, _)| first.shares_port(url)) {
            endpoint.share(url, tls.as_ref());
            addresses.extend(endpoint.local_addr().map_err(fatal)?);
            continue;
        }
        let endpoint = Endpoint::bind(flag, url, tls.as_ref(), settings.connections.reuse_port).await;
        let endpoint = endpoint.map_err(fatal)?;
        addresses.extend(endpoint.local_addr().map_err(fatal)?);
        bound.push((url, endpoint));
    }
    let endpoints = bound.into_iter().map(|(_, endpoint)| endpoint).collect();
    Ok((endpoints, addresses))
}

/// Binds the peers' addresses. Where no one asked for one and it is taken, a member that is alone goes without.
async fn bind_for_peers(settings: &Settings) -> Result<Vec<(Door, Url)>, Fatal> {
    let mut listeners = Vec::new();
    for url in &settings.bootstrap.listen {
        let address = url.address();
        let bound = match url.path() {
            Some(path) => host::bind_path(&path).map(Door::from).map_err(|error| {
                let sentence =
                    format!("cannot listen on {address}: {error}; choose another path with --listen-peer-urls");
                std::io::Error::new(error.kind(), sentence)
            }),
            None => connections::bind_tcp("--listen-peer-urls", address, settings.connections.reuse_port)
                .await
                .map(Door::from),
        };
        match bound {
            Ok(door) => listeners.push((door, url.clone())),
            Err(error) if settings.bootstrap.listen_is_default => {
                tracing::warn!(%address, %error, "cannot listen for peers; other members cannot connect: choose another --listen-peer-urls");
            }
            Err(error) => return Err(fatal(error)),
        }
    }
    Ok(listeners)
}

/// The threads that stand between the log and the store file.
pub(in crate::server) struct Threads {
    applier: std::thread::JoinHandle<()>,
    persister: std::thread::JoinHandle<()>,
}

/// Recovers the state and starts the threads. Blocks; within a runtime.
pub(in crate::server) fn start(
    settings: &Settings,
    directories: &Directories,
    disk: &Arc<dyn Disk>,
    founding: &InitialState,
    connect: Arc<dyn Connect>,
) -> Result<(Arc<Node>, Threads), Fatal> {
    let metrics = Metrics::new(settings.extensive_metrics);
    let space = Arc::new(Space::default());
    let timed: Arc<dyn Disk> = Arc::new(TimedDisk {
        inner: Arc::clone(disk),
        syncs: metrics.log_sync.clone(),
    });
    let recovered = recovery::recover(disk, timed, directories, Arc::clone(&space), founding, &settings.log);
    let mut recovered = recovered.map_err(fatal)?;
    if settings.bootstrap.force_new_cluster {
        force_new_cluster::force(&mut recovered, settings.bootstrap.own_urls()).map_err(fatal)?;
    }
    if let Some(threshold_bytes) = settings.bootstrap_defragmentation_bytes {
        let Recovered { machine, file, .. } = &mut recovered;
        defragment::at_start(threshold_bytes, &space, machine, file).map_err(fatal)?;
    }
    let Recovered {
        machine,
        file,
        storage,
        found,
        identity,
        snapshot,
    } = recovered;
    metrics.peers.belong_to(identity.member);
    let replay_to = found.entries.last().map_or(snapshot.last.index, |entry| entry.index);
    let (work, queue) = mpsc::sync_channel(WORK_MAX);
    let runtime = tokio::runtime::Handle::current();
    let transport = Transport::new(
        raft::node::Identity {
            cluster: identity.cluster,
            member: identity.member,
        },
        connect,
        runtime.clone(),
    );
    let node = Arc::new(Node::new(Parts {
        identity,
        limits: settings.limits.clone(),
        metrics,
        space,
        gate: Gate::new(&settings.security.auth),
        machine,
        transport: transport.clone(),
        runtime,
        disk: Arc::clone(disk),
        directory: directories.store.clone(),
        work: work.clone(),
        archived: snapshot.last.index,
        replay_to,
        id_seed: id_seed(&identity),
    }));
    let archived = snapshot.last.index;
    let replica = Replica {
        node: Arc::downgrade(&node),
        work,
    };
    let config = consensus::Config {
        election_ms: settings.bootstrap.election_ms,
        heartbeat_ms: settings.bootstrap.heartbeat_ms,
        pre_vote: settings.bootstrap.pre_vote,
        ..consensus::Config::new(identity.member)
    };
    let begin = raft::node::Start {
        config,
        storage,
        found,
        snapshot,
    };
    let raft = raft::node::Node::start(begin, replica, transport.clone()).map_err(fatal)?;
    node.set_raft(raft);
    let door = PeerInbox::new();
    door.open(&node);
    let inbox: Arc<dyn Inbox> = door;
    transport.deliver_to(&inbox);
    let applier = applier::start(Arc::clone(&node), queue).map_err(fatal)?;
    let persister = persister::start(Arc::clone(&node), file, archived).map_err(fatal)?;
    node.keep(inbox);
    until_replayed(&node, replay_to);
    Ok((node, Threads { applier, persister }))
}

/// A member that is alone has all that was ever acknowledged in its log; no one sees it before it is applied.
fn until_replayed(node: &Node, replay_to: u64) {
    let raft = node.raft().gauges();
    let is_ready = || {
        let leads = raft.is_leader() || raft.is_full();
        leads && node.machine().applied() >= replay_to
    };
    while raft.is_alone() && !is_ready() && node.failures().borrow().is_none() {
        std::thread::sleep(REPLAY_LOOK_INTERVAL);
    }
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
pub(in crate::server) fn stop(node: &Node, threads: Threads) {
    node.raft().stop();
    node.transport.end();
    node.stop_applier();
    let applied = threads.applier.join();
    node.space.end();
    node.persister_wake_up().wake(WakeReason::Shutdown);
    let archived = threads.persister.join();
    if applied.is_err() || archived.is_err() {
        tracing::error!("a thread panicked; all acknowledged writes are in the write-ahead log");
    }
}
