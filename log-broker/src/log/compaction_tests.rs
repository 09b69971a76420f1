use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use disk::faulty::{FaultyDisk, Loss, MemoryDisk};
use disk::{Disk, Mode};
use log_broker_wire::batch;
use log_broker_wire::compression::Codec;
use log_broker_wire::record::{self, Record};

use super::*;

const DIR: &str = "/logs/t-0";
const NOW_MS: i64 = 1_000_000;

fn options() -> Options {
    Options {
        segment_bytes: 600,
        index_interval_bytes: 100,
        retention_ms: -1,
        compaction: Some(Compaction {
            dirty_per_mille_min: 0,
            lag_ms_min: 0,
            lag_ms_max: i64::MAX,
            delete_retention_ms: 1000,
        }),
        ..Options::default()
    }
}

fn open_with(disk: &Arc<dyn Disk>, options: Options) -> Log {
    Log::open(Arc::clone(disk), Path::new(DIR), options).unwrap().0
}

fn memory() -> (MemoryDisk, Arc<dyn Disk>) {
    let memory = MemoryDisk::new();
    (memory.clone(), Arc::new(memory))
}

fn put_in(log: &Log, codec: Codec, records: &[(&str, Option<&str>)]) {
    let records: Vec<Record> = records
        .iter()
        .map(|(key, value)| Record {
            timestamp: NOW_MS,
            key: Some(Bytes::copy_from_slice(key.as_bytes())),
            value: value.map(|value| Bytes::copy_from_slice(value.as_bytes())),
            headers: vec![("h".to_owned(), Some("v".into()))],
            ..Record::default()
        })
        .collect();
    let batch = record::encode_batch(&records, codec, None).unwrap();
    log.append(&batch, &batch::check(&batch).unwrap(), 0, NOW_MS).unwrap();
    log.advance_high_watermark(log.log_end_offset());
}

fn put(log: &Log, key: &str, value: &str) {
    put_in(log, Codec::None, &[(key, Some(value))]);
}

/// Everything from `offset` on, as a consumer reads it.
fn read_from(log: &Log, mut offset: i64) -> Vec<Record> {
    let mut records = Vec::new();
    while offset < log.high_watermark() {
        let slice = log
            .locate(offset, log.high_watermark(), 200)
            .unwrap()
            .expect("something before the end");
        let mut bytes = read_batches(&slice, offset, log.high_watermark(), 200).unwrap();
        assert!(!bytes.is_empty(), "nothing at {offset}");
        while !bytes.is_empty() {
            let header = batch::check(&bytes).unwrap();
            let found = record::records(bytes.split_to(header.len), 1 << 20).unwrap();
            records.extend(found.map(Result::unwrap).filter(|record| record.offset >= offset));
            offset = header.next_offset();
        }
    }
    records
}

/// Offset and text of each record.
fn texts(log: &Log) -> Vec<(i64, String)> {
    let text = |record: Record| {
        let part = |bytes: Option<Bytes>| String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
        (record.offset, format!("{}={}", part(record.key), part(record.value)))
    };
    read_from(log, 0).into_iter().map(text).collect()
}

fn seal(log: &Log) {
    put(log, "filler", &"x".repeat(600));
    put(log, "filler", "y");
}

