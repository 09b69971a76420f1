//! A disk in memory that knows what was synced.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::lock;
use crate::{Disk, DiskFile, Entry, Mode};

/// The unit that a disk writes whole or not at all, in bytes.
const SECTOR_BYTES: usize = 512;

/// What a crash leaves of the writes that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Nothing.
    All,
    /// Any of their sectors, in no order, chosen by the seed: torn tails and holes.
    Sectors { seed: u64 },
}

/// Files in memory, and beside each what would be left of it after a power loss. Clones share the files.
///
/// - A file's bytes and length are durable after `sync_data`; its name after `sync_dir` of its directory.
/// - Directories are durable at once.
/// - A file that was open at a crash only fails from then on.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Counts the crashes, so that files opened before one are distinguished from those opened after.
    incarnation: u64,
    next_file: u64,
    files: BTreeMap<u64, Contents>,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    directories: BTreeSet<PathBuf>,
}

#[derive(Debug, Default)]
struct Contents {
    now: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Debug)]
struct MemoryFile {
    state: Arc<Mutex<State>>,
    file: u64,
    incarnation: u64,
}

impl MemoryDisk {
    pub fn new() -> Self {
        Self::default()
    }

    /// The power fails: unsynced names are lost, and of unsynced bytes what `loss` says.
    pub fn crash(&self, loss: Loss) {
        let state = &mut *lock(&self.state);
        state.incarnation += 1;
        state.names = state.durable_names.clone();
        for (id, contents) in &mut state.files {
            if let Loss::Sectors { seed } = loss {
                keep_some_sectors(contents, seed ^ id.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            }
            contents.now.clone_from(&contents.durable);
        }
        let named: BTreeSet<u64> = state.names.values().copied().collect();
        state.files.retain(|id, _| named.contains(id));
    }

    /// The bytes of a file as they are now, for a test to look at or to damage.
    ///
    /// # Errors
    /// If there is no such file.
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let state = lock(&self.state);
        let id = state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(state.files[id].now.clone())
    }

    /// Replaces a file, durably.
    pub fn write(&self, path: &Path, bytes: &[u8]) {
        let state = &mut *lock(&self.state);
        let id = match state.names.get(path) {
            Some(id) => *id,
            None => state.create(path),
        };
        state.durable_names.insert(path.to_owned(), id);
        state.files.insert(
            id,
            Contents {
                now: bytes.to_vec(),
                durable: bytes.to_vec(),
            },
        );
    }
}

/// Moves a random choice of the sectors that differ into what is durable; the gaps before them become zeros.
fn keep_some_sectors(contents: &mut Contents, seed: u64) {
    let mut random = seed;
    let Contents { now, durable } = contents;
    if now.len() < durable.len() {
        return; // An unsynced cut: nothing of it happened.
    }
    for start in (0..now.len()).step_by(SECTOR_BYTES) {
        let end = (start + SECTOR_BYTES).min(now.len());
        let keep = next_random(&mut random) >> 63 == 0;
        if keep && durable.get(start..end) != Some(&now[start..end]) {
            durable.resize(durable.len().max(end), 0);
            durable[start..end].copy_from_slice(&now[start..end]);
        }
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

impl State {
    fn create(&mut self, path: &Path) -> u64 {
        let id = self.next_file;
        self.next_file += 1;
        self.files.insert(id, Contents::default());
        self.names.insert(path.to_owned(), id);
        id
    }
}

impl Disk for MemoryDisk {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = lock(&self.state);
        let file = match (state.names.get(path).copied(), mode) {
            (Some(_), Mode::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(id), _) => id,
            (None, Mode::Read) => return Err(io::ErrorKind::NotFound.into()),
            (None, _) if path.parent().is_some_and(|parent| !state.directories.contains(parent)) => {
                return Err(io::ErrorKind::NotFound.into());
            }
            (None, _) => state.create(path),
        };
        Ok(Arc::new(MemoryFile {
            state: Arc::clone(&self.state),
            file,
            incarnation: state.incarnation,
        }))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        let state = lock(&self.state);
        if !state.directories.contains(directory) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = |path: &Path| path.parent() == Some(directory);
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let files = state
            .names
            .iter()
            .filter(|(path, _)| inside(path))
            .map(|(path, id)| Entry {
                name: name(path),
                is_dir: false,
                len: state.files[id].now.len() as u64,
            });
        let directories = state.directories.iter().filter(|path| inside(path));
        let mut entries: Vec<Entry> = files
            .chain(directories.map(|path| Entry {
                name: name(path),
                is_dir: true,
                len: 0,
            }))
            .collect();
        entries.sort();
        Ok(entries)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let state = lock(&self.state);
        Ok(state.names.contains_key(path) || state.directories.contains(path))
    }

    fn create_dir_all(&self, directory: &Path) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.directories.extend(directory.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let state = &mut *lock(&self.state);
        let id = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), id);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        lock(&self.state)
            .names
            .remove(path)
            .map(|_| ())
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn remove_dir_all(&self, directory: &Path) -> io::Result<()> {
        let state = &mut *lock(&self.state);
        state.names.retain(|path, _| !path.starts_with(directory));
        state.durable_names.retain(|path, _| !path.starts_with(directory));
        state.directories.retain(|path| !path.starts_with(directory));
        Ok(())
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        let state = &mut *lock(&self.state);
        let inside = |path: &Path| path.parent() == Some(directory);
        state.durable_names.retain(|path, _| !inside(path));
        let names = state.names.iter().filter(|(path, _)| inside(path));
        state.durable_names.extend(names.map(|(path, id)| (path.clone(), *id)));
        Ok(())
    }
}

