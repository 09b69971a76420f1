//! Versions and ciphers by the names that operators write.

use std::str::FromStr;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};

use super::{Options, TlsError};

/// A version of TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    #[default]
    Tls12,
    Tls13,
}

impl FromStr for Version {
    type Err = TlsError;

    fn from_str(text: &str) -> Result<Self, TlsError> {
        match text {
            "TLS1.2" => Ok(Self::Tls12),
            "TLS1.3" => Ok(Self::Tls13),
            _ => Err(TlsError::UnknownVersion(text.to_owned())),
        }
    }
}

/// The versions from the lowest to the highest.
pub(super) fn versions(options: &Options) -> Result<Vec<&'static SupportedProtocolVersion>, TlsError> {
    let (min, max) = (options.min_version, options.max_version.unwrap_or(Version::Tls13));
    let all = [
        (Version::Tls13, &rustls::version::TLS13),
        (Version::Tls12, &rustls::version::TLS12),
    ];
    let wanted = all.into_iter().filter(|(version, _)| (min..=max).contains(version));
    let versions: Vec<_> = wanted.map(|(_, version)| version).collect();
    if versions.is_empty() {
        return Err(TlsError::NoVersion);
    }
    Ok(versions)
}

/// `ring` with the ciphers of TLS 1.2 that are named. Those of 1.3 are all good and stay, as in Go.
pub(super) fn provider(options: &Options) -> Result<Arc<CryptoProvider>, TlsError> {
    let mut provider = ring::default_provider();
    if options.cipher_suites.is_empty() {
        return Ok(Arc::new(provider));
    }
    if options.min_version == Version::Tls13 {
        return Err(TlsError::SuitesOfNewVersion);
    }
    let is_new = |suite: &SupportedCipherSuite| matches!(suite, SupportedCipherSuite::Tls13(_));
    let mut suites: Vec<_> = provider.cipher_suites.iter().copied().filter(is_new).collect();
    for wanted in &options.cipher_suites {
        let found = provider
            .cipher_suites
            .iter()
            .find(|suite| names(suite).contains(wanted))
            .ok_or_else(|| {
                let old = provider.cipher_suites.iter().filter(|suite| !is_new(suite));
                let known: Vec<String> = old.filter_map(|suite| names(suite).into_iter().next()).collect();
                TlsError::UnknownSuite(wanted.clone(), known.join(", "))
            })?;
        if !suites.contains(found) {
            suites.push(*found);
        }
    }
    provider.cipher_suites = suites;
    Ok(Arc::new(provider))
}

/// The name in the standard, and the shorter one that Go had first.
fn names(suite: &SupportedCipherSuite) -> Vec<String> {
    let name = format!("{:?}", suite.suite()).replace("TLS13_", "TLS_");
    let short = name
        .strip_suffix("_POLY1305_SHA256")
        .map(|start| format!("{start}_POLY1305"));
    [Some(name), short].into_iter().flatten().collect()
}
