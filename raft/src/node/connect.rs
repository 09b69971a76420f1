//! How a stream to another member comes to be: plain TCP here; whoever wants TLS gives another [`Connect`] and [`Accept`].

use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// How long a connection may take to come about, its greeting included.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

pub type Stream = Box<dyn Duplex>;
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Opens streams to members.
pub trait Connect: Debug + Send + Sync + 'static {
    /// `url` is one of the peer URLs that the member was added with, such as `http://host:2380`.
    fn connect<'a>(&'a self, url: &'a str) -> Pending<'a, io::Result<Stream>>;
}

/// Makes streams of the connections that members open.
pub trait Accept: Debug + Send + Sync + 'static {
    fn accept(&self, connection: TcpStream) -> Pending<'_, io::Result<Stream>>;
}

/// TCP as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plain;

/// `HOST:PORT` of a peer URL.
pub fn address_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

impl Connect for Plain {
    fn connect<'a>(&'a self, url: &'a str) -> Pending<'a, io::Result<Stream>> {
        Box::pin(async move {
            let connection = TcpStream::connect(address_of(url)).await?;
            connection.set_nodelay(true)?;
            Ok(Box::new(connection) as Stream)
        })
    }
}

impl Accept for Plain {
    fn accept(&self, connection: TcpStream) -> Pending<'_, io::Result<Stream>> {
        Box::pin(async move {
            connection.set_nodelay(true)?;
            Ok(Box::new(connection) as Stream)
        })
    }
}
