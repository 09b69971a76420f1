use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use disk::faulty::{FaultyDisk, Loss, MemoryDisk};
use disk::{Disk, Mode, RealDisk};
use log_broker_wire::Record;
use log_broker_wire::batch;
use log_broker_wire::compression::Codec;
use log_broker_wire::record::{self, ProducerStamp};

use super::*;

const DIR: &str = "/logs/t-0";

fn stamp(producer_id: i64, producer_epoch: i16, base_sequence: i32) -> Option<ProducerStamp> {
    Some(ProducerStamp {
        producer_id,
        producer_epoch,
        base_sequence,
    })
}

fn encode(values: &[String], timestamp: i64, codec: Codec, stamp: Option<ProducerStamp>) -> Bytes {
    let records: Vec<Record> = values
        .iter()
        .enumerate()
        .map(|(place, value)| Record {
            timestamp: timestamp + place as i64,
            ..Record::new(value.clone().into_bytes())
        })
        .collect();
    record::encode_batch(&records, codec, stamp).unwrap()
}

fn append(log: &Log, batch: &Bytes) -> Result<Appended, LogError> {
    log.append(batch, &batch::check(batch).unwrap(), 0, 1_000_000)
}

fn append_values(log: &Log, values: &[&str], timestamp: i64) -> Appended {
    let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
    append(log, &encode(&values, timestamp, Codec::None, None)).unwrap()
}

fn sync(log: &Log) {
    if let Some(point) = log.begin_flush() {
        let outcome = point.file.sync_data();
        log.finish_flush(&point, outcome).unwrap();
    }
    log.advance_high_watermark(log.flushed_offset());
}

fn open(disk: &Arc<dyn Disk>, options: Options) -> Result<Log, LogError> {
    Log::open(Arc::clone(disk), Path::new(DIR), options).map(|(log, _)| log)
}

fn memory() -> (MemoryDisk, Arc<dyn Disk>) {
    let memory = MemoryDisk::new();
    (memory.clone(), Arc::new(memory))
}

/// Everything from `offset` on, read in pieces of `max_bytes`.
fn read_all(log: &Log, mut offset: i64, max_bytes: usize) -> Vec<Record> {
    let mut records = Vec::new();
    while let Some(slice) = log.locate(offset, log.high_watermark(), max_bytes).unwrap() {
        let mut bytes = read_batches(&slice, offset, log.high_watermark(), max_bytes).unwrap();
        assert!(!bytes.is_empty(), "nothing at {offset}");
        while !bytes.is_empty() {
            let header = batch::check(&bytes).unwrap();
            let found = record::records(bytes.split_to(header.len), 1 << 20)
                .unwrap()
                .map(Result::unwrap);
            records.extend(found.filter(|record| record.offset >= offset));
            offset = header.next_offset();
        }
    }
    records
}

fn small_segments() -> Options {
    Options {
        segment_bytes: 400,
        index_interval_bytes: 100,
        ..Options::default()
    }
}

#[test]
fn what_is_appended_is_read_from_any_offset_in_any_pieces() {
    let (_, disk) = memory();
    let log = open(&disk, small_segments()).unwrap();
    for i in 0..40 {
        let values: Vec<String> = (0..=i % 4).map(|j| format!("{i}-{j}")).collect();
        append(&log, &encode(&values, 1000 + i, Codec::None, None)).unwrap();
    }
    sync(&log);
    assert!(log.state().segments.len() > 5);
    let all = read_all(&log, 0, 1 << 20);
    assert_eq!(all.len() as i64, log.log_end_offset());
    assert!(
        all.iter()
            .enumerate()
            .all(|(place, record)| record.offset == place as i64)
    );
    for max_bytes in [1, 61, 100, 300, 1000] {
        for offset in 0..log.log_end_offset() {
            assert_eq!(
                read_all(&log, offset, max_bytes),
                all[offset as usize..],
                "from {offset} by {max_bytes}"
            );
        }
    }
    assert!(matches!(
        log.locate(log.log_end_offset() + 1, log.log_end_offset(), 1),
        Err(LogError::OutOfRange { .. })
    ));
}

