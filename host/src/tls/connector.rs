//! The side that connects.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};

use super::alert::told;
use super::files::Watched;
use super::rules::{Rules, Servers};
use super::{HANDSHAKE_TIMEOUT, Options, TlsError, files, suites};

/// A connection whose other side is who it should be.
pub type Connected<S> = tokio_rustls::client::TlsStream<S>;

/// Makes TLS of connections. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Connector {
    options: Arc<Options>,
    config: Arc<Watched<Arc<ClientConfig>>>,
}

impl Connector {
    /// One that shows its certificate if it is asked. An empty path is none.
    ///
    /// # Errors
    /// Says which file cannot be used, and why; [`TlsError::NobodyTrusted`].
    pub fn new(options: Options) -> Result<Self, TlsError> {
        let (cert, key) = shown(&options);
        let given = |path: &Path| Some(path.to_owned()).filter(|path| !path.as_os_str().is_empty());
        let paths = [
            given(cert),
            given(key),
            options.trusted_ca_file.clone(),
            options.crl_file.clone(),
        ];
        let config = Watched::new(paths.into_iter().flatten(), || client_config(&options))?;
        Ok(Self {
            options: Arc::new(options),
            config: Arc::new(config),
        })
    }

    /// Shakes hands with `host`, a name or an address, without port. Not cancel safe: the connection is lost.
    ///
    /// # Errors
    /// The other side speaks no TLS or another one, takes longer than [`HANDSHAKE_TIMEOUT`], or is not who it should be.
    pub async fn connect<S>(&self, stream: S, host: &str) -> io::Result<Connected<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        // An address of version 6 stands in brackets in a URL.
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let config = self.config.current(|| client_config(&self.options));
        let shaking = tokio_rustls::TlsConnector::from(config).connect(name, stream);
        tokio::time::timeout(HANDSHAKE_TIMEOUT, shaking)
            .await
            .map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))?
            .map_err(told)
    }
}

/// The client certificate that is presented to the server.
fn shown(options: &Options) -> (&Path, &Path) {
    match (&options.client_cert_file, &options.client_key_file) {
        (Some(cert), Some(key)) => (cert, key),
        _ => (&options.cert_file, &options.key_file),
    }
}

fn client_config(options: &Options) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = suites::provider(options)?;
    let chain: Option<Arc<dyn ServerCertVerifier>> = match &options.trusted_ca_file {
        _ if options.trust_anybody => None,
        None => return Err(TlsError::NobodyTrusted),
        Some(file) => {
            let authorities = Arc::new(files::authorities(file)?);
            let chain = WebPkiServerVerifier::builder_with_provider(authorities, Arc::clone(&provider)).build();
            Some(chain.map_err(|error| TlsError::NoAuthority(file.clone(), error.to_string()))?)
        }
    };
    let servers = Servers {
        chain,
        rules: Rules::new(options)?,
        provider: Arc::clone(&provider),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&suites::versions(options)?)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(servers));
    let (cert, key) = shown(options);
    let mut config = if cert.as_os_str().is_empty() {
        builder.with_no_client_auth()
    } else {
        let (chain, own) = (files::certificates(cert)?, files::private_key(key)?);
        builder
            .with_client_auth_cert(chain, own)
            .map_err(|why| TlsError::Mismatch {
                cert: cert.to_owned(),
                key: key.to_owned(),
                why,
            })?
    };
    config.alpn_protocols = options.protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(Arc::new(config))
}
