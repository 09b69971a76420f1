//! Cut at every byte, flip every bit, lose any sector: what was acknowledged is there, or the damage is named.

use std::path::PathBuf;

use disk::faulty::{Loss, MemoryDisk};
use proptest::prelude::*;

use super::super::record::FRAME_BYTES;
use super::super::segment::SEGMENT_HEADER_BYTES;
use super::*;

/// A log of one segment, its bytes, its records and how many of them had been synced before the last group.
fn one_segment() -> (MemoryDisk, PathBuf, Vec<u8>, Vec<Record>, usize) {
    let disk = MemoryDisk::new();
    let (mut log, _) = open(&disk, 1 << 20).unwrap();
    let groups = write_groups(&mut log);
    drop(log);
    let path = segments(&disk).remove(0);
    let bytes = disk.read(&path).unwrap();
    let before_last = groups[..groups.len() - 1].iter().map(Vec::len).sum();
    (disk, path, bytes, groups.concat(), before_last)
}

#[test]
fn a_log_comes_back_whole() {
    let (disk, _, _, records, _) = one_segment();
    let (log, recovery) = open(&disk, 1 << 20).unwrap();
    assert_eq!(
        recovery,
        Recovery {
            first_index: 1,
            next_index: 10,
            cut: None
        }
    );
    assert_eq!(all(&log), records);
}

#[test]
fn cut_at_every_byte_leaves_a_prefix_that_goes_on() {
    let (disk, path, bytes, records, _) = one_segment();
    let ends: Vec<usize> = records
        .iter()
        .scan(SEGMENT_HEADER_BYTES as usize, |end, record| {
            *end += FRAME_BYTES + record.payload.len();
            Some(*end)
        })
        .collect();
    assert_eq!(ends.last(), Some(&bytes.len()));
    for len in 0..bytes.len() {
        disk.write(&path, &bytes[..len]);
        let (mut log, recovery) = open(&disk, 1 << 20).unwrap_or_else(|error| panic!("cut at {len}: {error}"));
        let kept = all(&log);
        assert_eq!(kept, records[..kept.len()], "cut at {len}");
        assert_eq!(recovery.next_index, kept.len() as u64 + 1);
        assert_eq!(
            kept.len(),
            ends.iter().filter(|end| **end <= len).count(),
            "cut at {len}: all that is whole stays"
        );
        if let Some(cut) = &recovery.cut {
            assert_eq!(cut.offset + cut.bytes, len as u64, "cut at {len}");
        }
        let next = record(log.next_index(), b"goes on");
        log.append(std::slice::from_ref(&next)).unwrap();
        log.sync().unwrap();
        drop(log);
        let (log, recovery) = open(&disk, 1 << 20).unwrap();
        assert_eq!(recovery.cut, None);
        assert_eq!(all(&log).last(), Some(&next), "cut at {len}");
        drop(log);
    }
}

#[test]
fn zeros_instead_of_the_tail_are_a_torn_tail() {
    let (disk, path, bytes, records, before_last) = one_segment();
    let last_group = offset_of_record(&disk, &path, &bytes, before_last as u64 + 1);
    for len in last_group..bytes.len() {
        let mut torn = bytes.clone();
        torn[len..].fill(0);
        disk.write(&path, &torn);
        let (log, recovery) = open(&disk, 1 << 20).unwrap_or_else(|error| panic!("zero from {len}: {error}"));
        let kept = all(&log);
        assert!(kept.len() >= before_last && recovery.cut.is_some(), "zero from {len}");
        assert_eq!(kept, records[..kept.len()]);
    }
}

/// Where a record begins, found by cutting: the longest file that does not hold it ends there.
fn offset_of_record(disk: &MemoryDisk, path: &std::path::Path, bytes: &[u8], index: u64) -> usize {
    let begins = (0..bytes.len()).rev().find(|len| {
        disk.write(path, &bytes[..*len]);
        let (_, recovery) = open(disk, 1 << 20).unwrap();
        recovery.next_index == index && recovery.cut.is_none()
    });
    disk.write(path, bytes);
    begins.unwrap()
}

#[test]
fn every_flipped_bit_is_refused_with_its_place() {
    let (disk, path, bytes, _, _) = one_segment();
    for position in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[position] ^= 1 << bit;
            disk.write(&path, &flipped);
            match open(&disk, 1 << 20) {
                Err(LogError::Corrupt { file, offset, .. }) => {
                    assert_eq!(file, path);
                    assert!(
                        offset <= position as u64,
                        "bit {bit} of byte {position} was placed at {offset}"
                    );
                }
                other => panic!("bit {bit} of byte {position} flipped: {other:?}"),
            }
        }
    }
}

#[test]
fn a_flip_beside_zeros_that_were_written_is_refused() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open(&disk, 1 << 20).unwrap();
    log.append(&[record(1, &[0; 1200])]).unwrap();
    log.sync().unwrap();
    let path = segments(&disk).remove(0);
    let bytes = disk.read(&path).unwrap();
    for position in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[position] ^= 1;
        disk.write(&path, &flipped);
        assert!(
            matches!(open(&disk, 1 << 20), Err(LogError::Corrupt { .. })),
            "byte {position}"
        );
    }
}

