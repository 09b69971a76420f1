//! Listeners with a limit on open connections.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixStream};
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

    /// Takes a socket that listens already.
    pub fn with(inner: TcpListener, connections_max: usize) -> Self {
        Self {
            inner,
            permits: Arc::new(Semaphore::new(connections_max)),
        }
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

/// Binds a path. A socket that is there already is replaced: a server that was killed leaves it behind. Anything else is
/// not.
///
/// # Errors
/// The system's.
pub fn bind_path(path: &Path) -> io::Result<tokio::net::UnixListener> {
    let is_left_behind = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    if is_left_behind {
        std::fs::remove_file(path)?;
    }
    tokio::net::UnixListener::bind(path)
}

/// As [`Listener`], on a socket in the file system. It is removed again at the end.
#[derive(Debug)]
pub struct UnixListener {
    inner: tokio::net::UnixListener,
    permits: Arc<Semaphore>,
    path: PathBuf,
}

impl UnixListener {
    /// As [`bind_path`], for a path that was given by `flag`.
    ///
    /// # Errors
    /// Says which path could not be bound, why, and which flag changes it.
    pub fn bind_for(flag: &str, path: &Path, connections_max: usize) -> io::Result<Self> {
        let named = |error: io::Error| {
            let path = path.display();
            let sentence = format!("cannot listen on {path}: {error}; choose another path with {flag}");
            io::Error::new(error.kind(), sentence)
        };
        Ok(Self {
            inner: bind_path(path).map_err(named)?,
            permits: Arc::new(Semaphore::new(connections_max)),
            path: path.to_owned(),
        })
    }

    /// The next connection. Cancel safe.
    pub async fn accept(&self) -> (UnixStream, Permit) {
        loop {
            match self.inner.accept().await {
                Ok((stream, _nameless)) => match Arc::clone(&self.permits).try_acquire_owned() {
                    Ok(permit) => return (stream, Permit(permit)),
                    Err(_) => tracing::warn!(path = %self.path.display(), "too many connections; closed one"),
                },
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

impl Drop for UnixListener {
    fn drop(&mut self) {
        // Gone already is as well.
        let _gone = std::fs::remove_file(&self.path);
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

    #[tokio::test]
    async fn a_socket_left_behind_is_replaced_and_a_file_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let listener = UnixListener::bind_for("--listen", &path, 1).unwrap();
        let (accepted, connected) = tokio::join!(listener.accept(), UnixStream::connect(&path));
        drop((accepted, connected.unwrap()));
        drop(listener);
        assert!(!path.exists(), "it is removed at the end");
        std::fs::write(&path, "precious").unwrap();
        let error = UnixListener::bind_for("--listen", &path, 1).unwrap_err().to_string();
        assert!(error.contains("socket") && error.contains("--listen"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }
}
