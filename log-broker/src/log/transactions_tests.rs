//! Transactions in one log: what is stable, what was aborted, and that a restart knows both again.

use std::path::Path;
use std::sync::Arc;

use disk::Disk;
use disk::faulty::MemoryDisk;
use log_broker_wire::batch::{self, BatchHeader};
use log_broker_wire::compression::Codec;
use log_broker_wire::marker::Marker;
use log_broker_wire::record::{self, ProducerStamp, Record};

use super::{AbortedTransaction, Appended, Compaction, Log, LogError, Options, read_batches};

const DIR: &str = "/data/t-0";
const NOW_MS: i64 = 1_000_000;

struct World {
    disk: Arc<dyn Disk>,
    options: Options,
}

impl World {
    fn new(options: Options) -> Self {
        Self {
            disk: Arc::new(MemoryDisk::new()),
            options,
        }
    }

    fn open(&self) -> Log {
        Log::open(Arc::clone(&self.disk), Path::new(DIR), self.options)
            .unwrap()
            .0
    }
}

fn batch_of(producer_id: i64, epoch: i16, sequence: i32, keys: &[&str], transactional: bool) -> bytes::Bytes {
    let records: Vec<Record> = keys
        .iter()
        .map(|key| Record {
            timestamp: NOW_MS,
            key: Some((*key).to_owned().into()),
            ..Record::new(format!("{producer_id}"))
        })
        .collect();
    let stamp = ProducerStamp {
        producer_id,
        producer_epoch: epoch,
        base_sequence: sequence,
    };
    let batch = record::encode_batch(&records, Codec::None, Some(stamp)).unwrap();
    batch::with_attributes(&batch, transactional, false)
}

fn write(log: &Log, batch: &[u8]) -> Result<Appended, LogError> {
    log.append(batch, &batch::check(batch).unwrap(), 0, NOW_MS)
}

/// Appends to a transaction that the coordinator knows.
fn put(log: &Log, producer_id: i64, epoch: i16, sequence: i32, keys: &[&str]) -> i64 {
    log.begin_verification(producer_id, epoch);
    write(log, &batch_of(producer_id, epoch, sequence, keys, true))
        .unwrap()
        .base_offset
}

fn end(log: &Log, producer_id: i64, epoch: i16, is_commit: bool) -> i64 {
    let marker = Marker {
        producer_id,
        producer_epoch: epoch,
        is_commit,
        coordinator_epoch: 0,
    };
    log.append_marker(&marker, 0, NOW_MS).unwrap().base_offset
}

fn replicate(log: &Log) {
    log.advance_high_watermark(log.log_end_offset());
}

fn aborted(producer_id: i64, first_offset: i64, last_offset: i64) -> AbortedTransaction {
    AbortedTransaction {
        producer_id,
        first_offset,
        last_offset,
    }
}

/// What a consumer of committed records sees, by the rules that Kafka's clients follow.
fn committed(log: &Log) -> Vec<(i64, String)> {
    let limit = log.last_stable_offset();
    let mut seen = Vec::new();
    let mut offset = log.start();
    while let Some(slice) = log.locate(offset, limit, 300).unwrap() {
        let Some(extent) = super::locate_batches(&slice, offset, limit, 300, false).unwrap() else {
            break;
        };
        let mut list = log.aborted_in(&slice, &extent, offset);
        list.sort_by_key(|entry| entry.first_offset);
        let mut list = std::collections::VecDeque::from(list);
        let mut leaving_out = std::collections::BTreeSet::new();
        let mut bytes = read_batches(&slice, offset, limit, 300).unwrap();
        while !bytes.is_empty() {
            let header = BatchHeader::parse(&bytes).unwrap();
            let one = bytes.split_to(header.len);
            while list
                .front()
                .is_some_and(|entry| entry.first_offset <= header.last_offset())
            {
                leaving_out.insert(list.pop_front().unwrap().producer_id);
            }
            offset = header.next_offset();
            if header.is_control() {
                leaving_out.remove(&header.producer_id);
            } else if !(header.is_transactional() && leaving_out.contains(&header.producer_id)) {
                seen.extend(record::records(one, 1 << 20).unwrap().map(|record| {
                    let record = record.unwrap();
                    (record.offset, String::from_utf8(record.key.unwrap().to_vec()).unwrap())
                }));
            }
        }
    }
    seen
}

