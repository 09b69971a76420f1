//! What a certificate says.

use std::net::IpAddr;

use rustls_pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::oid::db::rfc4519::CN;
use x509_cert::der::oid::db::rfc5280::ANY_EXTENDED_KEY_USAGE;
use x509_cert::ext::pkix::name::{DirectoryString, GeneralName};
use x509_cert::ext::pkix::{ExtendedKeyUsage, SubjectAltName};

/// The common name of the subject, the last one if there are several; empty if there is none.
pub(super) fn common_name(certificate: &CertificateDer<'_>) -> String {
    let Ok(certificate) = Certificate::from_der(certificate) else {
        return String::new();
    };
    let subject = certificate.tbs_certificate().subject();
    let name = subject.iter().filter(|attribute| attribute.oid == CN).last();
    name.and_then(|name| DirectoryString::try_from(&name.value).ok())
        .map(String::from)
        .unwrap_or_default()
}

/// The serial number, without leading zeros.
pub(super) fn serial(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let certificate = Certificate::from_der(certificate).ok()?;
    Some(digits(certificate.tbs_certificate().serial_number().as_bytes()))
}

/// Whether the certificate is good at this time, in seconds since 1970, and for this use; one that names no use is for all.
pub(super) fn may_be_used(certificate: &CertificateDer<'_>, use_of_key: ObjectIdentifier, now: u64) -> bool {
    let Ok(certificate) = Certificate::from_der(certificate) else {
        return false;
    };
    let certificate = certificate.tbs_certificate();
    let validity = certificate.validity();
    let is_valid = (validity.not_before.to_unix_duration().as_secs()..=validity.not_after.to_unix_duration().as_secs())
        .contains(&now);
    is_valid
        && match certificate.get_extension::<ExtendedKeyUsage>() {
            Ok(None) => true,
            Ok(Some((_, uses))) => uses.0.contains(&use_of_key) || uses.0.contains(&ANY_EXTENDED_KEY_USAGE),
            Err(_) => false,
        }
}

/// A number's bytes without leading zeros, so that equal numbers are equal bytes.
pub(super) fn digits(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().skip_while(|byte| *byte == 0).collect()
}

/// The hosts that a certificate is good for.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    pub(super) addresses: Vec<IpAddr>,
    pub(super) names: Vec<String>,
}

pub(super) fn hosts(certificate: &CertificateDer<'_>) -> Hosts {
    let mut hosts = Hosts::default();
    let Ok(certificate) = Certificate::from_der(certificate) else {
        return hosts;
    };
    let Ok(Some((_, names))) = certificate.tbs_certificate().get_extension::<SubjectAltName>() else {
        return hosts;
    };
    for name in &names.0 {
        match name {
            GeneralName::DnsName(name) => hosts.names.push(name.to_string()),
            GeneralName::IpAddress(bytes) => {
                let bytes = bytes.as_bytes();
                let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
                let address = four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
                hosts.addresses.extend(address);
            }
            _ => {}
        }
    }
    hosts
}
