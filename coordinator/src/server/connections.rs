//! Connections: counted, and closed when they say nothing.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use host::{Listener, Permit};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

/// Connections that may be open on one port.
pub(super) const CONNECTIONS_MAX: usize = 8_192;
/// A client that has not sent a byte for so long after connecting is not one.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(10);
/// Accepted connections that may wait to be served.
const ACCEPTED_WAITING_MAX: usize = 64;

/// A connection and its place in the count.
pub(super) struct Connection {
    stream: TcpStream,
    /// Until the first byte has come.
    waiting: Option<Pin<Box<Sleep>>>,
    /// Whether what is to be written has let others go first.
    let_others_go: bool,
    _permit: Permit,
}

/// Accepts on all listeners until shutdown.
pub(super) fn accept(
    listeners: Vec<Listener>,
    shutdown: &host::Shutdown,
) -> ReceiverStream<Result<Connection, io::Error>> {
    let (sender, receiver) = mpsc::channel(ACCEPTED_WAITING_MAX);
    for listener in listeners {
        let (sender, shutdown) = (sender.clone(), shutdown.clone());
        tokio::spawn(async move {
            loop {
                let (stream, _peer, permit) = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = shutdown.requested() => return,
                };
                let waiting = Some(Box::pin(tokio::time::sleep(FIRST_BYTE_TIMEOUT)));
                if sender
                    .send(Ok(Connection {
                        stream,
                        waiting,
                        let_others_go: false,
                        _permit: permit,
                    }))
                    .await
                    .is_err()
                {
                    return;
                }
            }
        });
    }
    ReceiverStream::new(receiver)
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) -> Self::ConnectInfo {}
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_ready() {
            self.waiting = None;
        } else if let Some(waiting) = &mut self.waiting
            && waiting.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

/// Many answers, one write.
///
/// A call that ends wakes its connection, which then would write that one answer, while the other calls of the same
/// client are about to end as well. So a write lets everybody who is ready to run go first, once; what they have to say is
/// then part of it. With eight calls under way on a connection this halves what the kernel takes of a call.
impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !self.let_others_go {
            self.let_others_go = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if written.is_ready() {
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
