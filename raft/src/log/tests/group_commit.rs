//! Many callers, one writer.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Condvar, Mutex};

use disk::faulty::{FaultyDisk, Loss};
use disk::{DiskFile, Entry, Mode, RealDisk};

use super::super::{GroupCommit, QUEUE_BYTES_MAX};
use super::*;

/// Submits and gives the channel on which the answer comes.
fn submit(writer: &GroupCommit, payload: &[u8]) -> Receiver<Result<u64, LogError>> {
    let (sender, receiver) = channel();
    writer.submit(1, Bytes::copy_from_slice(payload), move |outcome| {
        sender.send(outcome).unwrap()
    });
    receiver
}

#[test]
fn answers_come_in_order_and_survive() {
    let memory = MemoryDisk::new();
    let writer = GroupCommit::start(open(&memory, 4096).unwrap().0).unwrap();
    let (sender, receiver) = channel();
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let (writer, sender) = (&writer, sender.clone());
            scope.spawn(move || {
                for _ in 0..200 {
                    let sender = sender.clone();
                    writer.submit(thread, Bytes::from(vec![thread; 50]), move |outcome| {
                        sender.send(outcome).unwrap()
                    });
                }
            });
        }
    });
    let indexes: Vec<u64> = receiver.iter().take(800).map(Result::unwrap).collect();
    assert_eq!(indexes, (1..=800).collect::<Vec<_>>());
    assert_eq!(writer.stats().records, 800);
    drop(writer);
    memory.crash(Loss::All);
    assert_eq!(
        open(&memory, 4096).unwrap().1.next_index,
        801,
        "what was acknowledged was synced"
    );
}

#[test]
fn dropping_writes_what_is_queued() {
    let memory = MemoryDisk::new();
    let writer = GroupCommit::start(open(&memory, 4096).unwrap().0).unwrap();
    let answers: Vec<_> = (0..50).map(|_| submit(&writer, b"x")).collect();
    let log = writer.close().unwrap();
    assert_eq!(log.next_index(), 51);
    assert!(answers.iter().all(|answer| answer.recv().unwrap().is_ok()));
}

/// Holds every sync until it is let go.
#[derive(Debug, Clone)]
struct SlowDisk {
    inner: FaultyDisk,
    gate: Arc<(Mutex<bool>, Condvar)>,
}

#[derive(Debug)]
struct SlowFile(Arc<dyn DiskFile>, Arc<(Mutex<bool>, Condvar)>);

impl SlowDisk {
    fn hold(&self, hold: bool) {
        *self.gate.0.lock().unwrap() = hold;
        self.gate.1.notify_all();
    }
}

impl Disk for SlowDisk {
    fn open(&self, path: &Path, mode: Mode) -> std::io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(SlowFile(self.inner.open(path, mode)?, Arc::clone(&self.gate))))
    }
    fn list(&self, directory: &Path) -> std::io::Result<Vec<Entry>> {
        self.inner.list(directory)
    }
    fn exists(&self, path: &Path) -> std::io::Result<bool> {
        self.inner.exists(path)
    }
    fn create_dir_all(&self, directory: &Path) -> std::io::Result<()> {
        self.inner.create_dir_all(directory)
    }
    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        self.inner.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> std::io::Result<()> {
        self.inner.remove_file(path)
    }
    fn remove_dir_all(&self, directory: &Path) -> std::io::Result<()> {
        self.inner.remove_dir_all(directory)
    }
    fn sync_dir(&self, directory: &Path) -> std::io::Result<()> {
        self.inner.sync_dir(directory)
    }
}

