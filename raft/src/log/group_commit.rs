//! One thread that writes for all: whatever waits goes into one write and one fdatasync.
//!
//! [`GroupCommit::submit`] queues and returns; the callback is called on the writer's thread once the record is durable
//! or refused. Callbacks are called in the order of submission, and should do little: hand the result to a channel.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use bytes::Bytes;

use super::error::LogError;
use super::record::{FRAME_BYTES, PAYLOAD_BYTES_MAX, Record};
use super::write_ahead::Log;

/// Payload bytes that may wait; more are refused as [`LogError::Overloaded`]. Twice the largest record, so that one of
/// them never waits for an empty queue.
pub const QUEUE_BYTES_MAX: usize = 2 * PAYLOAD_BYTES_MAX;
/// A group is written when it has this many bytes, so that the first of a long queue does not wait for the last.
const GROUP_BYTES_MAX: usize = 8 << 20;

type Done = Box<dyn FnOnce(Result<u64, LogError>) + Send>;

enum Order {
    Append { kind: u8, payload: Bytes, done: Done },
    Purge(u64),
}

/// What the writer did so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Records made durable.
    pub records: u64,
    /// Groups they came in: one write and one fdatasync each.
    pub groups: u64,
    /// Bytes written, framing included.
    pub bytes: u64,
}

#[derive(Debug, Default)]
struct Shared {
    queued_bytes: AtomicUsize,
    records: AtomicU64,
    groups: AtomicU64,
    bytes: AtomicU64,
    failure: Mutex<Option<LogError>>,
}

/// The writer's handle. Dropping it writes what is queued, then ends the thread.
#[derive(Debug)]
pub struct GroupCommit {
    /// `None` only while being closed.
    orders: Option<Sender<Order>>,
    writer: Option<JoinHandle<Log>>,
    shared: Arc<Shared>,
}

impl GroupCommit {
    /// Starts the writer, which owns `log` from now on.
    ///
    /// # Errors
    /// If the operating system gives no thread.
    pub fn start(log: Log) -> std::io::Result<Self> {
        let (orders, queue) = mpsc::channel();
        let shared = Arc::new(Shared::default());
        let seen = Arc::clone(&shared);
        let writer = std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || run(log, &queue, &seen))?;
        Ok(Self {
            orders: Some(orders),
            writer: Some(writer),
            shared,
        })
    }

    /// Queues a record. `done` gets its index once it is durable, or why it was refused; then nothing of it is left,
    /// except after [`LogError::Stopped`], which leaves its fate unknown.
    pub fn submit(&self, kind: u8, payload: Bytes, done: impl FnOnce(Result<u64, LogError>) + Send + 'static) {
        let bytes = payload.len();
        if bytes > PAYLOAD_BYTES_MAX {
            return done(Err(LogError::TooLarge {
                bytes,
                limit: PAYLOAD_BYTES_MAX,
            }));
        }
        if self.shared.queued_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > QUEUE_BYTES_MAX {
            self.shared.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return done(Err(LogError::Overloaded));
        }
        self.send(Order::Append {
            kind,
            payload,
            done: Box::new(done),
        });
    }

    /// Asks the writer to remove segments that hold nothing after `up_to_index`, in its turn.
    pub fn purge(&self, up_to_index: u64) {
        self.send(Order::Purge(up_to_index));
    }

    pub fn stats(&self) -> Stats {
        Stats {
            records: self.shared.records.load(Ordering::Relaxed),
            groups: self.shared.groups.load(Ordering::Relaxed),
            bytes: self.shared.bytes.load(Ordering::Relaxed),
        }
    }

    /// Why the last group was refused; `None` while all is well. For health pages.
    pub fn failure(&self) -> Option<LogError> {
        self.shared.failure.lock().ok().and_then(|failure| failure.clone())
    }

    /// Writes what is queued, ends the thread and gives the log back.
    ///
    /// # Errors
    /// [`LogError::Closed`] if the thread had died of a callback that panicked.
    pub fn close(mut self) -> Result<Log, LogError> {
        drop(self.orders.take());
        let writer = self.writer.take().ok_or(LogError::Closed)?;
        writer.join().map_err(|_panic| LogError::Closed)
    }

    fn send(&self, order: Order) {
        let refused = match &self.orders {
            Some(orders) => orders.send(order).err().map(|error| error.0),
            None => Some(order),
        };
        if let Some(Order::Append { payload, done, .. }) = refused {
            self.shared.queued_bytes.fetch_sub(payload.len(), Ordering::Relaxed);
            done(Err(LogError::Closed));
        }
    }
}

impl Drop for GroupCommit {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(writer) = self.writer.take() {
            // A panic in a callback was reported by the thread; there is no one to tell here.
            let _ = writer.join();
        }
    }
}

fn run(mut log: Log, queue: &Receiver<Order>, shared: &Shared) -> Log {
    let mut records = Vec::new();
    let mut waiting: Vec<Done> = Vec::new();
    while let Ok(first) = queue.recv() {
        let mut purge = None;
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(order) = next.take() {
            match order {
                Order::Append { kind, payload, done } => {
                    bytes += payload.len() + FRAME_BYTES;
                    let index = log.next_index() + records.len() as u64;
                    records.push(Record { index, kind, payload });
                    waiting.push(done);
                }
                Order::Purge(up_to_index) => purge = purge.max(Some(up_to_index)),
            }
            if bytes < GROUP_BYTES_MAX {
                next = queue.try_recv().ok();
            }
        }
        if !records.is_empty() {
            write_group(&mut log, &mut records, &mut waiting, bytes as u64, shared);
        }
        if let Some(up_to_index) = purge {
            // A failure stops the log, and the next group is told.
            let _ = log.purge(up_to_index);
        }
    }
    log
}

fn write_group(log: &mut Log, records: &mut Vec<Record>, waiting: &mut Vec<Done>, bytes: u64, shared: &Shared) {
    let outcome = log.append(records).and_then(|()| log.sync());
    if outcome.is_ok() {
        shared.records.fetch_add(records.len() as u64, Ordering::Relaxed);
        shared.groups.fetch_add(1, Ordering::Relaxed);
        shared.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
    if let Ok(mut failure) = shared.failure.lock() {
        *failure = outcome.as_ref().err().cloned();
    }
    for (record, done) in records.drain(..).zip(waiting.drain(..)) {
        shared.queued_bytes.fetch_sub(record.payload.len(), Ordering::Relaxed);
        done(outcome.clone().map(|()| record.index));
    }
}
