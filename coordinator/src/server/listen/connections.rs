//! Connections: plain or TLS, over TCP or a socket in the file system; counted, and closed when they say nothing.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use host::tls::Acceptor;
use host::{Listener, Permit, UnixListener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio::time::Sleep;
use tokio_stream::wrappers::ReceiverStream;

use crate::server::listen::authority::AuthorityFilter;
use crate::server::service::auth::credentials::CertificateName;
use crate::server::settings::url::Url;

/// Connections that may be open on one port.
const CONNECTIONS_MAX: usize = 8_192;
/// A client that has not sent a byte for so long after connecting is not one.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(10);
/// Accepted connections that may wait to be served.
const ACCEPTED_WAITING_MAX: usize = 64;

/// Connections that the kernel may hold until they are accepted, as tokio's own listeners have it.
const LISTEN_BACKLOG: u32 = 1_024;

/// What a connection with TLS begins with: a record of the handshake (RFC 8446, section 5.1). No HTTP does.
const TLS_HANDSHAKE: u8 = 22;

/// A place where clients connect.
pub(in crate::server) struct Endpoint {
    socket: Socket,
    tls: Option<Acceptor>,
    /// Whether those without TLS are served, too.
    is_plain: bool,
}

enum Socket {
    Tcp(Listener),
    Unix(UnixListener),
}

impl Endpoint {
    /// Binds what `flag` has. `tls` is for URLs that say so.
    ///
    /// # Errors
    /// One sentence that names the address and the flag.
    pub(in crate::server) async fn bind(
        flag: &str,
        url: &Url,
        tls: Option<&Acceptor>,
        reuse_port: bool,
    ) -> io::Result<Self> {
        let socket = match url.path() {
            Some(path) => Socket::Unix(UnixListener::bind_for(flag, &path, CONNECTIONS_MAX)?),
            None => Socket::Tcp(Listener::with(
                bind_tcp(flag, url.address(), reuse_port).await?,
                CONNECTIONS_MAX,
            )),
        };
        let tls = tls.filter(|_| url.is_secure()).cloned();
        let is_plain = tls.is_none();
        Ok(Self { socket, tls, is_plain })
    }

    /// Serves another URL of the same host and port as well, as etcd does: each connection shows by its first byte whether
    /// it has TLS.
    pub(in crate::server) fn share(&mut self, url: &Url, tls: Option<&Acceptor>) {
        match tls.filter(|_| url.is_secure()) {
            Some(tls) => self.tls = Some(tls.clone()),
            None => self.is_plain = true,
        }
    }

    /// The address, unless it is a path.
    pub(in crate::server) fn local_addr(&self) -> io::Result<Option<SocketAddr>> {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().map(Some),
            Socket::Unix(_) => Ok(None),
        }
    }

    /// The next connection. Cancel safe.
    async fn accept(&self) -> (Accepted, Permit) {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, peer, permit) = listener.accept().await;
                (Accepted::Tcp(stream, peer), permit)
            }
            Socket::Unix(listener) => {
                let (stream, permit) = listener.accept().await;
                (Accepted::Unix(stream), permit)
            }
        }
    }
}

/// Binds an address that was given by `flag`; with SO_REUSEPORT where that is wanted.
///
/// # Errors
/// One sentence that names the address and the flag.
pub(in crate::server) async fn bind_tcp(flag: &str, address: &str, reuse_port: bool) -> io::Result<TcpListener> {
    let bound = if reuse_port {
        bind_shared(address).await
    } else {
        TcpListener::bind(address).await
    };
    bound.map_err(|error| {
        let sentence = format!("cannot listen on {address}: {error}; choose another address with {flag}");
        io::Error::new(error.kind(), sentence)
    })
}

async fn bind_shared(address: &str) -> io::Result<TcpListener> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in tokio::net::lookup_host(address).await? {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        socket.set_reuseaddr(true)?;
        socket.set_reuseport(true)?;
        match socket.bind(address).and_then(|()| socket.listen(LISTEN_BACKLOG)) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl Accepted {
    fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(_, peer) => Some(*peer),
            Self::Unix(_) => None,
        }
    }

    fn into_stream(self) -> Box<dyn Stream> {
        match self {
            Self::Tcp(stream, _) => Box::new(stream),
            Self::Unix(stream) => Box::new(stream),
        }
    }

    /// Waits for the first byte, and leaves it there. Sockets in the file system have one URL each.
    async fn has_tls(&self) -> io::Result<bool> {
        let Self::Tcp(stream, _) = self else { return Ok(true) };
        let mut first = [0];
        let length = tokio::time::timeout(FIRST_BYTE_TIMEOUT, stream.peek(&mut first)).await??;
        Ok(length > 0 && first == [TLS_HANDSHAKE])
    }

    /// With TLS, or as it is.
    async fn into_connection(self, tls: Acceptor, may_be_plain: bool, permit: Permit) -> io::Result<Connection> {
        if may_be_plain && !self.has_tls().await? {
            return Ok(Connection::plain(self.into_stream(), permit));
        }
        let peer = self.peer();
        let accepted = tls.accept(self.into_stream(), peer.map(|peer| peer.ip())).await?;
        let stream = Box::new(accepted.stream);
        Ok(Connection::new(stream, true, accepted.common_name, permit))
    }
}

