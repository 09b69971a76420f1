//! The index of aborted transactions of a segment, so that a reader of committed records knows what to leave out.
//!
//! An entry stands in the file of the segment that has the marker. The file is written when the segment is sealed, and when
//! the log is closed; it is durable before the snapshot that goes with it, and what is behind that snapshot is derived from
//! the batches. So a segment without a file has no aborted transaction.

use std::io;
use std::path::Path;

use disk::Disk;

use super::checkpoint;

const SUFFIX: &str = ".txnindex";
/// Kafka's version of an entry.
const VERSION: i16 = 0;
/// Bytes of an entry: version i16, producer id, first offset, last offset, last stable offset i64.
const ENTRY_LEN: usize = 2 + 8 + 8 + 8 + 8;

/// A transaction that was aborted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    pub producer_id: i64,
    pub first_offset: i64,
    /// The offset of its marker.
    pub last_offset: i64,
}

/// Replaces the file of the segment at `base`, durably.
pub(super) fn write(disk: &dyn Disk, dir: &Path, base: i64, aborted: &[AbortedTransaction]) -> io::Result<()> {
    let mut contents = Vec::with_capacity(aborted.len() * ENTRY_LEN);
    for entry in aborted {
        contents.extend(VERSION.to_be_bytes());
        contents.extend(entry.producer_id.to_be_bytes());
        contents.extend(entry.first_offset.to_be_bytes());
        contents.extend(entry.last_offset.to_be_bytes());
        // Everything before the first offset was decided, at least.
        contents.extend(entry.first_offset.to_be_bytes());
    }
    checkpoint::replace(disk, dir, &name(base), &contents)
}

/// The entries of all segments with a marker before `end`, in the order of their markers.
pub(super) fn read_all(disk: &dyn Disk, dir: &Path, end: i64) -> io::Result<Vec<AbortedTransaction>> {
    let mut aborted = Vec::new();
    for file in disk.list(dir)?.iter().filter(|entry| entry.name.ends_with(SUFFIX)) {
        let contents = checkpoint::read_optional(disk, dir, &file.name)?.unwrap_or_default();
        if !contents.len().is_multiple_of(ENTRY_LEN) {
            let path = dir.join(&file.name);
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{} is damaged; restore it from a copy", path.display()),
            ));
        }
        aborted.extend(contents.chunks_exact(ENTRY_LEN).map(|entry| AbortedTransaction {
            producer_id: number(entry, 2),
            first_offset: number(entry, 10),
            last_offset: number(entry, 18),
        }));
    }
    aborted.retain(|entry| entry.last_offset < end);
    aborted.sort_unstable_by_key(|entry| entry.last_offset);
    // A crash in the middle of a compaction leaves some twice.
    aborted.dedup_by_key(|entry| entry.last_offset);
    Ok(aborted)
}

/// Removes the file of the segment at `base`, where there is one.
pub(super) fn remove(disk: &dyn Disk, dir: &Path, base: i64) -> io::Result<()> {
    let path = dir.join(name(base));
    if disk.exists(&path)? {
        disk.remove_file(&path)?;
    }
    Ok(())
}

pub(super) fn name(base: i64) -> String {
    format!("{base:020}{SUFFIX}")
}

fn number(entry: &[u8], start: usize) -> i64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&entry[start..start + 8]);
    i64::from_be_bytes(bytes)
}