fn keys(seen: &[(i64, String)]) -> Vec<&str> {
    seen.iter().map(|(_, key)| key.as_str()).collect()
}

#[test]
fn the_last_stable_offset_is_before_the_first_open_transaction() {
    let world = World::new(Options::default());
    let log = world.open();
    write(&log, &batch_of(9, 0, 0, &["plain"], false)).unwrap();
    assert_eq!(put(&log, 1, 0, 0, &["a"]), 1);
    assert_eq!(put(&log, 2, 0, 0, &["b"]), 2);
    replicate(&log);
    assert_eq!((log.last_stable_offset(), log.high_watermark()), (1, 3));
    end(&log, 1, 0, true);
    // The marker could still be lost.
    assert_eq!(log.last_stable_offset(), 1);
    replicate(&log);
    assert_eq!(log.last_stable_offset(), 2);
    end(&log, 2, 0, false);
    replicate(&log);
    assert_eq!((log.last_stable_offset(), log.high_watermark()), (5, 5));
    assert_eq!(log.aborted_transactions(0, 5), [aborted(2, 2, 4)]);
    assert_eq!(log.aborted_transactions(5, 9), []);
    assert_eq!(keys(&committed(&log)), ["plain", "a"]);
}

#[test]
fn a_transaction_begins_only_where_the_coordinator_knows_it() {
    let world = World::new(Options::default());
    let log = world.open();
    let refused =
        |outcome: Result<Appended, LogError>| matches!(outcome, Err(LogError::InvalidTransactionState { .. }));
    assert!(refused(write(&log, &batch_of(1, 0, 0, &["a"], true))));
    assert!(log.begin_verification(1, 0));
    // The transaction ends while the producer's batch is under way: it comes too late.
    end(&log, 1, 0, false);
    assert!(refused(write(&log, &batch_of(1, 0, 0, &["a"], true))));
    assert!(log.begin_verification(1, 0));
    write(&log, &batch_of(1, 0, 0, &["a"], true)).unwrap();
    assert!(!log.begin_verification(1, 0));
    write(&log, &batch_of(1, 0, 1, &["b"], true)).unwrap();
    // A repeated batch is recognised, and the producer writes nothing else meanwhile.
    assert!(write(&log, &batch_of(1, 0, 1, &["b"], true)).unwrap().duplicate);
    assert!(refused(write(&log, &batch_of(1, 0, 2, &["c"], false))));
}

#[test]
fn markers_fence_older_epochs() {
    let world = World::new(Options::default());
    let log = world.open();
    put(&log, 1, 3, 0, &["a"]);
    end(&log, 1, 4, false);
    let late = batch_of(1, 3, 1, &["late"], true);
    assert!(matches!(
        write(&log, &late),
        Err(LogError::ProducerEpoch { current: 4, .. })
    ));
    let marker = |producer_epoch, coordinator_epoch| Marker {
        producer_id: 1,
        producer_epoch,
        is_commit: true,
        coordinator_epoch,
    };
    let refused = log.append_marker(&marker(3, 0), 0, NOW_MS);
    assert!(matches!(refused, Err(LogError::ProducerEpoch { .. })));
    log.append_marker(&marker(4, 7), 0, NOW_MS).unwrap();
    let refused = log.append_marker(&marker(4, 6), 0, NOW_MS);
    assert!(matches!(refused, Err(LogError::CoordinatorFenced { current: 7, .. })));
    // The epoch of the marker begins with the first sequence.
    log.begin_verification(1, 4);
    let gap = batch_of(1, 4, 1, &["b"], true);
    assert!(matches!(
        write(&log, &gap),
        Err(LogError::OutOfOrderSequence { expected: 0, .. })
    ));
    put(&log, 1, 4, 0, &["b"]);
}

