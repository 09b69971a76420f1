//! A TCP listener with a limit on open connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Keeps a connection counted; drop it when the connection has ended.
#[derive(Debug)]
pub struct Permit(#[allow(dead_code, reason = "held for its Drop")] OwnedSemaphorePermit);

/// Accepts connections; over the limit, new ones are closed at once.
#[derive(Debug)]
pub struct Listener {
    inner: TcpListener,
    permits: Arc<Semaphore>,
}

impl Listener {
    /// Binds `HOST:PORT`; port 0 picks a free one (see [`Listener::local_addr`]).
    ///
    /// # Errors
    /// Says which address could not be bound and why.
    pub async fn bind(address: &str, connections_max: usize) -> io::Result<Self> {
        let inner = TcpListener::bind(address)
            .await
            .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))?;
        Ok(Self { inner, permits: Arc::new(Semaphore::new(connections_max)) })
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    /// The next connection. Cancel safe.
    pub async fn accept(&self) -> (TcpStream, SocketAddr, Permit) {
        loop {
            match self.inner.accept().await {
                Ok((stream, peer)) => match Arc::clone(&self.permits).try_acquire_owned() {
                    Ok(permit) => {
                        let _ = stream.set_nodelay(true);
                        return (stream, peer, Permit(permit));
                    }
                    Err(_) => tracing::warn!(%peer, "too many connections; closed this one"),
                },
                Err(error) => {
                    // Out of descriptors, mostly: wait for some to be closed instead of spinning.
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// For servers that accept by themselves (tonic, axum).
    pub fn into_inner(self) -> TcpListener {
        self.inner
    }
}
