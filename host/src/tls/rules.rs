//! What a certificate must be besides signed by an authority.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use x509_cert::crl::CertificateList;
use x509_cert::der::Decode;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::oid::db::rfc5280::{ID_KP_CLIENT_AUTH, ID_KP_SERVER_AUTH};

use super::certificate::{common_name, digits, may_be_used, serial};
use super::{Options, TlsError, files};

/// Revoked serial numbers and allowed names, and what is trusted as it is.
#[derive(Debug)]
pub(super) struct Rules {
    trusted: Vec<CertificateDer<'static>>,
    revoked: BTreeSet<Vec<u8>>,
    common_names: Vec<String>,
    hostnames: Vec<ServerName<'static>>,
}

impl Rules {
    pub(super) fn new(options: &Options) -> Result<Self, TlsError> {
        let hostname = |name: &String| {
            let parsed = ServerName::try_from(name.clone());
            parsed.map_err(|_| TlsError::Config(Error::General(format!("{name:?} is no host name"))))
        };
        let trusted = options.trusted_ca_file.as_deref().map(files::certificates);
        Ok(Self {
            trusted: trusted.transpose()?.unwrap_or_default(),
            revoked: match &options.crl_file {
                Some(file) => revoked(&files::read(file)?).ok_or_else(|| TlsError::NoRevocations(file.clone()))?,
                None => BTreeSet::new(),
            },
            common_names: options.allowed_common_names.clone(),
            hostnames: options
                .allowed_hostnames
                .iter()
                .map(hostname)
                .collect::<Result<_, _>>()?,
        })
    }

    /// Whether the certificate is itself one of those that are trusted, and may be used for this now. One that signed itself
    /// and may sign others is refused as an end-entity certificate by webpki, but small setups have just that, and Go takes it.
    fn trusts(&self, certificate: &CertificateDer<'_>, use_of_key: ObjectIdentifier, now: UnixTime) -> bool {
        self.trusted.iter().any(|trusted| trusted == certificate) && may_be_used(certificate, use_of_key, now.as_secs())
    }

    fn check(&self, end_entity: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> Result<(), Error> {
        let is_revoked = |certificate| serial(certificate).is_none_or(|serial| self.revoked.contains(&serial));
        if !self.revoked.is_empty() && (is_revoked(end_entity) || intermediates.iter().any(is_revoked)) {
            return Err(CertificateError::Revoked.into());
        }
        // The peer receives the alert that its certificate is bad, as from Go; the reason is logged here only, with etcd's
        // message, on either side of the connection.
        if !self.common_names.is_empty() && !self.common_names.contains(&common_name(end_entity)) {
            let (shown, allowed) = (common_name(end_entity), &self.common_names);
            tracing::warn!(
                shown,
                ?allowed,
                "client certificate authentication failed: its common name is not allowed"
            );
            return Err(CertificateError::NotValidForName.into());
        }
        if !self.hostnames.is_empty() {
            let parsed = ParsedCertificate::try_from(end_entity)?;
            let good = |name| verify_server_name(&parsed, name).is_ok();
            if !self.hostnames.iter().any(good) {
                tracing::warn!(allowed = ?self.hostnames, "client certificate authentication failed: it is good for no host that is allowed");
                return Err(CertificateError::NotValidForName.into());
            }
        }
        Ok(())
    }
}

/// The serial numbers in a list, which is DER, or that in PEM.
fn revoked(content: &[u8]) -> Option<BTreeSet<Vec<u8>>> {
    let unwrapped = CertificateRevocationListDer::from_pem_slice(content).ok();
    let der = unwrapped.as_ref().map_or(content, AsRef::as_ref);
    let list: CertificateList = CertificateList::from_der(der).ok()?;
    let revoked = list.tbs_cert_list.revoked_certificates.unwrap_or_default();
    Some(
        revoked
            .iter()
            .map(|entry| digits(entry.serial_number.as_bytes()))
            .collect(),
    )
}

/// Whoever connects: a chain of signatures, then the rules.
#[derive(Debug)]
pub(super) struct Clients {
    pub(super) chain: Arc<dyn ClientCertVerifier>,
    pub(super) rules: Rules,
}

impl ClientCertVerifier for Clients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if !self.rules.trusts(end_entity, ID_KP_CLIENT_AUTH, now) {
            self.chain.verify_client_cert(end_entity, intermediates, now)?;
        }
        self.rules.check(end_entity, intermediates)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// Verifies a server: the chain of signatures and the host's name, unless verification is off; then the rules.
#[derive(Debug)]
pub(super) struct Servers {
    pub(super) chain: Option<Arc<dyn ServerCertVerifier>>,
    pub(super) rules: Rules,
    pub(super) provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.chain {
            None => {}
            Some(_) if self.rules.trusts(end_entity, ID_KP_SERVER_AUTH, now) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            }
            Some(chain) => {
                chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
            }
        }
        self.rules.check(end_entity, intermediates)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
