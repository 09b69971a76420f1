//! What can go wrong, and who must act.

use std::io;
use std::path::{Path, PathBuf};

/// Why the log refused. Cloned to everyone who waited for the same write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// Operator: free space, then retry. Nothing of the write is left.
    #[error("no space left for {}: free some, nothing was lost", .0.display())]
    NoSpace(PathBuf),
    /// Operator: the disk lost or changed what was durable.
    #[error("{} is corrupt at byte {offset}: {reason}; restore the directory from a copy", .file.display())]
    Corrupt { file: PathBuf, offset: u64, reason: String },
    /// Operator: use a newer program.
    #[error("{} was written in log format {version}, this program knows formats up to {known}: use a newer program", .file.display())]
    Newer { file: PathBuf, version: u32, known: u32 },
    /// Operator: look at the disk, then start the process again. What was acknowledged is safe; the rest is unknown.
    #[error("the log stopped after a failed write: {0}; check the disk and restart")]
    Stopped(String),
    /// Caller: retry later.
    #[error("too many bytes wait to be written to the log: retry later")]
    Overloaded,
    /// Caller: send less.
    #[error("a record of {bytes} bytes is larger than the limit of {limit}")]
    TooLarge { bytes: usize, limit: usize },
    /// Caller: records are numbered without gaps.
    #[error("record {index} does not follow the log, which expects {expected}")]
    OutOfSequence { index: u64, expected: u64 },
    /// Caller: the record is not there (any more, or yet).
    #[error("record {index} is not in the log, which holds {first} up to but without {next}")]
    NotThere { index: u64, first: u64, next: u64 },
    /// Operator: files were removed, or mixed from several copies.
    #[error(
        "{} holds entries {first} up to but without {next}, but the state beside it ends with entry {position}: \
         restore both from one copy", .directory.display()
    )]
    Apart {
        directory: PathBuf,
        first: u64,
        next: u64,
        position: u64,
    },
    /// Caller: the log is being closed.
    #[error("the log is closed")]
    Closed,
    /// Operator: the disk refused.
    #[error("cannot {action} {}: {message}", .path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        message: String,
    },
}

impl LogError {
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace(path),
            _ => Self::Io {
                action,
                path,
                message: error.to_string(),
            },
        }
    }

    pub(super) fn corrupt(file: &Path, offset: u64, reason: impl Into<String>) -> Self {
        Self::Corrupt {
            file: file.to_owned(),
            offset,
            reason: reason.into(),
        }
    }
}
