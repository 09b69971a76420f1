//! The log against disks that break.

mod group_commit;
mod recovery;
mod replacement;
mod stable;
mod writing;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use disk::Disk;
use disk::faulty::MemoryDisk;

use super::{Log, LogError, Options, Record, Recovery};

const DIR: &str = "/log";

fn record(index: u64, payload: &[u8]) -> Record {
    Record {
        index,
        kind: (index % 5) as u8,
        payload: Bytes::copy_from_slice(payload),
    }
}

fn open(disk: &MemoryDisk, segment_bytes: u64) -> Result<(Log, Recovery), LogError> {
    open_on(Arc::new(disk.clone()), segment_bytes)
}

fn open_on(disk: Arc<dyn Disk>, segment_bytes: u64) -> Result<(Log, Recovery), LogError> {
    Log::open(
        disk,
        DIR,
        Options {
            segment_bytes,
            ..Options::default()
        },
    )
}

fn all(log: &Log) -> Vec<Record> {
    log.read(log.first_index()).unwrap().collect::<Result<_, _>>().unwrap()
}

/// The paths of the segments, the oldest first.
fn segments(disk: &MemoryDisk) -> Vec<std::path::PathBuf> {
    disk.list(Path::new(DIR))
        .unwrap()
        .into_iter()
        .map(|entry| Path::new(DIR).join(entry.name))
        .collect()
}

/// A small log: groups of one, two and three records, payloads that are empty, long, zero and random-looking.
fn write_groups(log: &mut Log) -> Vec<Vec<Record>> {
    let payloads: [&[u8]; 9] = [
        b"",
        b"a",
        &[0; 40],
        b"some payload",
        &[7; 90],
        &[0; 1030],
        &[0xFF; 30],
        b"\0\0tail\0",
        b"last one, not zero",
    ];
    let mut groups = Vec::new();
    let mut next = log.next_index();
    let mut payloads = payloads.into_iter();
    for size in [1, 2, 3, 1, 2] {
        let group: Vec<Record> = payloads
            .by_ref()
            .take(size)
            .map(|payload| {
                next += 1;
                record(next - 1, payload)
            })
            .collect();
        log.append(&group).unwrap();
        log.sync().unwrap();
        groups.push(group);
    }
    groups
}