#[test]
fn the_newest_record_of_each_key_is_kept_where_it_was() {
    let (_, disk) = memory();
    let log = open_with(&disk, options());
    for round in 0..30 {
        put_in(&log, Codec::Gzip, &[("a", Some("old")), ("b", Some("old"))]);
        put(&log, &format!("k{}", round % 7), &round.to_string());
    }
    put(&log, "a", "new");
    seal(&log);
    let (before, written) = (log.size_bytes(), texts(&log));
    let compacted = log.compact(NOW_MS).unwrap().unwrap();
    assert!(compacted.bytes_after < compacted.bytes_before && log.size_bytes() < before);
    let sealed_end = log.state().active().base();
    let mut expected = BTreeMap::new();
    for (offset, text) in written {
        let key = if offset < sealed_end {
            text.split('=').next().unwrap().to_owned()
        } else {
            text.clone()
        };
        expected.insert(key, (offset, text));
    }
    let mut expected: Vec<(i64, String)> = expected.into_values().collect();
    expected.sort();
    assert_eq!(texts(&log), expected);
    assert_eq!((log.start(), log.log_end_offset()), (0, 93));
    // Twice changes nothing, a restart neither, with the indexes or without.
    assert_eq!(log.compact(NOW_MS).unwrap(), None);
    let all = read_from(&log, 0);
    let reopened = open_with(&disk, options());
    assert_eq!((reopened.start(), reopened.log_end_offset()), (0, 93));
    assert_eq!(read_from(&reopened, 0), all);
    for entry in disk.list(Path::new(DIR)).unwrap() {
        if entry.name.ends_with("index") {
            disk.remove_file(&Path::new(DIR).join(entry.name)).unwrap();
        }
    }
    let reopened = open_with(&disk, options());
    for offset in 0..93 {
        let expected: Vec<Record> = all.iter().filter(|record| record.offset >= offset).cloned().collect();
        assert_eq!(read_from(&reopened, offset), expected, "from {offset}");
    }
    assert_eq!(reopened.compact(NOW_MS).unwrap(), None);
}

#[test]
fn a_tombstone_is_kept_until_its_horizon() {
    let (_, disk) = memory();
    let log = open_with(&disk, options());
    put(&log, "a", "1");
    put_in(&log, Codec::None, &[("a", None)]);
    seal(&log);
    let has_tombstone = |log: &Log| read_from(log, 0).iter().any(|record| record.value.is_none());
    let has_value = |log: &Log| texts(log).iter().any(|(_, text)| text == "a=1");
    log.compact(NOW_MS).unwrap().unwrap();
    assert!(has_tombstone(&log) && !has_value(&log));
    // Its record is otherwise what it was.
    let tombstone = read_from(&log, 0).remove(0);
    assert_eq!(
        (tombstone.offset, tombstone.timestamp, tombstone.headers.len()),
        (1, NOW_MS, 1)
    );
    for (later_ms, is_kept) in [(999, true), (1000, false)] {
        seal(&log);
        log.compact(NOW_MS + later_ms).unwrap().unwrap();
        assert_eq!(has_tombstone(&log), is_kept, "{later_ms}");
    }
}

#[test]
fn what_is_young_or_not_worth_it_stays() {
    let (_, disk) = memory();
    let log = open_with(&disk, options());
    let with = |change: &dyn Fn(&mut Compaction)| {
        let mut options = options();
        options.compaction.iter_mut().for_each(change);
        log.set_options(options);
    };
    put(&log, "a", "1");
    put(&log, "a", "2");
    seal(&log);
    with(&|compaction| compaction.lag_ms_min = 500);
    assert_eq!(log.compact(NOW_MS + 499).unwrap(), None);
    assert!(log.compact(NOW_MS + 500).unwrap().is_some());
    put(&log, "a", "3");
    seal(&log);
    with(&|compaction| compaction.dirty_per_mille_min = 999);
    assert_eq!(log.compact(NOW_MS).unwrap(), None);
    // It has waited for long enough.
    with(&|compaction| (compaction.dirty_per_mille_min, compaction.lag_ms_max) = (999, 50));
    assert!(log.compact(NOW_MS + 51).unwrap().is_some());
    // A log that is not compacted is left alone.
    log.set_options(Options {
        compaction: None,
        ..options()
    });
    put(&log, "a", "4");
    seal(&log);
    assert_eq!(log.compact(NOW_MS).unwrap(), None);
}

