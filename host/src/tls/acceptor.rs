//! The side that is connected to.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::server::TlsStream;

use super::alert::told;
use super::certificate::{common_name, hosts};
use super::files::Watched;
use super::rules::{Clients, Rules};
use super::{Options, TlsError, files, suites};

/// How long a handshake may take.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes TLS of accepted connections. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Acceptor {
    options: Arc<Options>,
    config: Arc<Watched<Arc<ServerConfig>>>,
}

/// A connection whose other side is who it should be.
#[derive(Debug)]
pub struct Accepted<S> {
    pub stream: TlsStream<S>,
    /// The common name in the certificate that it showed; `None` if it was not asked for one.
    pub common_name: Option<String>,
}

impl Acceptor {
    /// # Errors
    /// Says which file cannot be used, and why.
    pub fn new(options: Options) -> Result<Self, TlsError> {
        let paths = [
            Some(options.cert_file.clone()),
            Some(options.key_file.clone()),
            options.trusted_ca_file.clone(),
            options.crl_file.clone(),
        ];
        let config = Watched::new(paths.into_iter().flatten(), || server_config(&options))?;
        Ok(Self {
            options: Arc::new(options),
            config: Arc::new(config),
        })
    }

    /// Runs the TLS handshake with the client at `peer`. Not cancel safe: the connection is lost.
    ///
    /// # Errors
    /// The other side speaks no TLS or another one, takes longer than [`HANDSHAKE_TIMEOUT`], or is not who it should be.
    pub async fn accept<S>(&self, stream: S, peer: Option<IpAddr>) -> io::Result<Accepted<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let config = self.config.current(|| server_config(&self.options));
        let shaking = tokio_rustls::TlsAcceptor::from(config).accept(stream);
        let stream = tokio::time::timeout(HANDSHAKE_TIMEOUT, shaking)
            .await
            .map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))?
            .map_err(told)?;
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        if self.options.check_address
            && let (Some(shown), Some(peer)) = (shown, peer)
            && !comes_from(shown, peer).await
        {
            let sentence = format!("the certificate is good for other hosts than {peer}");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, sentence));
        }
        let common_name = shown.map(common_name);
        Ok(Accepted { stream, common_name })
    }
}

/// Whether one of the hosts that the certificate names has this address. One that names none may come from anywhere.
async fn comes_from(certificate: &CertificateDer<'_>, peer: IpAddr) -> bool {
    let hosts = hosts(certificate);
    let peer = peer.to_canonical();
    if hosts.addresses.is_empty() && hosts.names.is_empty() || hosts.addresses.contains(&peer) {
        return true;
    }
    for name in &hosts.names {
        if let Ok(mut addresses) = tokio::net::lookup_host((name.as_str(), 0)).await
            && addresses.any(|address| address.ip().to_canonical() == peer)
        {
            return true;
        }
    }
    false
}

fn server_config(options: &Options) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = suites::provider(options)?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&suites::versions(options)?)?;
    let builder = match &options.trusted_ca_file {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let authorities = Arc::new(files::authorities(file)?);
            let chain = WebPkiClientVerifier::builder_with_provider(authorities, provider)
                .build()
                .map_err(|error| TlsError::NoAuthority(file.clone(), error.to_string()))?;
            let rules = Rules::new(options)?;
            builder.with_client_cert_verifier(Arc::new(Clients { chain, rules }))
        }
    };
    let (chain, key) = (
        files::certificates(&options.cert_file)?,
        files::private_key(&options.key_file)?,
    );
    let mut config = builder.with_single_cert(chain, key).map_err(|why| TlsError::Mismatch {
        cert: options.cert_file.clone(),
        key: options.key_file.clone(),
        why,
    })?;
    config.alpn_protocols = options.protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(Arc::new(config))
}