#[test]
fn what_is_not_durable_is_not_seen() {
    let (_, disk) = memory();
    let log = open(&disk, Options::default()).unwrap();
    append_values(&log, &["a", "b"], 0);
    assert!(log.locate(0, log.high_watermark(), 1).unwrap().is_none());
    let point = log.begin_flush().unwrap();
    append_values(&log, &["c"], 0);
    log.finish_flush(&point, Ok(())).unwrap();
    assert_eq!(
        (log.high_watermark(), log.flushed_offset(), log.log_end_offset()),
        (0, 2, 3)
    );
    log.advance_high_watermark(2);
    assert_eq!(log.high_watermark(), 2);
    assert_eq!(read_all(&log, 0, 1 << 20).len(), 2);
}

/// A file of `count` batches, with the offset behind each and its end in the file.
fn file_of_batches(count: usize) -> (Vec<u8>, Vec<(usize, i64)>) {
    let (memory, disk) = memory();
    let log = open(&disk, Options::default()).unwrap();
    let mut ends = vec![(0, 0)];
    for i in 0..count {
        append_values(&log, &["some value", "another"][..1 + i % 2], 5);
        ends.push((log.size_bytes() as usize, log.log_end_offset()));
    }
    (memory.read(&Path::new(DIR).join(segment::name(0))).unwrap(), ends)
}

fn open_bytes(bytes: &[u8]) -> Result<Log, LogError> {
    let (memory, disk) = memory();
    disk.create_dir_all(Path::new(DIR)).unwrap();
    memory.write(&Path::new(DIR).join(segment::name(0)), bytes);
    open(&disk, Options::default())
}

#[test]
fn a_log_cut_at_any_byte_keeps_its_whole_batches() {
    let (bytes, ends) = file_of_batches(5);
    for cut in 0..=bytes.len() {
        let log = open_bytes(&bytes[..cut]).unwrap();
        let (_, end) = *ends.iter().rev().find(|(len, _)| *len <= cut).unwrap();
        assert_eq!(log.log_end_offset(), end, "cut at {cut}");
        assert_eq!(append_values(&log, &["next"], 5).base_offset, end);
        sync(&log);
        assert_eq!(read_all(&log, 0, 1 << 20).len() as i64, end + 1);
    }
}

#[test]
fn a_changed_byte_is_refused_where_good_batches_follow_and_cut_at_the_end() {
    let (bytes, ends) = file_of_batches(4);
    let (last_start, last_offset) = ends[3];
    for position in 0..bytes.len() {
        let start = ends.iter().rev().find(|(len, _)| *len <= position).unwrap().0;
        if (12..16).contains(&(position - start)) {
            continue; // The leader epoch has no checksum.
        }
        let mut broken = bytes.clone();
        broken[position] ^= 0x41;
        match open_bytes(&broken) {
            Err(LogError::Damaged { position: found, .. }) if position < last_start => assert_eq!(found, start as u64),
            Ok(log) if position >= last_start => assert_eq!(log.log_end_offset(), last_offset),
            other => panic!("byte {position}: {other:?}"),
        }
    }
}

#[test]
fn after_a_power_loss_all_that_was_synced_is_there() {
    for seed in 0..300 {
        let (memory, disk) = memory();
        let log = open(
            &disk,
            Options {
                segment_bytes: 6000,
                ..Options::default()
            },
        )
        .unwrap();
        let mut durable = 0;
        for i in 0..12 {
            // Long enough to span sectors.
            append_values(
                &log,
                &["x".repeat(200 + (seed as usize * 37 + i * 211) % 900).as_str()],
                5,
            );
            if (seed + i as u64).is_multiple_of(3) {
                sync(&log);
                durable = log.log_end_offset();
            }
        }
        let sealed = log.flushed_offset();
        memory.crash(if seed % 4 == 0 {
            Loss::All
        } else {
            Loss::Sectors { seed }
        });
        let log = open(&disk, Options::default()).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert!(
            log.log_end_offset() >= durable.max(sealed),
            "seed {seed}: {} < {durable}",
            log.log_end_offset()
        );
        assert_eq!(read_all(&log, 0, 1 << 20).len() as i64, log.log_end_offset());
    }
}

