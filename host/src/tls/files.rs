//! Files that are read again when they have changed.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsError;

/// What tells a file from what it was before: when it was written (nanoseconds), its length, and which file it is.
type Stamp = Vec<Option<(i64, i64, u64, u64)>>;

/// Something made of files.
#[derive(Debug)]
pub(super) struct Watched<T> {
    paths: Vec<PathBuf>,
    made: Mutex<Made<T>>,
}

#[derive(Debug)]
struct Made<T> {
    stamp: Stamp,
    /// Of files that could not be used, so that they are complained of once.
    refused: Option<Stamp>,
    value: T,
}

impl<T: Clone> Watched<T> {
    pub(super) fn new(
        paths: impl IntoIterator<Item = PathBuf>,
        make: impl FnOnce() -> Result<T, TlsError>,
    ) -> Result<Self, TlsError> {
        let paths: Vec<PathBuf> = paths.into_iter().collect();
        // Before they are read: what changes in between is read twice, not missed.
        let stamp = stamp(&paths);
        let value = make()?;
        Ok(Self {
            paths,
            made: Mutex::new(Made {
                stamp,
                refused: None,
                value,
            }),
        })
    }

    /// What the files say now; what they said before if that cannot be used.
    pub(super) fn current(&self, make: impl FnOnce() -> Result<T, TlsError>) -> T {
        let mut made = self.made.lock().expect("no thread panics while it holds this lock");
        let now = stamp(&self.paths);
        if now != made.stamp && made.refused.as_ref() != Some(&now) {
            match make() {
                Ok(value) => {
                    tracing::info!(files = ?self.paths, "read the changed TLS files");
                    made.value = value;
                    made.stamp = now;
                    made.refused = None;
                }
                Err(error) => {
                    tracing::warn!(%error, "the changed TLS files cannot be used; going on with what there was");
                    made.refused = Some(now);
                }
            }
        }
        made.value.clone()
    }
}

fn stamp(paths: &[PathBuf]) -> Stamp {
    let of = |path: &PathBuf| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.mtime(), metadata.mtime_nsec(), metadata.len(), metadata.ino()))
    };
    paths.iter().map(of).collect()
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|error| TlsError::Read(path.to_owned(), error))
}

pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    match found {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(TlsError::NoCertificate(path.to_owned())),
    }
}

pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|_| TlsError::NoKey(path.to_owned()))
}

pub(super) fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(path)? {
        store
            .add(certificate)
            .map_err(|error| TlsError::NoAuthority(path.to_owned(), error.to_string()))?;
    }
    Ok(store)
}

/// Writes a file that only its owner may read if `secret`.
pub(super) fn write(path: &Path, content: &str, secret: bool) -> Result<(), TlsError> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let written = || -> io::Result<()> {
        let mode = if secret { 0o600 } else { 0o644 };
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(mode).open(path)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()
    };
    written().map_err(|error| TlsError::Write(path.to_owned(), error))
}
