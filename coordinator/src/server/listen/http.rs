//! Plain HTTP on the clients' port: etcd's pages `/version`, `/health`, `/livez`, `/readyz`, `/metrics`, `/debug/vars`, our
//! own `/status`, and the gateway.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use coordinator_wire::etcdserverpb::AlarmType;
use tonic::Status;

use crate::server::listen::metrics_page;
use crate::server::listen::port::WithoutTls;
use crate::server::replica::node::Node;
use crate::server::settings::connection_settings::{Access, host_name};
use crate::server::settings::version::ETCD_VERSION;
use crate::server::settings::version::cluster_version;

/// The checks behind `/livez`.
const LIVEZ: &[&str] = &["serializable_read"];
/// The checks behind `/readyz`.
const READYZ: &[&str] = &[
    "data_corruption",
    "serializable_read",
    "linearizable_read",
    "non_learner",
];

/// All pages, and what to say to calls and paths that do not exist. `gateway` has the paths that are calls.
pub(in crate::server) fn router(node: &Arc<Node>, gateway: Router, status: host::Status, access: Access) -> Router {
    let health = {
        let node = Arc::clone(node);
        Arc::new(move || node.unhealthy().map_or(Ok(()), Err))
    };
    Router::new()
        .route("/version", get(version).fallback(method_not_allowed))
        .route("/health", get(health_page).fallback(method_not_allowed))
        .route("/livez", get(livez).fallback(method_not_allowed))
        .route("/livez/{check}", get(one_of_livez))
        .route("/readyz", get(readyz).fallback(method_not_allowed))
        .route("/readyz/{check}", get(one_of_readyz))
        .route("/debug/vars", get(debug_vars).fallback(method_not_allowed))
        .with_state(Arc::clone(node))
        .merge(host::admin::router(node.metrics.registry(), health, status))
        .merge(gateway)
        .layer(middleware::from_fn_with_state(
            (Arc::clone(node), Arc::new(access)),
            around,
        ))
        .fallback(unknown)
}

