//! The REST API, versions 1 to 4.
//!
//! The paths are the same in all of them, and without a prefix the newest is meant. Every call's body is read by hand:
//! the clients send `{}` with GET and DELETE too, and an empty body opens a session.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use serde_json::{Value, json};
use uuid::Uuid;

use super::answer::{self, RowFormat};
use super::rest_jobs;
use super::session::{Session, Sessions};
use crate::Error;

/// A statement of this many bytes and a session's options fit; more is refused with 413.
const BODY_BYTES_MAX: usize = 4 << 20;
/// What the stock clients look for.
const PRODUCT: &str = "Apache Flink";
pub const PRODUCT_VERSION: &str = "2.3.0";
const VERSIONS: [&str; 4] = ["V1", "V2", "V3", "V4"];

type Answer = Result<Value, Refusal>;
pub type Shared = State<Arc<Sessions>>;

/// An error as the clients expect it.
pub struct Refusal {
    pub status: StatusCode,
    pub errors: Vec<String>,
}

impl Refusal {
    fn bad(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            errors: vec![message.into()],
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            errors: answer::exception(&error),
        }
    }
}

impl Refusal {
    pub fn answer(self) -> Response {
        respond(self.status, &json!({ "errors": self.errors }))
    }
}

pub fn respond(status: StatusCode, body: &Value) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json; charset=UTF-8"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    (status, headers, body.to_string()).into_response()
}

fn answered(answer: Answer) -> Response {
    match answer {
        Ok(body) => respond(StatusCode::OK, &body),
        Err(refusal) => refusal.answer(),
    }
}

pub fn router(sessions: Arc<Sessions>) -> Router {
    let mut router = Router::new();
    for prefix in ["", "/v1", "/v2", "/v3", "/v4"] {
        let path = |rest: &str| format!("{prefix}{rest}");
        router = router
            .route(&path("/info"), get(info))
            .route(&path("/api_versions"), get(api_versions))
            .route(&path("/sessions"), post(open))
            .route(&path("/sessions/{session}"), get(properties).delete(close))
            .route(&path("/sessions/{session}/heartbeat"), post(heartbeat))
            .route(&path("/sessions/{session}/statements"), post(submit))
            .route(&path("/sessions/{session}/operations/{operation}/status"), get(status))
            .route(&path("/sessions/{session}/operations/{operation}/cancel"), post(cancel))
            .route(
                &path("/sessions/{session}/operations/{operation}/close"),
                delete(close_operation),
            )
            .route(
                &path("/sessions/{session}/operations/{operation}/result/{token}"),
                get(result),
            );
        if prefix != "/v1" {
            router = router
                .route(&path("/sessions/{session}/configure-session"), post(configure))
                .route(&path("/sessions/{session}/complete-statement"), get(complete));
        }
    }
    rest_jobs::routes(router)
        .fallback(|uri: Uri| async move { not_found(&uri) })
        .method_not_allowed_fallback(|uri: Uri| async move { not_found(&uri) })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(axum::middleware::from_fn(with_body))
        .with_state(sessions)
}

/// Reads the body of every call, also of those that have no use for one: the clients send `{}` with GET and DELETE, and what
/// stays unread on a connection would be taken for the next call or end it.
async fn with_body(request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    match axum::body::to_bytes(body, BODY_BYTES_MAX).await {
        Ok(bytes) => next.run(Request::from_parts(head, bytes.into())).await,
        Err(_) => Refusal {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            errors: vec![format!("a call may have a body of {BODY_BYTES_MAX} bytes")],
        }
        .answer(),
    }
}

fn not_found(uri: &Uri) -> Response {
    Refusal {
        status: StatusCode::NOT_FOUND,
        errors: vec![format!("Not found: {}", uri.path())],
    }
    .answer()
}

async fn info() -> Response {
    respond(
        StatusCode::OK,
        &json!({ "productName": PRODUCT, "version": PRODUCT_VERSION }),
    )
}

async fn api_versions() -> Response {
    respond(StatusCode::OK, &json!({ "versions": VERSIONS }))
}

async fn open(State(sessions): Shared, body: Bytes) -> Response {
    answered((|| {
        let body = object(&body)?;
        let handle = sessions.open(&strings(body.get("properties"))?)?;
        Ok(json!({ "sessionHandle": handle.to_string() }))
    })())
}

async fn properties(State(sessions): Shared, Path(session): Path<String>) -> Response {
    answered(session_of(&sessions, &session).map(|session| json!({ "properties": session.properties() })))
}

async fn close(State(sessions): Shared, Path(session): Path<String>) -> Response {
    answered((|| {
        sessions.close(handle(&session, "sessionHandle")?)?;
        Ok(json!({ "status": "CLOSED" }))
    })())
}