/// What bytes go over.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connection and its place in the count.
pub(in crate::server) struct Connection {
    stream: Box<dyn Stream>,
    /// Until the first byte has come.
    waiting: Option<Pin<Box<Sleep>>>,
    /// Whether what is to be written has let others go first.
    let_others_go: bool,
    certificate: CertificateName,
    has_tls: bool,
    authorities: AuthorityFilter,
    /// What the filter has let pass and no one has read yet.
    passed: BytesMut,
    _permit: Permit,
}

impl Connection {
    fn plain(stream: Box<dyn Stream>, permit: Permit) -> Self {
        Self::new(stream, false, None, permit)
    }

    fn new(stream: Box<dyn Stream>, has_tls: bool, certificate: Option<String>, permit: Permit) -> Self {
        Self {
            stream,
            waiting: Some(Box::pin(tokio::time::sleep(FIRST_BYTE_TIMEOUT))),
            let_others_go: false,
            certificate: CertificateName(certificate.map(Into::into)),
            has_tls,
            authorities: AuthorityFilter::default(),
            passed: BytesMut::new(),
            _permit: permit,
        }
    }

    pub(in crate::server) fn has_tls(&self) -> bool {
        self.has_tls
    }

    /// Whose certificate it was made with.
    pub(in crate::server) fn certificate(&self) -> CertificateName {
        self.certificate.clone()
    }
}

/// What all connections of this process have received and sent, in bytes.
static RECEIVED_BYTES: AtomicU64 = AtomicU64::new(0);
static SENT_BYTES: AtomicU64 = AtomicU64::new(0);

/// Bytes received and sent so far.
pub(in crate::server) fn bytes() -> (u64, u64) {
    (
        RECEIVED_BYTES.load(Ordering::Relaxed),
        SENT_BYTES.load(Ordering::Relaxed),
    )
}

/// Accepts at all endpoints until shutdown.
pub(in crate::server) fn accept(endpoints: Vec<Endpoint>, shutdown: &host::Shutdown) -> ReceiverStream<Connection> {
    let (sender, receiver) = mpsc::channel(ACCEPTED_WAITING_MAX);
    for endpoint in endpoints {
        let (sender, shutdown) = (sender.clone(), shutdown.clone());
        tokio::spawn(async move {
            loop {
                let (accepted, permit) = tokio::select! {
                    accepted = endpoint.accept() => accepted,
                    () = shutdown.requested() => return,
                };
                let Some(tls) = endpoint.tls.clone() else {
                    let connection = Connection::plain(accepted.into_stream(), permit);
                    if sender.send(connection).await.is_err() {
                        return;
                    }
                    continue;
                };
                // Shaking hands takes as long as the other side wants, up to its limit; others are accepted meanwhile.
                let (sender, is_plain, peer) = (sender.clone(), endpoint.is_plain, accepted.peer());
                tokio::spawn(async move {
                    match accepted.into_connection(tls, is_plain, permit).await {
                        Ok(connection) => {
                            // An error means that the server has ended.
                            let _ended = sender.send(connection).await;
                        }
                        Err(error) => tracing::warn!(?peer, %error, "rejected connection on client endpoint"),
                    }
                });
            }
        });
    }
    ReceiverStream::new(receiver)
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let connection = &mut *self;
        let before = buffer.filled().len();
        while connection.passed.is_empty() {
            let read = Pin::new(&mut connection.stream).poll_read(context, buffer);
            if read.is_pending()
                && let Some(waiting) = &mut connection.waiting
                && waiting.as_mut().poll(context).is_ready()
            {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            let received = buffer.filled().len() - before;
            match read {
                Poll::Ready(Ok(())) => {
                    RECEIVED_BYTES.fetch_add(received as u64, Ordering::Relaxed);
                    connection.waiting = None;
                }
                unread => return unread,
            }
            if received == 0 {
                connection.authorities.end(&mut connection.passed);
                break;
            }
            if connection.authorities.passes_whole(received) {
                return Poll::Ready(Ok(()));
            }
            let bytes = &buffer.filled()[before..];
            connection.authorities.filter(bytes, &mut connection.passed);
            buffer.set_filled(before);
        }
        let taken = connection.passed.len().min(buffer.remaining());
        buffer.put_slice(&connection.passed[..taken]);
        connection.passed.advance(taken);
        Poll::Ready(Ok(()))
    }
}

/// Many answers, one write.
///
/// A call that ends wakes its connection, which then would write that one answer, while the other calls of the same
/// client are about to end as well. So a write lets everyone who is ready to run go first, once; what they have to say is
/// then part of it. With eight calls under way on a connection this halves what the kernel takes of a call.
impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !self.let_others_go {
            self.let_others_go = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let Poll::Ready(written) = &written {
            SENT_BYTES.fetch_add(*written.as_ref().unwrap_or(&0) as u64, Ordering::Relaxed);
            self.let_others_go = false;
        }
        written
    }

    /// HTTP/2 then copies payloads of up to a kilobyte into one buffer with the frames around them. Otherwise each of them
    /// is a write of its own.
    fn is_write_vectored(&self) -> bool {
        false
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
