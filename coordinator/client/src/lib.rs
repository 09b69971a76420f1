//! A thin client of the etcd v3 API: it works against the coordinator and against a real etcd.
//!
//! [`Client`] is a cheap clone around one HTTP/2 connection an endpoint. A call that could not reach a server, or whose
//! server has no leader, is tried on the next endpoint until it succeeds or [`RETRY_DEADLINE`] has passed, because
//! servers are restarted under their clients. A *write* is tried again only if it surely was not sent; where its fate
//! is unknown, the caller gets [`Error::Unknown`] and must look. [`Watch`] and [`LeaseKeeper`] mend themselves: a watch
//! goes on at the revision after the last one it delivered, so nothing is missed or told twice.
//!
//! [`registry`] is the one scheme by which programs register in the coordinator and find each other; [`Options`] are the
//! flags of a program that does.
//!
//! Missing on purpose: the maintenance calls. The generated types are in [`wire`], the raw channel is given by
//! [`Client::channel`], for callers that need more.

mod connection;
mod error;
mod kv;
mod lease;
mod options;
pub mod registry;
mod watch;

use std::sync::Arc;
use std::time::Duration;

pub use coordinator_wire as wire;
pub use coordinator_wire::mvccpb::KeyValue;

use connection::Connection;
pub use error::Error;
pub use kv::{Compare, Keys, Op, PutOptions, RangeOptions, Ranged, TxnResult};
pub use lease::LeaseKeeper;
pub use options::{Options, OptionsError};
pub use watch::{Change, Changes, Watch};

/// How long a call is tried before its last error is returned.
pub const RETRY_DEADLINE: Duration = Duration::from_secs(30);

/// A client of one cluster. Clones share the connections.
#[derive(Debug, Clone)]
pub struct Client {
    connection: Arc<Connection>,
}

impl Client {
    /// Prepares a client for `endpoints`: `HOST:PORT`, several separated by commas, with or without `http://`, and
    /// waits until one of them answers.
    ///
    /// # Errors
    /// [`Error::Endpoint`] for an address that cannot be one; otherwise what the last try said after the deadline.
    pub async fn connect(endpoints: &str) -> Result<Self, Error> {
        let client = Self::lazy(endpoints)?;
        client
            .range(
                Keys::one("\0"),
                RangeOptions {
                    count_only: true,
                    serializable: true,
                    ..Default::default()
                },
            )
            .await?;
        Ok(client)
    }

    /// Like [`Client::connect`] without waiting for an answer: the first call connects. Must be called inside a runtime.
    pub fn lazy(endpoints: &str) -> Result<Self, Error> {
        Self::secured(endpoints, None, None)
    }

    /// Like [`Client::lazy`], with certificates for `https://` endpoints and as a user with a password.
    pub(crate) fn secured(
        endpoints: &str,
        tls: Option<tonic::transport::ClientTlsConfig>,
        user: Option<(String, String)>,
    ) -> Result<Self, Error> {
        Ok(Self {
            connection: Arc::new(Connection::new(endpoints, tls, user)?),
        })
    }

    /// The channel to the endpoint that is in use now, for calls that this client does not have.
    pub fn channel(&self) -> tonic::transport::Channel {
        self.connection.channel().1
    }
}
