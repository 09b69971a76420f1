//! Files that are closed while nobody uses them, so that a process may have more of them than descriptors.
//!
//! A file of this disk is opened when it is used, and stays open until others need its descriptor: the pool closes the
//! file that was not used for longest, approximately (a clock: a file that was used since the hand passed is spared once).
//! A sync through another descriptor of the same file makes durable what an earlier one wrote (fsync(2) is about the file).

use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use crate::{Disk, DiskFile, Entry, Mode};

/// A disk whose open files are limited in number. A file that is removed can be used while it happens to be open, and fails
/// with `NotFound` from then on.
#[derive(Debug, Clone)]
pub struct PooledDisk {
    inner: Arc<dyn Disk>,
    pool: Arc<Pool>,
}

#[derive(Debug)]
struct Pool {
    open_max: usize,
    /// Files that are open, in the order in which the hand passes them.
    open: Mutex<VecDeque<Weak<Slot>>>,
    /// Files by their names, which may come to mean others.
    names: Mutex<HashMap<PathBuf, Vec<Weak<Slot>>>>,
}

#[derive(Debug)]
struct Slot {
    file: RwLock<Option<Arc<dyn DiskFile>>>,
    was_used: AtomicBool,
    /// Its name is gone, or means another file: it cannot be opened again.
    is_gone: AtomicBool,
}

#[derive(Debug)]
struct PooledFile {
    disk: PooledDisk,
    path: PathBuf,
    mode: Mode,
    slot: Arc<Slot>,
}

impl PooledDisk {
    /// Keeps about `open_max` files of `inner` open, one at least.
    pub fn new(inner: Arc<dyn Disk>, open_max: usize) -> Self {
        let pool = Pool {
            open_max: open_max.max(1),
            open: Mutex::default(),
            names: Mutex::default(),
        };
        Self {
            inner,
            pool: Arc::new(pool),
        }
    }

