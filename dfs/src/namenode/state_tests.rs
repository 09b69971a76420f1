use std::sync::Arc;

use dfs_wire::proto::hdfs::{FsPermissionProto, MkdirsRequestProto, MkdirsResponseProto};
use disk::RealDisk;
use disk::faulty::{FaultyDisk, Loss, MemoryDisk};

use super::super::directory::Asker;
use super::super::retry::RetryCache;
use super::*;

/// What is found on disk: older formats, edits that are gone.
#[path = "directory_tests.rs"]
mod directory;

fn open(disk: Arc<dyn Disk>, directory: &std::path::Path) -> NameNode {
    let settings = Settings::default();
    NameNode::open(
        disk,
        directory.to_owned(),
        settings,
        "root".to_owned(),
        "BP-test".to_owned(),
        LostEdits::Refuse,
    )
    .unwrap()
}

fn asker(call_id: i32) -> Asker {
    Asker {
        user: "alice".to_owned(),
        groups: Arc::default(),
        privileged: true,
        ip: String::new(),
        key: RetryCache::key(&[7; 16], call_id),
    }
}

async fn mkdirs(node: &NameNode, path: &str, call_id: i32) -> Result<Answered<MkdirsResponseProto>, Error> {
    // Nothing has to be reported, so the first step ends safe mode.
    let now = node.now();
    node.lock().soft.step(Event::Tick, now);
    node.mkdirs(&asker(call_id), mkdirs_request(path)).await
}

fn mkdirs_request(path: &str) -> MkdirsRequestProto {
    MkdirsRequestProto {
        src: path.to_owned(),
        masked: FsPermissionProto { perm: 0o755 },
        create_parent: true,
        unmasked: None,
    }
}

