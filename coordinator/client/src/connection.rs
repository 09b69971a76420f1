//! The connections to all endpoints, which one is in use, and the rule for trying again.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use coordinator_wire::etcdserverpb::AuthenticateRequest;
use coordinator_wire::etcdserverpb::auth_client::AuthClient;

use tokio::time::{Instant, sleep};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, ConnectError, Request, Response, Status};

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
    /// Name and password, where the calls are made as a user.
    user: Option<(String, String)>,
    token: Token,
}

/// A channel whose calls carry the user's token.
pub(crate) type Transport = InterceptedService<Channel, Token>;

/// What the server gave for the password; none before the first call, and none where there is no user.
#[derive(Debug, Clone, Default)]
pub(crate) struct Token(Arc<RwLock<Option<MetadataValue<Ascii>>>>);

impl Token {
    fn get(&self) -> Option<MetadataValue<Ascii>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, token: Option<MetadataValue<Ascii>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = token;
    }
}

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = self.get() {
            request.metadata_mut().insert("token", token);
        }
        Ok(request)
    }
}

/// Whether a call may be sent twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    Write,
}

impl Connection {
    pub(crate) fn new(
        endpoints: &str,
        tls: Option<ClientTlsConfig>,
        user: Option<(String, String)>,
    ) -> Result<Self, Error> {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let channels = endpoints
            .split(',')
            .map(|endpoint| {
                let endpoint = endpoint.trim();
                let url = if endpoint.contains("://") {
                    endpoint.to_owned()
                } else {
                    format!("{scheme}://{endpoint}")
                };
                let invalid = || Error::Endpoint(endpoint.to_owned());
                let parsed = Endpoint::from_shared(url).map_err(|_| invalid())?;
                if parsed.uri().port().is_none() {
                    return Err(invalid());
                }
                let parsed = match &tls {
                    Some(tls) if parsed.uri().scheme_str() == Some("https") => {
                        parsed.tls_config(tls.clone()).map_err(|_| invalid())?
                    }
                    _ => parsed,
                };
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
            user,
            token: Token::default(),
        })
    }

    /// The endpoint in use: its number, to be given back to [`Connection::leave`], and its channel.
    pub(crate) fn channel(&self) -> (usize, Channel) {
        let current = self.current.load(Ordering::Relaxed) % self.channels.len();
        (current, self.channels[current].clone())
    }

    /// As [`Connection::channel`], with the user's token on each call. `Err` is the answer to the name and password.
    pub(crate) async fn transport(&self) -> (usize, Result<Transport, Status>) {
        let (endpoint, channel) = self.channel();
        let authenticated = self.authenticate(channel.clone()).await;
        let transport = authenticated.map(|()| InterceptedService::new(channel, self.token.clone()));
        (endpoint, transport)
    }

    /// Exchanges name and password for a token, where there is a user and no token yet.
    async fn authenticate(&self, channel: Channel) -> Result<(), Status> {
        let Some((name, password)) = &self.user else {
            return Ok(());
        };
        if self.token.get().is_some() {
            return Ok(());
        }
        let request = AuthenticateRequest {
            name: name.clone(),
            password: password.clone(),
        };
        match AuthClient::new(channel).authenticate(request).await {
            Ok(answer) => {
                let token = answer.into_inner().token.parse();
                self.token.set(Some(
                    token.map_err(|_| Status::internal("the token is no header value"))?,
                ));
                Ok(())
            }
            // As in etcd's client: a user does no harm where none is needed.
            Err(status) if status.message() == "etcdserver: authentication is not enabled" => Ok(()),
            Err(status) => Err(status),
        }
    }

    /// Whether the token had ended, so that the call should be made again with a new one.
    pub(crate) fn renews(&self, status: &Status) -> bool {
        // It ended by itself, or with a change of the users.
        let has_ended =
            status.code() == Code::Unauthenticated || status.message() == "etcdserver: revision of auth store is old";
        let had_none = status.message() == "etcdserver: user name is empty";
        let stale = self.user.is_some() && (had_none || has_ended && self.token.get().is_some());
        if stale {
            self.token.set(None);
        }
        stale
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
        F: Fn(Transport) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        let deadline = Instant::now() + RETRY_DEADLINE;
        let mut backoff = Backoff::default();
        let mut renewed = false;
        loop {
            let (endpoint, transport) = self.transport().await;
            let (status, was_sent) = match transport {
                Ok(transport) => match call(transport).await {
                    Ok(response) => return Ok(response.into_inner()),
                    Err(status) => (status, true),
                },
                Err(status) => (status, false),
            };
            match Fate::of(&status) {
                Fate::Answered if was_sent && !renewed && self.renews(&status) => {
                    renewed = true;
                    continue;
                }
                Fate::Answered => return Err(Error::refused(&status)),
                Fate::Unknown if kind == Kind::Write && was_sent => return Err(Error::Unknown(root_cause(&status))),
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
