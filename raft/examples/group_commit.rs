//! How much group commit gives: a fixed number of clients, each of which waits for its record before it sends the next.
//!
//! `cargo run --release -p raft --example group_commit [DIRECTORY]` prints a table for the disk that the directory is on.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use bytes::Bytes;
use disk::RealDisk;
use raft::log::{GroupCommit, Log, LogError, Options};

const PAYLOAD_BYTES: usize = 256;
const RUN: Duration = Duration::from_secs(2);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let base = std::env::args_os()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from);
    println!("{PAYLOAD_BYTES}-byte records on {}, {RUN:?} each", base.display());
    println!(
        "{:>8} {:>12} {:>10} {:>14} {:>12}",
        "clients", "records/s", "syncs/s", "records/sync", "mean wait"
    );
    for clients in [1, 4, 16, 64, 256] {
        let directory = base.join(format!("group-commit-{}-{clients}", std::process::id()));
        let outcome = run(&directory, clients);
        std::fs::remove_dir_all(&directory)?;
        let (records, groups) = outcome?;
        let seconds = RUN.as_secs_f64();
        println!(
            "{clients:>8} {:>12.0} {:>10.0} {:>14.1} {:>9.2} ms",
            records as f64 / seconds,
            groups as f64 / seconds,
            records as f64 / groups.max(1) as f64,
            1000.0 * seconds * clients as f64 / records.max(1) as f64,
        );
    }
    Ok(())
}

/// Records and syncs within the time.
fn run(directory: &std::path::Path, clients: usize) -> Result<(u64, u64), Box<dyn std::error::Error>> {
    let (log, _) = Log::open(Arc::new(RealDisk), directory, Options::default())?;
    let writer = GroupCommit::start(log)?;
    let payload = Bytes::from(vec![7; PAYLOAD_BYTES]);
    let began = Instant::now();
    let outcomes: Vec<Result<(), LogError>> = std::thread::scope(|scope| {
        let client = || {
            let (sender, receiver) = sync_channel(1);
            while began.elapsed() < RUN {
                let sender = sender.clone();
                writer.submit(0, payload.clone(), move |outcome| {
                    // The client waits for it, so it is there.
                    let _ = sender.send(outcome);
                });
                receiver.recv().unwrap_or(Err(LogError::Closed))?;
            }
            Ok(())
        };
        let running: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        running
            .into_iter()
            .map(|client| client.join().unwrap_or(Err(LogError::Closed)))
            .collect()
    });
    outcomes.into_iter().collect::<Result<(), _>>()?;
    let stats = writer.stats();
    Ok((stats.records, stats.groups))
}
