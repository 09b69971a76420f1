//! A call of each service's own protocol, as its clients make it: the only proof that clients are served.
//!
//! A health page says what the service thinks of itself. A probe says what a client gets: etcd's `Status`, Kafka's
//! `ApiVersions` and `Metadata`, `getFsStats` of a name node and `getDatanodeInfo` of a data node (Hadoop RPC), Flink's
//! `/jobs/overview`, and a statement over Flight SQL. What the answer tells (off-line partitions, missing blocks, failed
//! jobs) becomes facts; what means that clients are not served is a problem.

mod batch;
mod coordinator;
mod datanode;
mod log_broker;
mod namenode;
pub mod stream;

use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};

use super::board::{State, Status};
use super::ports::Ports;
use super::service;

/// A service that does not answer a small call within this time does not serve.
pub const ANSWER_MAX: Duration = Duration::from_secs(5);

/// What a service answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The call, in the protocol's own words.
    pub call: &'static str,
    pub elapsed: Duration,
    pub facts: Facts,
}

/// What an answer tells.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    pub values: Map<String, Value>,
    /// The most important of them, for a column of the table.
    pub summary: String,
    /// What does not hinder clients, but an operator should know.
    pub warnings: Vec<String>,
    /// Why clients are not served as they should be.
    pub problem: Option<String>,
}

impl Facts {
    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.values.insert(name.to_owned(), value.into());
        self
    }

    fn summary(mut self, text: impl Into<String>) -> Self {
        self.summary = text.into();
        self
    }
}

/// A probe of each service, all at the same time; none of a service that is not ready.
pub async fn of_all(services: &[Status], ports: &Ports) -> Vec<Option<Result<Answer, String>>> {
    futures::future::join_all(services.iter().map(|status| of(status, ports))).await
}

async fn of(status: &Status, ports: &Ports) -> Option<Result<Answer, String>> {
    let row = service::find(&status.service)?;
    let is_running = |process: super::procfs::Process| process.is_alive() && !process.is_stopped();
    if status.state != State::Ready || !status.process.is_some_and(is_running) {
        return None;
    }
    let address = |port: &str| ports.address(&status.service, port);
    let started = Instant::now();
    let (call, asked) = match row.name {
        "coordinator" => (
            coordinator::CALL,
            timeout(ANSWER_MAX, coordinator::ask(&address("client"))).await,
        ),
        "log-broker" => (
            log_broker::CALL,
            timeout(ANSWER_MAX, log_broker::ask(&address("listen"))).await,
        ),
        "namenode" => (
            namenode::CALL,
            timeout(ANSWER_MAX, namenode::ask(&address("rpc"))).await,
        ),
        "datanode" => (
            datanode::CALL,
            timeout(ANSWER_MAX, datanode::ask(&address("ipc"))).await,
        ),
        "stream" => (stream::CALL, timeout(ANSWER_MAX, stream::ask(&address("sql"))).await),
        "batch" => (batch::CALL, timeout(ANSWER_MAX, batch::ask(&address("flight"))).await),
        _ => return None,
    };
    let elapsed = started.elapsed();
    Some(match asked {
        Ok(Ok(facts)) => Ok(Answer { call, elapsed, facts }),
        Ok(Err(error)) => Err(format!("{call}: {error}")),
        Err(_) => Err(format!("{call}: no answer within {} s", ANSWER_MAX.as_secs())),
    })
}

/// A gRPC connection.
pub async fn channel(address: &str) -> Result<Channel, String> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| error.to_string())?;
    let connected = endpoint.connect_timeout(ANSWER_MAX).connect().await;
    connected.map_err(|error| chain(&error))
}

/// An error with its causes: that of a transport is "transport error".
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let inner = error.to_string();
        if !text.contains(&inner) {
            text = format!("{text}: {inner}");
        }
        cause = error.source();
    }
    text
}

/// `1 topic`, `2 topics`.
pub fn count(number: u64, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}