impl MemoryFile {
    fn with<T>(&self, work: impl FnOnce(&mut Contents) -> T) -> io::Result<T> {
        let state = &mut *lock(&self.state);
        if state.incarnation != self.incarnation {
            return Err(io::Error::other("the file was open when the machine crashed"));
        }
        state
            .files
            .get_mut(&self.file)
            .map(work)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl DiskFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        self.with(|contents| contents.now.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(|contents| {
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(contents.now.len());
            let n = buffer.len().min(contents.now.len() - start);
            buffer[..n].copy_from_slice(&contents.now[start..start + n]);
            n
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.with(|contents| {
            let end = start + bytes.len();
            contents.now.resize(contents.now.len().max(end), 0);
            contents.now[start..end].copy_from_slice(bytes);
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.with(|contents| contents.now.resize(len, 0))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|contents| contents.durable.clone_from(&contents.now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_loses_what_was_not_synced() {
        let disk = MemoryDisk::new();
        let directory = Path::new("/data");
        disk.create_dir_all(directory).unwrap();
        let kept = disk.open(&directory.join("kept"), Mode::CreateNew).unwrap();
        kept.write_at(b"synced", 0).unwrap();
        kept.sync_data().unwrap();
        disk.sync_dir(directory).unwrap();
        kept.write_at(b", not synced", 6).unwrap();
        let nameless = disk.open(&directory.join("nameless"), Mode::CreateNew).unwrap();
        nameless.write_at(b"x", 0).unwrap();
        nameless.sync_data().unwrap();
        disk.crash(Loss::All);
        assert_eq!(
            disk.list(directory).unwrap(),
            [Entry {
                name: "kept".into(),
                is_dir: false,
                len: 6
            }]
        );
        assert_eq!(disk.read(&directory.join("kept")).unwrap(), b"synced");
        assert!(kept.len().is_err(), "files of before the crash are dead");
    }

    #[test]
    fn a_crash_can_leave_any_sector() {
        let outcomes: BTreeSet<Vec<bool>> = (0..64)
            .map(|seed| {
                let disk = MemoryDisk::new();
                disk.create_dir_all(Path::new("/")).unwrap();
                let file = disk.open(Path::new("/f"), Mode::CreateNew).unwrap();
                disk.sync_dir(Path::new("/")).unwrap();
                file.write_at(&[1; 3 * SECTOR_BYTES], 0).unwrap();
                disk.crash(Loss::Sectors { seed: seed * 77 });
                let mut bytes = disk.read(Path::new("/f")).unwrap();
                bytes.resize(3 * SECTOR_BYTES, 0);
                bytes.chunks(SECTOR_BYTES).map(|sector| sector[0] == 1).collect()
            })
            .collect();
        assert_eq!(outcomes.len(), 8, "every subset of three sectors");
    }
}
