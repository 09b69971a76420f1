//! The program: sockets, disk, clock and threads around the machine.
//!
//! # What runs
//! - One listener for gRPC and HTTP/1 alike ([`listen`]); the services ([`service`])
//!   translate between the protocol and the node ([`replica`]). Range, Put and Txn take a fast path around the router.
//! - The consensus thread, from `raft::node`: agrees with the other members, writes and syncs whatever is queued; and a task
//!   for each stream to and from another member. `replica::propose` is the way there and back.
//! - The *applier* thread: applies what is committed, in order, answers, and feeds the watchers.
//! - The *persister* thread ([`storage`]): moves new versions from memory to `store.redb` now and then, and purges the log behind.
//! - The *expirer* task: where this member leads, revokes leases whose time is over, through the log like everything else.
//! - Where a flag asks for it, tasks that compare the members' keys (`replica::corruption`).
//! - Now and then a task that sends the whole state to a member that is far behind (`replica::snapshot_transfer`).
//!
//! # What is on disk
//! `log/` is the truth, `hard-state/` beside it says in which term this member voted for whom, `commit` how far it had heard
//! that all agree. `store.redb`
//! is the machine as of some entry, that entry's index inside; after a kill the log is replayed from there (`storage::recovery`), as
//! far as it is known to be committed. A full disk refuses writes (etcd's "database space exceeded") and serves reads until
//! there is space again; a disk that fails otherwise ends the process with one clear line.
//!
//! # Where it stops
//! The machine's lock is held for selecting and applying, never while the log or the store file is written, and not
//! while a range's values are loaded. Only what a transaction itself reads is loaded under it.

#[cfg(test)]
mod crash_test;
mod listen;
mod metrics;
mod replica;
mod serve;
mod service;
mod settings;
mod startup_log;
mod storage;

use std::ffi::OsString;
use std::process::ExitCode;

use settings::{config_file, flags};
use storage::restore;

/// Parses the arguments and runs the coordinator to its end.
pub fn main(argv: impl IntoIterator<Item = OsString>) -> ExitCode {
    let argv = flags::etcd_spelling(argv);
    if flags::asks_for_version(&argv) {
        return flags::print_version();
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
    let arguments: flags::Arguments = match host::config::parse("coordinator", argv) {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    let mut telemetry = arguments.telemetry.clone();
    telemetry.outputs = match flags::log_outputs(&arguments) {
        Ok(outputs) => outputs,
        Err(sentence) => {
            host::fail(&sentence);
            return ExitCode::from(2);
        }
    };
    let settings = match flags::Settings::from_arguments(arguments) {
        Ok(settings) => settings,
        Err(sentence) => {
            host::fail(&sentence);
            return ExitCode::from(2);
        }
    };
    host::run("coordinator", &telemetry, |shutdown| serve::serve(settings, shutdown))
}
