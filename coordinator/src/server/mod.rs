//! The program: sockets, disk, clock and threads around the machine.
//!
//! # What runs
//! - One listener for gRPC and HTTP/1 alike ([`connections`], [`port`], [`http`]); the services ([`kv`], [`lease`], [`watch`],
//!   [`cluster`], [`maintenance`], [`health`], [`auth`]) translate between the protocol and the [`node`]. What is asked most
//!   goes a shorter way than the rest ([`unary`]).
//! - The consensus thread, from `raft::node`: agrees with the other members, writes and syncs whatever is queued; and a task
//!   for each stream to and from another member ([`peers`], [`peer_streams`]). [`agreement`] is the way there and back.
//! - The *applier* thread: applies what is agreed upon, in order, answers, and feeds the watchers.
//! - The *archivist* thread: moves new versions from memory to `store.redb` now and then, and purges the log behind.
//! - The *expirer* task: where this member leads, revokes leases whose time is over, through the log like everything else.
//! - Where a flag asks for it, tasks that compare the members' keys ([`corruption`], [`hashes`]).
//! - Now and then a task that sends the whole state to a member that is far behind ([`catch_up`]).
//!
//! # What is on disk
//! `log/` is the truth, `hard-state/` beside it says in which term this member voted for whom, `commit` how far it had heard
//! that all agree. `store.redb` ([`store_file`])
//! is the machine as of some entry, that entry's index inside; after a kill the log is replayed from there ([`recovery`]), as
//! far as it is known to be agreed upon. A full disk refuses writes (etcd's "database space exceeded") and serves reads until
//! there is space again; a disk that fails otherwise ends the process with one clear line.
//!
//! # Where it stops
//! The machine's lock is held for selecting and applying, never while the log or the store file is written, and not
//! while a range's values are loaded. Only what a transaction itself reads is loaded under it.

mod agreement;
mod announcements;
mod applier;
mod archivist;
mod auth;
mod authority;
mod auto_compaction;
mod bell;
mod catch_up;
mod cluster;
mod config;
mod config_file;
mod connection_settings;
mod connections;
mod corruption;
#[cfg(test)]
mod crash_test;
mod defragment;
mod downgrade;
mod election;
mod expiry;
mod features;
mod forced;
mod founding;
mod gateway;
mod hashes;
mod health;
mod http;
mod import;
mod interceptor;
mod kv;
mod lease;
mod lock;
mod log_directory;
mod maintenance;
mod metrics;
mod node;
mod other_flags;
mod peer_streams;
mod peer_traffic;
mod peers;
mod port;
mod quota;
mod recovery;
mod redb_disk;
mod renewal;
mod replica;
mod restore;
mod security;
mod serve;
mod services;
mod snapshot;
mod status;
mod store_file;
mod timed_disk;
mod turn;
mod unary;
mod url;
mod watch;

use std::ffi::OsString;
use std::process::ExitCode;

/// Parses the arguments and runs the coordinator to its end.
pub fn main(argv: impl IntoIterator<Item = OsString>) -> ExitCode {
    let argv = config::etcd_spelling(argv);
    if config::asks_for_version(&argv) {
        return config::print_version();
    }
    if restore::is_asked(&argv) {
        return restore::main(argv);
    }
    let argv = match config_file::arguments(argv) {
        Ok(argv) => argv,
        Err(sentence) => {
            host::fail(&sentence);
            return ExitCode::from(2);
        }
    };
    let arguments: config::Arguments = match host::config::parse("coordinator", argv) {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    let mut telemetry = arguments.telemetry.clone();
    telemetry.outputs = match config::log_outputs(&arguments) {
        Ok(outputs) => outputs,
        Err(sentence) => {
            host::fail(&sentence);
            return ExitCode::from(2);
        }
    };
    let settings = match config::Settings::from_arguments(arguments) {
        Ok(settings) => settings,
        Err(sentence) => {
            host::fail(&sentence);
            return ExitCode::from(2);
        }
    };
    host::run("coordinator", &telemetry, |shutdown| serve::serve(settings, shutdown))
}
