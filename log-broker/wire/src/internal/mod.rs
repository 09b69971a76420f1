//! The records of internal topics: Kafka's own schemas, so that its tools and readers understand what is in them.
//!
//! A key begins with the number of its record type, a value with the version of its schema, two bytes each; what follows is
//! a structure of the table. A record without a value deletes what its key names.

pub mod consumer_offsets;
pub mod transaction_state;

use bytes::Bytes;

use crate::{At, Error, Field, Reader, Writer};

/// Writes a number and, after it, a structure in `version`.
fn encode(number: i16, structure: &impl Field, version: i16, flexible: bool) -> Bytes {
    let at = At::new(version, flexible);
    let mut out = Writer::default();
    number.encode(&mut out, at);
    structure.encode(&mut out, at);
    out.into_bytes()
}

/// Reads the number that a key or value begins with, and leaves the rest.
fn number(bytes: &Bytes) -> Result<(i16, Reader), Error> {
    let mut input = Reader::new(bytes.clone());
    let number = i16::decode(&mut input, At::new(0, false))?;
    Ok((number, input))
}