#[test]
fn a_zeroed_sector_of_what_was_synced_is_refused() {
    let (disk, path, bytes, _, before_last) = one_segment();
    let last_group = offset_of_record(&disk, &path, &bytes, before_last as u64 + 1);
    for start in (0..last_group).step_by(64) {
        let mut damaged = bytes.clone();
        damaged[start..(start + 512).min(last_group)].fill(0);
        if damaged == bytes {
            continue;
        }
        disk.write(&path, &damaged);
        assert!(
            matches!(open(&disk, 1 << 20), Err(LogError::Corrupt { .. })),
            "zeroed from {start}"
        );
    }
}

#[test]
fn a_segment_that_is_not_the_last_must_be_whole() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open(&disk, 60).unwrap();
    write_groups(&mut log);
    drop(log);
    let paths = segments(&disk);
    assert!(paths.len() > 2, "the test needs some segments");
    let bytes = disk.read(&paths[0]).unwrap();
    for len in 0..bytes.len() {
        disk.write(&paths[0], &bytes[..len]);
        assert!(matches!(open(&disk, 60), Err(LogError::Corrupt { .. })), "cut at {len}");
    }
    disk.write(&paths[0], &bytes);
    disk.remove_file(&paths[1]).unwrap();
    let error = open(&disk, 60).unwrap_err();
    assert!(
        matches!(&error, LogError::Corrupt { file, .. } if *file == paths[2]),
        "{error}"
    );
}

#[test]
fn an_unfinished_new_segment_is_removed() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open(&disk, 600).unwrap();
    let records = write_groups(&mut log).concat();
    drop(log);
    let last = segments(&disk).pop().unwrap();
    let bytes = disk.read(&last).unwrap();
    let next: u64 = last.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    for len in 0..25 {
        disk.write(&last, &bytes[..len]);
        let (log, recovery) = open(&disk, 600).unwrap();
        assert_eq!(recovery.next_index, next);
        assert!(recovery.cut.is_some());
        assert_eq!(all(&log), records[..next as usize - 1]);
    }
}

#[test]
fn other_files_in_the_directory_are_left_alone() {
    let (disk, ..) = one_segment();
    disk.write(Path::new("/log/image"), b"not a segment");
    disk.write(Path::new("/log/00000000000000000001.wal.copy"), b"neither");
    open(&disk, 1 << 20).unwrap();
    assert_eq!(disk.read(Path::new("/log/image")).unwrap(), b"not a segment");
}

#[test]
fn a_newer_format_is_told_from_a_corrupt_one() {
    let (disk, path, mut bytes, ..) = one_segment();
    bytes[8] = 9;
    let crc = crc32c::crc32c(&bytes[..20]);
    bytes[20..24].copy_from_slice(&crc.to_le_bytes());
    disk.write(&path, &bytes);
    assert_eq!(
        open(&disk, 1 << 20).unwrap_err(),
        LogError::Newer {
            file: path,
            version: 9,
            known: 1
        }
    );
}

proptest! {
    /// No bytes whatever make it panic, allocate beyond the file, or give records that were not written.
    #[test]
    fn any_damage_is_cut_or_refused(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        cut in prop::option::of(any::<prop::sample::Index>()),
        tail in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let (disk, path, mut bytes, records, _) = one_segment();
        for (position, byte) in edits {
            let position = position.index(bytes.len());
            bytes[position] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        bytes.extend(tail);
        disk.write(&path, &bytes);
        if let Ok((log, _)) = open(&disk, 1 << 20) {
            let kept = all(&log);
            prop_assert_eq!(&kept[..], &records[..kept.len()]);
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<Vec<u8>>),
    Sync,
    Crash(u64),
    Truncate(u8),
    Purge(u8),
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => prop::collection::vec(any::<u8>(), 0..40),
        1 => prop::collection::vec(any::<u8>(), 500..1500),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec(payload(), 1..4).prop_map(Step::Append),
        3 => Just(Step::Sync),
        2 => any::<u64>().prop_map(Step::Crash),
        1 => any::<u8>().prop_map(Step::Truncate),
        1 => any::<u8>().prop_map(Step::Purge),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever happens, in whatever order: after a crash the log is a prefix of what was appended, with all that was
    /// synced, and it opens.
    #[test]
    fn what_was_synced_survives_every_crash(steps in prop::collection::vec(step(), 1..40)) {
        let disk = MemoryDisk::new();
        let (mut log, _) = open(&disk, 2048).unwrap();
        let mut expected: Vec<Record> = Vec::new();
        let mut synced = 0;
        for step in steps {
            let next = log.next_index();
            match step {
                Step::Append(payloads) => {
                    let records: Vec<Record> =
                        payloads.iter().zip(next..).map(|(payload, index)| record(index, payload)).collect();
                    log.append(&records).unwrap();
                    expected.extend(records);
                }
                Step::Sync => {
                    log.sync().unwrap();
                    synced = next;
                }
                Step::Crash(seed) => {
                    drop(log);
                    disk.crash(Loss::Sectors { seed });
                    log = open(&disk, 2048).unwrap().0;
                    prop_assert!(log.next_index() >= synced);
                    expected.retain(|record| record.index < log.next_index());
                    synced = log.next_index();
                }
                Step::Truncate(back) => {
                    let index = (next - u64::from(back) % (next - log.first_index() + 1)).max(log.first_index());
                    log.truncate_suffix(index).unwrap();
                    expected.retain(|record| record.index < index);
                    if index < next {
                        synced = index;
                    }
                }
                Step::Purge(back) => {
                    log.purge(next.saturating_sub(u64::from(back))).unwrap();
                    expected.retain(|record| record.index >= log.first_index());
                }
            }
            prop_assert_eq!(&all(&log), &expected);
        }
    }
}
