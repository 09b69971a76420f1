//! The log broker: Kafka's wire protocol on a partitioned log, as one process.
//!
//! Rooms, in the order in which a record passes them:
//!
//! - [`server`] is the only room with sockets, threads and a clock. It reads frames, answers them in order, and puts the
//!   pure rooms to work. A produced batch is appended, then the *flusher* makes it durable together with everybody else's,
//!   and only then is it acknowledged and visible to consumers.
//! - [`replica`] decides how far a partition may be read: the high watermark.
//! - [`log`] is one partition on disk: segments, indexes, recovery, retention, compaction, idempotent producers.
//! - [`group`] decides who is in a consumer group and reads which partition; committed positions are its data too.
//! - [`catalog`] names the topics; [`property`] holds every property with its default and source.
//!
//! A batch is checked but not rebuilt: it arrives as a slice of its frame, its CRC and then each of its records are checked,
//! it is written behind a header with its offset, epoch and largest timestamp, and leaves as it is. A compressed batch is
//! inflated for the check, through a small buffer, and stays compressed.
//!
//! Deliberately missing: replication and several brokers, transactions, SASL and TLS, KRaft's own calls.

pub mod catalog;
pub mod group;
pub mod log;
pub mod property;
pub mod replica;
pub mod server;
pub mod transaction;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

/// A broker that speaks Kafka's protocol.
#[derive(Debug, Clone, Parser)]
#[command(name = "log-broker", version)]
pub struct Args {
    /// Directory for the logs; created if it is not there.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Address to serve clients on; port 0 picks a free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    pub listen: String,
    /// Address that clients connect to, where it is another one. On 0.0.0.0, the one a client came in on unless given.
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise: Option<String>,
    /// Address of the page with /metrics and /healthz.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9644")]
    pub admin: String,
    /// The broker serves also while the coordinator cannot be reached.
    #[command(flatten)]
    pub coordinator: coordinator_client::Options,
    /// When acks=all is answered and records become visible.
    #[arg(long, value_enum, default_value = "sync")]
    pub flush: Flush,
    /// Sets a property by Kafka's name for it in a broker's configuration; may be repeated.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    #[command(flatten)]
    pub telemetry: host::telemetry::Options,
}

/// What is done before a batch is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Flush {
    /// It is on disk: one fdatasync for all batches that wait.
    Sync,
    /// It is with the operating system, Kafka's own policy: a power loss may take it.
    Os,
}

/// The program's entry point; the first argument is the program's name.
pub fn main(argv: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Args = match host::config::parse("log-broker", argv) {
        Ok(args) => args,
        Err(code) => return code,
    };
    let telemetry = args.telemetry.clone();
    host::run("log-broker", &telemetry, |shutdown| server::serve(args, shutdown))
}
