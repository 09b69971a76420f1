//! Files behind one trait.
//!
//! Every byte that a service must not lose goes through [`Disk`]: the real one ([`RealDisk`]) in production, a faulty one
//! in tests and in the simulated world (unsynced writes lost at a crash, torn tails, flipped bits, a full or slow disk).
//! The calls block; the caller owns a thread for them. Nothing here retries: after a failed sync the state of the
//! page cache is unknown, so the caller must stop acknowledging.
//!
//! Tests of any crate get disks that are full, fail to sync or lose their power from [`faulty`], by naming the feature of
//! that name in their dev-dependencies: `disk = { workspace = true, features = ["faulty"] }`.
//!
//! Deliberately missing: asynchronous calls (a thread that blocks is easier to reason about, and the kernel's page cache
//! makes most calls short) and direct I/O.

#[cfg(test)]
mod contract;
#[cfg(any(test, feature = "faulty"))]
pub mod faulty;
mod pooled;
mod real;

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

pub use pooled::PooledDisk;
pub use real::RealDisk;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// For reading; it must exist.
    Read,
    /// For reading and writing; created where it does not exist.
    Write,
    /// For reading and writing; it must not exist.
    CreateNew,
}

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    pub name: String,
    pub is_dir: bool,
    /// Length in bytes; 0 for a directory.
    pub len: u64,
}

/// A file system.
pub trait Disk: Debug + Send + Sync + 'static {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn DiskFile>>;
    /// The entries of a directory, sorted by name, so that iteration has a fixed order.
    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>>;
    fn exists(&self, path: &Path) -> io::Result<bool>;
    fn create_dir_all(&self, directory: &Path) -> io::Result<()>;
    /// Replaces `to` atomically. Durable only after [`Disk::sync_dir`] of the parent.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    fn remove_dir_all(&self, directory: &Path) -> io::Result<()>;
    /// Makes created, renamed and removed names in `directory` durable.
    fn sync_dir(&self, directory: &Path) -> io::Result<()>;

    /// Replaces the contents of `path` atomically and durably: after a crash at any moment the file holds what it held
    /// before or all of `contents`, and the latter once this returns. The new contents are written beside it first, into
    /// `NAME.new`, which a crash may leave behind and the next call replaces. One caller at a time for one path.
    fn replace(&self, path: &Path, contents: &[u8]) -> io::Result<()> {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let mut beside = name.to_owned();
        beside.push(".new");
        let beside = directory.join(beside);
        let file = self.open(&beside, Mode::Write)?;
        file.set_len(0)?;
        file.write_at(contents, 0)?;
        file.sync_data()?;
        drop(file);
        self.rename(&beside, path)?;
        self.sync_dir(directory)
    }
}

/// An open file. All calls take positions, so that readers and one writer can share it.
pub trait DiskFile: Debug + Send + Sync {
    fn len(&self) -> io::Result<u64>;
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Reads up to `buffer.len()` bytes at `offset`; 0 at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Writes all slices, one behind the other, at `offset`.
    fn write_vectored_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let mut position = offset;
        for slice in slices {
            self.write_at(slice, position)?;
            position += slice.len() as u64;
        }
        Ok(())
    }
    /// Writes all of `bytes` at the end and returns the offset at which they stand. One writer only.
    fn append(&self, bytes: &[u8]) -> io::Result<u64> {
        let offset = self.len()?;
        self.write_at(bytes, offset)?;
        Ok(offset)
    }
    /// Cuts or zero-extends the file to `len` bytes.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// fdatasync: contents and length are durable when it returns.
    fn sync_data(&self) -> io::Result<()>;
    /// When the contents were last written, in milliseconds since 1970; `None` where the disk keeps no such time.
    fn modified_ms(&self) -> io::Result<Option<i64>> {
        Ok(None)
    }
    /// Whether a read of `len` bytes at `offset` would not wait for the device; true also where that is not known.
    fn is_cached(&self, _offset: u64, _len: usize) -> bool {
        true
    }
    /// Sends up to `len` bytes from `offset` to a socket without a copy in this process (sendfile), and says how many;
    /// `None` where that cannot be done, so that the caller reads and writes instead.
    fn send_to(&self, _socket: BorrowedFd<'_>, _offset: u64, _len: usize) -> io::Result<Option<usize>> {
        Ok(None)
    }
    /// The descriptor, where there is a real one (for sendfile and mmap).
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    /// Fills `buffer` from `offset`, or fails with `UnexpectedEof`.
    fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.read_at(buffer, offset)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => {
                    buffer = &mut buffer[n..];
                    offset += n as u64;
                }
            }
        }
        Ok(())
    }
}