async fn heartbeat(State(sessions): Shared, Path(session): Path<String>) -> Response {
    answered(session_of(&sessions, &session).map(|_| json!({})))
}

async fn submit(State(sessions): Shared, Path(session): Path<String>, body: Bytes) -> Response {
    answered((|| {
        let session = session_of(&sessions, &session)?;
        let body = object(&body)?;
        let operation = session.submit(statement(&body), strings(body.get("executionConfig"))?)?;
        Ok(json!({ "operationHandle": operation.to_string() }))
    })())
}

/// Runs a statement that configures (SET, USE, DDL) and answers when it has.
async fn configure(State(sessions): Shared, Path(session): Path<String>, body: Bytes) -> Response {
    answered(
        async {
            let session = session_of(&sessions, &session)?;
            let handle = session.submit(statement(&object(&body)?), BTreeMap::new())?;
            let operation = session.operation(handle)?;
            let outcome = loop {
                match operation.fetch(0).await {
                    Ok(super::operation::Page::NotReady) => {
                        tokio::time::sleep(std::time::Duration::from_millis(2)).await
                    }
                    outcome => break outcome,
                }
            };
            session.close_operation(handle)?;
            outcome?;
            Ok(json!({}))
        }
        .await,
    )
}

async fn complete(State(sessions): Shared, Path(session): Path<String>) -> Response {
    answered(session_of(&sessions, &session).map(|_| json!({ "candidates": [] })))
}

async fn status(State(sessions): Shared, Path((session, operation)): Path<(String, String)>) -> Response {
    answered((|| {
        let operation = session_of(&sessions, &session)?.operation(handle(&operation, "operationHandle")?)?;
        Ok(json!({ "status": operation.status().name() }))
    })())
}

async fn cancel(State(sessions): Shared, Path((session, operation)): Path<(String, String)>) -> Response {
    answered((|| {
        let operation = session_of(&sessions, &session)?.operation(handle(&operation, "operationHandle")?)?;
        Ok(json!({ "status": operation.cancel()?.name() }))
    })())
}

async fn close_operation(State(sessions): Shared, Path((session, operation)): Path<(String, String)>) -> Response {
    answered((|| {
        session_of(&sessions, &session)?.close_operation(handle(&operation, "operationHandle")?)?;
        Ok(json!({ "status": "CLOSED" }))
    })())
}

async fn result(
    State(sessions): Shared,
    uri: Uri,
    Path((session, operation, token)): Path<(String, String, String)>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    answered(
        async {
            let token: u64 = token
                .parse()
                .map_err(|_| Refusal::bad(format!("the result token '{token}' is no number")))?;
            let format = match query.get("rowFormat").map(String::as_str) {
                _ if uri.path().starts_with("/v1/") => RowFormat::Json,
                None | Some("JSON") => RowFormat::Json,
                Some("PLAIN_TEXT") => RowFormat::PlainText,
                Some(other) => {
                    return Err(Refusal::bad(format!(
                        "there is no row format '{other}': JSON or PLAIN_TEXT"
                    )));
                }
            };
            let page = session_of(&sessions, &session)?
                .operation(handle(&operation, "operationHandle")?)?
                .fetch(token)
                .await?;
            Ok(answer::page(&page, format, &uri, token)?)
        }
        .await,
    )
}

fn session_of(sessions: &Sessions, handle_text: &str) -> Result<Arc<Session>, Refusal> {
    Ok(sessions.get(handle(handle_text, "sessionHandle")?)?)
}

fn handle(text: &str, what: &str) -> Result<Uuid, Refusal> {
    Uuid::try_parse(text).map_err(|_| Refusal::bad(format!("the {what} '{text}' is no UUID")))
}

/// The body as an object; an empty one counts as `{}`.
pub fn object(body: &[u8]) -> Result<serde_json::Map<String, Value>, Refusal> {
    if body.trim_ascii().is_empty() {
        return Ok(serde_json::Map::new());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Refusal::bad("the body must be a JSON object")),
        Err(error) => Err(Refusal::bad(format!("the body is not JSON: {error}"))),
    }
}

/// A statement that is missing or null is accepted, and refused by the parser at page 0.
fn statement(body: &serde_json::Map<String, Value>) -> String {
    body.get("statement")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn strings(value: Option<&Value>) -> Result<BTreeMap<String, String>, Refusal> {
    match value {
        None | Some(Value::Null) => Ok(BTreeMap::new()),
        Some(Value::Object(entries)) => Ok(entries
            .iter()
            .map(|(key, value)| {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                (key.clone(), value)
            })
            .collect()),
        Some(_) => Err(Refusal::bad(
            "properties and executionConfig must be objects of strings",
        )),
    }
}
