//! A process's own directory: locked, and marked with what wrote it.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const LOCK: &str = "LOCK";
const FORMAT: &str = "FORMAT";

/// A data directory held by this process until dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// Why a data directory cannot be used. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Operator: stop the other process or name another directory.
    #[error("{0} is held by another process (pid {1}): stop it, or give another directory")]
    Held(PathBuf, String),
    /// Operator: name the right directory.
    #[error("{0} is not a data directory of {1} ({2}): give an empty or new directory")]
    Foreign(PathBuf, String, String),
    /// Operator: upgrade the program.
    #[error("{0} was written in format {1}, this program knows formats up to {2}: use a newer program")]
    Newer(PathBuf, u32, u32),
    #[error("cannot use {0} as data directory: {1}")]
    Io(PathBuf, #[source] io::Error),
}

impl DataDir {
    /// Creates or opens `path` for `service`, whose newest known format is `version`.
    pub fn open(path: &Path, service: &str, version: u32) -> Result<Self, DataDirError> {
        let io_error = |error| DataDirError::Io(path.to_owned(), error);
        fs::create_dir_all(path).map_err(io_error)?;
        let path = path.canonicalize().map_err(io_error)?;
        let lock_path = path.join(LOCK);
        let fresh = fs::read_dir(&path).map_err(io_error)?.next().is_none();
        if !fresh && !path.join(FORMAT).exists() && !lock_path.exists() {
            return Err(DataDirError::Foreign(path, service.to_owned(), "it has other files in it".to_owned()));
        }
        let mut lock =
            File::options().read(true).write(true).create(true).truncate(false).open(&lock_path).map_err(io_error)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = fs::read_to_string(&lock_path).unwrap_or_default();
                return Err(DataDirError::Held(path, holder.trim().to_owned()));
            }
            Err(TryLockError::Error(error)) => return Err(DataDirError::Io(path, error)),
        }
        lock.set_len(0).map_err(io_error)?;
        writeln!(lock, "{}", std::process::id()).map_err(io_error)?;
        let format_path = path.join(FORMAT);
        match fs::read_to_string(&format_path) {
            Ok(text) => check_format(&path, service, version, &text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let temporary = path.join("FORMAT.new");
                let mut file = File::create(&temporary).map_err(io_error)?;
                writeln!(file, "bonsai {service} {version}").map_err(io_error)?;
                file.sync_all().map_err(io_error)?;
                fs::rename(&temporary, &format_path).map_err(io_error)?;
                File::open(&path).and_then(|directory| directory.sync_all()).map_err(io_error)?;
            }
            Err(error) => return Err(DataDirError::Io(path, error)),
        }
        Ok(Self { path, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn check_format(path: &Path, service: &str, version: u32, text: &str) -> Result<(), DataDirError> {
    let mut words = text.split_whitespace();
    let (program, owner, written) = (words.next(), words.next(), words.next().and_then(|word| word.parse().ok()));
    match (program, owner, written) {
        (Some("bonsai"), Some(owner), Some(written)) if owner == service => {
            if written > version {
                return Err(DataDirError::Newer(path.to_owned(), written, version));
            }
            Ok(())
        }
        (Some("bonsai"), Some(owner), Some(_)) => {
            Err(DataDirError::Foreign(path.to_owned(), service.to_owned(), format!("it belongs to {owner}")))
        }
        _ => Err(DataDirError::Foreign(path.to_owned(), service.to_owned(), "its FORMAT file is unreadable".to_owned())),
    }
}
