//! The names of what is in a data directory.

use std::path::{Path, PathBuf};

use disk::Disk;

/// The format of the data directory that this program writes.
pub(in crate::server) const FORMAT_VERSION: u32 = 2;
/// The machine as of some entry.
pub(in crate::server) const STORE_FILE: &str = "store.redb";

/// Whether a member has been here before.
pub(in crate::server) fn has_state(disk: &dyn Disk, directory: &Path) -> bool {
    disk.exists(&directory.join(STORE_FILE)).unwrap_or(true)
}

/// Where a member keeps what.
pub(in crate::server) struct Directories {
    /// The store file, and what is received.
    pub(in crate::server) store: PathBuf,
    /// The log and the hard state.
    pub(in crate::server) log: PathBuf,
}

impl Directories {
    /// Both in one.
    #[cfg(test)]
    pub(in crate::server) fn both(directory: &Path) -> Self {
        Self {
            store: directory.to_owned(),
            log: directory.to_owned(),
        }
    }
}