fn is_there(node: &NameNode, path: &str) -> bool {
    node.file_info(&asker(0), path).unwrap().is_some()
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_the_power_went() {
    let disk = MemoryDisk::new();
    let directory = std::path::Path::new("/nn");
    disk.create_dir_all(directory).unwrap();
    disk.sync_dir(std::path::Path::new("/")).unwrap();
    let node = open(Arc::new(disk.clone()), directory);
    for index in 0..20 {
        mkdirs(&node, &format!("/d/{index}"), index).await.unwrap();
        if index == 10 {
            node.checkpoint().unwrap();
        }
    }
    drop(node);
    disk.crash(Loss::All);
    let node = open(Arc::new(disk.clone()), directory);
    assert!((0..20).all(|index| is_there(&node, &format!("/d/{index}"))));
    // And a call that was made before the crash is answered the same, and not made again.
    let before = node.lock().replicated.names.inode_count();
    node.delete(
        &asker(99),
        dfs_wire::proto::hdfs::DeleteRequestProto {
            src: "/d/3".to_owned(),
            recursive: true,
        },
    )
    .await
    .unwrap();
    let node = Arc::new(node);
    let again = call_as(&node, "root", 15, "mkdirs", &mkdirs_request("/d/15/again")).await;
    assert!(MkdirsResponseProto::decode(again.unwrap()).unwrap().result);
    assert_eq!(node.lock().replicated.names.inode_count(), before - 1);
}

#[tokio::test]
async fn a_full_disk_refuses_changes_and_loses_none() {
    let directory = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new(Arc::new(RealDisk));
    let node = open(Arc::new(disk.clone()), directory.path());
    mkdirs(&node, "/before", 1).await.unwrap();
    disk.set_space_left(Some(10));
    assert!(mkdirs(&node, "/refused", 2).await.is_err());
    assert!(matches!(
        mkdirs(&node, "/refused-too", 3).await,
        Err(Error::SafeMode(_))
    ));
    assert!(is_there(&node, "/before"), "reads are served");
    assert!(!is_there(&node, "/refused"), "what is not durable is not seen");

    disk.set_space_left(None);
    node.resume().unwrap();
    assert!(is_there(&node, "/before") && !is_there(&node, "/refused"));
    mkdirs(&node, "/after", 4).await.unwrap();
    drop(node);
    let node = open(Arc::new(disk), directory.path());
    assert!(is_there(&node, "/before") && is_there(&node, "/after") && !is_there(&node, "/refused"));
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_acknowledged_any_more() {
    let directory = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new(Arc::new(RealDisk));
    let node = open(Arc::new(disk.clone()), directory.path());
    mkdirs(&node, "/before", 1).await.unwrap();
    disk.fail_syncs(true);
    assert!(mkdirs(&node, "/unknown", 2).await.is_err());
    assert!(!is_there(&node, "/unknown"), "what is not durable is not seen");
    disk.fail_syncs(false);
    assert!(node.resume().is_err() && mkdirs(&node, "/later", 3).await.is_err());
    drop(node);
    assert!(is_there(&open(Arc::new(RealDisk), directory.path()), "/before"));
}

#[tokio::test]
async fn answers_for_retries_outlive_an_image() {
    let directory = tempfile::tempdir().unwrap();
    let node = open(Arc::new(RealDisk), directory.path());
    mkdirs(&node, "/a", 1).await.unwrap();
    let delete = dfs_wire::proto::hdfs::DeleteRequestProto {
        src: "/a".to_owned(),
        recursive: true,
    };
    assert!(
        node.delete(&asker(2), delete.clone())
            .await
            .unwrap()
            .message()
            .unwrap()
            .result
    );
    node.checkpoint().unwrap();
    drop(node);
    let node = Arc::new(open(Arc::new(RealDisk), directory.path()));
    assert_eq!(node.lock().replicated.retries.len(), 2);
    mkdirs(&node, "/a", 3).await.unwrap();
    let again = call_as(&node, "root", 2, "delete", &delete).await.unwrap();
    assert!(
        dfs_wire::proto::hdfs::DeleteResponseProto::decode(again)
            .unwrap()
            .result
    );
    assert!(is_there(&node, "/a"), "the repeated call was not executed again");
}

#[tokio::test]
async fn trash_becomes_a_checkpoint_and_goes_when_it_is_old() {
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings::parse(["fs.trash.interval=10", "fs.trash.checkpoint.interval=60"]).unwrap();
    assert_eq!(settings.trash_period_ms(), 600_000);
    let (disk, user) = (Arc::new(RealDisk), "root".to_owned());
    let path = directory.path().to_owned();
    let node = NameNode::open(disk, path, settings, user, "BP".to_owned(), LostEdits::Refuse).unwrap();
    for (index, path) in ["/user/a/.Trash/Current/x", "/user/b", "/user/c/.Trash/notes"]
        .iter()
        .enumerate()
    {
        mkdirs(&node, path, 1 + index as i32).await.unwrap();
    }
    let time = 1_798_761_599_000;
    node.empty_trash(time).await.unwrap();
    assert!(is_there(&node, "/user/a/.Trash/261231235959/x") && !is_there(&node, "/user/a/.Trash/Current"));
    node.empty_trash(time + 600_000).await.unwrap();
    assert!(is_there(&node, "/user/a/.Trash/261231235959/x"));
    node.empty_trash(time + 601_000).await.unwrap();
    assert!(!is_there(&node, "/user/a/.Trash/261231235959"));
    assert!(is_there(&node, "/user/c/.Trash/notes") && is_there(&node, "/user/b"));
}

#[tokio::test]
async fn images_are_written_beside_changes() {
    let directory = tempfile::tempdir().unwrap();
    let node = Arc::new(open(Arc::new(RealDisk), directory.path()));
    for index in 0..50 {
        mkdirs(&node, &format!("/before/{index}"), index).await.unwrap();
    }
    let writer = Arc::clone(&node);
    let images = std::thread::spawn(move || (0..5).for_each(|_| writer.checkpoint().unwrap()));
    let mut made = 0;
    while !images.is_finished() || made < 20 {
        mkdirs(&node, &format!("/meanwhile/{made}"), 1000 + made).await.unwrap();
        made += 1;
    }
    images.join().unwrap();
    drop(node);
    let node = open(Arc::new(RealDisk), directory.path());
    assert!((0..50).all(|index| is_there(&node, &format!("/before/{index}"))));
    assert!((0..made).all(|index| is_there(&node, &format!("/meanwhile/{index}"))));
}

/// Asks a client's call of the name node, encoded as on the wire.
async fn call(node: &Arc<NameNode>, method: &str, argument: &impl prost::Message) -> Result<bytes::Bytes, Error> {
    call_as(node, "root", 0, method, argument).await
}

async fn call_as(
    node: &Arc<NameNode>,
    user: &str,
    call_id: i32,
    method: &str,
    argument: &impl prost::Message,
) -> Result<bytes::Bytes, Error> {
    use crate::ipc::{CLIENT_PROTOCOL, Call, Service};
    let call = Call {
        connection: 1,
        user: user.into(),
        peer: "127.0.0.1:1".parse().unwrap(),
        reached: std::net::Ipv4Addr::LOCALHOST.into(),
        client_id: if call_id == 0 { Vec::new() } else { vec![7; 16] },
        call_id,
        protocol: CLIENT_PROTOCOL.to_owned(),
        method: method.to_owned(),
        argument: bytes::Bytes::from(argument.encode_to_vec()),
    };
    Arc::clone(node).call(call).await
}

fn register(node: &NameNode, uuid: &str) {
    use crate::block::{Address, Usage};
    let now = node.now();
    let mut state = node.lock();
    let address = Address {
        uuid: uuid.to_owned(),
        ip: "127.0.0.1".to_owned(),
        ..Default::default()
    };
    state.soft.step(Event::Registered(address), now);
    let usage = Usage {
        capacity: u64::MAX,
        used: u64::MAX,
        remaining: u64::MAX,
        transfers: u32::MAX,
        connections: u32::MAX,
    };
    state.soft.step(Event::Heartbeat { uuid, usage }, now);
    state.soft.step(Event::Reported { uuid, replicas: &[] }, now);
    node.data_nodes_changed.notify_waiters();
}

/// A file with one block, which is being written.
async fn open_file(node: &Arc<NameNode>) -> dfs_wire::proto::hdfs::ExtendedBlockProto {
    use dfs_wire::proto::hdfs::*;
    let asked = CreateRequestProto {
        src: "/f".to_owned(),
        client_name: "c".to_owned(),
        create_flag: 1,
        create_parent: true,
        replication: 3,
        block_size: 1 << 20,
        ..Default::default()
    };
    call(node, "create", &asked).await.unwrap();
    let asked = AddBlockRequestProto {
        src: "/f".to_owned(),
        client_name: "c".to_owned(),
        ..Default::default()
    };
    let answer = call(node, "addBlock", &asked).await.unwrap();
    AddBlockResponseProto::decode(answer).unwrap().block.b
}

#[tokio::test]
async fn numbers_that_were_never_given_out_are_refused_and_not_logged() {
    use dfs_wire::proto::hdfs::*;
    let directory = tempfile::tempdir().unwrap();
    let settings = || Settings::parse(["bonsai.report-wait.millis=10", "bonsai.restart-wait.millis=10"]).unwrap();
    let open = |path: &std::path::Path| {
        let (user, pool) = ("root".to_owned(), "BP".to_owned());
        let node = NameNode::open(
            Arc::new(RealDisk),
            path.to_owned(),
            settings(),
            user,
            pool,
            LostEdits::Refuse,
        );
        Arc::new(node.unwrap())
    };
    let node = open(directory.path());
    register(&node, "a");
    register(&node, "b");
    let block = open_file(&node).await;
    let fsync = |length: i64| FsyncRequestProto {
        src: "/f".to_owned(),
        client: "c".to_owned(),
        last_block_length: Some(length),
        file_id: None,
    };
    for length in [i64::MAX, (1 << 20) + 1] {
        assert!(call(&node, "fsync", &fsync(length)).await.is_err(), "{length}");
    }
    call(&node, "fsync", &fsync(i64::MIN)).await.unwrap();
    call(&node, "fsync", &fsync(1000)).await.unwrap();
    for stamp in [0, block.generation_stamp + 1, u64::MAX] {
        for length in [999, 1000, u64::MAX] {
            let claimed = ExtendedBlockProto {
                generation_stamp: stamp,
                num_bytes: Some(length),
                ..block.clone()
            };
            let asked = UpdatePipelineRequestProto {
                client_name: "c".to_owned(),
                old_block: block.clone(),
                new_block: claimed.clone(),
                ..Default::default()
            };
            assert!(call(&node, "updatePipeline", &asked).await.is_err(), "{stamp} {length}");
            let asked = CompleteRequestProto {
                src: "/f".to_owned(),
                client_name: "c".to_owned(),
                last: Some(claimed.clone()),
                file_id: None,
            };
            assert!(call(&node, "complete", &asked).await.is_err(), "{stamp} {length}");
            let asked = AddBlockRequestProto {
                src: "/f".to_owned(),
                client_name: "c".to_owned(),
                previous: Some(claimed),
                ..Default::default()
            };
            assert!(call(&node, "addBlock", &asked).await.is_err(), "{stamp} {length}");
        }
    }
    let times = SetTimesRequestProto {
        src: "/f".to_owned(),
        mtime: i64::MIN as u64,
        atime: u64::MAX - 5,
    };
    call(&node, "setTimes", &times).await.unwrap();
    for block_size in [u64::MAX, i64::MAX as u64 + 1, 0] {
        let asked = CreateRequestProto {
            src: "/g".to_owned(),
            client_name: "c".to_owned(),
            create_flag: 1,
            replication: 1,
            block_size,
            ..Default::default()
        };
        assert!(call(&node, "create", &asked).await.is_err(), "{block_size}");
    }
    let everything = GetBlockLocationsRequestProto {
        src: "/f".to_owned(),
        offset: u64::MAX,
        length: u64::MAX,
    };
    let answers = async |node: &Arc<NameNode>| {
        let summary = GetContentSummaryRequestProto { path: "/".to_owned() };
        let answer = call(node, "getContentSummary", &summary).await.unwrap();
        let summary = GetContentSummaryResponseProto::decode(answer).unwrap().summary;
        assert_eq!(
            (summary.length, summary.space_consumed, summary.file_count),
            (1000, 3000, 1)
        );
        call(node, "getBlockLocations", &everything).await.unwrap();
        call(node, "getFsStats", &GetFsStatusRequestProto {}).await.unwrap();
        let report = GetDatanodeReportRequestProto {
            r#type: DatanodeReportTypeProto::All as i32,
        };
        call(node, "getDatanodeReport", &report).await.unwrap();
        assert!(node.health().is_ok());
    };
    answers(&node).await;
    drop(node);
    answers(&open(directory.path())).await;
}

/// Run by the test after it, in a process of its own.
#[test]
#[ignore = "ends the process"]
fn child_that_panics_under_the_lock() {
    let directory = tempfile::tempdir().unwrap();
    let node = Arc::new(open(Arc::new(RealDisk), directory.path()));
    let holder = Arc::clone(&node);
    let _ = std::thread::spawn(move || {
        let _held = holder.lock();
        panic!("as a bug would");
    })
    .join();
    println!("still alive");
}

#[test]
fn a_panic_under_the_lock_ends_the_process() {
    let test = "namenode::state::tests::child_that_panics_under_the_lock";
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(!output.status.success() && said.contains("as a bug would"), "{said}");
    assert!(
        !said.contains("still alive") && said.contains("namespace lock"),
        "{said}"
    );
}

#[test]
fn health_does_not_wait_for_the_lock() {
    let directory = tempfile::tempdir().unwrap();
    let node = open(Arc::new(RealDisk), directory.path());
    let _held = node.lock();
    assert!(node.health().is_ok());
    let long_ago = node.now() - health::LOCK_HELD_MAX.as_millis() as u64 - 1;
    node.lock_free_at.store(long_ago, Ordering::Relaxed);
    assert!(node.health().unwrap_err().contains("lock"));
}

#[tokio::test]
async fn a_call_that_comes_again_while_the_first_is_under_way_is_executed_once() {
    use dfs_wire::proto::hdfs::{RenameRequestProto, RenameResponseProto};
    let directory = tempfile::tempdir().unwrap();
    let node = Arc::new(open(Arc::new(RealDisk), directory.path()));
    mkdirs(&node, "/a", 1).await.unwrap();
    drop(node);
    // In the safe mode of the start calls are held.
    let settings = Settings::parse(["dfs.namenode.safemode.min.datanodes=1"]).unwrap();
    let (disk, path) = (Arc::new(RealDisk), directory.path().to_owned());
    let (user, pool) = ("root".to_owned(), "BP".to_owned());
    let node = Arc::new(NameNode::open(disk, path, settings, user, pool, LostEdits::Refuse).unwrap());
    assert!(node.lock().soft.blocks.is_starting());
    let calls: Vec<_> = (0..3)
        .map(|_| {
            let node = Arc::clone(&node);
            tokio::spawn(async move {
                let asked = RenameRequestProto {
                    src: "/a".to_owned(),
                    dst: "/b".to_owned(),
                };
                call_as(&node, "root", 2, "rename", &asked).await
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    register(&node, "a");
    for call in calls {
        let answer = RenameResponseProto::decode(call.await.unwrap().unwrap()).unwrap();
        assert!(answer.result);
    }
    assert!(is_there(&node, "/b") && node.in_flight.is_empty());
}