#[test]
fn losing_what_a_snapshot_knows_is_refused() {
    let (memory, disk) = memory();
    let log = open(&disk, Options::default()).unwrap();
    append_values(&log, &["a"], 5);
    append_values(&log, &["b"], 5);
    log.close().unwrap();
    let path = Path::new(DIR).join(segment::name(0));
    let bytes = memory.read(&path).unwrap();
    memory.write(&path, &bytes[..bytes.len() - 3]);
    assert!(matches!(
        open(&disk, Options::default()),
        Err(LogError::Lost { end: 1, known: 2, .. })
    ));
}

#[test]
fn sealed_segments_open_by_their_indexes_or_without() {
    let (memory, disk) = memory();
    let log = open(&disk, small_segments()).unwrap();
    for i in 0..30 {
        append_values(&log, &["value"], 1000 + i * 10);
    }
    log.close().unwrap();
    let bases: Vec<i64> = log.state().segments.iter().map(Segment::base).collect();
    for name in [index::offset_name(bases[0]), index::time_name(bases[1])] {
        disk.remove_file(&Path::new(DIR).join(name)).unwrap();
    }
    memory.write(&Path::new(DIR).join(index::offset_name(bases[2])), b"garbage.garbage.");
    let log = open(&disk, small_segments()).unwrap();
    assert_eq!(read_all(&log, 0, 1 << 20).len(), 30);
    for i in 0..30 {
        let slice = log.locate_time(1000 + i * 10 - 3).unwrap();
        assert_eq!(
            find_time(&slice, 1000 + i * 10 - 3, 0, log.log_end_offset()).unwrap(),
            Some((1000 + i * 10, i))
        );
    }
    assert!(log.locate_time(1291).is_none());
    // Damage in a sealed segment without index is found when it is read anew.
    let path = Path::new(DIR).join(segment::name(bases[0]));
    let mut bytes = memory.read(&path).unwrap();
    bytes[70] ^= 1;
    memory.write(&path, &bytes);
    disk.remove_file(&Path::new(DIR).join(index::offset_name(bases[0])))
        .unwrap();
    assert!(matches!(open(&disk, small_segments()), Err(LogError::Damaged { .. })));
}

#[test]
fn a_time_is_found_inside_compressed_batches() {
    let (_, disk) = memory();
    let log = open(&disk, Options::default()).unwrap();
    let values: Vec<String> = (0..10).map(|i| i.to_string()).collect();
    for (batch, codec) in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4]
        .into_iter()
        .enumerate()
    {
        append(&log, &encode(&values, 1000 * batch as i64, codec, None)).unwrap();
    }
    sync(&log);
    for (timestamp, expected) in [
        (0, (0, 0)),
        (7, (7, 7)),
        (10, (1000, 10)),
        (2004, (2004, 24)),
        (3009, (3009, 39)),
    ] {
        let slice = log.locate_time(timestamp).unwrap();
        assert_eq!(
            find_time(&slice, timestamp, 0, log.log_end_offset()).unwrap(),
            Some(expected)
        );
    }
    assert_eq!(log.max_timestamp(), Some(3009));
}

