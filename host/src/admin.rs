//! HTTP as every service has it: `/metrics` (Prometheus), `/healthz` and `/status`, and a server for these and for a service's own
//! pages that bad clients cannot hold up.

mod process;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use prometheus::{Encoder, Registry, TextEncoder};
use tokio::task::JoinSet;

pub use crate::status::Health;
use crate::{Listener, Shutdown, Status};

/// How long a client may take to send a request's header, and how long a connection may be idle.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// How large a request's line and headers may be, in bytes. Above what browsers send with many cookies.
pub const HEADER_BYTES_MAX: usize = 64 << 10;
/// How long requests may go on after shutdown was requested; the rest of the service drains meanwhile.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

/// `/metrics`, `/healthz` and `/status`, to be served alone or merged into a service's own router. The process's own figures (memory,
/// time, descriptors) come to those of `registry`.
pub fn router(registry: Registry, health: Health, status: Status) -> Router {
    // Refused only where the service has metrics of these names itself.
    if let Err(error) = process::Process::new().and_then(|process| registry.register(Box::new(process))) {
        tracing::debug!(%error, "no process metrics");
    }
    Router::new()
        .route("/metrics", get(move || metrics(registry.clone())))
        .route(
            "/healthz",
            get({
                let health = Arc::clone(&health);
                move || healthz(Arc::clone(&health))
            }),
        )
        .route(
            "/status",
            get(move || {
                let document = status.document(&health);
                async move { axum::Json(document) }
            }),
        )
}

/// Serves HTTP/1.1 until shutdown is requested. Handlers may ask for `ConnectInfo<SocketAddr>`.
///
/// Headers are bounded by [`HEADER_BYTES_MAX`] and [`HEADER_TIMEOUT`], connections by the listener's limit, bodies that a
/// handler buffers by axum's `DefaultBodyLimit` (2 MB unless the router sets another). Bodies that are streamed, either
/// way, are the handler's to bound.
pub async fn serve(listener: Listener, router: Router, shutdown: Shutdown) {
    serve_with(listener, router, shutdown, HEADER_TIMEOUT).await;
}

async fn serve_with(listener: Listener, router: Router, shutdown: Shutdown, header_timeout: Duration) {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(HEADER_BYTES_MAX);
    let mut connections = JoinSet::new();
    loop {
        let (stream, peer, permit) = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = shutdown.requested() => break,
        };
        let service = TowerToHyperService::new(router.clone().layer(axum::Extension(ConnectInfo(peer))));
        let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
        let shutdown = shutdown.clone();
        connections.spawn(async move {
            let _permit = permit;
            let mut connection = std::pin::pin!(connection);
            let outcome = tokio::select! {
                outcome = connection.as_mut() => outcome,
                () = shutdown.requested() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = outcome {
                tracing::debug!(%peer, %error, "HTTP connection ended");
            }
        });
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_TIMEOUT, drained).await.is_err() {
        tracing::warn!("HTTP requests were still running at shutdown; ended them");
    }
}

async fn metrics(registry: Registry) -> impl IntoResponse {
    let encoder = TextEncoder::new();
    let mut body = Vec::new();
    match encoder.encode(&registry.gather(), &mut body) {
        Ok(()) => (
            StatusCode::OK,
            [(header::CONTENT_TYPE, encoder.format_type().to_owned())],
            body,
        )
            .into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn healthz(health: Health) -> impl IntoResponse {
    match health() {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::task::JoinHandle;

    use super::*;

    /// A server that is healthy while the flag is set, with an idle limit of 200 ms.
    async fn start() -> (SocketAddr, Arc<AtomicBool>, Shutdown, JoinHandle<()>) {
        let registry = Registry::new();
        let counter = prometheus::IntCounter::new("bonsai_requests_total", "Requests.").unwrap();
        registry.register(Box::new(counter.clone())).unwrap();
        counter.inc_by(3);
        let healthy = Arc::new(AtomicBool::new(true));
        let flag = Arc::clone(&healthy);
        let health: Health = Arc::new(move || match flag.load(Ordering::SeqCst) {
            true => Ok(()),
            false => Err("the disk is full".to_owned()),
        });
        let peer = get(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.to_string());
        let slow = get(async || {
            tokio::time::sleep(Duration::from_millis(300)).await;
            "slow"
        });
        let listener = Listener::bind("127.0.0.1:0", 2).await.unwrap();
        let address = listener.local_addr().unwrap();
        let status = Status::new("test", "server").http(address);
        let router = router(registry, health, status)
            .route("/peer", peer)
            .route("/slow", slow);
        let shutdown = Shutdown::new();
        let server = tokio::spawn(serve_with(
            listener,
            router,
            shutdown.clone(),
            Duration::from_millis(200),
        ));
        (address, healthy, shutdown, server)
    }

    /// Sends `request` and reads until the server closes.
    async fn answer(address: SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The server may close before it has read all.
        let _ = stream.write_all(request).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn request(path: &str) -> Vec<u8> {
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").into_bytes()
    }

    #[tokio::test]
    async fn metrics_and_health() {
        let (address, healthy, ..) = start().await;
        assert!(
            answer(address, &request("/metrics"))
                .await
                .contains("\nbonsai_requests_total 3\n")
        );
        assert!(answer(address, &request("/healthz")).await.starts_with("HTTP/1.1 200"));
        healthy.store(false, Ordering::SeqCst);
        let sick = answer(address, &request("/healthz")).await;
        assert!(
            sick.starts_with("HTTP/1.1 503") && sick.ends_with("the disk is full\n"),
            "{sick}"
        );
        let status = answer(address, &request("/status")).await;
        assert!(
            status.contains("application/json") && status.contains(r#""ready":false"#),
            "{status}"
        );
        assert!(answer(address, &request("/peer")).await.contains("127.0.0.1:"));
    }

    #[tokio::test]
    async fn bad_clients_are_sent_away() {
        let (address, ..) = start().await;
        assert_eq!(answer(address, b"GET /healthz HT").await, "", "half a header");
        assert_eq!(answer(address, b"").await, "", "an idle connection");
        let garbage = answer(address, b"\0\0\0\x10\xFF\xFF nonsense\r\n\r\n").await;
        assert!(garbage.is_empty() || garbage.starts_with("HTTP/1.1 400"), "{garbage}");
        let mut huge = b"GET /healthz HTTP/1.1\r\nX: ".to_vec();
        huge.resize(1 << 20, b'a');
        let refused = answer(address, &huge).await;
        assert!(refused.is_empty() || refused.starts_with("HTTP/1.1 431"), "{refused}");
        assert!(
            answer(address, &request("/healthz")).await.starts_with("HTTP/1.1 200"),
            "others are served"
        );
    }

    #[tokio::test]
    async fn a_request_that_runs_is_answered_at_shutdown() {
        let (address, _, shutdown, server) = start().await;
        let running = tokio::spawn(async move { answer(address, &request("/slow")).await });
        tokio::time::sleep(Duration::from_millis(100)).await;
        shutdown.trigger();
        assert!(running.await.unwrap().ends_with("slow"));
        server.await.unwrap();
        assert!(TcpStream::connect(address).await.is_err(), "the listener is closed");
    }
}
