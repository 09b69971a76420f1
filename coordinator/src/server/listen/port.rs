//! The clients' port: each connection is served as HTTP/2 or HTTP/1.1, whichever it speaks, and each call is sent on its way.
//!
//! Range, Put and Txn take the [`fast_path`]; all else (the other services, the gateway, pages) goes to
//! the routes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::codegen::Service;

use crate::server::listen::connections::Connection;
use crate::server::listen::fast_path::{self, Body};
use crate::server::listen::interceptor::Interceptor;
use crate::server::service::auth::credentials::CertificateName;
use crate::server::service::kv::KvService;
use crate::server::settings::connection_settings::KeepAlive;

/// Headers of one request, in bytes.
const HEADERS_BYTES_MAX: u32 = 16 << 10;

/// The calls of the fast path.
const FAST_CALLS: [&str; 3] = [RANGE, PUT, TXN];
const RANGE: &str = "/etcdserverpb.KV/Range";
const PUT: &str = "/etcdserverpb.KV/Put";
const TXN: &str = "/etcdserverpb.KV/Txn";

/// What is behind a port.
#[derive(Clone)]
pub(in crate::server) struct Port {
    pub(in crate::server) routes: Router,
    /// Answers the calls of the fast path; none where there are only pages.
    pub(in crate::server) fast: Option<FastPath>,
    /// Bytes of one request.
    pub(in crate::server) received_max: usize,
    /// Calls under way on one connection.
    pub(in crate::server) concurrent_streams_max: u32,
    /// Calls that take longer are logged.
    pub(in crate::server) slow: Duration,
    /// Idle connections are pinged, so that dead clients do not hold watches.
    pub(in crate::server) keep_alive: Option<KeepAlive>,
}

/// A request came without TLS. In its extensions.
#[derive(Debug, Clone, Copy)]
pub(in crate::server) struct WithoutTls;

/// Calls that need no router.
#[derive(Clone)]
pub(in crate::server) struct FastPath {
    pub(in crate::server) kv: Arc<KvService>,
    pub(in crate::server) interceptor: Interceptor,
}

impl Port {
    /// Serves until shutdown, and then until the last connection is closed.
    pub(in crate::server) async fn serve(self, mut incoming: ReceiverStream<Connection>, shutdown: &host::Shutdown) {
        let server = Arc::new(self.server());
        let port = Arc::new(self);
        let (open, mut all_closed) = mpsc::channel::<Infallible>(1);
        while let Some(connection) = incoming.next().await {
            let (server, port) = (Arc::clone(&server), Arc::clone(&port));
            let (shutdown, open) = (shutdown.clone(), open.clone());
            tokio::spawn(async move {
                port.serve_connection(connection, &server, &shutdown).await;
                drop(open);
            });
        }
        drop(open);
        let _nobody = all_closed.recv().await;
    }

    fn server(&self) -> auto::Builder<TokioExecutor> {
        let mut server = auto::Builder::new(TokioExecutor::new());
        server.http1().timer(TokioTimer::new());
        server
            .http2()
            .timer(TokioTimer::new())
            .auto_date_header(false)
            .max_concurrent_streams(self.concurrent_streams_max)
            .keep_alive_interval(self.keep_alive.map(|keep_alive| keep_alive.interval))
            .max_header_list_size(HEADERS_BYTES_MAX);
        if let Some(keep_alive) = self.keep_alive {
            server.http2().keep_alive_timeout(keep_alive.timeout);
        }
        server
    }

    async fn serve_connection(
        self: Arc<Self>,
        connection: Connection,
        server: &auto::Builder<TokioExecutor>,
        shutdown: &host::Shutdown,
    ) {
        let (certificate, has_tls) = (connection.certificate(), connection.has_tls());
        let service = service_fn(move |mut request: Request<Incoming>| {
            let port = Arc::clone(&self);
            if certificate.0.is_some() {
                request.extensions_mut().insert::<CertificateName>(certificate.clone());
            }
            if !has_tls {
                request.extensions_mut().insert(WithoutTls);
            }
            async move { Ok::<_, Infallible>(port.answer(request).await) }
        });
        let mut serving = std::pin::pin!(server.serve_connection(TokioIo::new(connection), service));
        let served = tokio::select! {
            served = serving.as_mut() => served,
            () = shutdown.requested() => {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
        };
        if let Err(error) = served {
            tracing::debug!(%error, "a connection ended");
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let (begun, uri) = (Instant::now(), request.uri().clone());
        let response = match fast_path::timeout(request.headers()) {
            None => self.send_on(request).await,
            Some(timeout) => match tokio::time::timeout(timeout, self.send_on(request)).await {
                Ok(response) => response,
                Err(_late) => Status::deadline_exceeded("context deadline exceeded").into_http(),
            },
        };
        let spent = begun.elapsed();
        if spent > self.slow {
            // etcd's words; of a stream, this is until its first answer may come.
            tracing::warn!("response type" = uri.path(), "time spent" = ?spent, "expected" = ?self.slow, "request stats");
        }
        response
    }

    async fn send_on(&self, request: Request<Incoming>) -> Response<Body> {
        let Some(fast) = self.fast.as_ref().filter(|_| fast_path::is_plain(&request)) else {
            return self.route(request).await;
        };
        let path = request.uri().path();
        if !FAST_CALLS.contains(&path) {
            return self.route(request).await;
        }
        if let Err(refusal) = fast.interceptor.check(path, request.headers()) {
            return Status::from(refusal).into_http();
        }
        let _timer = fast.interceptor.timer(path);
        let (kv, max) = (&fast.kv, self.received_max);
        match path {
            RANGE => fast_path::call(request, max, |question| kv.answer_range(question)).await,
            PUT => fast_path::call(request, max, |question| kv.answer_put(question)).await,
            TXN => fast_path::call(request, max, |question| kv.answer_txn(question)).await,
            _ => self.route(request).await,
        }
    }

    async fn route(&self, request: Request<Incoming>) -> Response<Body> {
        // In a box, so that the others' futures are small.
        let routed = Box::pin(self.routes.clone().call(request));
        routed.await.unwrap_or_else(|never| match never {}).map(Body::Routed)
    }
}
