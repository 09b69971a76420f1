//! What can go wrong, told apart by what the caller should do.

use tonic::{Code, Status};

/// Why a call failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Fix the address.
    #[error("{0:?} is not an address of a coordinator: write HOST:PORT, several separated by commas")]
    Endpoint(String),
    /// Try again later, or start the server: the call was not carried out.
    #[error("no coordinator answers at {endpoints}: {reason}")]
    Unreachable { endpoints: String, reason: String },
    /// Look before trying again: the write may or may not have been carried out.
    #[error("the connection broke during a write, it may have been carried out or not: {0}")]
    Unknown(String),
    /// Read the current state and start again from it: the history up to this revision is gone.
    #[error("the revision asked for has been compacted; the oldest kept is {0}")]
    Compacted(i64),
    /// Grant a new lease: this one has expired or was revoked.
    #[error("lease {0:x} does not exist: it expired or was revoked")]
    LeaseNotFound(i64),
    /// The server refused the call; the text is etcd's own.
    #[error("{message}")]
    Refused { code: Code, message: String },
}

impl Error {
    pub(crate) fn refused(status: &Status) -> Self {
        Self::Refused {
            code: status.code(),
            message: status.message().to_owned(),
        }
    }

    /// The server's gRPC code, where it answered.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }
}
