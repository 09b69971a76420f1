//! `bonsai jobs`: the stream jobs of the stack, listed, stopped and cancelled through Flink's REST API.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::Error;
use super::http;
use super::probe::ANSWER_MAX;
use super::probe::stream::{Job, jobs as list_of};
use super::stack::Stack;

/// How long a job may take to reach its last checkpoint.
const STOP_MAX: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub struct JobsArgs {
    /// As a JSON list of objects, with the names of Flink's REST API.
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    command: Option<JobsCommand>,
}

#[derive(Debug, Subcommand)]
enum JobsCommand {
    /// Stop a job at a checkpoint, and print the checkpoint's path.
    Stop {
        job: String,
        /// Let it end at what its sources hold now, and close its windows.
        #[arg(long)]
        drain: bool,
    },
    /// End a job at once: what it wrote since its last checkpoint stays invisible.
    Cancel { job: String },
}

pub fn jobs(stack: &Stack, args: &JobsArgs) -> Result<(), Error> {
    let snapshot = stack
        .running()?
        .ok_or_else(|| Error::NotUp(stack.directory().to_owned()))?;
    if !snapshot.services.iter().any(|status| status.service == "stream") {
        return Err(Error::Lacks(stack.directory().to_owned(), "stream"));
    }
    let address = stack.ports()?.address("stream", "sql");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::io("cannot start the runtime", error))?;
    runtime
        .block_on(async {
            match &args.command {
                None => list(&address, args.json).await,
                Some(JobsCommand::Stop { job, drain }) => stop(&address, job, *drain).await,
                Some(JobsCommand::Cancel { job }) => cancel(&address, job).await,
            }
        })
        .map_err(|reason| Error::Jobs(address, reason))
}

async fn list(address: &str, as_json: bool) -> Result<(), String> {
    let found = timeout(ANSWER_MAX, list_of(address)).await;
    let found = found.map_err(|_| "no answer in time".to_owned())??;
    if as_json {
        let text = serde_json::to_string_pretty(&found).map_err(|error| error.to_string())?;
        outln!("{text}");
        return Ok(());
    }
    if found.is_empty() {
        outln!("no jobs");
        return Ok(());
    }
    outln!("{:32}  {:10}  {:20}  {:>10}  name", "job", "state", "started", "ran");
    for job in &found {
        outln!(
            "{:32}  {:10}  {:20}  {:>10}  {}",
            job.jid,
            job.state,
            time(job.start_time),
            span(job.duration),
            job.name
        );
    }
    for job in &found {
        if let Some(error) = reason(address, job).await {
            outln!("\n{} {}: {error}", job.jid, job.state);
        }
    }
    Ok(())
}

/// Why a job failed, or fails.
async fn reason(address: &str, job: &Job) -> Option<String> {
    if !["FAILED", "RESTARTING", "FAILING"].contains(&job.state.as_str()) {
        return None;
    }
    let answer = timeout(ANSWER_MAX, http::get(address, &format!("jobs/{}/exceptions", job.jid))).await;
    let (_, body) = answer.ok()?.ok()?;
    let body: Value = serde_json::from_str(&body).ok()?;
    let trace = body.pointer("/exceptionHistory/entries/0/stacktrace")?.as_str()?;
    Some(super::health::one_line(trace))
}

async fn stop(address: &str, job: &str, drain: bool) -> Result<(), String> {
    let body = json!({ "drain": drain }).to_string();
    let (_, answer) = call(address, "POST", &format!("jobs/{}/stop", id(job)?), &body).await?;
    let trigger: Value = serde_json::from_str(&answer).map_err(|error| error.to_string())?;
    let trigger = trigger["request-id"].as_str().unwrap_or(job).to_owned();
    let deadline = Instant::now() + STOP_MAX;
    while Instant::now() < deadline {
        let (_, answer) = call(address, "GET", &format!("jobs/{job}/savepoints/{trigger}"), "").await?;
        let answer: Value = serde_json::from_str(&answer).map_err(|error| error.to_string())?;
        if answer.pointer("/status/id").and_then(Value::as_str) == Some("COMPLETED") {
            let location = answer.pointer("/operation/location").and_then(Value::as_str);
            let why = answer
                .pointer("/operation/failure-cause/stack-trace")
                .and_then(Value::as_str);
            return match (location, why) {
                (Some(location), _) => {
                    outln!("{location}");
                    Ok(())
                }
                (None, Some(why)) => Err(why.to_owned()),
                (None, None) => Err(format!("job {job} ended without a checkpoint")),
            };
        }
        sleep(POLL).await;
    }
    Err(format!("job {job} did not stop within {} s", STOP_MAX.as_secs()))
}

async fn cancel(address: &str, job: &str) -> Result<(), String> {
    call(address, "PATCH", &format!("jobs/{}?mode=cancel", id(job)?), "").await?;
    outln!("cancelled {job}");
    Ok(())
}

/// Job ids are hexadecimal: nothing else may get into a path.
fn id(job: &str) -> Result<&str, String> {
    match job.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        true => Ok(job),
        false => Err(format!("'{job}' is no id of a job: `bonsai jobs` lists them")),
    }
}

async fn call(address: &str, method: &str, page: &str, body: &str) -> Result<http::Answer, String> {
    let answer = timeout(ANSWER_MAX, http::request(address, method, page, body)).await;
    match answer.map_err(|_| "no answer in time".to_owned())? {
        Ok((code, body)) if code < 300 => Ok((code, body)),
        Ok((_, body)) => Err(errors(&body)),
        Err(error) => Err(error.to_string()),
    }
}

/// Flink's refusals are `{"errors": ["…"]}`.
fn errors(body: &str) -> String {
    let parsed: Option<Value> = serde_json::from_str(body).ok();
    let first = parsed.as_ref().and_then(|value| value.pointer("/errors/0")?.as_str());
    super::health::one_line(first.unwrap_or(body))
}

fn time(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms).map_or_else(String::new, |at| at.to_rfc3339_opts(SecondsFormat::Secs, true))
}

fn span(ms: i64) -> String {
    match ms {
        ..10_000 => format!("{ms} ms"),
        10_000..600_000 => format!("{} s", ms / 1_000),
        _ => format!("{} min", ms / 60_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_cannot_leave_its_path() {
        assert!(id("0a1b").is_ok());
        assert!(id("../sessions").is_err() && id("a?mode=x").is_err());
    }

    #[test]
    fn refusals_are_told_in_flinks_words() {
        assert_eq!(errors(r#"{"errors":["Job 1 not found"]}"#), "Job 1 not found");
        assert_eq!(errors("no JSON"), "no JSON");
    }

    #[test]
    fn times_and_spans_are_short() {
        assert_eq!(time(0), "1970-01-01T00:00:00Z");
        assert_eq!(span(1_500), "1500 ms");
        assert_eq!(span(75_000), "75 s");
        assert_eq!(span(6_000_000), "100 min");
    }
}
