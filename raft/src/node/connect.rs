//! How a stream to another member comes to be: plain here, over TCP or a socket in the file system; anyone who wants TLS gives
//! another [`Connect`] and [`Accept`].

use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

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
    fn accept(&self, connection: Connection) -> Pending<'_, io::Result<Stream>>;
}

/// Where members connect.
#[derive(Debug)]
pub enum Door {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Door {
    pub(super) async fn accept(&self) -> io::Result<Connection> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok(Connection::Tcp(stream, address))
            }
            Self::Unix(listener) => {
                let (stream, _nameless) = listener.accept().await?;
                Ok(Connection::Unix(stream))
            }
        }
    }
}

impl From<TcpListener> for Door {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

impl From<UnixListener> for Door {
    fn from(listener: UnixListener) -> Self {
        Self::Unix(listener)
    }
}

/// What a member has opened, or is opened to it.
#[derive(Debug)]
pub enum Connection {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl Connection {
    /// Connects to `http://HOST:PORT/`, or to `unix://PATH`; with other schemes likewise.
    ///
    /// # Errors
    /// The system's.
    pub async fn open(url: &str) -> io::Result<Self> {
        if let Some(path) = path_of(url) {
            return Ok(Self::Unix(UnixStream::connect(path).await?));
        }
        let stream = TcpStream::connect(address_of(url)).await?;
        let address = stream.peer_addr()?;
        Ok(Self::Tcp(stream, address))
    }

    /// The other side's address, if it has one.
    pub fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(_, address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// As it is. Small messages are not held back for more.
    ///
    /// # Errors
    /// The system's.
    pub fn into_stream(self) -> io::Result<Stream> {
        Ok(match self {
            Self::Tcp(stream, _) => {
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            Self::Unix(stream) => Box::new(stream),
        })
    }
}

/// TCP or a socket in the file system, as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plain;

/// `HOST:PORT` of a peer URL.
pub fn address_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

/// The path of a peer URL that has one: all behind `unix://` or `unixs://`.
fn path_of(url: &str) -> Option<&str> {
    url.strip_prefix("unix://").or_else(|| url.strip_prefix("unixs://"))
}

impl Connect for Plain {
    fn connect<'a>(&'a self, url: &'a str) -> Pending<'a, io::Result<Stream>> {
        Box::pin(async move { Connection::open(url).await?.into_stream() })
    }
}

impl Accept for Plain {
    fn accept(&self, connection: Connection) -> Pending<'_, io::Result<Stream>> {
        Box::pin(async move { connection.into_stream() })
    }
}
