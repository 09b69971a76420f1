//! A replica while it is written: how far it is, for readers beside the writer, and how to stop the writer.

use std::net::{Shutdown, TcpStream};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use dfs_wire::checksum::CRC_BYTES;

/// A writer that was told to stop must have stopped within this time.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// How far a writer is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Snapshot {
    /// Bytes written here.
    pub length: u64,
    /// Bytes that all nodes of the pipeline have: what a reader may count on.
    pub acknowledged: u64,
    /// The checksum of the last chunk at `length`; the one on disk may be ahead of it.
    pub last_crc: Option<[u8; CRC_BYTES]>,
}

#[derive(Debug, Default)]
struct Inner {
    snapshot: Snapshot,
    sockets: Vec<TcpStream>,
    stopped: bool,
    done: bool,
}

/// Shared by the writer, readers, and whoever has to stop the writer.
#[derive(Debug, Default)]
pub struct Live {
    inner: Mutex<Inner>,
    changed: Condvar,
}

impl Live {
    pub fn new(length: u64) -> Self {
        let live = Self::default();
        live.lock().snapshot = Snapshot {
            length,
            acknowledged: length,
            last_crc: None,
        };
        live
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no holder of a writer's lock panics")
    }

    pub fn snapshot(&self) -> Snapshot {
        self.lock().snapshot
    }

    /// Sets where a writer that goes on with a replica begins.
    pub fn start_at(&self, length: u64) {
        self.lock().snapshot = Snapshot {
            length,
            acknowledged: length,
            last_crc: None,
        };
    }

    pub fn wrote(&self, length: u64, last_crc: Option<[u8; CRC_BYTES]>) {
        let mut inner = self.lock();
        inner.snapshot.length = length;
        inner.snapshot.last_crc = last_crc;
    }

    pub fn acknowledged(&self, length: u64) {
        let mut inner = self.lock();
        inner.snapshot.acknowledged = inner.snapshot.acknowledged.max(length);
    }

    /// Sockets to close when the writer has to stop.
    pub fn watch(&self, socket: &TcpStream) {
        if let Ok(socket) = socket.try_clone() {
            let mut inner = self.lock();
            if inner.stopped {
                let _ = socket.shutdown(Shutdown::Both);
            }
            inner.sockets.push(socket);
        }
    }

    pub fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// Tells the writer to stop.
    pub fn stop(&self) {
        let mut inner = self.lock();
        inner.stopped = true;
        for socket in &inner.sockets {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Tells the writer to stop and waits until it has. False if it did not in time.
    pub fn stop_and_wait(&self) -> bool {
        self.stop();
        let inner = self.lock();
        let waited = self
            .changed
            .wait_timeout_while(inner, STOP_TIMEOUT, |inner| !inner.done);
        waited.is_ok_and(|(inner, _)| inner.done)
    }

    /// The writer has stopped.
    pub fn finish(&self) {
        let mut inner = self.lock();
        inner.done = true;
        inner.sockets.clear();
        self.changed.notify_all();
    }
}