#[test]
fn a_repeated_batch_is_stored_once_and_a_missing_one_is_noticed() {
    let (_, disk) = memory();
    let log = open(&disk, Options::default()).unwrap();
    let batch = |sequence: i32, epoch: i16| {
        encode(
            &["v".to_owned(), "w".to_owned()],
            5,
            Codec::None,
            stamp(7, epoch, sequence),
        )
    };
    for sequence in [0, 2, 4, 6, 8, 10] {
        assert!(!append(&log, &batch(sequence, 0)).unwrap().duplicate);
    }
    sync(&log);
    let check = |log: &Log| {
        let again = append(log, &batch(8, 0)).unwrap();
        assert_eq!(
            (again.base_offset, again.duplicate, log.log_end_offset()),
            (8, true, 12)
        );
        assert!(matches!(
            append(log, &batch(14, 0)),
            Err(LogError::OutOfOrderSequence {
                got: 14,
                expected: 12,
                ..
            })
        ));
        // Older than the five that are remembered.
        assert!(matches!(
            append(log, &batch(0, 0)),
            Err(LogError::OutOfOrderSequence { .. })
        ));
    };
    check(&log);
    drop(log);
    let log = open(&disk, Options::default()).unwrap(); // By replaying the batches.
    check(&log);
    log.close().unwrap();
    let log = open(&disk, Options::default()).unwrap(); // By the snapshot.
    check(&log);
    assert!(matches!(
        append(&log, &batch(3, 1)),
        Err(LogError::OutOfOrderSequence { expected: 0, .. })
    ));
    assert_eq!(append(&log, &batch(0, 1)).unwrap().base_offset, 12);
    assert!(matches!(
        append(&log, &batch(12, 0)),
        Err(LogError::ProducerEpoch { got: 0, current: 1, .. })
    ));
}

#[test]
fn sequences_go_on_at_zero_behind_the_largest() {
    let (_, disk) = memory();
    let log = open(&disk, Options::default()).unwrap();
    let batch = |sequence: i32| encode(&["v".to_owned(), "w".to_owned()], 5, Codec::None, stamp(7, 0, sequence));
    append(&log, &batch(i32::MAX - 1)).unwrap();
    append(&log, &batch(0)).unwrap();
    assert!(append(&log, &batch(0)).unwrap().duplicate);
    assert_eq!(log.log_end_offset(), 4);
}

#[test]
fn retention_removes_old_and_surplus_segments() {
    let (_, disk) = memory();
    let options = Options {
        retention_ms: 1000,
        ..small_segments()
    };
    let log = open(&disk, options).unwrap();
    for i in 0..20 {
        append_values(&log, &["value value value"], i * 100);
    }
    sync(&log);
    let segments = log.state().segments.len();
    assert_eq!(log.apply_retention(1500).unwrap(), log.start() as usize / 4);
    assert!(log.start() > 0 && log.start() <= 5, "{}", log.start());
    assert!(log.state().segments.len() < segments);
    assert!(matches!(
        log.locate(0, log.log_end_offset(), 1),
        Err(LogError::OutOfRange { .. })
    ));
    log.set_options(Options {
        retention_bytes: 500,
        retention_ms: -1,
        ..small_segments()
    });
    log.apply_retention(1500).unwrap();
    assert!(
        log.size_bytes() >= 500 && log.size_bytes() < 1000,
        "{}",
        log.size_bytes()
    );
    let start = log.start();
    // Even the newest goes when all of it is old.
    log.set_options(Options {
        retention_ms: 1,
        ..small_segments()
    });
    log.apply_retention(1_000_000).unwrap();
    assert_eq!((log.start(), log.log_end_offset(), log.size_bytes()), (20, 20, 0));
    assert!(start < 20);
    drop(log);
    let log = open(&disk, options).unwrap();
    assert_eq!((log.start(), log.log_end_offset()), (20, 20));
    assert_eq!(append_values(&log, &["v"], 0).base_offset, 20);
}

#[test]
fn records_without_a_timestamp_are_kept_from_their_last_write() {
    let dir = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let options = Options {
        retention_ms: 1000,
        ..Options::default()
    };
    let log_open = || Log::open(Arc::clone(&disk), dir.path(), options).unwrap().0;
    let batch = encode(&["v".to_owned()], -1, Codec::None, None);
    let log = log_open();
    log.append(&batch, &batch::check(&batch).unwrap(), 0, 50_000).unwrap();
    sync(&log);
    assert_eq!(log.apply_retention(51_000).unwrap(), 0);
    assert_eq!((log.start(), log.max_timestamp()), (0, None));
    // After a restart the file tells.
    let log = log_open();
    let written_ms = log.state().active().file().modified_ms().unwrap().unwrap();
    assert_eq!(log.apply_retention(written_ms + 1000).unwrap(), 0);
    assert_eq!(log.apply_retention(written_ms + 1001).unwrap(), 1);
    assert_eq!((log.start(), log.log_end_offset()), (1, 1));
}

