//! The flags of authentication and TLS.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::{ArgAction, Args};
use host::tls::{self, Acceptor, Connector, TlsError, Version};

use crate::server::replica::peer_streams::PeerStreams;
use crate::server::service::auth::options as auth_options;
use crate::server::settings::url::Url;

/// etcd's default of `--auth-token-ttl`.
const TOKEN_TTL_SECONDS: u64 = 300;
const BCRYPT_COST: u32 = 10;
/// What gRPC and browsers ask for.
const CLIENT_PROTOCOLS: [&str; 2] = ["h2", "http/1.1"];
/// Where certificates go that this program makes itself, in the data directory. etcd's name for it.
const FIXTURES: &str = "fixtures";

/// Flags of authentication and TLS.
#[derive(Debug, Clone, Args)]
pub(in crate::server) struct SecurityArguments {
    /// Type of auth tokens: `simple`, or `jwt,sign-method=RS256,priv-key=FILE,pub-key=FILE,ttl=5m`.
    #[arg(
        long,
        value_name = "KIND",
        default_value = "simple",
        env = "ETCD_AUTH_TOKEN",
        hide_env = true
    )]
    auth_token: String,
    /// Lifetime of a simple token since its last use, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = TOKEN_TTL_SECONDS, env = "ETCD_AUTH_TOKEN_TTL", hide_env = true)]
    auth_token_ttl: u64,
    /// Cost of bcrypt for password hashes.
    #[arg(long, value_name = "COST", default_value_t = BCRYPT_COST, env = "ETCD_BCRYPT_COST", hide_env = true)]
    bcrypt_cost: u32,
    #[command(flatten)]
    client: ClientTls,
    #[command(flatten)]
    peer: PeerTls,
    /// Comma-separated list of TLS 1.2 cipher suites; all secure ones by default.
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        env = "ETCD_CIPHER_SUITES",
        hide_env = true
    )]
    cipher_suites: Vec<String>,
    /// Minimum TLS version: TLS1.2 or TLS1.3.
    #[arg(
        long,
        value_name = "VERSION",
        default_value = "TLS1.2",
        env = "ETCD_TLS_MIN_VERSION",
        hide_env = true
    )]
    tls_min_version: String,
    /// Maximum TLS version: TLS1.2 or TLS1.3; the newest by default.
    #[arg(
        long,
        value_name = "VERSION",
        default_value = "",
        env = "ETCD_TLS_MAX_VERSION",
        hide_env = true
    )]
    tls_max_version: String,
    /// Validity of generated certificates, in years.
    #[arg(
        long,
        value_name = "YEARS",
        default_value_t = 1,
        env = "ETCD_SELF_SIGNED_CERT_VALIDITY",
        hide_env = true
    )]
    self_signed_cert_validity: u32,
}

/// What clients are served with.
#[derive(Debug, Clone, Args)]
struct ClientTls {
    /// Path to the TLS certificate for client traffic (PEM).
    #[arg(long, value_name = "FILE", env = "ETCD_CERT_FILE", hide_env = true)]
    cert_file: Option<PathBuf>,
    /// Path to the TLS key for client traffic (PEM).
    #[arg(long, value_name = "FILE", env = "ETCD_KEY_FILE", hide_env = true)]
    key_file: Option<PathBuf>,
    /// Path to the trusted CA certificates for client certificates (PEM).
    #[arg(long, value_name = "FILE", env = "ETCD_TRUSTED_CA_FILE", hide_env = true)]
    trusted_ca_file: Option<PathBuf>,
    /// Enable client certificate authentication: a client without a token is the user that its certificate's common name says.
    #[arg(
        long,
        num_args = 0..=1,
        require_equals = true,
        default_value_t = false,
        default_missing_value = "true",
        action = ArgAction::Set,
        env = "ETCD_CLIENT_CERT_AUTH",
        hide_env = true
    )]
    client_cert_auth: bool,
    /// Path to the certificate revocation list (CRL) for client certificates, DER or PEM.
    #[arg(long, value_name = "FILE", env = "ETCD_CLIENT_CRL_FILE", hide_env = true)]
    client_crl_file: Option<PathBuf>,
    /// Comma-separated list of allowed SAN hostnames of client certificates.
    #[arg(
        long,
        value_name = "HOSTS",
        value_delimiter = ',',
        env = "ETCD_CLIENT_CERT_ALLOWED_HOSTNAME",
        hide_env = true
    )]
    client_cert_allowed_hostname: Vec<String>,
    /// Client TLS with a generated certificate.
    #[arg(
        long,
        num_args = 0..=1,
        require_equals = true,
        default_value_t = false,
        default_missing_value = "true",
        action = ArgAction::Set,
        env = "ETCD_AUTO_TLS",
        hide_env = true
    )]
    auto_tls: bool,
    /// etcd's client certificate towards itself; not used here.
    #[arg(long, hide = true, env = "ETCD_CLIENT_CERT_FILE", hide_env = true)]
    client_cert_file: Option<PathBuf>,
    #[arg(long, hide = true, env = "ETCD_CLIENT_KEY_FILE", hide_env = true)]
    client_key_file: Option<PathBuf>,
}