/// What every page has in common: the check of its host, fresh figures, and whether scripts of other origins may read it.
async fn around(State((node, access)): State<(Arc<Node>, Arc<Access>)>, request: Request, next: Next) -> Response {
    let origin = match admit(&request, &access) {
        Ok(origin) => origin,
        Err(host) => return misdirected(&host),
    };
    if request.uri().path() == "/metrics" {
        metrics_page::refresh(&node);
    }
    // A browser asks first whether it may.
    let mut response = if request.method() == Method::OPTIONS {
        StatusCode::OK.into_response()
    } else {
        next.run(request).await
    };
    if let Some(origin) = origin {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        for (name, value) in [
            (
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                "accept, content-type, authorization",
            ),
            (header::ACCESS_CONTROL_ALLOW_METHODS, "POST, GET, OPTIONS, PUT, DELETE"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    response
}

/// The origin that may read the answer, if any; `Err` is a host that a request may not name.
fn admit(request: &Request, access: &Access) -> Result<Option<HeaderValue>, String> {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    // gRPC's clients are no browsers, so DNS rebinding does not concern them (CVE-2018-5702).
    let is_checked = request.extensions().get::<WithoutTls>().is_some() && request.version() < Version::HTTP_2;
    let host = header(header::HOST).unwrap_or_default();
    if is_checked && !access.allows_host(host) {
        return Err(host_name(host).to_owned());
    }
    let origin = access.allowed_origin(header(header::ORIGIN));
    Ok(origin.and_then(|origin| HeaderValue::from_str(origin).ok()))
}

/// The refusal of a request that names a host which is not on `--host-whitelist`.
fn misdirected(host: &str) -> Response {
    tracing::warn!(host, "rejecting HTTP request to prevent DNS rebinding attacks");
    let text = format!(
        "the Host header names {host:?}, which this member does not know: use TLS, or add the name to --host-whitelist\n"
    );
    (StatusCode::MISDIRECTED_REQUEST, text).into_response()
}

/// A gRPC call that is not served gets gRPC's answer, a path that does not exist HTTP's.
async fn unknown(headers: HeaderMap) -> Response {
    let content_type = headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes());
    if content_type.is_some_and(|value| value.starts_with(b"application/grpc")) {
        return Status::unimplemented("this call is not served by this coordinator").into_http();
    }
    (StatusCode::NOT_FOUND, "404 page not found\n").into_response()
}

async fn method_not_allowed() -> Response {
    let allow = [(header::ALLOW, "GET")];
    (StatusCode::METHOD_NOT_ALLOWED, allow, "Method Not Allowed\n").into_response()
}

async fn version() -> impl IntoResponse {
    let cluster = cluster_version();
    let body = format!(r#"{{"etcdserver":"{ETCD_VERSION}","etcdcluster":"{cluster}","storage":"{cluster}"}}"#);
    ([(header::CONTENT_TYPE, "application/json")], body)
}

/// What etcd publishes by Go's `expvar`, but for what only Go's memory has.
async fn debug_vars(State(node): State<Arc<Node>>) -> impl IntoResponse {
    let gauges = node.raft().gauges();
    let state = match gauges.leader() {
        _ if gauges.is_leader() => "StateLeader",
        Some(_) => "StateFollower",
        None => "StateCandidate",
    };
    let arguments: Vec<String> = std::env::args_os()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let variables = serde_json::json!({
        "cmdline": arguments,
        "raft.status": {
            "id": format!("{:x}", node.identity.member),
            "term": gauges.term(),
            "commit": gauges.commit(),
            "applied": node.machine().applied(),
            "lead": format!("{:x}", gauges.leader().unwrap_or_default()),
            "raftState": state,
        },
    });
    let content_type = [(header::CONTENT_TYPE, "application/json; charset=utf-8")];
    (content_type, variables.to_string())
}

/// What stands behind a page's question mark.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(query: Option<&str>) -> Self {
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        Self(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(found, _)| found == name)
    }

    fn says(&self, name: &str, value: &str) -> bool {
        self.0.iter().any(|(found, said)| found == name && said == value)
    }
}

async fn health_page(State(node): State<Arc<Node>>, RawQuery(query): RawQuery) -> Response {
    let query = Query::of(query.as_deref());
    let serializable = query.says("serializable", "true");
    let reason = match alarm(&node, &query) {
        Some(reason) => Some(reason),
        None if !serializable && node.raft().gauges().leader().is_none() => Some("RAFT NO LEADER".to_owned()),
        None => {
            let outcome = read(&node, serializable).await;
            outcome.err().map(|reason| format!("RANGE ERROR:{reason}"))
        }
    };
    let plain = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    match reason {
        None => {
            node.metrics.health_success.inc();
            (plain, r#"{"health":"true","reason":""}"#).into_response()
        }
        Some(reason) => {
            node.metrics.health_failures.inc();
            tracing::warn!(%reason, "serving /health false");
            let body = serde_json::json!({ "health": "false", "reason": reason });
            (StatusCode::SERVICE_UNAVAILABLE, plain, format!("{body}\n")).into_response()
        }
    }
}

/// The first alarm that stands and is not excluded.
fn alarm(node: &Node, query: &Query) -> Option<String> {
    let alarms = node.machine().alarms().list(AlarmType::None);
    let mut names = alarms.iter().map(|alarm| alarm.alarm().as_str_name());
    let name = names.find(|name| !query.says("exclude", name))?;
    Some(format!("ALARM {name}"))
}

/// Whether a read is answered: of this member's state, or of the cluster's.
async fn read(node: &Node, serializable: bool) -> Result<(), String> {
    if serializable {
        let _readable = node.machine().store().revision();
        return Ok(());
    }
    if let Some(reason) = node.unhealthy() {
        return Err(reason);
    }
    node.linearizable_read().await.map_err(|error| error.to_string())
}

async fn livez(State(node): State<Arc<Node>>, RawQuery(query): RawQuery) -> Response {
    checks(&node, "livez", LIVEZ, &Query::of(query.as_deref())).await
}

async fn readyz(State(node): State<Arc<Node>>, RawQuery(query): RawQuery) -> Response {
    checks(&node, "readyz", READYZ, &Query::of(query.as_deref())).await
}

async fn one_of_livez(State(node): State<Arc<Node>>, Path(check): Path<String>, RawQuery(query): RawQuery) -> Response {
    one_check(&node, "livez", LIVEZ, &check, query.as_deref()).await
}

async fn one_of_readyz(
    State(node): State<Arc<Node>>,
    Path(check): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    one_check(&node, "readyz", READYZ, &check, query.as_deref()).await
}

async fn one_check(node: &Node, page: &str, names: &[&str], check: &str, query: Option<&str>) -> Response {
    match names.iter().find(|name| **name == check) {
        // Nothing is excluded from a check that was asked for by name.
        Some(name) => {
            let mut query = Query::of(query);
            query.0.retain(|(name, _)| name != "exclude");
            checks(node, page, &[name], &query).await
        }
        None => (StatusCode::NOT_FOUND, "404 page not found\n").into_response(),
    }
}

/// One line a check where asked for, then the verdict.
async fn checks(node: &Node, page: &str, names: &[&str], query: &Query) -> Response {
    let mut text = String::new();
    let mut failed = false;
    for name in names.iter().filter(|name| !query.says("exclude", name)) {
        let outcome = check(node, name).await;
        node.metrics.checked(page, name, outcome.is_ok());
        match outcome {
            Ok(()) => text.push_str(&format!("[+]{name} ok\n")),
            Err(reason) => {
                failed = true;
                text.push_str(&format!("[-]{name} failed: {reason}\n"));
            }
        }
    }
    let sniff = [(header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    match (failed, query.has("verbose")) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, sniff, text + "\n").into_response(),
        (false, true) => (sniff, text + "ok\n").into_response(),
        (false, false) => (sniff, "ok\n").into_response(),
    }
}

async fn check(node: &Node, name: &str) -> Result<(), String> {
    match name {
        "data_corruption" if node.machine().alarms().stands(AlarmType::Corrupt) => {
            Err("alarm activated: CORRUPT".to_owned())
        }
        "serializable_read" => read(node, true).await,
        "linearizable_read" => read(node, false).await,
        "non_learner" if node.is_learner() => Err("not supported for learner".to_owned()),
        _ => Ok(()),
    }
}
