//! Flink's REST API of jobs, as far as jobs are listed, looked at, cancelled and stopped.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::jobs::{Record, Status, now_ms};
use super::rest::{PRODUCT_VERSION, Refusal, Shared, object, respond};
use super::session::Sessions;

pub fn routes(router: Router<Arc<Sessions>>) -> Router<Arc<Sessions>> {
    let mut router = router;
    for prefix in ["", "/v1"] {
        let path = |rest: &str| format!("{prefix}{rest}");
        router = router
            .route(&path("/overview"), get(cluster))
            .route(&path("/jobs"), get(list))
            .route(&path("/jobs/overview"), get(overview))
            .route(&path("/jobs/{job}"), get(one).patch(cancel))
            .route(&path("/jobs/{job}/exceptions"), get(exceptions))
            .route(&path("/jobs/{job}/stop"), post(stop))
            .route(&path("/jobs/{job}/savepoints/{trigger}"), get(savepoint));
    }
    router
}

async fn cluster(State(sessions): Shared) -> Response {
    let jobs = sessions.jobs().list();
    let count = |status: Status| jobs.iter().filter(|job| job.status == status).count();
    respond(
        StatusCode::OK,
        &json!({
            "taskmanagers": 1,
            "slots-total": 1,
            "slots-available": 1,
            "jobs-running": count(Status::Running),
            "jobs-finished": count(Status::Finished),
            "jobs-cancelled": count(Status::Canceled),
            "jobs-failed": count(Status::Failed),
            "flink-version": PRODUCT_VERSION,
        }),
    )
}

async fn list(State(sessions): Shared) -> Response {
    let jobs = sessions.jobs().list();
    let jobs: Vec<Value> = jobs
        .iter()
        .map(|job| json!({ "id": job.id, "status": job.state() }))
        .collect();
    respond(StatusCode::OK, &json!({ "jobs": jobs }))
}

/// When a job ended, or -1; and how long it has run.
fn times(job: &Record) -> (i64, i64) {
    let end = job.ended_ms.unwrap_or(-1);
    (end, job.ended_ms.unwrap_or_else(now_ms) - job.started_ms)
}

async fn overview(State(sessions): Shared) -> Response {
    let jobs = sessions.jobs().list();
    let jobs: Vec<Value> = jobs
        .iter()
        .map(|job| {
            let (end, duration) = times(job);
            json!({
                "jid": job.id,
                "name": job.name,
                "start-time": job.started_ms,
                "end-time": end,
                "duration": duration,
                "state": job.state(),
                "last-modification": job.ended_ms.unwrap_or(job.started_ms),
                "tasks": tasks(job),
            })
        })
        .collect();
    respond(StatusCode::OK, &json!({ "jobs": jobs }))
}

/// A job counts as one task: its graph is not told here.
fn tasks(job: &Record) -> Value {
    let of = |status: Status| u32::from(job.status == status && job.state() == status.name());
    json!({
        "running": of(Status::Running), "canceling": 0, "canceled": of(Status::Canceled), "total": 1, "created": 0,
        "scheduled": 0, "deploying": 0, "reconciling": 0, "finished": of(Status::Finished), "initializing": 0,
        "failed": of(Status::Failed),
    })
}

async fn one(State(sessions): Shared, Path(id): Path<String>) -> Response {
    let Some(job) = sessions.jobs().get(&id) else {
        return unknown(&id);
    };
    let job = job.record();
    let (end, duration) = times(&job);
    let at = |status: Status| {
        if job.status == status {
            job.ended_ms.unwrap_or(job.started_ms)
        } else {
            0
        }
    };
    respond(
        StatusCode::OK,
        &json!({
            "jid": job.id,
            "name": job.name,
            "isStoppable": false,
            "state": job.state(),
            "job-type": "STREAMING",
            "start-time": job.started_ms,
            "end-time": end,
            "duration": duration,
            "maxParallelism": 128,
            "now": now_ms(),
            "timestamps": {
                "INITIALIZING": job.started_ms, "CREATED": job.started_ms, "RUNNING": job.started_ms, "FAILING": 0,
                "FAILED": at(Status::Failed), "CANCELLING": 0, "CANCELED": at(Status::Canceled),
                "FINISHED": at(Status::Finished), "RESTARTING": 0, "SUSPENDED": 0, "RECONCILING": 0,
            },
            "vertices": [],
            "status-counts": tasks(&job),
            "plan": { "jid": job.id, "name": job.name, "type": "STREAMING", "nodes": [] },
        }),
    )
}