/// What other members are spoken to with.
#[derive(Debug, Clone, Args)]
struct PeerTls {
    /// Path to the TLS certificate for peer traffic (PEM).
    #[arg(long, value_name = "FILE", env = "ETCD_PEER_CERT_FILE", hide_env = true)]
    peer_cert_file: Option<PathBuf>,
    /// Path to the TLS key for peer traffic (PEM).
    #[arg(long, value_name = "FILE", env = "ETCD_PEER_KEY_FILE", hide_env = true)]
    peer_key_file: Option<PathBuf>,
    /// Path to the TLS certificate for connections to peers, if it is a different one (PEM).
    #[arg(long, value_name = "FILE", env = "ETCD_PEER_CLIENT_CERT_FILE", hide_env = true)]
    peer_client_cert_file: Option<PathBuf>,
    /// Path to the TLS key for connections to peers (PEM).
    #[arg(long, value_name = "FILE", env = "ETCD_PEER_CLIENT_KEY_FILE", hide_env = true)]
    peer_client_key_file: Option<PathBuf>,
    /// Path to the trusted CA certificates for peer certificates (PEM).
    #[arg(long, value_name = "FILE", env = "ETCD_PEER_TRUSTED_CA_FILE", hide_env = true)]
    peer_trusted_ca_file: Option<PathBuf>,
    /// Enable peer client certificate authentication.
    #[arg(
        long,
        num_args = 0..=1,
        require_equals = true,
        default_value_t = false,
        default_missing_value = "true",
        action = ArgAction::Set,
        env = "ETCD_PEER_CLIENT_CERT_AUTH",
        hide_env = true
    )]
    peer_client_cert_auth: bool,
    /// Path to the certificate revocation list (CRL) for peer certificates, DER or PEM.
    #[arg(long, value_name = "FILE", env = "ETCD_PEER_CRL_FILE", hide_env = true)]
    peer_crl_file: Option<PathBuf>,
    /// Comma-separated list of allowed common names (CN) of peer certificates.
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        env = "ETCD_PEER_CERT_ALLOWED_CN",
        hide_env = true
    )]
    peer_cert_allowed_cn: Vec<String>,
    /// Comma-separated list of allowed SAN hostnames of peer certificates.
    #[arg(
        long,
        value_name = "HOSTS",
        value_delimiter = ',',
        env = "ETCD_PEER_CERT_ALLOWED_HOSTNAME",
        hide_env = true
    )]
    peer_cert_allowed_hostname: Vec<String>,
    /// Skip the verification of the SAN field of peer certificates against the peer's address.
    #[arg(
        long,
        num_args = 0..=1,
        require_equals = true,
        default_value_t = false,
        default_missing_value = "true",
        action = ArgAction::Set,
        env = "ETCD_PEER_SKIP_CLIENT_SAN_VERIFICATION",
        hide_env = true
    )]
    peer_skip_client_san_verification: bool,
    /// Peer TLS with generated certificates.
    #[arg(
        long,
        num_args = 0..=1,
        require_equals = true,
        default_value_t = false,
        default_missing_value = "true",
        action = ArgAction::Set,
        env = "ETCD_PEER_AUTO_TLS",
        hide_env = true
    )]
    peer_auto_tls: bool,
}