impl DiskFile for SlowFile {
    fn len(&self) -> std::io::Result<u64> {
        self.0.len()
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
        self.0.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> std::io::Result<()> {
        self.0.write_at(bytes, offset)
    }
    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> std::io::Result<()> {
        let held = self.1.0.lock().unwrap();
        drop(self.1.1.wait_while(held, |held| *held).unwrap());
        self.0.sync_data()
    }
}

#[test]
fn all_that_waits_shares_one_write_and_one_sync() {
    let inner = FaultyDisk::new(Arc::new(MemoryDisk::new()));
    let disk = SlowDisk {
        inner: inner.clone(),
        gate: Arc::default(),
    };
    let writer = GroupCommit::start(open_on(Arc::new(disk.clone()), 1 << 20).unwrap().0).unwrap();
    disk.hold(true);
    let first = submit(&writer, b"first");
    // The writer is in the first record's sync once that was written.
    let written = inner.writes();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while inner.writes() == written && writer.stats().records == 0 && inner.writes() < 2 {
        assert!(std::time::Instant::now() < deadline);
        std::thread::yield_now();
    }
    let others: Vec<_> = (0..100).map(|_| submit(&writer, b"other")).collect();
    assert!(first.try_recv().is_err(), "nothing is acknowledged before its sync");
    let (writes, syncs) = (inner.writes(), inner.syncs());
    disk.hold(false);
    assert_eq!(first.recv().unwrap(), Ok(1));
    let indexes: Vec<u64> = others.iter().map(|answer| answer.recv().unwrap().unwrap()).collect();
    assert_eq!(indexes, (2..=101).collect::<Vec<_>>());
    assert_eq!(
        (inner.writes() - writes, inner.syncs() - syncs),
        (1, 2),
        "one write for the hundred, one sync each"
    );
    assert_eq!(writer.stats().groups, 2);
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged() {
    let disk = FaultyDisk::new(Arc::new(MemoryDisk::new()));
    let writer = GroupCommit::start(open_on(Arc::new(disk.clone()), 1 << 20).unwrap().0).unwrap();
    assert_eq!(submit(&writer, b"good").recv().unwrap(), Ok(1));
    disk.fail_syncs(true);
    assert!(matches!(
        submit(&writer, b"bad").recv().unwrap(),
        Err(LogError::Stopped(_))
    ));
    disk.fail_syncs(false);
    assert!(matches!(
        submit(&writer, b"good again").recv().unwrap(),
        Err(LogError::Stopped(_))
    ));
    assert!(matches!(writer.failure(), Some(LogError::Stopped(_))));
}

#[test]
fn a_full_disk_refuses_until_there_is_space() {
    let memory = MemoryDisk::new();
    let disk = FaultyDisk::new(Arc::new(memory.clone()));
    let writer = GroupCommit::start(open_on(Arc::new(disk.clone()), 1 << 20).unwrap().0).unwrap();
    assert_eq!(submit(&writer, b"one").recv().unwrap(), Ok(1));
    disk.set_space_left(Some(10));
    assert!(matches!(
        submit(&writer, b"two").recv().unwrap(),
        Err(LogError::NoSpace(_))
    ));
    assert!(matches!(writer.failure(), Some(LogError::NoSpace(_))));
    disk.set_space_left(Some(1000));
    assert_eq!(
        submit(&writer, b"two").recv().unwrap(),
        Ok(2),
        "the refused one left no gap"
    );
    assert_eq!(writer.failure(), None);
    drop(writer);
    let payloads: Vec<_> = all(&open(&memory, 1 << 20).unwrap().0)
        .into_iter()
        .map(|record| record.payload)
        .collect();
    assert_eq!(payloads, ["one", "two"]);
}

#[test]
fn the_queue_is_bounded() {
    let disk = SlowDisk {
        inner: FaultyDisk::new(Arc::new(MemoryDisk::new())),
        gate: Arc::default(),
    };
    let writer = GroupCommit::start(open_on(Arc::new(disk.clone()), 1 << 20).unwrap().0).unwrap();
    disk.hold(true);
    let block = Bytes::from(vec![1; 8 << 20]);
    let (sender, receiver) = channel();
    for _ in 0..QUEUE_BYTES_MAX / block.len() + 1 {
        let sender = sender.clone();
        writer.submit(0, block.clone(), move |outcome| sender.send(outcome).unwrap());
    }
    assert_eq!(receiver.recv().unwrap(), Err(LogError::Overloaded));
    disk.hold(false);
    drop(writer);
    drop(sender);
    assert!(receiver.iter().all(|outcome| outcome.is_ok()));
}

#[test]
fn purges_in_turn() {
    let memory = MemoryDisk::new();
    let writer = GroupCommit::start(open(&memory, 100).unwrap().0).unwrap();
    for _ in 0..20 {
        submit(&writer, &[1; 60]).recv().unwrap().unwrap();
    }
    writer.purge(10);
    let log = writer.close().unwrap();
    assert!(
        log.first_index() > 5 && log.first_index() <= 11,
        "{}",
        log.first_index()
    );
}

#[test]
fn works_on_the_real_disk() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("log");
    for round in 0..3 {
        let (log, recovery) = Log::open(Arc::new(RealDisk), &dir, Options::default()).unwrap();
        assert_eq!(recovery.next_index, 1 + round * 10);
        let writer = GroupCommit::start(log).unwrap();
        for _ in 0..10 {
            submit(&writer, b"on a real disk").recv().unwrap().unwrap();
        }
    }
}
