//! What is decided about a call before its service sees it, as etcd's gRPC interceptors do.
//!
//! # The rules
//! - A learner serves `Status`, serializable ranges and `Snapshot`, nothing else; it must not answer for the cluster.
//! - A call with the metadata `hasleader: true` (Go's `clientv3.WithRequireLeader`) is refused with "etcdserver: no leader"
//!   while this member knows no leader, serializable reads included.
//! - A stream that was opened with it ends with the same status once the member has had no leader at three looks in a row,
//!   one election timeout apart. Reopening a stream costs more than repeating a call, so one missed heartbeat is no reason.
//! - A client API version that is not UTF-8 is refused; the valid ones are counted.
//!
//! The status is written where the response's body leaves the service, so no service knows about it; a service sees only
//! that its client has gone.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame};
use prometheus::{HistogramTimer, IntCounter, IntCounterVec};
use tokio::sync::watch;
use tonic::Status;

use crate::Error;
use crate::server::replica::node::Node;

/// The metadata of a call that wants a leader, and its one value that counts (etcd's package `rpctypes`).
const REQUIRE_LEADER: &str = "hasleader";
const REQUIRE_LEADER_VALUE: &[u8] = b"true";
const CLIENT_API_VERSION: &str = "client-api-version";
/// Election timeouts without a leader after which streams that want one end.
const NO_LEADER_LOOKS_MAX: u32 = 3;
/// Client API versions that are counted by their names; what clients invent beyond that is counted together.
const VERSIONS_COUNTED_MAX: usize = 32;
/// As etcd counts a call that names no version.
const UNKNOWN_VERSION: &str = "unknown";
const OTHER_VERSION: &str = "other";
const KINDS: [&str; 2] = ["unary", "stream"];

/// Calls whose answer is a stream.
const STREAMS: &[&str] = &[
    "/etcdserverpb.KV/RangeStream",
    "/etcdserverpb.Watch/Watch",
    "/etcdserverpb.Lease/LeaseKeepAlive",
    SNAPSHOT,
    "/v3electionpb.Election/Observe",
    "/grpc.health.v1.Health/Watch",
];
const SNAPSHOT: &str = "/etcdserverpb.Maintenance/Snapshot";
const STATUS: &str = "/etcdserverpb.Maintenance/Status";
/// Serializable or not is in the message; the service looks at it.
const RANGE: &str = "/etcdserverpb.KV/Range";

/// Looks at each call before its service does.
#[derive(Clone)]
pub(in crate::server) struct Interceptor {
    node: Arc<Node>,
    /// How often the leader was lost for so long that streams end.
    losses: watch::Receiver<u64>,
    requests: Arc<ClientRequests>,
}

/// Calls by the API version that clients name.
struct ClientRequests {
    counters: IntCounterVec,
    /// Those in use, so that counting a call is one look at a small map.
    known: RwLock<HashMap<String, [IntCounter; 2]>>,
}

impl ClientRequests {
    fn count(&self, is_stream: bool, version: &str) {
        let of = usize::from(is_stream);
        if let Some(counters) = self.known.read().unwrap_or_else(PoisonError::into_inner).get(version) {
            return counters[of].inc();
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let is_named = known.len() < VERSIONS_COUNTED_MAX;
        let named = if is_named { version } else { OTHER_VERSION };
        let counters = KINDS.map(|kind| self.counters.with_label_values(&[kind, named]));
        counters[of].inc();
        if is_named {
            known.insert(version.to_owned(), counters);
        }
    }
}

impl Interceptor {
    /// Starts to look after the leader, until shutdown.
    pub(in crate::server) fn start(node: &Arc<Node>, shutdown: &host::Shutdown) -> Self {
        let (sender, losses) = watch::channel(0);
        tokio::spawn(monitor_leader(Arc::clone(node), sender, shutdown.clone()));
        Self {
            node: Arc::clone(node),
            losses,
            requests: Arc::new(ClientRequests {
                counters: node.metrics.client_requests.clone(),
                known: RwLock::default(),
            }),
        }
    }

    /// Whether the call of this path and metadata may go on.
    ///
    /// # Errors
    /// What the call is to be answered with.
    pub(in crate::server) fn check(&self, path: &str, metadata: &HeaderMap) -> Result<(), Error> {
        let on_learners = [STATUS, RANGE, SNAPSHOT];
        if !on_learners.contains(&path) && self.node.is_learner() {
            return Err(Error::NotSupportedForLearner);
        }
        let version = metadata.get(CLIENT_API_VERSION).map(|version| version.as_bytes());
        let version = std::str::from_utf8(version.unwrap_or(UNKNOWN_VERSION.as_bytes()));
        let version = version.map_err(|_| Error::InvalidClientApiVersion)?;
        self.requests.count(STREAMS.contains(&path), version);
        if requires_leader(metadata) && self.node.raft().gauges().leader().is_none() {
            return Err(Error::NoLeader);
        }
        Ok(())
    }

    /// Measures a unary call until it is dropped.
    pub(in crate::server) fn timer(&self, path: &str) -> Option<HistogramTimer> {
        if STREAMS.contains(&path) {
            return None;
        }
        self.node.metrics.handling.as_ref().map(|handling| handling.start(path))
    }
}

fn requires_leader(metadata: &HeaderMap) -> bool {
    let value = metadata.get(REQUIRE_LEADER);
    value.is_some_and(|value| value.as_bytes() == REQUIRE_LEADER_VALUE)
}

/// The calls of a router, each after [`Interceptor::check`].
pub(in crate::server) async fn intercept(
    State(interceptor): State<Interceptor>,
    request: Request,
    next: Next,
) -> Response {
    if let Err(refusal) = interceptor.check(request.uri().path(), request.headers()) {
        return Status::from(refusal).into_http();
    }
    let ends = requires_leader(request.headers()) && STREAMS.contains(&request.uri().path());
    let mut losses = interceptor.losses.clone();
    losses.mark_unchanged();
    let timer = interceptor.timer(request.uri().path());
    let response = next.run(request).await;
    drop(timer);
    if !ends {
        return response;
    }
    response.map(|body| {
        let lost = async move {
            if losses.changed().await.is_err() {
                // The member ends, and each stream with a status of its own.
                std::future::pending::<()>().await;
            }
        };
        Body::new(UntilLeaderLost {
            body: Some(body),
            lost: Box::pin(lost),
        })
    })
}

/// A stream's answers, which end with "no leader" once the leader is lost.
struct UntilLeaderLost {
    /// None once it has ended.
    body: Option<Body>,
    lost: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl HttpBody for UntilLeaderLost {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(context) {
            return Poll::Ready(frame);
        }
        if self.lost.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        // The service learns that no one reads any more.
        self.body = None;
        let mut trailers = HeaderMap::new();
        let written = Status::from(Error::NoLeader).add_header(&mut trailers);
        Poll::Ready(Some(match written {
            Ok(()) => Ok(Frame::trailers(trailers)),
            Err(status) => Err(axum::Error::new(status)),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }
}

async fn monitor_leader(node: Arc<Node>, losses: watch::Sender<u64>, shutdown: host::Shutdown) {
    let election = node.limits.election.max(Duration::from_millis(1));
    let mut without = 0;
    loop {
        tokio::select! {
            () = shutdown.requested() => return,
            () = tokio::time::sleep(election) => {}
        }
        without = if node.raft().gauges().leader().is_none() {
            without + 1
        } else {
            0
        };
        if without >= NO_LEADER_LOOKS_MAX {
            losses.send_modify(|losses| *losses += 1);
        }
    }
}
