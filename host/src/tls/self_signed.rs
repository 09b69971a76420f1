//! A self-signed certificate: it protects against passive eavesdropping and authenticates nothing.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};

use super::{TlsError, files};

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Where a certificate and its key are.
#[derive(Debug, Clone)]
pub struct SelfSigned {
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
}

/// The certificate in `directory`, made for `hosts` (names or addresses) if there is none yet.
///
/// # Errors
/// Says which file cannot be written.
pub fn self_signed(directory: &Path, hosts: &[String], years: u32, now: SystemTime) -> Result<SelfSigned, TlsError> {
    let files = SelfSigned {
        cert_file: directory.join("cert.pem"),
        key_file: directory.join("key.pem"),
    };
    if files.cert_file.exists() && files.key_file.exists() {
        return Ok(files);
    }
    std::fs::create_dir_all(directory).map_err(|error| TlsError::Write(directory.to_owned(), error))?;
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "etcd");
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now;
    params.not_after = epoch + now + YEAR * years.max(1);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    // Members show it to each other in both roles.
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    files::write(&files.key_file, &key.serialize_pem(), true)?;
    files::write(&files.cert_file, &certificate.pem(), false)?;
    Ok(files)
}
