//! The two sparse indexes of a segment: offset to position, and largest timestamp so far to offset.
//!
//! They are kept in memory while a segment is written, and are written as files when it is sealed. Both can be made anew
//! from the segment, so a file that is missing or does not fit is ignored.

use std::io;
use std::path::Path;

use disk::{Disk, Mode};
use log_broker_wire::batch::BatchHeader;

use super::checkpoint;

/// Bytes of an entry on disk: relative offset u32, position u32.
const OFFSET_ENTRY_LEN: usize = 8;
/// Bytes of an entry on disk: timestamp i64, relative offset u32.
const TIME_ENTRY_LEN: usize = 12;

/// The indexes of one segment.
///
/// * Positions and offsets ascend strictly, timestamps strictly; an entry names the first offset of a batch.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Index {
    offsets: Vec<(u32, u32)>,
    times: Vec<(i64, u32)>,
    /// Bytes since the newest entry of `offsets`.
    since_entry: u64,
    /// The largest timestamp, and the first offset of the batch that holds it.
    max_timestamp: Option<(i64, u32)>,
}

impl Index {
    /// Takes note of a batch at `position`.
    pub(super) fn add(&mut self, header: &BatchHeader, base: i64, position: u64, interval: u64) {
        let relative = (header.base_offset - base) as u32;
        let grows = self.max_timestamp.is_none_or(|(max, _)| header.max_timestamp > max);
        if grows {
            self.max_timestamp = Some((header.max_timestamp, relative));
        }
        if self.offsets.is_empty() || self.since_entry >= interval {
            self.offsets.push((relative, position as u32));
            self.since_entry = 0;
            if let Some(max) = self.max_timestamp
                && self.times.last().is_none_or(|(timestamp, _)| max.0 > *timestamp)
            {
                self.times.push(max);
            }
        }
        self.since_entry += header.len as u64;
    }

    /// The position of the newest entry that is not behind `relative`.
    pub(super) fn position_of(&self, relative: u32) -> u64 {
        let after = self.offsets.partition_point(|(offset, _)| *offset <= relative);
        after.checked_sub(1).map_or(0, |place| u64::from(self.offsets[place].1))
    }

    /// The position of the newest entry that is neither behind `relative` nor behind `limit`.
    pub(super) fn position_before(&self, relative: u32, limit: u64) -> u64 {
        let after = self
            .offsets
            .partition_point(|(offset, position)| *offset <= relative && u64::from(*position) <= limit);
        after.checked_sub(1).map_or(0, |place| u64::from(self.offsets[place].1))
    }

    /// The offset of the first entry at or behind `position`.
    pub(super) fn offset_from(&self, position: u64) -> Option<u32> {
        let before = self.offsets.partition_point(|(_, at)| u64::from(*at) < position);
        self.offsets.get(before).map(|(offset, _)| *offset)
    }

    /// A position before which every timestamp is below `timestamp`.
    pub(super) fn position_of_time(&self, timestamp: i64) -> u64 {
        let after = self.times.partition_point(|(known, _)| *known < timestamp);
        after
            .checked_sub(1)
            .map_or(0, |place| self.position_of(self.times[place].1))
    }

    pub(super) fn max_timestamp(&self) -> Option<i64> {
        self.max_timestamp.map(|(timestamp, _)| timestamp)
    }

    /// Position of the newest entry, from where a check of the end may begin.
    pub(super) fn last_position(&self) -> u64 {
        self.offsets.last().map_or(0, |(_, position)| u64::from(*position))
    }

    /// The contents of the two files of the segment at `base`.
    pub(super) fn encode(&self, base: i64) -> EncodedIndexes {
        let offsets = self.offsets.iter().flat_map(|(offset, position)| {
            let mut entry = [0; OFFSET_ENTRY_LEN];
            entry[..4].copy_from_slice(&offset.to_be_bytes());
            entry[4..].copy_from_slice(&position.to_be_bytes());
            entry
        });
        // The last entry tells the largest timestamp of the whole segment.
        let last = self.max_timestamp.filter(|max| self.times.last() != Some(max));
        let times = self.times.iter().copied().chain(last).flat_map(|(timestamp, offset)| {
            let mut entry = [0; TIME_ENTRY_LEN];
            entry[..8].copy_from_slice(&timestamp.to_be_bytes());
            entry[8..].copy_from_slice(&offset.to_be_bytes());
            entry
        });
        EncodedIndexes {
            base,
            offsets: offsets.collect(),
            times: times.collect(),
        }
    }

    /// The indexes of a sealed segment of `len` bytes, or `None` where the files are missing or do not fit it.
    pub(super) fn read(disk: &dyn Disk, dir: &Path, base: i64, len: u64) -> io::Result<Option<Self>> {
        let (Some(offsets), Some(times)) = (
            checkpoint::read_optional(disk, dir, &offset_name(base))?,
            checkpoint::read_optional(disk, dir, &time_name(base))?,
        ) else {
            return Ok(None);
        };
        if offsets.len() % OFFSET_ENTRY_LEN != 0 || times.len() % TIME_ENTRY_LEN != 0 {
            return Ok(None);
        }
        let offsets: Vec<(u32, u32)> = offsets
            .chunks_exact(OFFSET_ENTRY_LEN)
            .map(|entry| (u32_at(entry, 0), u32_at(entry, 4)))
            .collect();
        let times: Vec<(i64, u32)> = times
            .chunks_exact(TIME_ENTRY_LEN)
            .map(|entry| {
                (
                    i64::from(u32_at(entry, 0) as i32) << 32 | i64::from(u32_at(entry, 4)),
                    u32_at(entry, 8),
                )
            })
            .collect();
        let fits = !offsets.is_empty()
            && offsets[0].1 == 0
            && offsets.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1)
            && offsets.last().is_some_and(|(_, position)| u64::from(*position) < len)
            && !times.is_empty()
            && times.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1);
        let max_timestamp = times.last().copied();
        Ok(fits.then_some(Self {
            offsets,
            times,
            since_entry: 0,
            max_timestamp,
        }))
    }
}

/// The indexes of a segment as they are written.
#[derive(Debug)]
pub(super) struct EncodedIndexes {
    base: i64,
    offsets: Vec<u8>,
    times: Vec<u8>,
}

impl EncodedIndexes {
    pub(super) fn write(&self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        write_whole(disk, &dir.join(offset_name(self.base)), &self.offsets)?;
        write_whole(disk, &dir.join(time_name(self.base)), &self.times)
    }
}

fn write_whole(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = disk.open(path, Mode::Write)?;
    file.set_len(0)?;
    file.write_at(bytes, 0)
}

fn u32_at(bytes: &[u8], start: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[start..start + 4]);
    u32::from_be_bytes(number)
}

pub(super) fn offset_name(base: i64) -> String {
    format!("{base:020}.index")
}

pub(super) fn time_name(base: i64) -> String {
    format!("{base:020}.timeindex")
}
