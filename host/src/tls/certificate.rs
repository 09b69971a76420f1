//! What a certificate says.

use std::net::IpAddr;

use rustls_pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::oid::db::rfc4519::CN;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::{DirectoryString, GeneralName};

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
