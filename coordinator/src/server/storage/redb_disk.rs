//! redb's file on a [`Disk`].
//!
//! redb gives up for good after any failed write. A full disk is no reason to: here, a write that finds no space waits
//! until there is some, and says meanwhile that it does. No one is held up by that but the persister, whose work can wait,
//! because the log has everything.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use disk::{Disk, DiskFile, Mode};
use redb::StorageBackend;

/// How often a full disk is tried again.
const FULL_RETRY_INTERVAL: Duration = Duration::from_millis(200);

/// What the persister's file says about itself, and is told.
#[derive(Debug, Default)]
pub(in crate::server) struct Space {
    full: AtomicBool,
    ending: AtomicBool,
    /// The length of the file that was opened last; one that it has replaced is forgotten, though readers may hold it.
    bytes: AtomicU64,
    opened: AtomicU64,
}

impl Space {
    /// Whether a write is waiting for space.
    pub(in crate::server) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// The length of the file, in bytes.
    pub(in crate::server) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// A space in which writes that find none fail at once.
    pub(in crate::server) fn impatient() -> Self {
        let space = Self::default();
        space.end();
        space
    }

    /// The process ends: do not wait for space any more.
    pub(in crate::server) fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }
}

#[derive(Debug)]
pub(in crate::server) struct RedbDisk {
    file: Arc<dyn DiskFile>,
    space: Arc<Space>,
    /// Which of the files opened with this space it is.
    number: u64,
}

impl RedbDisk {
    pub(in crate::server) fn open(disk: &dyn Disk, path: &Path, space: Arc<Space>) -> io::Result<Self> {
        let file = disk.open(path, Mode::Write)?;
        space.bytes.store(file.len()?, Ordering::Relaxed);
        let number = space.opened.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(Self { file, space, number })
    }

    fn when_there_is_space(&self, write: impl Fn() -> io::Result<()>) -> io::Result<()> {
        loop {
            let outcome = write();
            let full = matches!(
                outcome.as_ref().map_err(io::Error::kind),
                Err(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            );
            if self.space.full.swap(full, Ordering::Relaxed) != full {
                if full {
                    tracing::warn!(
                        "no space left on device: writes are refused until space is available, reads continue"
                    );
                } else {
                    tracing::info!("space is available on the device again");
                }
            }
            if !full || self.space.ending.load(Ordering::Relaxed) {
                return outcome;
            }
            std::thread::sleep(FULL_RETRY_INTERVAL);
        }
    }
}

impl StorageBackend for RedbDisk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.when_there_is_space(|| self.file.set_len(len))?;
        if self.space.opened.load(Ordering::Relaxed) == self.number {
            self.space.bytes.store(len, Ordering::Relaxed);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.when_there_is_space(|| self.file.write_at(data, offset))
    }
}
