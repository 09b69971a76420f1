//! The handle: connections by address, and who leads what.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use log_broker_wire::Request;
use log_broker_wire::messages::find_coordinator::FindCoordinatorRequest;

use crate::connection::Connection;
use crate::retry::Retry;
use crate::{Error, Metadata};

/// How long a call is tried again before its last error is returned.
pub const DEADLINE_DEFAULT: Duration = Duration::from_secs(30);

/// Idle connections kept for one address.
const IDLE_CONNECTIONS_MAX: usize = 4;

/// A connection to a cluster. Cloning it is cheap; clones share connections.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
    deadline: Duration,
}

#[derive(Debug)]
struct Inner {
    bootstrap: Vec<String>,
    client_id: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    idle: BTreeMap<String, Vec<Connection>>,
    /// Address of each broker, as the newest metadata says.
    brokers: BTreeMap<i32, String>,
    /// Leader of each partition that was asked for.
    leaders: BTreeMap<(String, i32), i32>,
}

impl Client {
    /// Connects to the first of `host:port[,host:port]` that answers; waits for one until the default deadline.
    ///
    /// # Errors
    /// When none answers in time.
    pub async fn connect(bootstrap: &str, client_id: &str) -> Result<Client, Error> {
        Self::connect_within(bootstrap, client_id, DEADLINE_DEFAULT).await
    }

    /// [`Client::connect`] with a deadline of its own, for this and all later calls.
    ///
    /// # Errors
    /// When none answers in time.
    pub async fn connect_within(bootstrap: &str, client_id: &str, deadline: Duration) -> Result<Client, Error> {
        let bootstrap = bootstrap.split(',').map(|address| address.trim().to_owned()).collect();
        let inner = Inner {
            bootstrap,
            client_id: client_id.to_owned(),
            state: Mutex::default(),
        };
        let client = Client {
            inner: Arc::new(inner),
            deadline,
        };
        client.metadata(Some(&[])).await?;
        Ok(client)
    }

    pub(crate) fn retry(&self) -> Retry {
        Retry::new(self.deadline)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One call to one address, on a connection of its own.
    pub(crate) async fn call_at<R: Request>(
        &self,
        address: &str,
        request: &R,
        newest: i16,
        wait: Duration,
    ) -> Result<R::Response, Error> {
        let mut connection = self.checkout(address).await?;
        let response = connection.call(request, newest, wait).await?;
        self.give_back(address, connection);
        Ok(response)
    }

    /// Sends what is not answered.
    pub(crate) async fn send_at<R: Request>(&self, address: &str, request: &R, newest: i16) -> Result<(), Error> {
        let mut connection = self.checkout(address).await?;
        connection.send(request, newest).await?;
        self.give_back(address, connection);
        Ok(())
    }

    /// One call to any broker: the known ones first, then those of the bootstrap list.
    pub(crate) async fn call_any<R: Request>(&self, request: &R, newest: i16) -> Result<R::Response, Error> {
        let mut addresses: Vec<String> = self.state().brokers.values().cloned().collect();
        addresses.extend(self.inner.bootstrap.iter().cloned());
        let mut failure = Error::Unsupported { api: R::API };
        for address in addresses {
            match self.call_at(&address, request, newest, Duration::ZERO).await {
                Err(error) if error.is_retriable() => failure = error,
                outcome => return outcome,
            }
        }
        Err(failure)
    }

    async fn checkout(&self, address: &str) -> Result<Connection, Error> {
        let idle = {
            let mut state = self.state();
            let idle = state.idle.entry(address.to_owned()).or_default();
            idle.retain(Connection::is_usable);
            idle.pop()
        };
        match idle {
            Some(connection) => Ok(connection),
            None => Connection::open(address, &self.inner.client_id).await,
        }
    }

    fn give_back(&self, address: &str, connection: Connection) {
        let mut state = self.state();
        let idle = state.idle.entry(address.to_owned()).or_default();
        if idle.len() < IDLE_CONNECTIONS_MAX {
            idle.push(connection);
        }
    }

    /// Keeps what a metadata answer says about addresses and leaders.
    pub(crate) fn learn(&self, metadata: &Metadata) {
        let mut state = self.state();
        state.brokers = metadata
            .brokers
            .iter()
            .map(|b| (b.id, format!("{}:{}", b.host, b.port)))
            .collect();
        for topic in &metadata.topics {
            for partition in &topic.partitions {
                if partition.leader >= 0 {
                    state
                        .leaders
                        .insert((topic.name.clone(), partition.id), partition.leader);
                }
            }
        }
    }

    /// Forgets who leads a partition, after a call to the leader failed.
    pub(crate) fn forget_leader(&self, topic: &str, partition: i32) {
        self.state().leaders.remove(&(topic.to_owned(), partition));
    }

    /// Address of the leader of a partition; asks where it is not known.
    pub(crate) async fn leader(&self, topic: &str, partition: i32) -> Result<String, Error> {
        let key = (topic.to_owned(), partition);
        {
            let state = self.state();
            if let Some(address) = state.leaders.get(&key).and_then(|leader| state.brokers.get(leader)) {
                return Ok(address.clone());
            }
        }
        let metadata = self.metadata_once(Some(&[topic])).await?;
        let found = metadata.topics.iter().find(|found| found.name == topic);
        match found {
            Some(found) if found.error == log_broker_wire::ErrorCode::NONE => {
                if !found.partitions.iter().any(|found| found.id == partition) {
                    return Err(Error::UnknownPartition(topic.to_owned(), partition));
                }
            }
            Some(found) if found.error == log_broker_wire::ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => {
                return Err(Error::UnknownTopic(topic.to_owned()));
            }
            Some(found) => {
                return Err(Error::Broker {
                    what: format!("metadata of {topic}"),
                    code: found.error,
                    message: None,
                });
            }
            None => return Err(Error::UnknownTopic(topic.to_owned())),
        }
        let state = self.state();
        let address = state
            .leaders
            .get(&key)
            .and_then(|leader| state.brokers.get(leader))
            .cloned();
        address.ok_or_else(|| Error::NoLeader(topic.to_owned(), partition))
    }

    /// Address of the broker that coordinates a group.
    pub(crate) async fn coordinator(&self, group: &str) -> Result<String, Error> {
        let request = FindCoordinatorRequest {
            key: group.to_owned(),
            ..Default::default()
        };
        let response = self.call_any(&request, 3).await?; // From 4 on it takes several keys.
        Error::check(
            || format!("coordinator of group {group}"),
            response.error_code,
            response.error_message,
        )?;
        Ok(format!("{}:{}", response.host, response.port))
    }
}
