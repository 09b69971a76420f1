//! A TCP listener with a limit on open connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long accepting rests after an error (no descriptors left, mostly) instead of spinning.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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
        Ok(Self {
            inner,
            permits: Arc::new(Semaphore::new(connections_max)),
        })
    }

    /// As [`Listener::bind`], for an address that was given by `flag` (`--listen`).
    ///
    /// # Errors
    /// Names the flag that changes the address, too.
    pub async fn bind_for(flag: &str, address: &str, connections_max: usize) -> io::Result<Self> {
        Self::bind(address, connections_max)
            .await
            .map_err(|error| io::Error::new(error.kind(), format!("{error}; choose another address with {flag}")))
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
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// For servers that accept by themselves (tonic).
    pub fn into_inner(self) -> TcpListener {
        self.inner
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn connections_over_the_limit_are_closed_until_one_ends() {
        let listener = Listener::bind("127.0.0.1:0", 1).await.unwrap();
        let address = listener.local_addr().unwrap();
        let _first = TcpStream::connect(address).await.unwrap();
        let (_stream, _, permit) = listener.accept().await;
        let mut second = TcpStream::connect(address).await.unwrap();
        let mut byte = [0];
        tokio::select! {
            _ = listener.accept() => panic!("the limit is one"),
            read = second.read(&mut byte) => assert_eq!(read.unwrap(), 0, "closed"),
        }
        drop(permit);
        let (accepted, connected) = tokio::join!(listener.accept(), TcpStream::connect(address));
        assert_eq!(accepted.1, connected.unwrap().local_addr().unwrap());
    }

    #[tokio::test]
    async fn a_taken_port_is_named_with_its_flag() {
        let taken = Listener::bind("127.0.0.1:0", 1).await.unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let error = Listener::bind_for("--listen", &address, 1)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(&address) && error.contains("--listen") && error.contains("in use"),
            "{error}"
        );
    }
}
