use std::ops::RangeInclusive;

/// Why bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Peer: the message ends inside a field.
    #[error("the message ends {missing} bytes before the end of a field")]
    Truncated { missing: usize },
    /// Peer: a length that the message cannot hold.
    #[error("a length of {claimed} where {left} bytes are left")]
    Length { claimed: i64, left: usize },
    /// Peer: null where the version does not allow it.
    #[error("null in a field that must not be null")]
    Null,
    /// Peer: a string that is not UTF-8.
    #[error("a string that is not UTF-8")]
    Utf8,
    /// Peer: a number of variable length that does not end.
    #[error("a variable-length number is too long")]
    Varint,
    /// Peer: more structures than one frame may ask for.
    #[error("the message claims more than {} bytes of structures", crate::DECODED_BYTES_MAX)]
    TooManyElements,
    /// Caller: talk a version that both know.
    #[error("{api} is known in versions {known:?}, not in {version}")]
    Version {
        api: &'static str,
        version: i16,
        known: RangeInclusive<i16>,
    },
    /// Peer: an answer to another question.
    #[error("the response carries correlation id {got}, expected {expected}")]
    Correlation { got: i32, expected: i32 },
}