/// One side of TLS, its files named or still to be made.
#[derive(Debug, Clone)]
enum Certificates {
    None,
    Named(tls::Options),
    /// To be made in this folder of the data directory.
    Own(&'static str, tls::Options),
}

/// What the flags mean.
#[derive(Debug, Clone)]
pub(in crate::server) struct Security {
    pub(in crate::server) auth: auth_options::Options,
    client: Certificates,
    peer: Certificates,
    own_years: u32,
}

impl Security {
    /// `Err` is one sentence that names the flag and says what to do.
    pub(in crate::server) fn from_arguments(arguments: &SecurityArguments) -> Result<Self, String> {
        let auth = auth_options::Options::parse(
            &arguments.auth_token,
            arguments.auth_token_ttl,
            arguments.bcrypt_cost,
            arguments.client.client_cert_auth,
        )?;
        let version = |flag: &str, text: &str| -> Result<Version, String> {
            text.parse().map_err(|error| format!("{flag}: {error}"))
        };
        let base = tls::Options {
            cipher_suites: arguments
                .cipher_suites
                .iter()
                .filter(|name| !name.is_empty())
                .cloned()
                .collect(),
            min_version: version("--tls-min-version", &arguments.tls_min_version)?,
            max_version: match arguments.tls_max_version.as_str() {
                "" => None,
                text => Some(version("--tls-max-version", text)?),
            },
            ..tls::Options::default()
        };
        Ok(Self {
            auth,
            client: client(&arguments.client, base.clone())?,
            peer: peer(&arguments.peer, base)?,
            own_years: arguments.self_signed_cert_validity,
        })
    }

    /// What clients are accepted with; `None` where there are no certificates.
    ///
    /// # Errors
    /// Names the file that cannot be used.
    pub(in crate::server) fn client_acceptor(&self, data: &Path, urls: &[Url]) -> Result<Option<Acceptor>, TlsError> {
        let options = self.options(&self.client, data, urls)?;
        options.map(Acceptor::new).transpose()
    }

    /// How other members are accepted at `urls`, and connected to.
    ///
    /// # Errors
    /// Names the file that cannot be used.
    pub(in crate::server) fn peer_streams(&self, data: &Path, urls: &[Url]) -> Result<PeerStreams, TlsError> {
        let tls = match self.options(&self.peer, data, urls)? {
            Some(options) => {
                let acceptor = Acceptor::new(options.clone())?;
                // Who names no authorities trusts no one, which does for a member alone. etcd goes by those of the system,
                // which sign no one's members.
                let knows_whom = options.trust_anybody || options.trusted_ca_file.is_some();
                let connector = knows_whom.then(|| Connector::new(options)).transpose()?;
                Some((acceptor, connector))
            }
            None => None,
        };
        Ok(PeerStreams::new(tls))
    }

    fn options(
        &self,
        certificates: &Certificates,
        data: &Path,
        urls: &[Url],
    ) -> Result<Option<tls::Options>, TlsError> {
        match certificates {
            Certificates::None => Ok(None),
            Certificates::Named(options) => Ok(Some(options.clone())),
            Certificates::Own(folder, options) => {
                let mut hosts: Vec<String> = urls.iter().map(|url| url.host().to_owned()).collect();
                hosts.dedup();
                let directory = data.join(FIXTURES).join(folder);
                let made = tls::self_signed(&directory, &hosts, self.own_years, SystemTime::now())?;
                Ok(Some(tls::Options {
                    cert_file: made.cert_file,
                    key_file: made.key_file,
                    ..options.clone()
                }))
            }
        }
    }

