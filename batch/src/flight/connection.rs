//! A TCP connection that counts against the listener's limit for as long as it lives, and has a session.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use futures::Stream;
use host::{Listener, Permit};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tonic::transport::server::Connected;

use crate::engine::Session;

pub struct Connection {
    stream: TcpStream,
    session: ConnectionSession,
    _permit: Permit,
}

/// The session of a connection, which its first call opens.
#[derive(Clone, Default)]
pub struct ConnectionSession {
    session: Arc<OnceLock<Session>>,
}

impl ConnectionSession {
    pub fn get_or_open(&self, open: impl FnOnce() -> Session) -> Session {
        self.session.get_or_init(open).clone()
    }
}

/// The listener's connections, without end.
pub fn accepted(listener: Listener) -> impl Stream<Item = io::Result<Connection>> {
    futures::stream::unfold(listener, |listener| async move {
        let (stream, _peer, permit) = listener.accept().await;
        Some((
            Ok(Connection {
                stream,
                session: ConnectionSession::default(),
                _permit: permit,
            }),
            listener,
        ))
    })
}

impl Connected for Connection {
    type ConnectInfo = ConnectionSession;

    fn connect_info(&self) -> ConnectionSession {
        self.session.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
