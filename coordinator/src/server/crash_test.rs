//! The node on disks that break: power losses, a full disk, a failing sync.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use coordinator_wire::etcdserverpb as pb;
use disk::Disk;
use disk::faulty::{FaultyDisk, Loss, MemoryDisk};

use crate::Error;
use crate::auth;
use crate::machine::{Machine, Outcome, Request};
use crate::members::Members;
use crate::server::replica::node::Node;
use crate::server::serve::{Threads, start, stop};
use crate::server::settings::data_directory::Directories;
use crate::server::settings::flags::{Arguments, Settings};
use crate::server::storage::recovery;
use crate::server::storage::redb_disk::Space;
use crate::server::storage::store_file::{Identity, InitialState, StoreFile};
use crate::server::storage::wake_up::WakeReason;
use crate::store::{Archive, Revision, Version};

const DIRECTORY: &str = "/data";

fn launch(disk: &Arc<dyn Disk>) -> (Arc<Node>, Threads) {
    let arguments = Arguments::try_parse_from(["coordinator"]).expect("the defaults are valid");
    let mut settings = Settings::from_arguments(arguments).expect("the defaults are valid");
    // So small that the log is purged all the time.
    settings.log.segment_bytes = 2_000;
    disk.create_dir_all(Path::new(DIRECTORY)).expect("a directory");
    let (identity, members) = settings.bootstrap.found();
    let founding = InitialState {
        identity,
        members,
        applied: 1,
    };
    start(
        &settings,
        &Directories::both(Path::new(DIRECTORY)),
        disk,
        &founding,
        Arc::new(raft::node::Plain),
    )
    .expect("recovers")
}

fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Request {
    Request::Put(pb::PutRequest {
        key: key.into(),
        value: value.into(),
        ..Default::default()
    })
}

fn read(node: &Node, key: &str) -> Option<Bytes> {
    let machine = node.machine();
    machine
        .store()
        .get(&Bytes::copy_from_slice(key.as_bytes()), 0)
        .expect("readable")
        .map(|found| found.kv.value.clone())
}

/// Puts from several tasks at once; returns the keys that were acknowledged.
async fn put_many(node: &Arc<Node>, round: u64, tasks: u64, each: u64) -> Vec<String> {
    let putting = (0..tasks).map(|task| {
        let node = Arc::clone(node);
        tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for number in 0..each {
                let key = format!("{round}/{task}/{number}");
                if node.propose(auth::root(), put(key.clone(), key.clone())).await.is_ok() {
                    acknowledged.push(key);
                }
            }
            acknowledged
        })
    });
    let acknowledged = futures::future::join_all(putting).await;
    acknowledged
        .into_iter()
        .flat_map(|keys| keys.expect("no task panics"))
        .collect()
}

