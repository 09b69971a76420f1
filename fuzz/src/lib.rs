//! Every decoder that meets bytes from outside, fed with any bytes.
//!
//! # What it is
//! One function a decoder. It gets bytes, and fails by panicking: in the decoder, or here, where what was decoded is not
//! what it should be (it encodes to something else, two machines fed with it differ, a log that was opened cannot be
//! opened again). Refusing the bytes is always right. Memory is bounded by the fuzzer, so a length that is believed before
//! it is compared shows as well.
//!
//! # How it runs
//! With libFuzzer, as long as one likes: `fuzz/run SECONDS`. For some seconds each: `cargo test --manifest-path
//! fuzz/Cargo.toml` takes the seeds that are committed and mutates them ([`mutation`]). What ever failed becomes a seed.
//!
//! # Where it stops
//! Decoders only. What a whole server does with garbage is tried in its own process tests; what it does with sensible
//! messages in an unlucky order is the simulated world's.

mod coordinator_decoders;
mod log_decoders;
pub mod mutation;
mod wire_decoders;

pub use coordinator_decoders::{coordinator_entry, gateway_json, snapshot_file};
pub use log_decoders::{raft_log, raft_message};
pub use wire_decoders::{dfs_wire, log_broker_wire};

/// A target, by the name that its program and its folder of seeds have.
pub type Target = (&'static str, fn(&[u8]));

pub const TARGETS: [Target; 7] = [
    ("coordinator_entry", coordinator_entry),
    ("gateway_json", gateway_json),
    ("raft_message", raft_message),
    ("raft_log", raft_log),
    ("snapshot_file", snapshot_file),
    ("log_broker_wire", log_broker_wire),
    ("dfs_wire", dfs_wire),
];
