//! One file of the log.
//!
//! It begins with a header of [`SEGMENT_HEADER_BYTES`], synced together with the file's name before the first record is
//! written: a magic word, the format's version, the first index, a CRC32C over these, and a mark that is not zero.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use disk::{Disk, DiskFile, Mode};

use super::error::LogError;

pub(super) const SEGMENT_HEADER_BYTES: u64 = 25;
/// The newest format that this program writes and reads.
pub(super) const VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"bonsai-w";
const MARK: u8 = 0x5A;
const SUFFIX: &str = ".wal";
/// How far apart the known positions in a segment are, in bytes: a read scans at most that much before its record.
const WAYMARK_BYTES: u64 = 64 << 10;

/// - Holds the records `first_index..next_index`, from `SEGMENT_HEADER_BYTES` to `end`.
/// - Is never written again once a later segment exists, but for a cut.
#[derive(Debug)]
pub(super) struct Segment {
    pub path: PathBuf,
    pub file: Arc<dyn DiskFile>,
    pub first_index: u64,
    pub next_index: u64,
    /// Where the last record ends, in bytes.
    pub end: u64,
    /// Some indexes and their offsets, both ascending.
    waymarks: Vec<(u64, u64)>,
}

/// What the first bytes of a segment's file say.
pub(super) enum Opening {
    Whole,
    /// It was never finished, hence never used.
    Torn,
}

pub(super) fn file_name(first_index: u64) -> String {
    format!("{first_index:020}{SUFFIX}")
}

/// The first index that a file's name tells; `None` for files that are not the log's.
pub(super) fn first_index_of(file_name: &str) -> Option<u64> {
    let digits = file_name.strip_suffix(SUFFIX)?;
    if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

impl Segment {
    /// Creates an empty segment, durably. On an error nothing is left of it.
    pub fn create(disk: &dyn Disk, dir: &Path, first_index: u64) -> Result<Self, LogError> {
        let path = dir.join(file_name(first_index));
        let file = disk
            .open(&path, Mode::CreateNew)
            .map_err(LogError::io("create", &path))?;
        if let Err(error) = file.write_at(&header(first_index), 0) {
            let error = LogError::io("write", &path)(error);
            disk.remove_file(&path)
                .map_err(LogError::io("remove the unfinished", &path))?;
            return Err(error);
        }
        file.sync_data()
            .map_err(|error| LogError::Stopped(format!("cannot sync {}: {error}", path.display())))?;
        disk.sync_dir(dir)
            .map_err(|error| LogError::Stopped(format!("cannot sync {}: {error}", dir.display())))?;
        Ok(Self::new(path, file, first_index))
    }

    /// A segment of which no record is known yet.
    pub fn new(path: PathBuf, file: Arc<dyn DiskFile>, first_index: u64) -> Self {
        let end = SEGMENT_HEADER_BYTES;
        Self {
            path,
            file,
            first_index,
            next_index: first_index,
            end,
            waymarks: Vec::new(),
        }
    }

    /// Checks the file's own header.
    pub fn check_header(&self, file_bytes: u64) -> Result<Opening, LogError> {
        if file_bytes < SEGMENT_HEADER_BYTES {
            return Ok(Opening::Torn);
        }
        let mut found = [0; SEGMENT_HEADER_BYTES as usize];
        self.file
            .read_exact_at(&mut found, 0)
            .map_err(LogError::io("read", &self.path))?;
        if found == header(self.first_index) {
            return Ok(Opening::Whole);
        }
        if file_bytes == SEGMENT_HEADER_BYTES && found[found.len() - 1] == 0 {
            return Ok(Opening::Torn);
        }
        let crc_fits = crc32c::crc32c(&found[..20]).to_le_bytes() == found[20..24];
        let version = u32::from_le_bytes([found[8], found[9], found[10], found[11]]);
        if crc_fits && found.starts_with(MAGIC) && version > VERSION {
            return Err(LogError::Newer {
                file: self.path.clone(),
                version,
                known: VERSION,
            });
        }
        Err(LogError::corrupt(
            &self.path,
            0,
            "this is not the header of a log segment with that name",
        ))
    }

    /// Notes that a record of `bytes` stands at the end.
    pub fn push(&mut self, index: u64, bytes: u64) {
        if self
            .waymarks
            .last()
            .is_none_or(|(_, offset)| self.end - offset >= WAYMARK_BYTES)
        {
            self.waymarks.push((index, self.end));
        }
        self.next_index = index + 1;
        self.end += bytes;
    }

    /// Forgets the records from `index`, which begins at `offset`.
    pub fn pop_from(&mut self, index: u64, offset: u64) {
        self.waymarks.retain(|(known, _)| *known < index);
        self.next_index = index;
        self.end = offset;
    }

    /// The last known record at or before `index`, and its offset.
    pub fn waymark(&self, index: u64) -> (u64, u64) {
        match self.waymarks.partition_point(|(known, _)| *known <= index) {
            0 => (self.first_index, SEGMENT_HEADER_BYTES),
            n => self.waymarks[n - 1],
        }
    }
}

fn header(first_index: u64) -> [u8; SEGMENT_HEADER_BYTES as usize] {
    let mut bytes = [0; SEGMENT_HEADER_BYTES as usize];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..20].copy_from_slice(&first_index.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..20]);
    bytes[20..24].copy_from_slice(&crc.to_le_bytes());
    bytes[24] = MARK;
    bytes
}