/// Twelve power losses, each while puts are under way and at another moment of the persister's work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_loss_takes_nothing_that_was_acknowledged() {
    let memory = MemoryDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(memory.clone());
    let mut acknowledged: Vec<String> = Vec::new();
    let mut revision = 1;
    for round in 0..12_u64 {
        let (node, threads) = launch(&disk);
        assert!(node.machine().store().revision() >= revision, "revisions never go back");
        for key in &acknowledged {
            assert_eq!(
                read(&node, key).as_deref(),
                Some(key.as_bytes()),
                "{key} after round {round}"
            );
        }
        let putting = put_many(&node, round, 4, 25);
        if round % 3 != 0 {
            node.persister_wake_up().wake(WakeReason::Requested);
        }
        acknowledged.extend(putting.await);
        revision = node.machine().store().revision();
        if round % 4 == 3 {
            let compaction = Request::Compaction(pb::CompactionRequest {
                revision,
                physical: false,
            });
            assert!(matches!(
                node.propose(auth::root(), compaction).await,
                Ok(Outcome::Compaction(_))
            ));
        }
        // Some more, whose fate is open.
        let (late, last_round) = (Arc::clone(&node), round + 1_000);
        let late = tokio::spawn(async move { put_many(&late, last_round, 4, 50).await });
        node.persister_wake_up().wake(WakeReason::Requested);
        tokio::time::sleep(Duration::from_millis(round)).await;
        memory.crash(if round % 2 == 0 {
            Loss::Sectors { seed: round }
        } else {
            Loss::All
        });
        // What is acknowledged after the lights went out was durable before.
        acknowledged.extend(late.await.expect("no panic"));
        stop(&node, threads);
    }
    assert!(acknowledged.len() >= 12 * 100, "the rounds did put something");
    // How far the log was purged when the lights went out is chance. Once all is archived there is little left of it.
    let (node, threads) = launch(&disk);
    node.propose(auth::root(), put("last", "1")).await.expect("it serves");
    let archived = node.archived(node.machine().applied());
    node.persister_wake_up().wake(WakeReason::Requested);
    tokio::time::timeout(Duration::from_secs(20), archived)
        .await
        .expect("it is archived");
    // The log behind is purged next, by another thread.
    let segments = || disk.list(&Path::new(DIRECTORY).join("log")).expect("a log").len();
    let purged = async {
        while segments() >= 60 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let purged = tokio::time::timeout(Duration::from_secs(20), purged).await;
    assert!(purged.is_ok(), "{} segments of the log are left", segments());
    stop(&node, threads);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_serves_reads_and_recovers() {
    let faulty = FaultyDisk::new(Arc::new(MemoryDisk::new()));
    let disk: Arc<dyn Disk> = Arc::new(faulty.clone());
    let (node, threads) = launch(&disk);
    node.propose(auth::root(), put("before", "1"))
        .await
        .expect("there is space");
    faulty.set_space_left(Some(0));
    assert_eq!(
        node.propose(auth::root(), put("during", vec![7; 5_000])).await,
        Err(Error::NoSpace)
    );
    assert!(node.unhealthy().is_some(), "the health page tells it");
    node.persister_wake_up().wake(WakeReason::Requested);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(read(&node, "before").as_deref(), Some(&b"1"[..]));
    assert_eq!(read(&node, "during"), None);
    faulty.set_space_left(None);
    node.propose(auth::root(), put("after", "1"))
        .await
        .expect("there is space again");
    let archived = node.archived(node.machine().applied());
    let went_on = tokio::time::timeout(Duration::from_secs(5), archived).await;
    assert!(
        went_on.is_ok(),
        "the persister goes on by itself: {:?}",
        node.unhealthy()
    );
    assert_eq!(node.unhealthy(), None);
    stop(&node, threads);
    let (node, threads) = launch(&disk);
    assert_eq!(read(&node, "after").as_deref(), Some(&b"1"[..]));
    assert_eq!(read(&node, "during"), None, "what was refused is not there");
    stop(&node, threads);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failed_sync_nothing_is_acknowledged_and_the_process_is_told_to_end() {
    let faulty = FaultyDisk::new(Arc::new(MemoryDisk::new()));
    let disk: Arc<dyn Disk> = Arc::new(faulty.clone());
    let (node, threads) = launch(&disk);
    node.propose(auth::root(), put("a", "1")).await.expect("the disk works");
    faulty.fail_syncs(true);
    assert_eq!(node.propose(auth::root(), put("b", "1")).await, Err(Error::Stopped));
    faulty.fail_syncs(false);
    assert_eq!(
        node.propose(auth::root(), put("c", "1")).await,
        Err(Error::Stopped),
        "not even when the disk seems well again"
    );
    let mut failures = node.failures();
    let told = tokio::time::timeout(Duration::from_secs(5), failures.wait_for(Option::is_some)).await;
    assert!(told.is_ok(), "the process is told why it must end");
    stop(&node, threads);
}

/// A hand-over in steps that a crash cut short: the file's numbers do not cover the first steps, so they are dropped, and
/// the log brings them again.
#[test]
fn steps_of_an_unfinished_hand_over_are_dropped_at_the_next_start() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    disk.create_dir_all(Path::new(DIRECTORY)).expect("a directory");
    let path = Path::new(DIRECTORY).join("store.redb");
    let initial = InitialState {
        identity: Identity { cluster: 1, member: 2 },
        members: Members::default(),
        applied: 1,
    };
    let open = || StoreFile::open(&disk, &path, Arc::new(Space::default()), &initial).expect("it opens");
    let version = |main: i64| {
        Arc::new(Version {
            revision: Revision::new(main, 0),
            deleted: false,
            kv: coordinator_wire::mvccpb::KeyValue {
                key: Bytes::from(format!("k{main}")),
                mod_revision: main,
                ..Default::default()
            },
        })
    };
    let count = |file: &StoreFile| {
        let mut found = 0;
        let all = (Revision::default(), Revision::end_of(i64::MAX));
        let snapshot = file.snapshot().expect("readable");
        let scanned = snapshot.scan(all.0, all.1, &mut |_| {
            found += 1;
            true
        });
        scanned.expect("readable");
        found
    };
    let (mut file, numbers) = open();
    assert_eq!(numbers.revision, 1);
    let empty = file.stored_bytes();
    file.take_versions(&[version(2), version(3)]).expect("durable");
    assert_eq!(count(&file), 2);
    assert!(file.stored_bytes() > empty);
    drop(file);
    let (file, numbers) = open();
    assert_eq!((numbers.revision, count(&file), file.stored_bytes()), (1, 0, empty));
}

/// Compacted versions leave the file in steps of their own, after the hand-over that tells of the compaction: a crash before
/// or between them leaves versions that no reader sees and that the next hand-over removes.
#[test]
fn a_removal_that_a_crash_cut_short_is_finished_after_the_next_start() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    disk.create_dir_all(Path::new(DIRECTORY)).expect("a directory");
    let path = Path::new(DIRECTORY).join("store.redb");
    let initial = InitialState {
        identity: Identity { cluster: 1, member: 2 },
        members: Members::default(),
        applied: 1,
    };
    let open = || StoreFile::open(&disk, &path, Arc::new(Space::default()), &initial).expect("it opens");
    let archived = |machine: &mut Machine, file: &StoreFile, up_to| {
        let snapshot = Arc::new(file.snapshot().expect("readable"));
        machine.store_mut().archived(up_to, snapshot);
    };
    let mut file = open().0;
    let mut machine = recovery::machine_of(&file).expect("empty");
    for index in 2..6 {
        let applied = machine.apply(index, &auth::root(), &put("a", index.to_string()));
        applied.expect("readable");
    }
    let hand_over = machine.hand_over();
    file.take_over(&hand_over).expect("durable");
    archived(&mut machine, &file, hand_over.store.up_to);
    let compaction = Request::Compaction(pb::CompactionRequest {
        revision: 5,
        physical: false,
    });
    machine.apply(6, &auth::root(), &compaction).expect("readable");
    let hand_over = machine.hand_over();
    assert_eq!(hand_over.store.removed.len(), 3);
    file.take_over(&hand_over).expect("durable");
    file.remove_versions(&hand_over.store.removed[..1]).expect("durable");
    drop(file);

    let mut file = open().0;
    let mut machine = recovery::machine_of(&file).expect("readable");
    let mut seen = 0;
    let all = (Revision::default(), Revision::end_of(i64::MAX));
    let scanned = machine.store().view().scan(all.0, all.1, &mut |_| {
        seen += 1;
        true
    });
    scanned.expect("readable");
    assert_eq!(seen, 1, "what is compacted is not seen");
    let hand_over = machine.hand_over();
    assert_eq!(hand_over.store.removed, [Revision::new(3, 0), Revision::new(4, 0)]);
    let before = file.stored_bytes();
    file.take_over(&hand_over).expect("durable");
    file.remove_versions(&hand_over.store.removed).expect("durable");
    assert!(file.stored_bytes() < before);
    archived(&mut machine, &file, hand_over.store.up_to);
    assert!(machine.hand_over().store.removed.is_empty());
}
