//! How far it was committed, noted beside the log without a sync.
//!
//! The commit index rides with the entries, so the last one that is noted there is the one from before the last entry. A
//! group that lives learns the rest again from its leader. Who must go on alone cannot ask anybody: for it there is this
//! file of one number, written over in place before what is committed is handed out. It is not synced, so a power loss
//! may take it back or tear it, and then it says less or nothing; the end of the process takes nothing.

use std::path::Path;
use std::sync::Arc;

use disk::{Disk, DiskFile, Mode};

use super::number_at;
use crate::log::LogError;

const FILE: &str = "commit";
/// The index and its checksum, in bytes.
const NOTE_BYTES: usize = 12;

#[derive(Debug)]
pub(super) struct CommitNote(Arc<dyn DiskFile>);

impl CommitNote {
    /// The note in `directory`, and what it says: 0 where it is new or torn.
    pub(super) fn open(disk: &dyn Disk, directory: &Path) -> Result<(Self, u64), LogError> {
        let path = directory.join(FILE);
        let file = disk.open(&path, Mode::Write).map_err(LogError::io("open", &path))?;
        let mut bytes = [0; NOTE_BYTES];
        let index = match file.read_exact_at(&mut bytes, 0) {
            Ok(()) if note(number_at(&bytes, 0)) == bytes => number_at(&bytes, 0),
            _ => 0,
        };
        Ok((Self(file), index))
    }

    pub(super) fn write(&self, index: u64) {
        // What cannot be noted is not known after a crash, which is as if the crash had come before.
        let _unknown = self.0.write_at(&note(index), 0);
    }

    pub(super) fn sync(&self) -> std::io::Result<()> {
        self.0.sync_data()
    }
}

fn note(index: u64) -> [u8; NOTE_BYTES] {
    let mut bytes = [0; NOTE_BYTES];
    bytes[..8].copy_from_slice(&index.to_le_bytes());
    let checksum = crc32c::crc32c(&bytes[..8]);
    bytes[8..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}
