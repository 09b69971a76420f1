//! Raft's: messages from peers, and the files of the log after a crash, or worse.

use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use disk::Disk;
use disk::faulty::MemoryDisk;
use raft::consensus::Message;
use raft::log::{Log, Options, Record};

/// What is decoded is encoded to the same bytes: there is one way to say each thing.
pub fn raft_message(bytes: &[u8]) {
    let Ok(message) = Message::decode(Bytes::copy_from_slice(bytes)) else {
        return;
    };
    let mut again = BytesMut::new();
    message.encode(&mut again);
    let decoded = Message::decode(again.freeze());
    assert_eq!(decoded.as_ref(), Ok(&message));
}

/// A segment's file of any bytes: refused, or opened, read, gone on with, and opened again with all of it.
pub fn raft_log(bytes: &[u8]) {
    let memory = MemoryDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(memory.clone());
    let directory = Path::new("/log");
    // A log of its own first tells what a segment's file is called.
    drop(Log::open(Arc::clone(&disk), directory, Options::default()).expect("a new log"));
    let segment = disk.list(directory).expect("there is a segment").swap_remove(0).name;
    memory.write(&directory.join(segment), bytes);
    let Ok((mut log, found)) = Log::open(Arc::clone(&disk), directory, Options::default()) else {
        return;
    };
    let read = |log: &Log| -> Vec<Record> {
        let records = log.read(log.first_index()).expect("the first record is there");
        records
            .collect::<Result<_, _>>()
            .expect("what was recovered is readable")
    };
    let mut records = read(&log);
    assert_eq!(records.len() as u64, found.next_index - found.first_index);
    let fresh = Record {
        index: found.next_index,
        kind: 1,
        payload: Bytes::from_static(b"fresh"),
    };
    log.append(std::slice::from_ref(&fresh)).expect("it goes on");
    log.sync().expect("memory does not fail");
    records.push(fresh);
    drop(log);
    let (log, found) = Log::open(disk, directory, Options::default()).expect("it was well when it was closed");
    assert!(found.cut.is_none(), "nothing is unfinished");
    assert_eq!(read(&log), records);
}
