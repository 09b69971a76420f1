//! Finding the log again after the process, or the machine, stopped anywhere.
//!
//! The rules that tell a torn tail from corruption are those of the parent module's essay; here is where they are applied.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use disk::{Disk, Mode};

use super::error::LogError;
use super::reader::Window;
use super::record::{FRAME_BYTES, HEADER_BYTES, Header, Place};
use super::segment::{Opening, Segment, first_index_of};

/// The unit that disks write whole or not at all, in bytes. Larger ones are multiples of it.
const SECTOR_BYTES: u64 = 512;

/// What was found in a log's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// The oldest record that is there, or `next_index` where there is none.
    pub first_index: u64,
    /// The index that the next appended record gets.
    pub next_index: u64,
    /// The torn tail that was cut off, if there was one.
    pub cut: Option<Cut>,
}

/// A torn tail. None of it was ever acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    pub file: PathBuf,
    /// Where the last whole record ends.
    pub offset: u64,
    /// How many bytes stood behind it.
    pub bytes: u64,
}

/// Reads all segments; cuts a torn tail off the last. The result is empty where no segment was ever finished.
pub(super) fn recover(disk: &dyn Disk, dir: &Path) -> Result<(Vec<Segment>, Option<Cut>), LogError> {
    let entries = disk.list(dir).map_err(LogError::io("list", dir))?;
    // The names have a fixed width, so the order of names is the order of indexes.
    let found: Vec<(u64, PathBuf)> = entries
        .iter()
        .filter(|entry| !entry.is_dir)
        .filter_map(|entry| Some((first_index_of(&entry.name)?, dir.join(&entry.name))))
        .collect();
    let mut segments: Vec<Segment> = Vec::with_capacity(found.len());
    let mut cut = None;
    for (position, (first_index, path)) in found.iter().enumerate() {
        let last = position + 1 == found.len();
        if let Some(previous) = segments.last()
            && previous.next_index != *first_index
        {
            let reason = format!(
                "the segment before it ends with record {}",
                previous.next_index.saturating_sub(1)
            );
            return Err(LogError::corrupt(path, 0, reason));
        }
        let file = disk.open(path, Mode::Write).map_err(LogError::io("open", path))?;
        let bytes = file.len().map_err(LogError::io("measure", path))?;
        let mut segment = Segment::new(path.clone(), file, *first_index);
        match segment.check_header(bytes)? {
            Opening::Whole => {}
            Opening::Torn if last => {
                cut = Some(Cut {
                    file: path.clone(),
                    offset: 0,
                    bytes,
                });
                disk.remove_file(path)
                    .map_err(LogError::io("remove the unfinished", path))?;
                disk.sync_dir(dir).map_err(LogError::io("sync", dir))?;
                break;
            }
            Opening::Torn => return Err(LogError::corrupt(path, 0, "the segment's header is cut short")),
        }
        if let Some(reason) = scan(&mut segment, bytes)? {
            // A later segment exists only after this one was synced whole.
            if !last || !is_torn(&segment, bytes)? {
                return Err(LogError::corrupt(path, segment.end, reason));
            }
            cut = Some(Cut {
                file: path.clone(),
                offset: segment.end,
                bytes: bytes - segment.end,
            });
            segment
                .file
                .set_len(segment.end)
                .map_err(LogError::io("cut the torn tail off", path))?;
            segment.file.sync_data().map_err(LogError::io("sync", path))?;
        }
        segments.push(segment);
    }
    Ok((segments, cut))
}

/// Notes every whole record of the segment, and says what is wrong behind the last of them if anything is there.
fn scan(segment: &mut Segment, file_bytes: u64) -> Result<Option<String>, LogError> {
    let mut window = Window::new(Arc::clone(&segment.file), file_bytes);
    while segment.end < file_bytes {
        let read = |error| LogError::io("read", &segment.path)(error);
        let place = Place {
            segment: segment.first_index,
            offset: segment.end,
        };
        let Some(header) = Header::decode(window.get(place.offset, HEADER_BYTES).map_err(read)?, place) else {
            return Ok(Some("no record begins there".to_owned()));
        };
        if header.index != segment.next_index {
            return Ok(Some(format!(
                "record {} stands where {} should",
                header.index, segment.next_index
            )));
        }
        if header.record_bytes() > file_bytes - place.offset {
            return Ok(Some(format!("record {} is cut short", header.index)));
        }
        let body = window.get(
            place.offset + HEADER_BYTES as u64,
            header.payload_bytes + FRAME_BYTES - HEADER_BYTES,
        );
        if !header.verify(body.map_err(read)?) {
            return Ok(Some(format!(
                "the contents of record {} do not fit its checksum",
                header.index
            )));
        }
        segment.push(header.index, header.record_bytes());
    }
    Ok(None)
}

/// Whether what stands at the segment's end is a write that the machine did not finish.
fn is_torn(segment: &Segment, file_bytes: u64) -> Result<bool, LogError> {
    let read = |error| LogError::io("read", &segment.path)(error);
    let mut window = Window::new(Arc::clone(&segment.file), file_bytes);
    let start = segment.end;
    if later_group_begins(segment, &mut window, file_bytes)? {
        return Ok(false);
    }
    if file_bytes - start < HEADER_BYTES as u64 {
        return Ok(true);
    }
    let place = Place {
        segment: segment.first_index,
        offset: start,
    };
    let header = Header::decode(window.get(start, HEADER_BYTES).map_err(read)?, place);
    // How far the record reaches, and whether its bytes may be zero sectors by themselves.
    let (end, zeros_are_its_own) = match header {
        Some(header) if header.index != segment.next_index => return Ok(false),
        Some(header) => (start + header.record_bytes(), header.has_zeros),
        None => (start + HEADER_BYTES as u64, false),
    };
    if end > file_bytes {
        return Ok(true);
    }
    // The last byte of a header and of a record is never zero: zeros from there to the end of the file were not written.
    if is_zero(&mut window, end - 1, file_bytes).map_err(read)? {
        return Ok(true);
    }
    if zeros_are_its_own {
        return Ok(false);
    }
    let mut from = start;
    while from < end {
        let to = ((from / SECTOR_BYTES + 1) * SECTOR_BYTES).min(file_bytes);
        if is_zero(&mut window, from, to).map_err(read)? {
            return Ok(true);
        }
        from = to;
    }
    Ok(false)
}

/// Whether a record that was the first after a sync stands anywhere behind the segment's end: then what stands at the
/// end was synced, and cannot be torn.
fn later_group_begins(segment: &Segment, window: &mut Window, file_bytes: u64) -> Result<bool, LogError> {
    let mut offset = segment.end + 1;
    while offset + HEADER_BYTES as u64 <= file_bytes {
        let bytes = window
            .get(offset, HEADER_BYTES)
            .map_err(LogError::io("read", &segment.path))?;
        if Header::may_begin_after_sync(bytes) {
            let place = Place {
                segment: segment.first_index,
                offset,
            };
            if Header::decode(bytes, place).is_some_and(|header| header.index > segment.next_index) {
                return Ok(true);
            }
        }
        offset += 1;
    }
    Ok(false)
}

fn is_zero(window: &mut Window, mut from: u64, to: u64) -> std::io::Result<bool> {
    while from < to {
        let len = usize::try_from((to - from).min(SECTOR_BYTES)).unwrap_or(SECTOR_BYTES as usize);
        let bytes = window.get(from, len)?;
        if bytes.is_empty() || bytes.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        from += bytes.len() as u64;
    }
    Ok(true)
}