    /// How many files are open now.
    pub fn open_files(&self) -> usize {
        self.pool.open.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Pool {
    fn opened(&self, slot: &Arc<Slot>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.push_back(Arc::downgrade(slot));
        // Each file is spared once at most, so this ends.
        while open.len() > self.open_max {
            let Some(candidate) = open.pop_front() else { break };
            let Some(candidate) = candidate.upgrade() else { continue };
            if candidate.was_used.swap(false, Ordering::Relaxed) {
                open.push_back(Arc::downgrade(&candidate));
            } else {
                // Whoever uses it at this moment has it open until then.
                *candidate.file.write().unwrap_or_else(PoisonError::into_inner) = None;
            }
        }
    }
}

impl Pool {
    fn names(&self) -> MutexGuard<'_, HashMap<PathBuf, Vec<Weak<Slot>>>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name, and what is below it, means nothing any more, or something else.
    fn forget(&self, path: &Path, is_directory: bool) {
        let mut names = self.names();
        let slots: Vec<Weak<Slot>> = if is_directory {
            names
                .extract_if(|name, _| name.starts_with(path))
                .flat_map(|(_, slots)| slots)
                .collect()
        } else {
            names.remove(path).unwrap_or_default()
        };
        for slot in slots.iter().filter_map(Weak::upgrade) {
            slot.is_gone.store(true, Ordering::Release);
        }
    }
}

impl Drop for PooledFile {
    fn drop(&mut self) {
        let mut names = self.disk.pool.names();
        if let Some(slots) = names.get_mut(&self.path) {
            slots.retain(|slot| slot.upgrade().is_some_and(|slot| !Arc::ptr_eq(&slot, &self.slot)));
            if slots.is_empty() {
                names.remove(&self.path);
            }
        }
    }
}

impl PooledFile {
    fn file(&self) -> io::Result<Arc<dyn DiskFile>> {
        self.slot.was_used.store(true, Ordering::Relaxed);
        if let Some(file) = &*self.slot.file.read().unwrap_or_else(PoisonError::into_inner) {
            return Ok(Arc::clone(file));
        }
        let file = {
            let mut slot = self.slot.file.write().unwrap_or_else(PoisonError::into_inner);
            if let Some(file) = &*slot {
                return Ok(Arc::clone(file));
            }
            // Not to be created a second time, and not to be taken for another file of that name.
            if self.slot.is_gone.load(Ordering::Acquire) || !self.disk.inner.exists(&self.path)? {
                return Err(io::ErrorKind::NotFound.into());
            }
            let mode = match self.mode {
                Mode::Read => Mode::Read,
                Mode::Write | Mode::CreateNew => Mode::Write,
            };
            Arc::clone(slot.insert(self.disk.inner.open(&self.path, mode)?))
        };
        self.disk.pool.opened(&self.slot);
        Ok(file)
    }
}

impl Disk for PooledDisk {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn DiskFile>> {
        let slot = Arc::new(Slot {
            file: RwLock::new(Some(self.inner.open(path, mode)?)),
            was_used: AtomicBool::new(true),
            is_gone: AtomicBool::new(false),
        });
        self.pool
            .names()
            .entry(path.to_owned())
            .or_default()
            .push(Arc::downgrade(&slot));
        self.pool.opened(&slot);
        Ok(Arc::new(PooledFile {
            disk: self.clone(),
            path: path.to_owned(),
            mode,
            slot,
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
        self.inner.rename(from, to)?;
        self.pool.forget(from, true);
        self.pool.forget(to, false);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_file(path)?;
        self.pool.forget(path, false);
        Ok(())
    }

    fn remove_dir_all(&self, directory: &Path) -> io::Result<()> {
        self.inner.remove_dir_all(directory)?;
        self.pool.forget(directory, true);
        Ok(())
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        self.inner.sync_dir(directory)
    }
}

impl DiskFile for PooledFile {
    fn len(&self) -> io::Result<u64> {
        self.file()?.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file()?.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file()?.write_at(bytes, offset)
    }

    fn write_vectored_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.file()?.write_vectored_at(slices, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file()?.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file()?.sync_data()
    }

    fn modified_ms(&self) -> io::Result<Option<i64>> {
        self.file()?.modified_ms()
    }

    fn is_cached(&self, offset: u64, len: usize) -> bool {
        // An error shows when it is read.
        self.file().is_ok_and(|file| file.is_cached(offset, len))
    }

    fn send_to(&self, socket: BorrowedFd<'_>, offset: u64, len: usize) -> io::Result<Option<usize>> {
        self.file()?.send_to(socket, offset, len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RealDisk;

    #[test]
    fn many_files_share_few_descriptors() {
        let directory = tempfile::tempdir().unwrap();
        let disk = PooledDisk::new(Arc::new(RealDisk), 3);
        let path = |number: u8| directory.path().join(number.to_string());
        let files: Vec<_> = (0..20).map(|n| disk.open(&path(n), Mode::CreateNew).unwrap()).collect();
        for round in 0..3u64 {
            for (number, file) in files.iter().enumerate() {
                file.write_at(&[number as u8], round).unwrap();
                file.sync_data().unwrap();
                assert!(disk.open_files() <= 3);
            }
        }
        for (number, file) in files.iter().enumerate() {
            let mut bytes = [9; 4];
            assert_eq!(file.read_at(&mut bytes, 0).unwrap(), 3);
            assert_eq!(bytes[..3], [number as u8; 3]);
        }
        // What was removed does not come back as an empty file.
        disk.remove_file(&path(0)).unwrap();
        assert_eq!(files[0].len().unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(!disk.exists(&path(0)).unwrap());
        // A name that means another file by now does not lead to it.
        disk.rename(&path(2), &path(1)).unwrap();
        for (number, file) in files.iter().enumerate().skip(3) {
            assert_eq!(file.len().unwrap(), 3, "{number}");
        }
        for file in &files[1..3] {
            assert!(file.len().is_err());
        }
        assert_eq!(disk.open(&path(1), Mode::Read).unwrap().len().unwrap(), 3);
        disk.rename(&path(3), &path(2)).unwrap();
        disk.rename(&path(4), &path(3)).unwrap();
        drop(files);
        assert!(disk.pool.names().is_empty());
        for number in [1, 2, 3, 5, 6, 7, 8, 9] {
            disk.open(&path(number), Mode::Read).unwrap();
        }
        assert!(disk.open_files() <= 3);
    }
}
