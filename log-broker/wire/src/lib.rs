//! The Kafka wire protocol: bytes to typed messages and back.
//!
//! One table, [`messages`], names every message: a line a field, with the versions that carry it. The `table!` macro
//! turns a line into both directions of the codec, so a client, a broker and their tests read the same definition.
//! [`frame`] holds what stands around a body: the length, and the request and response headers. [`batch`] and
//! [`record`] read and write what producers store: a batch has a 61-byte header that a broker checks and patches, and
//! records inside it, which [`validate`] checks before a broker stores them; [`compression`] opens and closes them.
//!
//! [`internal`] is the format of the records in internal topics.
//!
//! How bytes move: a frame arrives as one [`bytes::Bytes`]; everything opaque in it (record batches, group metadata)
//! is a slice of that frame. Encoding keeps long slices as segments of their own ([`Writer`]), and leaves a gap for records
//! that are in a file ([`Records::Elsewhere`]), which go from there to a socket.
//!
//! What it stops: a peer. Every length is compared with the bytes that are left before anything is reserved, and what
//! one frame may claim in decoded structures has its own limit ([`DECODED_BYTES_MAX`]), because an empty array element
//! is one byte on the wire and a hundred in memory.
//!
//! Deliberately missing: record formats before magic 2 (Kafka 4 refuses them too), SASL, and most calls
//! between brokers. No I/O, no clock, no randomness.

pub mod batch;
pub mod compression;
mod error;
mod error_code;
mod field;
pub mod frame;
pub mod internal;
pub mod marker;
pub mod messages;
pub mod record;
mod table;
pub mod validate;

pub use error::Error;
pub use error_code::ErrorCode;
pub use field::{At, DECODED_BYTES_MAX, Field, Reader, Records, Segment, Writer};
pub use record::Record;
pub use table::{Message, Request};

#[cfg(test)]
mod oracle;
