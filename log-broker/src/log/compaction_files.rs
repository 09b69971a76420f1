//! How a compacted copy takes the place of its originals, whatever a crash leaves of that.
//!
//! ```text
//!   BASE.cleaned          a copy under way: removed at the next start
//!   BASE-NEXT.swap        a whole copy of the segments from BASE to NEXT, durable: it replaces them, at the next start too
//! ```

use std::io;
use std::path::Path;
use std::sync::Arc;

use disk::{Disk, DiskFile, Mode};
use log_broker_wire::batch::BatchHeader;

use super::checkpoint;
use super::index::{self, Index};
use super::segment::{self, Segment};

const CLEANED_TO_NAME: &str = "cleaner-offset";
const CLEANED: &str = ".cleaned";
const SWAP: &str = ".swap";

/// Bytes that are collected before they are written.
const WRITE_BYTES: usize = 1 << 20;

/// A copy that is being written.
pub(super) struct Copy {
    base: i64,
    next: i64,
    file: Arc<dyn DiskFile>,
    interval: u64,
    index: Index,
    len: u64,
    buffer: Vec<u8>,
    end: i64,
}

/// A copy that is written and durable.
pub(super) struct Cleaned {
    base: i64,
    /// Where the originals end, and where the copy does.
    next: i64,
    end: i64,
    pub(super) len: u64,
    index: Index,
}

impl Copy {
    pub(super) fn begin(disk: &dyn Disk, dir: &Path, base: i64, next: i64, interval: u64) -> io::Result<Self> {
        let file = disk.open(&dir.join(cleaned_name(base)), Mode::Write)?;
        file.set_len(0)?;
        Ok(Self {
            base,
            next,
            file,
            interval,
            index: Index::default(),
            len: 0,
            buffer: Vec::new(),
            end: base,
        })
    }

    pub(super) fn put(&mut self, header: &BatchHeader, batch: &[u8]) -> io::Result<()> {
        self.index.add(header, self.base, self.len, self.interval);
        self.len += batch.len() as u64;
        self.end = header.next_offset();
        self.buffer.extend_from_slice(batch);
        if self.buffer.len() >= WRITE_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_at(&self.buffer, self.len - self.buffer.len() as u64)?;
        self.buffer.clear();
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<Cleaned> {
        self.flush()?;
        self.file.sync_data()?;
        Ok(Cleaned {
            base: self.base,
            next: self.next,
            end: self.end,
            len: self.len,
            index: self.index,
        })
    }
}

impl Cleaned {
    /// Replaces the segments at `bases` by the copy. From the first rename on it will happen, if need be at the next start.
    pub(super) fn replace(self, disk: &dyn Disk, dir: &Path, bases: &[i64]) -> io::Result<Segment> {
        let swap = dir.join(swap_name(self.base, self.next));
        disk.rename(&dir.join(cleaned_name(self.base)), &swap)?;
        disk.sync_dir(dir)?;
        replace(disk, dir, self.base, bases, &swap)?;
        self.index.encode(self.base).write(disk, dir)?;
        let file = disk.open(&dir.join(segment::name(self.base)), Mode::Write)?;
        Segment::known(self.base, self.end, self.len, file, self.index, Some(0))
    }
}

/// The indexes first: one that outlived its segment could be taken for the copy's.
fn replace(disk: &dyn Disk, dir: &Path, base: i64, bases: &[i64], swap: &Path) -> io::Result<()> {
    let remove = |name: String| {
        let path = dir.join(name);
        if disk.exists(&path)? {
            disk.remove_file(&path)
        } else {
            Ok(())
        }
    };
    for old in bases {
        remove(index::offset_name(*old))?;
        remove(index::time_name(*old))?;
    }
    disk.sync_dir(dir)?;
    // The later segments next: the copy is found by its swap until the end.
    for old in bases.iter().filter(|old| **old != base) {
        remove(segment::name(*old))?;
    }
    disk.sync_dir(dir)?;
    disk.rename(swap, &dir.join(segment::name(base)))?;
    disk.sync_dir(dir)
}

/// Finishes, or takes back, what a crash left.
pub(super) fn finish(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    let entries = disk.list(dir)?;
    for entry in &entries {
        if entry.name.ends_with(CLEANED) {
            disk.remove_file(&dir.join(&entry.name))?;
        }
        let Some((base, next)) = swap_range(&entry.name) else {
            continue;
        };
        let bases: Vec<i64> = entries
            .iter()
            .filter_map(|entry| segment::base_of(&entry.name))
            .filter(|old| (base..next).contains(old))
            .collect();
        tracing::info!(dir = %dir.display(), base, "finishing a compaction");
        replace(disk, dir, base, &bases, &dir.join(&entry.name))?;
    }
    Ok(())
}

/// Removes copies that will not be used.
pub(super) fn discard(disk: &dyn Disk, dir: &Path) {
    let removed = disk.list(dir).and_then(|entries| {
        for entry in entries.iter().filter(|entry| entry.name.ends_with(CLEANED)) {
            disk.remove_file(&dir.join(&entry.name))?;
        }
        Ok(())
    });
    if let Err(error) = removed {
        tracing::warn!(dir = %dir.display(), %error, "a compacted copy is left over until the next start");
    }
}

pub(super) fn write_cleaned_to(disk: &dyn Disk, dir: &Path, offset: i64) -> io::Result<()> {
    checkpoint::replace(disk, dir, CLEANED_TO_NAME, offset.to_string().as_bytes())
}

/// How far compaction has come; from the start where that is not known.
pub(super) fn read_cleaned_to(disk: &dyn Disk, dir: &Path) -> io::Result<i64> {
    let contents = checkpoint::read_optional(disk, dir, CLEANED_TO_NAME)?;
    let offset = contents.and_then(|contents| String::from_utf8_lossy(&contents).trim().parse().ok());
    Ok(offset.unwrap_or(0))
}

fn cleaned_name(base: i64) -> String {
    format!("{base:020}{CLEANED}")
}

fn swap_name(base: i64, next: i64) -> String {
    format!("{base:020}-{next:020}{SWAP}")
}

fn swap_range(name: &str) -> Option<(i64, i64)> {
    let (base, next) = name.strip_suffix(SWAP)?.split_once('-')?;
    Some((base.parse().ok()?, next.parse().ok()?))
}
