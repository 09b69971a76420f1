//! A short workload on each service, all at the same time, and a checker: what was acknowledged comes back as it was written.

use std::time::{Duration, Instant};

use arrow_flight::sql::client::FlightSqlServiceClient;
use bytes::Bytes;
use coordinator_client::Keys;
use futures::TryStreamExt;
use hdfs_native::{ClientBuilder, WriteOptions};
use log_broker_client::{At, Client, FetchOptions, ProducerOptions, Record};
use serde_json::{Value, json};
use tokio::time::timeout;
use uuid::Uuid;

use super::Finding;
use crate::launch::http;
use crate::launch::ports::Ports;
use crate::launch::probe::{ANSWER_MAX, channel, count};
use crate::launch::report::Report;

/// How long one service's workload may hang beyond its time.
const GRACE: Duration = Duration::from_secs(20);
/// Records in one request, and the bytes of each.
const RECORDS: usize = 50;
const RECORD_BYTES: usize = 200;
const FILE_BYTES: usize = 256 << 10;
const FETCH_WAIT: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(10);

pub async fn check(report: &Report, ports: &Ports, time: Duration) -> Vec<Finding> {
    // Of this run alone: two may run at the same time.
    let name = format!("bonsai-doctor-{}", Uuid::new_v4().simple());
    let runs = |service: &str| {
        let found = report.services.iter().find(|report| report.status.service == service);
        found.is_some_and(|report| report.health.is_healthy())
    };
    let end = Instant::now() + time;
    let coordinators = ports.coordinators().join(",");
    let (keys, records, files, statements, rows) = tokio::join!(
        optional(
            runs("coordinator"),
            within(time, "keys", keys(&coordinators, &name, end))
        ),
        optional(
            runs("log-broker"),
            within(
                time,
                "records",
                records(ports.address("log-broker", "listen"), &name, end)
            )
        ),
        optional(
            runs("namenode") && runs("datanode"),
            within(time, "files", files(ports.address("namenode", "rpc"), &name, end))
        ),
        optional(
            runs("stream"),
            within(time, "stream SQL", statements(ports.address("stream", "sql"), end))
        ),
        optional(
            runs("batch"),
            within(time, "batch SQL", rows(ports.address("batch", "flight"), end))
        ),
    );
    [keys, records, files, statements, rows].into_iter().flatten().collect()
}

async fn optional<T>(wanted: bool, work: impl Future<Output = T>) -> Option<T> {
    if wanted { Some(work.await) } else { None }
}

async fn within(time: Duration, what: &str, work: impl Future<Output = Result<Pace, String>>) -> Finding {
    let outcome = match timeout(time + GRACE, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("did not end within {} s", (time + GRACE).as_secs())),
    };
    match outcome {
        Ok(pace) => Finding::ok("workload", format!("{what}: {}", pace.describe())),
        Err(error) => Finding::error(
            "workload",
            format!("{what}: {error}"),
            "what was written did not come back as it was acknowledged, or was not accepted at all",
            "see `bonsai logs`, then the findings above",
        ),
    }
}

/// How long each round of a workload took.
#[derive(Debug, Default)]
struct Pace {
    times: Vec<Duration>,
}

impl Pace {
    fn add(&mut self, started: Instant) {
        self.times.push(started.elapsed());
    }

