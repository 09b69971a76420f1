//! What a writer sees.

use disk::faulty::FaultyDisk;

use super::*;

fn numbered(range: std::ops::Range<u64>) -> Vec<Record> {
    range
        .map(|index| record(index, format!("payload of {index}").as_bytes()))
        .collect()
}

#[test]
fn records_follow_each_other() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open(&disk, 1 << 20).unwrap();
    log.append(&numbered(1..4)).unwrap();
    assert_eq!(
        log.append(&numbered(5..6)),
        Err(LogError::OutOfSequence { index: 5, expected: 4 })
    );
    assert_eq!(
        log.append(&numbered(3..4)),
        Err(LogError::OutOfSequence { index: 3, expected: 4 })
    );
    assert_eq!(all(&log), numbered(1..4));
}

#[test]
fn any_record_can_be_read_from() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open(&disk, 100_000).unwrap();
    let payload = [1; 1000];
    for index in 1..500 {
        log.append(&[record(index, &payload)]).unwrap();
    }
    for from in 1..=500 {
        let indexes: Vec<u64> = log
            .read(from)
            .unwrap()
            .map(|record| record.unwrap().index)
            .take(150)
            .collect();
        assert_eq!(indexes, (from..500).take(150).collect::<Vec<_>>());
    }
    assert_eq!(
        log.read(501).unwrap_err(),
        LogError::NotThere {
            index: 501,
            first: 1,
            next: 500
        }
    );
}

#[test]
fn purged_segments_are_gone_and_stay_gone() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open(&disk, 1000).unwrap();
    for index in 1..100 {
        log.append(&numbered(index..index + 1)).unwrap();
    }
    log.sync().unwrap();
    let before = segments(&disk).len();
    log.purge(50).unwrap();
    assert!(segments(&disk).len() < before);
    let first = log.first_index();
    assert!(first > 1 && first <= 51, "{first}");
    assert!(matches!(log.read(first - 1), Err(LogError::NotThere { .. })));
    drop(log);
    let (log, recovery) = open(&disk, 1000).unwrap();
    assert_eq!((recovery.first_index, recovery.next_index), (first, 100));
    assert_eq!(all(&log), numbered(first..100));
}

#[test]
fn a_cut_suffix_is_replaced_across_segments() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open(&disk, 1000).unwrap();
    for index in 1..100 {
        log.append(&numbered(index..index + 1)).unwrap();
    }
    log.truncate_suffix(30).unwrap();
    assert_eq!(all(&log), numbered(1..30));
    let other = record(30, b"another history");
    log.append(std::slice::from_ref(&other)).unwrap();
    log.sync().unwrap();
    drop(log);
    let (log, recovery) = open(&disk, 1000).unwrap();
    assert_eq!(recovery.next_index, 31);
    assert_eq!(all(&log).last(), Some(&other));
}

#[test]
fn a_reset_log_goes_on_elsewhere() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open(&disk, 1000).unwrap();
    log.append(&numbered(1..60)).unwrap();
    log.reset(1000).unwrap();
    log.append(&numbered(1000..1003)).unwrap();
    log.sync().unwrap();
    drop(log);
    let (log, _) = open(&disk, 1000).unwrap();
    assert_eq!(all(&log), numbered(1000..1003));
}

#[test]
fn a_full_disk_refuses_whole_and_recovers() {
    let memory = MemoryDisk::new();
    let disk = FaultyDisk::new(Arc::new(memory.clone()));
    let (mut log, _) = open_on(Arc::new(disk.clone()), 1 << 20).unwrap();
    log.append(&numbered(1..3)).unwrap();
    log.sync().unwrap();
    let path = segments(&memory).remove(0);
    let before = memory.read(&path).unwrap();
    for space in 0..40 {
        disk.set_space_left(Some(space));
        assert_eq!(log.append(&numbered(3..5)), Err(LogError::NoSpace(path.clone())));
        assert_eq!(memory.read(&path).unwrap(), before, "the part that fitted is cut off");
    }
    disk.set_space_left(None);
    log.append(&numbered(3..5)).unwrap();
    log.sync().unwrap();
    drop(log);
    assert_eq!(all(&open(&memory, 1 << 20).unwrap().0), numbered(1..5));
}

#[test]
fn a_disk_that_fills_up_between_segments_recovers() {
    let memory = MemoryDisk::new();
    let disk = FaultyDisk::new(Arc::new(memory.clone()));
    let (mut log, _) = open_on(Arc::new(disk.clone()), 100).unwrap();
    log.append(&numbered(1..4)).unwrap();
    for space in 0..25 {
        disk.set_space_left(Some(space));
        assert!(
            matches!(log.append(&numbered(4..5)), Err(LogError::NoSpace(_))),
            "{space} bytes"
        );
        assert_eq!(segments(&memory).len(), 1, "no unfinished segment is left");
    }
    disk.set_space_left(None);
    log.append(&numbered(4..5)).unwrap();
    log.sync().unwrap();
    assert_eq!(segments(&memory).len(), 2);
    drop(log);
    assert_eq!(all(&open(&memory, 100).unwrap().0), numbered(1..5));
}

#[test]
fn after_a_failed_sync_nothing_is_written() {
    let memory = MemoryDisk::new();
    let disk = FaultyDisk::new(Arc::new(memory.clone()));
    let (mut log, _) = open_on(Arc::new(disk.clone()), 1 << 20).unwrap();
    log.append(&numbered(1..2)).unwrap();
    disk.fail_syncs(true);
    assert!(matches!(log.sync(), Err(LogError::Stopped(_))));
    disk.fail_syncs(false);
    assert!(matches!(log.sync(), Err(LogError::Stopped(_))));
    assert!(matches!(log.append(&numbered(2..3)), Err(LogError::Stopped(_))));
    assert!(
        log.stopped().unwrap().contains("cannot sync /log/"),
        "{:?}",
        log.stopped()
    );
}

#[test]
fn a_failing_write_stops_the_log() {
    let disk = FaultyDisk::new(Arc::new(MemoryDisk::new()));
    let (mut log, _) = open_on(Arc::new(disk.clone()), 1 << 20).unwrap();
    disk.fail_writes(true);
    assert!(matches!(log.append(&numbered(1..2)), Err(LogError::Stopped(_))));
    disk.fail_writes(false);
    assert!(matches!(log.append(&numbered(1..2)), Err(LogError::Stopped(_))));
}

#[test]
fn a_change_under_a_running_log_is_found_by_the_reader() {
    let disk = MemoryDisk::new();
    let (mut log, _) = open(&disk, 1 << 20).unwrap();
    log.append(&numbered(1..4)).unwrap();
    let path = segments(&disk).remove(0);
    let mut bytes = disk.read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    disk.write(&path, &bytes);
    let outcome: Vec<_> = log.read(1).unwrap().collect();
    assert!(
        matches!(outcome.last(), Some(Err(LogError::Corrupt { .. }))),
        "{outcome:?}"
    );
    assert!(outcome.len() < 4);
}
