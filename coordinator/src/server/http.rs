//! etcd's pages over plain HTTP, on the clients' port: `/version`, `/health`, `/livez`, `/readyz`, `/metrics`.

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tonic::Status;

use super::config::ETCD_VERSION;
use super::node::Node;

/// All pages, and what to say to calls and paths that do not exist.
pub(super) fn router(node: &Arc<Node>) -> Router {
    let health = {
        let node = Arc::clone(node);
        Arc::new(move || node.unhealthy().map_or(Ok(()), Err))
    };
    Router::new()
        .route("/version", get(version))
        .route("/health", get(health_page))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .with_state(Arc::clone(node))
        .merge(host::admin::router(node.metrics.registry(), health))
        .layer(middleware::from_fn_with_state(Arc::clone(node), around))
        .fallback(unknown)
}

/// What every page has in common: fresh figures, and etcd's leave for scripts of other origins to read it.
async fn around(State(node): State<Arc<Node>>, request: Request, next: Next) -> Response {
    if request.uri().path() == "/metrics" {
        node.metrics.refresh(&node);
    }
    let mut response = next.run(request).await;
    for (name, value) in [
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "accept, content-type, authorization",
        ),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "POST, GET, OPTIONS, PUT, DELETE"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A gRPC call that is not served gets gRPC's answer, a path that does not exist HTTP's.
async fn unknown(headers: HeaderMap) -> Response {
    let content_type = headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes());
    if content_type.is_some_and(|value| value.starts_with(b"application/grpc")) {
        return Status::unimplemented("this call is not served by this coordinator yet").into_http();
    }
    (StatusCode::NOT_FOUND, "404 page not found\n").into_response()
}

async fn version() -> impl IntoResponse {
    let cluster = cluster_version();
    let body = format!(r#"{{"etcdserver":"{ETCD_VERSION}","etcdcluster":"{cluster}","storage":"{cluster}"}}"#);
    ([(header::CONTENT_TYPE, "application/json")], body)
}

/// The release that all members understand: the first of this line.
pub(super) fn cluster_version() -> String {
    let line: Vec<&str> = ETCD_VERSION.splitn(3, '.').take(2).collect();
    format!("{}.0", line.join("."))
}

async fn health_page(State(node): State<Arc<Node>>) -> impl IntoResponse {
    let (status, health, reason) = match node.unhealthy() {
        None => (StatusCode::OK, "true", String::new()),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, "false", reason),
    };
    let body = serde_json::json!({ "health": health, "reason": reason }).to_string();
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body)
}

async fn livez(State(node): State<Arc<Node>>, RawQuery(query): RawQuery) -> Response {
    checks(&node, query.as_deref(), &["serializable_read"])
}

async fn readyz(State(node): State<Arc<Node>>, RawQuery(query): RawQuery) -> Response {
    checks(
        &node,
        query.as_deref(),
        &[
            "data_corruption",
            "serializable_read",
            "linearizable_read",
            "non_learner",
        ],
    )
}

/// One line a check where asked for, then the verdict. With one member every check depends on the same.
fn checks(node: &Node, query: Option<&str>, names: &[&str]) -> Response {
    let parameters: Vec<&str> = query.unwrap_or_default().split('&').collect();
    let verbose = parameters
        .iter()
        .any(|parameter| parameter.split('=').next() == Some("verbose"));
    let excluded = |name: &str| {
        parameters
            .iter()
            .any(|parameter| *parameter == format!("exclude={name}"))
    };
    let failure = node.unhealthy();
    let mut text = String::new();
    let mut failed = false;
    for name in names.iter().filter(|name| !excluded(name)) {
        match &failure {
            None => text.push_str(&format!("[+]{name} ok\n")),
            Some(reason) => {
                failed = true;
                text.push_str(&format!("[-]{name} failed: {reason}\n"));
            }
        }
    }
    match (failed, verbose) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, text).into_response(),
        (false, true) => (StatusCode::OK, text + "ok\n").into_response(),
        (false, false) => (StatusCode::OK, "ok\n").into_response(),
    }
}
