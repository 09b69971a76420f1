//! All services behind one port, and what each is made of.

use std::sync::Arc;

use axum::middleware;
use coordinator_wire::etcdserverpb as pb;
use coordinator_wire::health::health_server::HealthServer;
use coordinator_wire::v3electionpb::election_server::ElectionServer;
use coordinator_wire::v3lockpb::lock_server::LockServer;
use host::{Shutdown, Status};
use pb::auth_server::AuthServer;
use pb::cluster_server::ClusterServer;
use pb::kv_server::KvServer;
use pb::lease_server::LeaseServer;
use pb::maintenance_server::MaintenanceServer;
use pb::watch_server::WatchServer;
use tonic::service::Routes;

use crate::server::listen::connections::{self, Endpoint};
use crate::server::listen::gateway;
use crate::server::listen::http;
use crate::server::listen::interceptor::{Interceptor, intercept};
use crate::server::listen::port::{FastPath, Port};
use crate::server::replica::auto_compaction;
use crate::server::replica::node::Node;
use crate::server::service::auth::service::AuthService;
use crate::server::service::cluster;
use crate::server::service::election::ElectionService;
use crate::server::service::health;
use crate::server::service::kv::KvService;
use crate::server::service::lease::LeaseService;
use crate::server::service::lock::LockService;
use crate::server::service::lock_queue::LockQueue;
use crate::server::service::maintenance;
use crate::server::service::watch::WatchService;
use crate::server::settings::connection_settings::Access;
use crate::server::settings::flags::Settings;

/// A client may send somewhat more than the largest request, and then learns by etcd's error that it is too large.
const FRAME_OVERHEAD_BYTES: usize = 512 << 10;

/// gRPC's services, the same as JSON, and the pages.
pub(in crate::server) fn port(node: &Arc<Node>, settings: &Settings, status: &Status, shutdown: &Shutdown) -> Port {
    let received_max = settings.limits.request_bytes_max + FRAME_OVERHEAD_BYTES;
    let kv = || KvService(Arc::clone(node));
    let leases = || LeaseService {
        node: Arc::clone(node),
        shutdown: shutdown.clone(),
    };
    let watches = WatchService {
        node: Arc::clone(node),
        shutdown: shutdown.clone(),
    };
    let queue = Arc::new(LockQueue::new(Arc::clone(node), kv(), leases()));
    tokio::spawn(Arc::clone(&queue).run(shutdown.clone()));
    if let Some(retention) = settings.retention {
        tokio::spawn(auto_compaction::run(Arc::clone(node), retention, shutdown.clone()));
    }
    let maintenance = maintenance::MaintenanceService { node: Arc::clone(node) };
    let election = ElectionService {
        queue: Arc::clone(&queue),
        watches: watches.clone(),
    };
    let cluster = cluster::ClusterService { node: Arc::clone(node) };
    let services = Routes::new(KvServer::new(kv()).max_decoding_message_size(received_max))
        .add_service(WatchServer::new(watches).max_decoding_message_size(received_max))
        .add_service(LeaseServer::new(leases()))
        .add_service(AuthServer::new(AuthService(Arc::clone(node))))
        .add_service(ClusterServer::new(cluster))
        .add_service(MaintenanceServer::new(maintenance))
        .add_service(LockServer::new(LockService(queue)))
        .add_service(ElectionServer::new(election))
        .add_service(HealthServer::new(health::HealthService {
            node: Arc::clone(node),
            shutdown: shutdown.clone(),
        }))
        .into_axum_router();
    // The pages' fallback knows both protocols; the services' own knows gRPC only.
    let services = services.reset_fallback();
    let interceptor = Interceptor::start(node, shutdown);
    let services = services.layer(middleware::from_fn_with_state(interceptor.clone(), intercept));
    let gateway = if settings.gateway {
        gateway::router(services.clone(), received_max)
    } else {
        axum::Router::new()
    };
    Port {
        routes: services.merge(http::router(
            node,
            gateway,
            status.clone(),
            settings.connections.access.clone(),
        )),
        fast: Some(FastPath {
            kv: Arc::new(kv()),
            interceptor,
        }),
        received_max,
        concurrent_streams_max: settings.concurrent_streams_max,
        slow: settings.limits.slow_answer,
        keep_alive: settings.connections.keep_alive,
    }
}

/// Serves the pages alone at `endpoints`, until shutdown.
pub(in crate::server) fn serve_pages(
    node: &Arc<Node>,
    settings: &Settings,
    endpoints: Vec<Endpoint>,
    status: &Status,
    shutdown: &Shutdown,
) {
    if endpoints.is_empty() {
        return;
    }
    let pages = Port {
        routes: http::router(node, axum::Router::new(), status.clone(), Access::default()),
        fast: None,
        received_max: 0,
        concurrent_streams_max: settings.concurrent_streams_max,
        slow: settings.limits.slow_answer,
        keep_alive: settings.connections.keep_alive,
    };
    let (incoming, shutdown) = (connections::accept(endpoints, shutdown), shutdown.clone());
    tokio::spawn(async move { pages.serve(incoming, &shutdown).await });
}
