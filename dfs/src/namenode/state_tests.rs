use std::sync::Arc;

use dfs_wire::proto::hdfs::{FsPermissionProto, MkdirsRequestProto, MkdirsResponseProto};
use disk::RealDisk;
use disk::faulty::{FaultyDisk, Loss, MemoryDisk};

use super::super::directory::Asker;
use super::*;

fn open(disk: Arc<dyn Disk>, directory: &std::path::Path) -> NameNode {
    let settings = Settings::default();
    NameNode::open(
        disk,
        directory.to_owned(),
        settings,
        "root".to_owned(),
        "BP-test".to_owned(),
    )
    .unwrap()
}

fn asker(call_id: i32) -> Asker {
    Asker {
        user: "alice".to_owned(),
        ip: String::new(),
        key: RetryCache::key(&[7; 16], call_id),
    }
}

async fn mkdirs(node: &NameNode, path: &str, call_id: i32) -> Result<MkdirsResponseProto, Error> {
    // Nothing has to be reported, so the first step ends safe mode.
    let now = node.now();
    node.lock().step(Event::Tick, now);
    let asked = MkdirsRequestProto {
        src: path.to_owned(),
        masked: FsPermissionProto { perm: 0o755 },
        create_parent: true,
        unmasked: None,
    };
    node.mkdirs(&asker(call_id), asked).await
}

fn is_there(node: &NameNode, path: &str) -> bool {
    node.file_info(path).unwrap().is_some()
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
    let before = node.lock().names.inode_count();
    node.delete(
        &asker(99),
        dfs_wire::proto::hdfs::DeleteRequestProto {
            src: "/d/3".to_owned(),
            recursive: true,
        },
    )
    .await
    .unwrap();
    assert!(mkdirs(&node, "/d/15", 15).await.unwrap().result);
    assert_eq!(node.lock().names.inode_count(), before - 1);
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

    disk.set_space_left(None);
    node.reload().unwrap();
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
    disk.fail_syncs(false);
    assert!(node.reload().is_err() && mkdirs(&node, "/later", 3).await.is_err());
    drop(node);
    assert!(is_there(&open(Arc::new(RealDisk), directory.path()), "/before"));
}