    /// `412 rounds, all right; median 2.1 ms, p99 6.0 ms`.
    fn describe(&self) -> String {
        let mut times = self.times.clone();
        times.sort();
        let at = |percent: usize| {
            let place = (times.len() * percent / 100).min(times.len().saturating_sub(1));
            times.get(place).map_or(0.0, |time| time.as_secs_f64() * 1e3)
        };
        let rounds = count(times.len() as u64, "round");
        format!("{rounds}, all verified; median {:.1} ms, p99 {:.1} ms", at(50), at(99))
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Puts, reads back, deletes.
async fn keys(endpoints: &str, name: &str, end: Instant) -> Result<Pace, String> {
    let client = coordinator_client::Client::lazy(endpoints).map_err(text)?;
    let mut pace = Pace::default();
    let mut revision = 0;
    for round in 0_u64.. {
        let started = Instant::now();
        let key = format!("/{name}/{round}");
        let put = client.put(key.clone(), round.to_string()).await.map_err(text)?;
        if put <= revision {
            return Err(format!("a put at revision {put} came after revision {revision}"));
        }
        revision = put;
        let found = client.get(key.clone()).await.map_err(text)?;
        let value = found.map(|found| found.value);
        if value.as_deref() != Some(round.to_string().as_bytes()) {
            return Err(format!("{key} was put as {round} and read as {value:?}"));
        }
        pace.add(started);
        if Instant::now() >= end {
            break;
        }
    }
    let deleted = client.delete(Keys::prefix(format!("/{name}/"))).await.map_err(text)?;
    if deleted as usize != pace.times.len() {
        return Err(format!("{} keys were put and {deleted} deleted", pace.times.len()));
    }
    Ok(pace)
}

/// Produces, then reads all of it back: each record once, in its order.
async fn records(broker: String, name: &str, end: Instant) -> Result<Pace, String> {
    let client = Client::connect_within(&broker, name, ANSWER_MAX).await.map_err(text)?;
    client.create_topic(name, 1, -1, &[]).await.map_err(text)?;
    let outcome = produce_and_fetch(&client, name, end).await;
    let deleted = client.delete_topic(name).await.map_err(text);
    outcome.and_then(|pace| deleted.map(|()| pace))
}

async fn produce_and_fetch(client: &Client, topic: &str, end: Instant) -> Result<Pace, String> {
    let producer = client.producer(ProducerOptions::default()).await.map_err(text)?;
    let mut pace = Pace::default();
    let mut sent = 0_usize;
    // Half of the time to write, so that there is time to read.
    let write_end = Instant::now() + end.saturating_duration_since(Instant::now()) / 2;
    loop {
        let started = Instant::now();
        let batch = (sent..sent + RECORDS).map(record).collect();
        let first = producer.send(topic, 0, batch).await.map_err(text)?;
        if first != sent as i64 {
            return Err(format!("record {sent} was stored at offset {first}"));
        }
        sent += RECORDS;
        pace.add(started);
        if Instant::now() >= write_end {
            break;
        }
    }
    let latest = client.offset(topic, 0, At::Latest).await.map_err(text)?;
    if latest != sent as i64 {
        return Err(format!(
            "{sent} records were acknowledged, and the log ends at {latest}"
        ));
    }
    let options = FetchOptions {
        max_wait: FETCH_WAIT,
        ..FetchOptions::default()
    };
    let mut next = 0;
    while next < sent {
        let fetched = client.fetch(topic, 0, next as i64, &options).await.map_err(text)?;
        if fetched.records.is_empty() {
            return Err(format!("{sent} records were acknowledged, and {next} can be read"));
        }
        for found in fetched.records {
            let expected = record(next);
            if (found.offset, &found.key, &found.value) != (next as i64, &expected.key, &expected.value) {
                return Err(format!("record {next} came back different, at offset {}", found.offset));
            }
            next += 1;
        }
    }
    Ok(pace)
}

fn record(number: usize) -> Record {
    Record {
        key: Some(Bytes::from(number.to_string())),
        value: Some(Bytes::from(contents(number, RECORD_BYTES))),
        ..Record::default()
    }
}

/// Bytes that depend on a number at each place.
fn contents(number: usize, length: usize) -> Vec<u8> {
    (0..length)
        .map(|place| ((place * 31) ^ (number * 17 + place / 256)) as u8)
        .collect()
}

/// Writes a file, reads it back, renames it, deletes it.
async fn files(name_node: String, name: &str, end: Instant) -> Result<Pace, String> {
    let client = ClientBuilder::new()
        .with_url(format!("hdfs://{name_node}"))
        .build()
        .map_err(text)?;
    let directory = format!("/{name}");
    client.mkdirs(&directory, 0o755, true).await.map_err(text)?;
    let outcome = write_and_read(&client, &directory, end).await;
    let deleted = client.delete(&directory, true).await.map_err(text);
    outcome.and_then(|pace| deleted.map(|_| pace))
}

async fn write_and_read(client: &hdfs_native::Client, directory: &str, end: Instant) -> Result<Pace, String> {
    let mut pace = Pace::default();
    for round in 0_usize.. {
        let started = Instant::now();
        let (path, renamed) = (format!("{directory}/{round}"), format!("{directory}/{round}-renamed"));
        let written = contents(round, FILE_BYTES);
        let mut file = client.create(&path, WriteOptions::default()).await.map_err(text)?;
        file.write(Bytes::from(written.clone())).await.map_err(text)?;
        file.close().await.map_err(text)?;
        client.rename(&path, &renamed, false).await.map_err(text)?;
        let mut file = client.read(&renamed).await.map_err(text)?;
        let length = file.file_length();
        let found = file.read(length).await.map_err(text)?;
        if found != written {
            return Err(format!(
                "{renamed}: {FILE_BYTES} bytes were written, other {} bytes read",
                found.len()
            ));
        }
        client.delete(&renamed, false).await.map_err(text)?;
        pace.add(started);
        if Instant::now() >= end {
            break;
        }
    }
    Ok(pace)
}

/// A statement through Flink's SQL gateway, and its rows.
async fn statements(gateway: String, end: Instant) -> Result<Pace, String> {
    let opened = call(&gateway, "POST", "v1/sessions", &json!({})).await?;
    let session = opened["sessionHandle"]
        .as_str()
        .ok_or("no session was opened")?
        .to_owned();
    let mut pace = Pace::default();
    let outcome = loop {
        let started = Instant::now();
        if let Err(error) = statement(&gateway, &session, pace.times.len()).await {
            break Err(error);
        }
        pace.add(started);
        if Instant::now() >= end {
            break Ok(());
        }
    };
    let closed = call(&gateway, "DELETE", &format!("v1/sessions/{session}"), &json!({})).await;
    outcome.and_then(|()| closed.map(|_| pace))
}

async fn statement(gateway: &str, session: &str, number: usize) -> Result<(), String> {
    let sql = format!("SELECT a + {number} FROM (VALUES (40), (41)) AS t (a)");
    let path = format!("v1/sessions/{session}/statements");
    let submitted = call(gateway, "POST", &path, &json!({ "statement": sql })).await?;
    let operation = submitted["operationHandle"]
        .as_str()
        .ok_or("no operation was begun")?
        .to_owned();
    let mut next = Some(format!(
        "v1/sessions/{session}/operations/{operation}/result/0?rowFormat=JSON"
    ));
    let mut values = Vec::new();
    while let Some(page) = next {
        let answer = call(gateway, "GET", &page, &Value::Null).await?;
        if answer["resultType"] == "NOT_READY" {
            tokio::time::sleep(POLL).await;
            next = Some(page);
            continue;
        }
        let rows = answer.pointer("/results/data").and_then(Value::as_array);
        values.extend(
            rows.into_iter()
                .flatten()
                .filter_map(|row| row.pointer("/fields/0")?.as_u64()),
        );
        next = answer["nextResultUri"]
            .as_str()
            .map(|uri| uri.trim_start_matches('/').to_owned());
    }
    values.sort_unstable();
    let expected = [40, 41].map(|value| value + number as u64);
    match values == expected {
        true => Ok(()),
        false => Err(format!("{sql} gave {values:?}")),
    }
}

async fn call(address: &str, method: &str, page: &str, body: &Value) -> Result<Value, String> {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let answer = timeout(ANSWER_MAX, http::request(address, method, page, &body)).await;
    let (code, answer) = answer
        .map_err(|_| format!("{page}: no answer in time"))?
        .map_err(text)?;
    if code != 200 {
        return Err(format!(
            "{page}: HTTP {code}: {}",
            crate::launch::health::one_line(&answer)
        ));
    }
    serde_json::from_str(&answer).map_err(text)
}

/// A query with an answer that is known, over Flight SQL.
async fn rows(address: String, end: Instant) -> Result<Pace, String> {
    let mut client = FlightSqlServiceClient::new(channel(&address).await?);
    let mut pace = Pace::default();
    loop {
        let started = Instant::now();
        let number = pace.times.len() as i64;
        let sql = format!("SELECT SUM(value) + {number} AS total FROM generate_series(1, 100000)");
        let info = client.execute(sql, None).await.map_err(text)?;
        let mut total = None;
        for endpoint in info.endpoint {
            let ticket = endpoint.ticket.ok_or("an endpoint without a ticket")?;
            let batches: Vec<_> = client
                .do_get(ticket)
                .await
                .map_err(text)?
                .try_collect()
                .await
                .map_err(text)?;
            for batch in batches.iter().filter(|batch| batch.num_rows() > 0) {
                let shown = arrow::util::display::array_value_to_string(batch.column(0), 0);
                total = Some(shown.map_err(text)?);
            }
        }
        let expected = (5_000_050_000 + number).to_string();
        if total.as_deref() != Some(expected.as_str()) {
            return Err(format!("a sum of {expected} came back as {total:?}"));
        }
        pace.add(started);
        if Instant::now() >= end {
            return Ok(pace);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_records_are_alike() {
        let all: std::collections::BTreeSet<Vec<u8>> = (0..256).map(|number| contents(number, RECORD_BYTES)).collect();
        assert!(all.len() > 200, "{}", all.len());
    }

    #[test]
    fn a_pace_is_described_by_its_median() {
        let times = (1..=100).map(Duration::from_millis).collect();
        let told = Pace { times }.describe();
        assert_eq!(told, "100 rounds, all verified; median 51.0 ms, p99 100.0 ms");
        assert!(Pace::default().describe().starts_with("0 rounds"));
    }
}
