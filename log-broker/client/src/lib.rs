//! A small Kafka client: metadata, topics, offsets, fetch, produce, group positions.
//!
//! It speaks `log-broker-wire` to any broker that does, Kafka included: versions are negotiated per connection by
//! ApiVersions. A [`Client`] is a cheap handle on a pool of connections; a call takes one for itself, so a long poll
//! never stands in the way of another call, and dropping a call's future drops at most its connection.
//!
//! Brokers are restarted under their clients. Whatever may succeed later (a refused or broken connection, a leader that
//! moved, a full disk) is tried again with growing pauses until a deadline, [`DEADLINE_DEFAULT`] unless told otherwise;
//! then the last reason is the error. A [`Producer`] with `idempotent` numbers its batches, so trying again stores
//! nothing twice.
//!
//! Deliberately missing: group membership (only positions are committed and read), transactions, SASL, TLS, writing
//! Zstandard.

mod client;
mod connection;
mod error;
mod fetch;
mod offsets;
mod producer;
mod retry;
mod topics;

pub use bytes::Bytes;
pub use client::{Client, DEADLINE_DEFAULT};
pub use error::Error;
pub use fetch::{FetchOptions, Fetched};
pub use log_broker_wire::compression::Codec;
pub use log_broker_wire::{ErrorCode, Record};
pub use offsets::At;
pub use producer::{Acks, Producer, ProducerOptions};
pub use topics::{Broker, Metadata, Partition, Topic};
