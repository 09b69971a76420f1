use std::io;
use std::time::Duration;

use log_broker_wire::record::RecordError;
use log_broker_wire::{Error as WireError, ErrorCode};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Retry: the broker is away or the connection broke.
    #[error("cannot reach the broker at {address}: {source}")]
    Connection { address: String, source: io::Error },
    /// Operator: what was tried until the deadline, and why it last failed.
    #[error("{what} did not succeed within {within:?}: {source}")]
    Deadline {
        what: String,
        within: Duration,
        source: Box<Error>,
    },
    /// Caller: create the topic.
    #[error("topic {0} does not exist")]
    UnknownTopic(String),
    /// Caller: the topic has fewer partitions.
    #[error("topic {0} has no partition {1}")]
    UnknownPartition(String, i32),
    /// Caller: it is already there.
    #[error("topic {0} already exists")]
    TopicAlreadyExists(String),
    /// Caller: ask for the ends of the partition with [`crate::Client::offset`].
    #[error("offset {offset} of {topic}/{partition} is not (or no longer) in the log")]
    OffsetOutOfRange { topic: String, partition: i32, offset: i64 },
    /// Depends on the code: what the broker answered.
    #[error("{what}: the broker answered {code}{}", .message.as_ref().map(|text| format!(": {text}")).unwrap_or_default())]
    Broker {
        what: String,
        code: ErrorCode,
        message: Option<String>,
    },
    /// Retry: nobody leads the partition at the moment.
    #[error("{0}/{1} has no leader")]
    NoLeader(String, i32),
    /// Operator: the broker is too old or too new.
    #[error("the broker does not serve {api} in a version that this client knows")]
    Unsupported { api: &'static str },
    /// Peer: what arrived is not Kafka's protocol.
    #[error("the broker at {address} sent something malformed: {source}")]
    Wire { address: String, source: WireError },
    /// Writer of the records: they cannot be read.
    #[error("{topic}/{partition}: {source}")]
    Records {
        topic: String,
        partition: i32,
        source: RecordError,
    },
    /// Caller: the records cannot be put into a batch.
    #[error("cannot write the batch: {0}")]
    Batch(#[source] io::Error),
}

impl Error {
    /// Whether the same call may succeed later.
    pub fn is_retriable(&self) -> bool {
        match self {
            Error::Connection { .. } | Error::NoLeader(..) => true,
            Error::Broker { code, .. } => code.is_retriable(),
            _ => false,
        }
    }

    pub(crate) fn check(what: impl FnOnce() -> String, code: i16, message: Option<String>) -> Result<(), Error> {
        match ErrorCode(code) {
            ErrorCode::NONE => Ok(()),
            code => Err(Error::Broker {
                what: what(),
                code,
                message,
            }),
        }
    }
}