    /// Refuses URLs that say TLS where there are no certificates.
    pub(in crate::server) fn check_urls(&self, flag: &str, urls: &[Url]) -> Result<(), String> {
        let (certificates, flags) = match flag {
            "--listen-peer-urls" => (&self.peer, "--peer-cert-file and --peer-key-file, or --peer-auto-tls"),
            _ => (&self.client, "--cert-file and --key-file, or --auto-tls"),
        };
        match urls.iter().find(|url| url.is_secure()) {
            // etcd's words, which tools wait for.
            Some(url) if matches!(certificates, Certificates::None) => Err(match flag {
                "--listen-metrics-urls" => format!(
                    "{flag}={url}: client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url"
                ),
                _ => format!("TLS key/cert must be provided for the url {url} with HTTPS scheme: {flag} needs {flags}"),
            }),
            _ => Ok(()),
        }
    }
}

/// Both or none.
fn pair(
    (cert_flag, cert): (&str, &Option<PathBuf>),
    (key_flag, key): (&str, &Option<PathBuf>),
) -> Result<Option<(PathBuf, PathBuf)>, String> {
    match (cert, key) {
        (Some(cert), Some(key)) => Ok(Some((cert.clone(), key.clone()))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(format!("{cert_flag} is given without {key_flag}: give both")),
        (None, Some(_)) => Err(format!("{key_flag} is given without {cert_flag}: give both")),
    }
}

fn client(flags: &ClientTls, base: tls::Options) -> Result<Certificates, String> {
    pair(
        ("--client-cert-file", &flags.client_cert_file),
        ("--client-key-file", &flags.client_key_file),
    )?;
    let named = pair(("--cert-file", &flags.cert_file), ("--key-file", &flags.key_file))?;
    let base = tls::Options {
        protocols: CLIENT_PROTOCOLS.to_vec(),
        ..base
    };
    let Some((cert_file, key_file)) = named else {
        return Ok(if flags.auto_tls {
            Certificates::Own("client", base)
        } else {
            Certificates::None
        });
    };
    if flags.client_cert_auth && flags.trusted_ca_file.is_none() {
        return Err("--client-cert-auth: name the authorities of the clients with --trusted-ca-file".to_owned());
    }
    Ok(Certificates::Named(tls::Options {
        cert_file,
        key_file,
        trusted_ca_file: flags.trusted_ca_file.clone(),
        crl_file: flags.client_crl_file.clone(),
        allowed_hostnames: given(&flags.client_cert_allowed_hostname),
        ..base
    }))
}

fn peer(flags: &PeerTls, base: tls::Options) -> Result<Certificates, String> {
    let named = pair(
        ("--peer-cert-file", &flags.peer_cert_file),
        ("--peer-key-file", &flags.peer_key_file),
    )?;
    let shown = pair(
        ("--peer-client-cert-file", &flags.peer_client_cert_file),
        ("--peer-client-key-file", &flags.peer_client_key_file),
    )?;
    let Some((cert_file, key_file)) = named else {
        let base = tls::Options {
            // Each signed its own, so there is no one to ask.
            trust_anybody: true,
            ..base
        };
        return Ok(if flags.peer_auto_tls {
            Certificates::Own("peer", base)
        } else {
            Certificates::None
        });
    };
    let allowed = (
        given(&flags.peer_cert_allowed_cn),
        given(&flags.peer_cert_allowed_hostname),
    );
    if !allowed.0.is_empty() && !allowed.1.is_empty() {
        return Err("--peer-cert-allowed-cn and --peer-cert-allowed-hostname exclude each other: give one".to_owned());
    }
    if flags.peer_client_cert_auth && flags.peer_trusted_ca_file.is_none() {
        return Err(
            "--peer-client-cert-auth: name the authorities of the members with --peer-trusted-ca-file".to_owned(),
        );
    }
    let (client_cert_file, client_key_file) = shown.unzip();
    Ok(Certificates::Named(tls::Options {
        cert_file,
        key_file,
        client_cert_file,
        client_key_file,
        trusted_ca_file: flags.peer_trusted_ca_file.clone(),
        crl_file: flags.peer_crl_file.clone(),
        allowed_common_names: allowed.0,
        allowed_hostnames: allowed.1,
        check_address: !flags.peer_skip_client_san_verification,
        ..base
    }))
}

fn given(list: &[String]) -> Vec<String> {
    list.iter().filter(|word| !word.is_empty()).cloned().collect()
}