#[test]
fn small_segments_become_one_and_the_newest_is_never_touched() {
    let (_, disk) = memory();
    let log = open_with(&disk, options());
    for round in 0..200 {
        put(&log, &format!("k{}", round % 3), &round.to_string());
    }
    for _ in 0..5 {
        let active = log.state().active().base();
        log.compact(NOW_MS).unwrap().unwrap();
        assert_eq!((log.start(), log.state().active().base()), (0, active));
        for round in 0..20 {
            put(&log, &format!("k{}", round % 3), &round.to_string());
        }
    }
    let bases: Vec<i64> = log.state().segments.iter().map(Segment::base).collect();
    assert!(bases[0] == 0 && bases.len() <= 10, "{bases:?}");
}

#[test]
fn a_crash_at_any_step_loses_nothing() {
    // The files before and after a compaction, and what the copy was called in between.
    let (memory, disk) = memory();
    let log = open_with(&disk, options());
    for round in 0..60 {
        put(&log, &format!("k{}", round % 5), &round.to_string());
    }
    log.close().unwrap();
    let files = |memory: &MemoryDisk| -> BTreeMap<String, Vec<u8>> {
        let names = disk.list(Path::new(DIR)).unwrap().into_iter().map(|entry| entry.name);
        names
            .map(|name| (name.clone(), memory.read(&Path::new(DIR).join(name)).unwrap()))
            .collect()
    };
    let latest = |log: &Log| -> BTreeMap<Bytes, i64> {
        read_from(log, 0)
            .into_iter()
            .map(|record| (record.key.unwrap(), record.offset))
            .collect()
    };
    let expected = latest(&log);
    // The first round makes them small, the second one puts them together.
    log.compact(NOW_MS).unwrap().unwrap();
    let before = files(&memory);
    log.state().cleaned_to = 0;
    log.compact(NOW_MS).unwrap().unwrap();
    let after = files(&memory);
    let first = segment::name(0);
    let originals: Vec<&String> = before.keys().filter(|name| name.ends_with(".log")).collect();
    let gone: Vec<&&String> = originals.iter().filter(|name| !after.contains_key(**name)).collect();
    let next = originals
        .iter()
        .find(|name| after.contains_key(**name) && ***name != first)
        .unwrap();
    let swap = format!("{:020}-{}.swap", 0, next.strip_suffix(".log").unwrap());
    let attempt = |files: &BTreeMap<String, Vec<u8>>, what: &str| {
        let memory = MemoryDisk::new();
        let disk: Arc<dyn Disk> = Arc::new(memory.clone());
        disk.create_dir_all(Path::new(DIR)).unwrap();
        for (name, contents) in files {
            memory.write(&Path::new(DIR).join(name), contents);
        }
        let log = open_with(&disk, options());
        assert_eq!(
            (latest(&log), log.start(), log.log_end_offset()),
            (expected.clone(), 0, 60),
            "{what}"
        );
        let left = disk.list(Path::new(DIR)).unwrap();
        assert!(
            left.iter()
                .all(|entry| !entry.name.contains(".cleaned") && !entry.name.contains(".swap")),
            "{what}"
        );
        log.compact(NOW_MS).unwrap();
        assert_eq!(latest(&log), expected, "{what}");
    };
    let mut files = before.clone();
    attempt(&files, "nothing yet");
    files.insert(format!("{:020}.cleaned", 0), after[&first][..50].to_vec());
    attempt(&files, "half a copy");
    let mut files = before.clone();
    files.insert(swap.clone(), after[&first].clone());
    attempt(&files, "a whole copy");
    files.retain(|name, _| !name.ends_with("index"));
    attempt(&files, "no indexes");
    for name in gone {
        files.remove(*name);
        attempt(&files, "an original is gone");
    }
    files.remove(&swap);
    files.insert(first.clone(), after[&first].clone());
    attempt(&files, "the copy in its place");
}

