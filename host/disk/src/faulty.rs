//! Disks that break on purpose, for tests (feature `faulty`).
//!
//! [`FaultyDisk`] wraps any disk: it can be full, refuse writes, or fail to sync. [`MemoryDisk`] keeps files in memory and
//! remembers what was synced, so that [`MemoryDisk::crash`] can lose the rest as a machine that lost its power does. Put
//! the first over the second to have both. The simulated world will bring its own, with time in it.

mod memory;

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::{Disk, DiskFile, Entry, Mode};

pub use memory::{Loss, MemoryDisk};

/// What is broken at the moment; shared by a disk and its open files.
#[derive(Debug, Default)]
struct Faults {
    /// Bytes that still fit; `None` is without limit.
    space_left: Mutex<Option<u64>>,
    fail_writes: AtomicBool,
    fail_syncs: AtomicBool,
    syncs: AtomicU64,
    writes: AtomicU64,
}

/// A disk that fails on request. Clones share their faults.
#[derive(Debug, Clone)]
pub struct FaultyDisk {
    inner: Arc<dyn Disk>,
    faults: Arc<Faults>,
}

#[derive(Debug)]
struct FaultyFile {
    inner: Arc<dyn DiskFile>,
    faults: Arc<Faults>,
}

impl FaultyDisk {
    /// Without faults until told.
    pub fn new(inner: Arc<dyn Disk>) -> Self {
        Self {
            inner,
            faults: Arc::default(),
        }
    }

    /// From now on only `bytes` more fit; a write that does not fit is written in part, then fails as ENOSPC does.
    /// Cut and removed files give their space back. `None` lifts the limit.
    pub fn set_space_left(&self, bytes: Option<u64>) {
        *lock(&self.faults.space_left) = bytes;
    }

    /// Every write fails as EIO does, while set.
    pub fn fail_writes(&self, fail: bool) {
        self.faults.fail_writes.store(fail, Ordering::SeqCst);
    }

    /// Every sync of a file or directory fails as EIO does, while set.
    pub fn fail_syncs(&self, fail: bool) {
        self.faults.fail_syncs.store(fail, Ordering::SeqCst);
    }

    /// How often files were synced with success.
    pub fn syncs(&self) -> u64 {
        self.faults.syncs.load(Ordering::SeqCst)
    }

    /// How often files were written.
    pub fn writes(&self) -> u64 {
        self.faults.writes.load(Ordering::SeqCst)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("no holder of a test disk's lock panics")
}

fn input_output_error() -> io::Error {
    io::Error::from_raw_os_error(5)
}

impl Faults {
    fn check_sync(&self) -> io::Result<()> {
        if self.fail_syncs.load(Ordering::SeqCst) {
            return Err(input_output_error());
        }
        Ok(())
    }

    /// Takes up to `growth` bytes of space and says how many there were.
    fn take(&self, growth: u64) -> u64 {
        match &mut *lock(&self.space_left) {
            None => growth,
            Some(left) => {
                let taken = growth.min(*left);
                *left -= taken;
                taken
            }
        }
    }

    fn give_back(&self, bytes: u64) {
        if let Some(left) = &mut *lock(&self.space_left) {
            *left += bytes;
        }
    }
}

impl Disk for FaultyDisk {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn DiskFile>> {
        let inner = self.inner.open(path, mode)?;
        Ok(Arc::new(FaultyFile {
            inner,
            faults: Arc::clone(&self.faults),
        }))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        self.inner.list(directory)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.inner.exists(path)
    }

    fn create_dir_all(&self, directory: &Path) -> io::Result<()> {
        self.inner.create_dir_all(directory)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let replaced = if self.inner.exists(to)? {
            self.inner.open(to, Mode::Read)?.len()?
        } else {
            0
        };
        self.inner.rename(from, to)?;
        self.faults.give_back(replaced);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let len = self.inner.open(path, Mode::Read)?.len()?;
        self.inner.remove_file(path)?;
        self.faults.give_back(len);
        Ok(())
    }

    fn remove_dir_all(&self, directory: &Path) -> io::Result<()> {
        self.inner.remove_dir_all(directory)
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        self.faults.check_sync()?;
        self.inner.sync_dir(directory)
    }
}

impl DiskFile for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.faults.fail_writes.load(Ordering::SeqCst) {
            return Err(input_output_error());
        }
        let growth = (offset + bytes.len() as u64).saturating_sub(self.inner.len()?);
        let missing = growth - self.faults.take(growth);
        let fits = bytes.len() - usize::try_from(missing).unwrap_or(bytes.len()).min(bytes.len());
        self.inner.write_at(&bytes[..fits], offset)?;
        self.faults.writes.fetch_add(1, Ordering::SeqCst);
        if fits < bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let before = self.inner.len()?;
        self.inner.set_len(len)?;
        self.faults.give_back(before.saturating_sub(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.faults.check_sync()?;
        self.inner.sync_data()?;
        self.faults.syncs.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn modified_ms(&self) -> io::Result<Option<i64>> {
        self.inner.modified_ms()
    }

    fn is_cached(&self, offset: u64, len: usize) -> bool {
        self.inner.is_cached(offset, len)
    }

    fn send_to(&self, socket: BorrowedFd<'_>, offset: u64, len: usize) -> io::Result<Option<usize>> {
        self.inner.send_to(socket, offset, len)
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RealDisk;

    #[test]
    fn a_full_disk_takes_a_part_and_recovers() {
        let directory = tempfile::tempdir().unwrap();
        let disk = FaultyDisk::new(Arc::new(RealDisk));
        let file = disk.open(&directory.path().join("a"), Mode::Write).unwrap();
        disk.set_space_left(Some(4));
        assert_eq!(
            file.write_at(b"0123456", 0).unwrap_err().kind(),
            io::ErrorKind::StorageFull
        );
        assert_eq!(file.len().unwrap(), 4);
        file.write_at(b"wxyz", 0).unwrap(); // Overwriting needs no space.
        file.set_len(1).unwrap();
        file.write_at(b"abc", 1).unwrap();
        disk.remove_file(&directory.path().join("a")).unwrap();
        let file = disk.open(&directory.path().join("b"), Mode::Write).unwrap();
        file.write_at(b"0123", 0).unwrap();
        assert!(file.write_at(b"4", 4).is_err());
    }

    #[test]
    fn syncs_fail_while_told() {
        let disk = FaultyDisk::new(Arc::new(MemoryDisk::new()));
        disk.create_dir_all(Path::new("/d")).unwrap();
        let file = disk.open(Path::new("/d/a"), Mode::CreateNew).unwrap();
        disk.fail_syncs(true);
        assert!(file.sync_data().is_err());
        assert!(disk.sync_dir(Path::new("/d")).is_err());
        disk.fail_syncs(false);
        file.sync_data().unwrap();
        assert_eq!(disk.syncs(), 1);
    }
}