#[test]
fn a_restart_at_any_point_knows_transactions_again() {
    // Small segments, so that transactions span them.
    let world = World::new(Options {
        segment_bytes: 400,
        ..Options::default()
    });
    for orderly in [true, false] {
        let dir = Path::new(DIR);
        if world.disk.exists(dir).unwrap() {
            world.disk.remove_dir_all(dir).unwrap();
        }
        let mut log = world.open();
        let mut sequences = [0; 4];
        let mut open = [false; 4];
        for step in 0..120 {
            let producer = step * 7 % 4;
            if open[producer] && step % 5 == 0 {
                end(&log, producer as i64, 0, step % 2 == 0);
                open[producer] = false;
            } else {
                put(&log, producer as i64, 0, sequences[producer], &[&format!("{step}")]);
                sequences[producer] += 1;
                open[producer] = true;
            }
            replicate(&log);
            let before = (
                log.last_stable_offset(),
                log.aborted_transactions(0, i64::MAX),
                committed(&log),
                log.producers(),
            );
            if step % 3 == 0 {
                if orderly {
                    log.close().unwrap();
                }
                log = world.open();
                let after = (
                    log.last_stable_offset(),
                    log.aborted_transactions(0, i64::MAX),
                    committed(&log),
                    log.producers(),
                );
                assert_eq!(before, after, "step {step}, orderly {orderly}");
            }
        }
        assert!(log.aborted_transactions(0, i64::MAX).len() > 3);
    }
}

#[test]
fn compaction_drops_what_was_aborted_and_then_its_marker() {
    let compaction = Compaction {
        dirty_per_mille_min: 0,
        lag_ms_min: 0,
        lag_ms_max: i64::MAX,
        delete_retention_ms: 1000,
    };
    let world = World::new(Options {
        segment_bytes: 250,
        compaction: Some(compaction),
        retention_ms: -1,
        ..Options::default()
    });
    let log = world.open();
    put(&log, 1, 0, 0, &["k"]);
    end(&log, 1, 0, true);
    // Aborted: neither does it stay, nor does it take the place of the committed value.
    put(&log, 1, 0, 1, &["k", "l"]);
    let marker = end(&log, 1, 0, false);
    put(&log, 1, 0, 3, &["m"]);
    end(&log, 1, 0, true);
    // Open: nothing from here on is compacted.
    let open = put(&log, 2, 0, 0, &["m"]);
    for sequence in 0..9 {
        write(&log, &batch_of(3, 0, sequence, &[&format!("f{sequence}")], false)).unwrap();
    }
    replicate(&log);
    let before = committed(&log);
    assert_eq!(keys(&before), ["k", "m"]);
    assert!(log.compact(NOW_MS).unwrap().is_some());
    assert_eq!(committed(&log), before);
    assert_eq!(log.aborted_transactions(0, i64::MAX), [aborted(1, 2, marker)]);
    assert_eq!(log.last_stable_offset(), open);
    let offsets_of = |log: &Log| {
        let mut offsets = Vec::new();
        let mut offset = 0;
        while let Some(slice) = log.locate(offset, open, 1).unwrap() {
            let bytes = read_batches(&slice, offset, open, 1).unwrap();
            if bytes.is_empty() {
                break;
            }
            let header = BatchHeader::parse(&bytes).unwrap();
            offsets.push(header.base_offset);
            offset = header.next_offset();
        }
        offsets
    };
    assert!(!offsets_of(&log).contains(&2));
    assert!(offsets_of(&log).contains(&marker));
    // The marker's horizon has passed: it goes in a round that is due, with its entry.
    end(&log, 2, 0, true);
    for sequence in 9..18 {
        write(&log, &batch_of(3, 0, sequence, &[&format!("f{sequence}")], false)).unwrap();
    }
    replicate(&log);
    assert!(log.compact(NOW_MS + 2000).unwrap().is_some());
    assert_eq!(log.aborted_transactions(0, i64::MAX), []);
    assert!(!offsets_of(&log).contains(&marker));
    let after = committed(&log);
    assert_eq!(after[0], before[0]);
    let log = world.open();
    assert_eq!(committed(&log), after);
    assert_eq!(log.last_stable_offset(), log.high_watermark());
}