async fn exceptions(State(sessions): Shared, Path(id): Path<String>) -> Response {
    let Some(job) = sessions.jobs().get(&id) else {
        return unknown(&id);
    };
    let job = job.record();
    let entries: Vec<Value> = job
        .error
        .as_ref()
        .or(job.failing.as_ref())
        .into_iter()
        .map(|error| json!({ "exceptionName": "org.apache.flink.util.FlinkRuntimeException", "stacktrace": error, "timestamp": job.ended_ms.unwrap_or_else(now_ms) }))
        .collect();
    respond(
        StatusCode::OK,
        &json!({ "exceptionHistory": { "entries": entries, "truncated": false } }),
    )
}

async fn cancel(
    State(sessions): Shared,
    Path(id): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let Some(job) = sessions.jobs().get(&id) else {
        return unknown(&id);
    };
    if query.get("mode").is_some_and(|mode| mode != "cancel") {
        return refuse(
            StatusCode::BAD_REQUEST,
            "The mode of ending a job is 'cancel'; to stop it, POST to its /stop.",
        );
    }
    match job.cancel() {
        Ok(()) => respond(StatusCode::ACCEPTED, &json!({})),
        Err(error) => refuse(StatusCode::CONFLICT, error.message()),
    }
}

/// Stops a job with a savepoint: the answer comes at once, the savepoint is asked for by its trigger.
async fn stop(State(sessions): Shared, Path(id): Path<String>, body: Bytes) -> Response {
    let Some(job) = sessions.jobs().get(&id) else {
        return unknown(&id);
    };
    let body = match object(&body) {
        Ok(body) => body,
        Err(refusal) => return refusal.answer(),
    };
    if body.get("targetDirectory").is_some_and(|target| !target.is_null()) {
        return refuse(
            StatusCode::BAD_REQUEST,
            "A savepoint stays in the job's state directory: leave targetDirectory out.",
        );
    }
    if job.record().status != Status::Running {
        return refuse(StatusCode::CONFLICT, "The job is not running.");
    }
    let drain = body.get("drain").and_then(Value::as_bool).unwrap_or(false);
    let name = id.clone();
    tokio::spawn(async move {
        if let Err(error) = job.stop(drain).await {
            tracing::warn!(job = name, %error, "the job did not stop as asked");
        }
    });
    respond(StatusCode::ACCEPTED, &json!({ "request-id": id }))
}

async fn savepoint(State(sessions): Shared, Path((id, _trigger)): Path<(String, String)>) -> Response {
    let Some(job) = sessions.jobs().get(&id) else {
        return unknown(&id);
    };
    let job = job.record();
    let answer = match (job.status, job.savepoint, job.error) {
        (Status::Running, ..) => json!({ "status": { "id": "IN_PROGRESS" } }),
        (_, Some(path), _) => {
            json!({ "status": { "id": "COMPLETED" }, "operation": { "location": path.display().to_string() } })
        }
        (_, None, error) => json!({
            "status": { "id": "COMPLETED" },
            "operation": { "failure-cause": { "class": "org.apache.flink.util.FlinkException", "stack-trace": error } },
        }),
    };
    respond(StatusCode::OK, &answer)
}

fn unknown(id: &str) -> Response {
    refuse(StatusCode::NOT_FOUND, &format!("Job {id} not found"))
}

fn refuse(status: StatusCode, message: &str) -> Response {
    Refusal {
        status,
        errors: vec![message.to_owned()],
    }
    .answer()
}
