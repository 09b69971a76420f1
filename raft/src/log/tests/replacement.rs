//! One entry in the place of the log's end, on a machine that stops anywhere.

use std::io;
use std::sync::atomic::{AtomicI64, Ordering};

use disk::faulty::Loss;
use disk::{DiskFile, Mode};

use super::super::stable::{Entry, Found, HardState, Position, StableStorage};
use super::*;

const FOUNDED: Position = Position { index: 1, term: 1 };

/// A disk on which this many changes and syncs still happen, then none.
#[derive(Debug, Clone)]
struct Stopping {
    inner: MemoryDisk,
    left: Arc<AtomicI64>,
}

#[derive(Debug)]
struct StoppingFile {
    inner: Arc<dyn DiskFile>,
    left: Arc<AtomicI64>,
}

fn go_on(left: &AtomicI64) -> io::Result<()> {
    match left.fetch_sub(1, Ordering::SeqCst) {
        1.. => Ok(()),
        _ => Err(io::Error::other("the machine has stopped")),
    }
}

impl Disk for Stopping {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(StoppingFile {
            inner: self.inner.open(path, mode)?,
            left: Arc::clone(&self.left),
        }))
    }
    fn list(&self, directory: &Path) -> io::Result<Vec<disk::Entry>> {
        self.inner.list(directory)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.inner.exists(path)
    }
    fn create_dir_all(&self, directory: &Path) -> io::Result<()> {
        self.inner.create_dir_all(directory)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        go_on(&self.left).and_then(|()| self.inner.rename(from, to))
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        go_on(&self.left).and_then(|()| self.inner.remove_file(path))
    }
    fn remove_dir_all(&self, directory: &Path) -> io::Result<()> {
        go_on(&self.left).and_then(|()| self.inner.remove_dir_all(directory))
    }
    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        go_on(&self.left).and_then(|()| self.inner.sync_dir(directory))
    }
}

impl DiskFile for StoppingFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        go_on(&self.left).and_then(|()| self.inner.write_at(bytes, offset))
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        go_on(&self.left).and_then(|()| self.inner.set_len(len))
    }
    fn sync_data(&self) -> io::Result<()> {
        go_on(&self.left).and_then(|()| self.inner.sync_data())
    }
}

fn open_stable(disk: Arc<dyn Disk>) -> (StableStorage, Found) {
    let options = Options {
        segment_bytes: 600,
        ..Options::default()
    };
    StableStorage::open(disk, DIR, &options, FOUNDED).unwrap()
}

fn entry(index: u64, term: u64, words: &str) -> Entry {
    Entry {
        index,
        term,
        kind: 2,
        payload: Bytes::copy_from_slice(words.as_bytes()),
    }
}

fn entries(indexes: std::ops::Range<u64>, term: u64) -> Vec<Entry> {
    indexes.map(|index| entry(index, term, "one of many entries")).collect()
}

/// A log of entries 2 to 59, of which 20 are known to be committed, and the entry that is to follow those.
fn begun(disk: Arc<dyn Disk>) -> (StableStorage, Entry) {
    let (mut storage, _) = open_stable(disk);
    let hard_state = HardState {
        term: 4,
        vote: 7,
        commit: 1,
    };
    storage.save_hard_state(hard_state).unwrap();
    storage.save(&entries(2..50, 3), 15).unwrap();
    storage.save(&entries(50..60, 4), 20).unwrap();
    (storage, entry(21, 4, "alone from now on"))
}

#[test]
fn the_end_is_replaced_and_all_of_it_counts_as_committed() {
    let disk = MemoryDisk::new();
    let (mut storage, alone) = begun(Arc::new(disk.clone()));
    storage.replace_end(&alone).unwrap();
    storage.save(&entries(22..24, 4), 21).unwrap();
    drop(storage);
    disk.crash(Loss::All);
    let (storage, found) = open_stable(Arc::new(disk.clone()));
    assert_eq!(
        found.entries,
        [entries(2..21, 3), vec![alone], entries(22..24, 4)].concat(),
        "what came behind it is not replaced by it a second time"
    );
    assert_eq!((found.hard_state.term, found.hard_state.vote), (4, 7));
    assert_eq!(found.hard_state.commit, 21);
    assert_eq!(storage.term(21), Some(4));
}

#[test]
fn an_entry_of_a_later_term_takes_the_vote_back_and_one_behind_a_gap_is_refused() {
    let disk = MemoryDisk::new();
    let (mut storage, _) = begun(Arc::new(disk.clone()));
    let refused = storage.replace_end(&entry(61, 4, "behind a gap"));
    assert!(matches!(refused, Err(LogError::NotThere { .. })), "{refused:?}");
    storage.replace_end(&entry(60, 9, "at the very end")).unwrap();
    drop(storage);
    let (_, found) = open_stable(Arc::new(disk.clone()));
    assert_eq!(found.entries.len(), 59);
    assert_eq!((found.hard_state.term, found.hard_state.vote), (9, 0));
}

/// Every change and every sync is the last once: the log is as it was, or the replacement is whole.
#[test]
fn wherever_the_machine_stops_the_end_is_the_old_one_or_the_new_one() {
    let (mut old, mut new, mut done) = (0, 0, false);
    for left in 0.. {
        for seed in 0..8 {
            let memory = MemoryDisk::new();
            let disk = Stopping {
                inner: memory.clone(),
                left: Arc::new(AtomicI64::new(i64::MAX)),
            };
            let (mut storage, alone) = begun(Arc::new(disk.clone()));
            disk.left.store(left, Ordering::SeqCst);
            done = storage.replace_end(&alone).is_ok();
            drop(storage);
            memory.crash(Loss::Sectors { seed });
            let (_, found) = open_stable(Arc::new(memory.clone()));
            if found.entries.len() == 58 {
                assert!(!done, "it was said to be durable");
                assert_eq!(found.entries, [entries(2..50, 3), entries(50..60, 4)].concat());
                assert_eq!((found.hard_state.vote, found.hard_state.commit), (7, 20));
                old += 1;
            } else {
                assert_eq!(
                    found.entries,
                    [entries(2..21, 3), vec![alone]].concat(),
                    "{left}, {seed}"
                );
                assert_eq!((found.hard_state.vote, found.hard_state.commit), (7, 21));
                new += 1;
            }
        }
        if done {
            break;
        }
    }
    assert!(old > 8 && new > 8, "{old} and {new}");
}
