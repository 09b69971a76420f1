//! The connections to all endpoints, which one is in use, and the rule for trying again.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, ConnectError, Response, Status};

use crate::{Error, RETRY_DEADLINE};

/// The pause after the first failed try; it doubles up to [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_millis(500);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A server that does not answer an HTTP/2 ping for this long is given up: it is stopped or cut off.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Connection {
    endpoints: String,
    channels: Vec<Channel>,
    /// Index of the channel in use.
    current: AtomicUsize,
}

/// Whether a call may be sent twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    Write,
}

impl Connection {
    pub(crate) fn new(endpoints: &str) -> Result<Self, Error> {
        let channels = endpoints
            .split(',')
            .map(|endpoint| {
                let endpoint = endpoint.trim();
                let url = if endpoint.contains("://") {
                    endpoint.to_owned()
                } else {
                    format!("http://{endpoint}")
                };
                let invalid = || Error::Endpoint(endpoint.to_owned());
                let parsed = Endpoint::from_shared(url).map_err(|_| invalid())?;
                if parsed.uri().port().is_none() {
                    return Err(invalid());
                }
                Ok(parsed
                    .connect_timeout(CONNECT_TIMEOUT)
                    .tcp_nodelay(true)
                    .http2_keep_alive_interval(PING_INTERVAL)
                    .keep_alive_timeout(PING_TIMEOUT)
                    .connect_lazy())
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            endpoints: endpoints.to_owned(),
            channels,
            current: AtomicUsize::new(0),
        })
    }

    /// The endpoint in use: its number, to be given back to [`Connection::leave`], and its channel.
    pub(crate) fn channel(&self) -> (usize, Channel) {
        let current = self.current.load(Ordering::Relaxed) % self.channels.len();
        (current, self.channels[current].clone())
    }

    /// Endpoint `failed` does not serve: uses the next one, unless another task has moved on already.
    pub(crate) fn leave(&self, failed: usize) {
        let next = (failed + 1) % self.channels.len();
        let _moved_already = self
            .current
            .compare_exchange(failed, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub(crate) fn unreachable(&self, status: &Status) -> Error {
        Error::Unreachable {
            endpoints: self.endpoints.clone(),
            reason: root_cause(status),
        }
    }

    /// Makes `call` with a channel until a server has answered it or the deadline has passed.
    pub(crate) async fn call<T, F, Fut>(&self, kind: Kind, call: F) -> Result<T, Error>
    where
        F: Fn(Channel) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        let deadline = Instant::now() + RETRY_DEADLINE;
        let mut backoff = Backoff::default();
        loop {
            let (endpoint, channel) = self.channel();
            let status = match call(channel).await {
                Ok(response) => return Ok(response.into_inner()),
                Err(status) => status,
            };
            match Fate::of(&status) {
                Fate::Answered => return Err(Error::refused(&status)),
                Fate::Unknown if kind == Kind::Write => return Err(Error::Unknown(root_cause(&status))),
                Fate::NotSent | Fate::Unknown => {}
            }
            self.leave(endpoint);
            if Instant::now() >= deadline {
                return Err(self.unreachable(&status));
            }
            backoff.pause().await;
        }
    }
}

/// Growing pauses between tries.
#[derive(Debug)]
pub(crate) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(BACKOFF_MIN)
    }
}

impl Backoff {
    pub(crate) async fn pause(&mut self) {
        sleep(self.0).await;
        self.0 = (self.0 * 2).min(BACKOFF_MAX);
    }
}

/// What became of a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The server refused it.
    Answered,
    /// It did not reach a server that could carry it out.
    NotSent,
    /// It may have been carried out.
    Unknown,
}

impl Fate {
    pub(crate) fn of(status: &Status) -> Self {
        if has_cause::<ConnectError>(status) || status.message() == "etcdserver: no leader" {
            return Self::NotSent;
        }
        match status.code() {
            // A server's own answers of this code say that its part of the cluster could not finish in time.
            Code::Unavailable => Self::Unknown,
            // The transport broke: tonic has no code of the server's and keeps the cause.
            Code::Unknown | Code::Internal | Code::Cancelled if std::error::Error::source(status).is_some() => {
                Self::Unknown
            }
            _ => Self::Answered,
        }
    }
}

fn has_cause<E: std::error::Error + 'static>(status: &Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.is::<E>() {
            return true;
        }
        cause = error.source();
    }
    false
}

fn root_cause(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    text
}
