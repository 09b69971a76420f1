//! Streams between members: what their URLs say, plain or TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use host::tls::{Acceptor, Connector};
use raft::node::{Accept, Connect, Connection, Pending, Plain, Stream, address_of};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::server::settings::url::Url;

/// How this member accepts others and connects to them.
#[derive(Debug, Clone)]
pub(in crate::server) struct PeerStreams {
    tls: Option<(Acceptor, Option<Connector>)>,
}

impl PeerStreams {
    /// `tls` is for the URLs that say so; without, they cannot be connected to, nor without authorities.
    pub(in crate::server) fn new(tls: Option<(Acceptor, Option<Connector>)>) -> Self {
        Self { tls }
    }

    /// What connects to other members, each by its own URL.
    pub(in crate::server) fn connect(&self) -> Arc<dyn Connect> {
        let connector = self.tls.as_ref().and_then(|(_, connector)| connector.clone());
        Arc::new(Dial(connector))
    }

    /// What accepts members that connect to `url`.
    pub(in crate::server) fn accept(&self, url: &Url) -> Arc<dyn Accept> {
        match &self.tls {
            Some((acceptor, _)) if url.is_secure() => Arc::new(Welcome(acceptor.clone())),
            _ => Arc::new(Plain),
        }
    }
}

#[derive(Debug)]
struct Dial(Option<Connector>);

impl Connect for Dial {
    fn connect<'a>(&'a self, url: &'a str) -> Pending<'a, io::Result<Stream>> {
        if !url.starts_with("https://") && !url.starts_with("unixs://") {
            return Plain.connect(url);
        }
        Box::pin(async move {
            let Some(connector) = &self.0 else {
                let sentence = format!(
                    "{url} speaks TLS: give --peer-cert-file, --peer-key-file and --peer-trusted-ca-file, or --peer-auto-tls"
                );
                return Err(io::Error::new(io::ErrorKind::Unsupported, sentence));
            };
            let address = address_of(url);
            let connection = Connection::open(url).await?.into_stream()?;
            let host = address.rsplit_once(':').map_or(address, |(host, _port)| host);
            let stream = connector.connect(connection, host).await?;
            Ok(Box::new(Dialled(stream)) as Stream)
        })
    }
}

/// A stream that was opened with TLS. With TLS 1.3 the other side's verdict on this one's certificate comes with the first
/// bytes that are read.
struct Dialled<S>(S);

impl<S: AsyncRead + Unpin> AsyncRead for Dialled<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0)
            .poll_read(context, buffer)
            .map_err(host::tls::told)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Dialled<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[derive(Debug)]
struct Welcome(Acceptor);

impl Accept for Welcome {
    fn accept(&self, connection: Connection) -> Pending<'_, io::Result<Stream>> {
        Box::pin(async move {
            let peer = connection.peer().map(|peer| peer.ip());
            let accepted = self.0.accept(connection.into_stream()?, peer).await;
            let accepted =
                accepted.inspect_err(|error| tracing::warn!(?peer, %error, "rejected connection on peer endpoint"))?;
            Ok(Box::new(accepted.stream) as Stream)
        })
    }
}

#[cfg(test)]
mod tests {
    use host::tls::{Options, self_signed};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn secure(directory: &std::path::Path) -> PeerStreams {
        let hosts = ["127.0.0.1".to_owned()];
        let made = self_signed(directory, &hosts, 1, std::time::SystemTime::now()).expect("made");
        let options = Options {
            cert_file: made.cert_file,
            key_file: made.key_file,
            trust_anybody: true,
            ..Options::default()
        };
        let acceptor = Acceptor::new(options.clone()).expect("usable");
        PeerStreams::new(Some((acceptor, Some(Connector::new(options).expect("usable")))))
    }

    /// Says a word from one member to another; `Err` if they do not understand each other.
    async fn talk(from: &PeerStreams, to: &PeerStreams, scheme: &str) -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("{scheme}://{}", listener.local_addr()?);
        let accept = to.accept(&Url::parse("--listen-peer-urls", &url).expect("a URL"));
        let connect = from.connect();
        let welcome = async {
            let (connection, address) = listener.accept().await?;
            let mut stream = accept.accept(Connection::Tcp(connection, address)).await?;
            let mut word = [0; 4];
            stream.read_exact(&mut word).await?;
            assert_eq!(&word, b"word");
            Ok(())
        };
        let dial = async {
            let mut stream = connect.connect(&url).await?;
            stream.write_all(b"word").await?;
            stream.flush().await?;
            // Held until the other side has read it.
            Ok::<_, io::Error>(stream)
        };
        tokio::select! {
            welcomed = welcome => welcomed,
            dialled = async { match dial.await { Ok(_stream) => std::future::pending().await, Err(error) => error } } => Err(dialled),
        }
    }

    #[tokio::test]
    async fn members_speak_what_their_urls_say() {
        let directory = tempfile::tempdir().expect("a directory");
        let (secure, plain) = (secure(directory.path()), PeerStreams::new(None));
        talk(&secure, &secure, "https").await.expect("both speak TLS");
        talk(&secure, &secure, "http").await.expect("by this URL neither does");
        talk(&plain, &plain, "http").await.expect("neither does");
        let refusal = talk(&plain, &secure, "https")
            .await
            .expect_err("one does not")
            .to_string();
        assert!(refusal.contains("--peer-cert-file"), "{refusal}");
    }
}