#[test]
fn a_power_loss_meanwhile_loses_no_newest_record() {
    for seed in 0..60 {
        let (memory, disk) = memory();
        let log = open_with(&disk, options());
        let mut newest = BTreeMap::new();
        for round in 0..40 {
            let (key, value) = (format!("k{}", (round * 7 + seed) % 6), format!("{round}"));
            put(&log, &key, &value);
            newest.insert(Bytes::from(key), Bytes::from(value));
        }
        log.close().unwrap();
        log.compact(NOW_MS).unwrap();
        memory.crash(if seed % 3 == 0 {
            Loss::All
        } else {
            Loss::Sectors { seed }
        });
        let log = open_with(&disk, options());
        let found: BTreeMap<Bytes, Bytes> = read_from(&log, 0)
            .into_iter()
            .map(|record| (record.key.unwrap(), record.value.unwrap()))
            .collect();
        assert_eq!(found, newest, "seed {seed}");
    }
}

#[test]
fn a_full_disk_leaves_the_log_as_it_was() {
    let (memory, _) = memory();
    let faulty = FaultyDisk::new(Arc::new(memory));
    let disk: Arc<dyn Disk> = Arc::new(faulty.clone());
    let log = open_with(&disk, options());
    for round in 0..60 {
        put(&log, &format!("k{}", round % 59), &round.to_string());
    }
    seal(&log);
    let all = read_from(&log, 0);
    faulty.set_space_left(Some(30));
    assert!(matches!(log.compact(NOW_MS), Err(LogError::Full)));
    assert_eq!(read_from(&log, 0), all);
    faulty.set_space_left(None);
    assert!(log.compact(NOW_MS).unwrap().is_some());
    assert!(read_from(&log, 0).len() < all.len());
}

#[test]
fn whatever_is_written_and_compacted_the_newest_of_each_key_is_there() {
    for seed in 0..40u64 {
        let mut state = seed * 2_654_435_761 + 1;
        let mut next = |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let (_, disk) = memory();
        let mut log = open_with(&disk, options());
        let mut newest: BTreeMap<Bytes, Option<Bytes>> = BTreeMap::new();
        let mut now_ms = NOW_MS;
        for _ in 0..120 {
            match next(10) {
                0 => {
                    log.compact(now_ms).unwrap();
                    now_ms += 400;
                }
                1 => {
                    log.close().unwrap();
                    log = open_with(&disk, options());
                }
                _ => {
                    let codec = [Codec::None, Codec::Gzip, Codec::Lz4, Codec::Snappy, Codec::Zstd][next(5) as usize];
                    let records: Vec<(String, Option<String>)> = (0..=next(4))
                        .map(|_| {
                            let value = (next(4) > 0).then(|| format!("v{}", next(1000)));
                            (format!("key{}", next(9)), value)
                        })
                        .collect();
                    let borrowed: Vec<(&str, Option<&str>)> = records
                        .iter()
                        .map(|(key, value)| (key.as_str(), value.as_deref()))
                        .collect();
                    put_in(&log, codec, &borrowed);
                    for (key, value) in records {
                        newest.insert(key.into(), value.map(Into::into));
                    }
                }
            }
        }
        let read = read_from(&log, 0);
        assert!(read.is_sorted_by(|a, b| a.offset < b.offset));
        let found: BTreeMap<Bytes, Option<Bytes>> = read
            .into_iter()
            .map(|record| (record.key.unwrap(), record.value))
            .collect();
        for (key, value) in &newest {
            match found.get(key) {
                Some(known) => assert_eq!(known, value, "seed {seed}"),
                None => assert_eq!(*value, None, "seed {seed}: a tombstone alone may be gone"),
            }
        }
        assert!(found.keys().all(|key| newest.contains_key(key)));
    }
}

#[test]
fn files_of_another_kind_are_left_alone() {
    let (_, disk) = memory();
    disk.create_dir_all(Path::new(DIR)).unwrap();
    disk.open(&Path::new(DIR).join("notes.txt"), Mode::CreateNew).unwrap();
    let log = open_with(&disk, options());
    put(&log, "a", "1");
    seal(&log);
    log.compact(NOW_MS).unwrap();
    assert!(disk.exists(&Path::new(DIR).join("notes.txt")).unwrap());
}
