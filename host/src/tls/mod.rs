//! TLS for listeners and clients: one [`Options`], made into an [`Acceptor`] or a [`Connector`].
//!
//! # How it moves
//! Both look at their files before each handshake: what has changed since (by time, length or identity) is read again, so
//! new certificates count from the next connection on, and connections that stand are not touched. Files that are half
//! replaced, or wrong, are said in the log once and the old ones stay in use until the new ones are whole.
//!
//! With a list of authorities, a client must present a certificate that one of them signed (mutual TLS). Then [`Rules`] decide what the chain of
//! signatures does not: is it revoked, is it one of the names allowed. Who it is, [`common_name`] tells.
//!
//! # Where it stops
//! TLS 1.2 and 1.3 by `rustls` on `ring`. No renegotiation, no old ciphers, no OCSP; revocation lists are files and are
//! compared by serial number, signed or not, because the operator put them there. No list of the world's authorities: who
//! is trusted is named.

mod acceptor;
mod alert;
mod certificate;
mod connector;
mod files;
mod rules;
mod self_signed;
mod suites;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub use acceptor::{Accepted, Acceptor, HANDSHAKE_TIMEOUT};
pub use alert::told;
pub use connector::{Connected, Connector};
pub use self_signed::{SelfSigned, self_signed};
pub use suites::Version;

/// What a side of TLS is made of.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The chain that is shown, in PEM, and its key.
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
    /// What is shown when connecting, if it is another.
    pub client_cert_file: Option<PathBuf>,
    pub client_key_file: Option<PathBuf>,
    /// The authorities that the other side's certificate must come from, in PEM. An acceptor without authorities requests no client certificate.
    pub trusted_ca_file: Option<PathBuf>,
    /// Certificates that are not good any more: a list in DER or PEM.
    pub crl_file: Option<PathBuf>,
    /// The other side's common name must be one of these, unless there are none.
    pub allowed_common_names: Vec<String>,
    /// The other side's certificate must be good for one of these hosts, unless there are none.
    pub allowed_hostnames: Vec<String>,
    /// The names of the ciphers of TLS 1.2 that are allowed, as RFC 5246 has them; all good ones if there are none.
    pub cipher_suites: Vec<String>,
    pub min_version: Version,
    /// None is the newest.
    pub max_version: Option<Version>,
    /// The protocols spoken inside (ALPN), the preferred one first.
    pub protocols: Vec<&'static str>,
    /// Whoever connects must come from an address that the certificate is good for, if it names any. etcd asks that of
    /// members.
    pub check_address: bool,
    /// Skip the verification of the server's certificate. For members with self-signed certificates.
    pub trust_anybody: bool,
}

/// Why TLS cannot be set up. Operator: the sentence names the file or the word at fault.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {0}: {1}")]
    Read(PathBuf, std::io::Error),
    #[error("cannot write {0}: {1}")]
    Write(PathBuf, std::io::Error),
    #[error("{0} has no certificate in PEM")]
    NoCertificate(PathBuf),
    #[error("{0} has no private key in PEM")]
    NoKey(PathBuf),
    #[error("{cert} and {key} cannot be used together: {why}")]
    Mismatch {
        cert: PathBuf,
        key: PathBuf,
        why: rustls::Error,
    },
    #[error("{0} has no usable authority: {1}")]
    NoAuthority(PathBuf, String),
    #[error("{0} is no list of revoked certificates")]
    NoRevocations(PathBuf),
    #[error("the other side cannot be verified: name the file of its authorities")]
    NobodyTrusted,
    #[error("unexpected TLS cipher suite {0:?}: of TLS 1.2 there are {1}")]
    UnknownSuite(String, String),
    #[error("unexpected TLS version {0:?}: it is TLS1.2 or TLS1.3")]
    UnknownVersion(String),
    #[error("the lowest TLS version is above the highest")]
    NoVersion,
    #[error("cipher suites cannot be configured when only TLS1.3 is enabled")]
    SuitesOfNewVersion,
    #[error("cannot make a certificate: {0}")]
    SelfSigned(#[from] rcgen::Error),
    #[error("TLS cannot be configured: {0}")]
    Config(#[from] rustls::Error),
}