#[test]
fn where_the_last_write_is_not_known_nothing_goes_early() {
    let (_, disk) = memory();
    let options = Options {
        retention_ms: 1000,
        ..Options::default()
    };
    let log = open(&disk, options).unwrap();
    append_values(&log, &["v"], -1);
    sync(&log);
    let log = open(&disk, options).unwrap();
    assert_eq!(log.apply_retention(10_000_000).unwrap(), 0);
    assert_eq!(log.apply_retention(10_001_000).unwrap(), 0);
    assert_eq!(log.apply_retention(10_001_001).unwrap(), 1);
}

#[test]
fn deleted_records_stay_deleted() {
    let (_, disk) = memory();
    let log = open(&disk, Options::default()).unwrap();
    for _ in 0..5 {
        append_values(&log, &["a", "b"], 5);
    }
    sync(&log);
    assert_eq!(log.delete_before(3).unwrap(), 3);
    assert!(matches!(log.delete_before(11), Err(LogError::OutOfRange { .. })));
    drop(log);
    let log = open(&disk, Options::default()).unwrap();
    assert_eq!((log.start(), log.log_end_offset()), (3, 10));
    assert_eq!(read_all(&log, 3, 1 << 20).len(), 7);
    assert_eq!(log.delete_before(-1).unwrap(), 10);
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let (memory, _) = memory();
    let faulty = FaultyDisk::new(Arc::new(memory.clone()));
    let disk: Arc<dyn Disk> = Arc::new(faulty.clone());
    let log = open(&disk, Options::default()).unwrap();
    append_values(&log, &["before"], 5);
    sync(&log);
    let batch = encode(&["x".repeat(500)], 5, Codec::None, stamp(1, 0, 0));
    for space in [0, 10, 16, 100, 400] {
        faulty.set_space_left(Some(space));
        assert!(matches!(append(&log, &batch), Err(LogError::Full)), "{space}");
        assert_eq!(log.log_end_offset(), 1);
        assert_eq!(read_all(&log, 0, 1 << 20).len(), 1);
    }
    faulty.set_space_left(None);
    let appended = append(&log, &batch).unwrap();
    assert_eq!((appended.base_offset, appended.duplicate), (1, false));
    sync(&log);
    drop(log);
    assert_eq!(read_all(&open(&disk, Options::default()).unwrap(), 0, 1 << 20).len(), 2);
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged_any_more() {
    let (memory, _) = memory();
    let faulty = FaultyDisk::new(Arc::new(memory));
    let disk: Arc<dyn Disk> = Arc::new(faulty.clone());
    let log = open(&disk, Options::default()).unwrap();
    append_values(&log, &["a"], 5);
    let point = log.begin_flush().unwrap();
    faulty.fail_syncs(true);
    let outcome = point.file.sync_data();
    assert!(matches!(
        log.finish_flush(&point, outcome),
        Err(LogError::Stopped { .. })
    ));
    faulty.fail_syncs(false);
    let batch = encode(&["b".to_owned()], 5, Codec::None, None);
    assert!(matches!(append(&log, &batch), Err(LogError::Stopped { .. })));
    assert!(log.begin_flush().is_none());
    assert_eq!(log.high_watermark(), 0);
}

#[test]
fn batches_are_on_disk_as_they_came() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(Arc::new(RealDisk), dir.path(), Options::default()).unwrap();
    let batch = encode(&["untouched".to_owned()], 5, Codec::Gzip, None);
    log.append(&batch, &batch::check(&batch).unwrap(), 3, 0).unwrap();
    let file = RealDisk.open(&dir.path().join(segment::name(0)), Mode::Read).unwrap();
    let mut stored = vec![0; batch.len()];
    file.read_exact_at(&mut stored, 0).unwrap();
    assert_eq!(stored[16..], batch[16..]);
    assert_eq!(stored[..16], batch::placed_prefix(batch.len(), 0, 3));
    assert_eq!((log.epoch_of(0), log.epoch_end(3)), (3, (3, 0)));
}
