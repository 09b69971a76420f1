//! The crate's one error.
//!
//! Its four kinds are part of the contract with people's scripts: a program that is wrong ([`Error::Parse`],
//! [`Error::Validate`], [`Error::Unsupported`]) is distinguished from a row or a peer that failed while it ran
//! ([`Error::Runtime`]). `Display` gives `KIND: message`, so that a program that ends prints `error: KIND: message`.

use std::fmt::Display;

/// Why a statement or a job stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is not Flink SQL: fix the statement.
    #[error("parse: {0}")]
    Parse(String),
    /// Names, types or options do not fit: fix the statement.
    #[error("validate: {0}")]
    Validate(String),
    /// Flink knows it, we have no plan for it: write the statement another way.
    #[error("unsupported: {0}")]
    Unsupported(String),
    /// A row, a file or a service failed while the job ran: fix the input or restart the job.
    #[error("runtime: {0}")]
    Runtime(String),
}

impl Error {
    pub fn parse(message: impl Display) -> Self {
        Self::Parse(message.to_string())
    }

    pub fn validate(message: impl Display) -> Self {
        Self::Validate(message.to_string())
    }

    pub fn unsupported(message: impl Display) -> Self {
        Self::Unsupported(message.to_string())
    }

    pub fn runtime(message: impl Display) -> Self {
        Self::Runtime(message.to_string())
    }

    /// The word of the contract: `parse`, `validate`, `unsupported` or `runtime`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Parse(_) => "parse",
            Self::Validate(_) => "validate",
            Self::Unsupported(_) => "unsupported",
            Self::Runtime(_) => "runtime",
        }
    }

    /// The sentence without its kind.
    pub fn message(&self) -> &str {
        match self {
            Self::Parse(m) | Self::Validate(m) | Self::Unsupported(m) | Self::Runtime(m) => m,
        }
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::Runtime(error.to_string())
    }
}
