use super::*;

/// A directory as format 1 left it: an image with each inode after its parent and none behind them, and a log of edits.
#[tokio::test]
async fn a_directory_of_format_1_is_read() {
    use crate::namespace::edit::{Add, Edit, EditBox, Rename, Transaction};
    use crate::namespace::image::Header;
    let directory = tempfile::tempdir().unwrap();
    let add = |id: u64, name: &str| {
        Edit::Add(Add {
            parent: crate::namespace::ROOT,
            id,
            name: name.to_owned(),
            owner: "alice".to_owned(),
            group: "staff".to_owned(),
            permission: 0o750,
            time: 7,
            file: None,
        })
    };
    let mut names = Namespace::new("root", "supergroup", 0);
    names.apply(&add(20_000, "in-the-image"), 0).unwrap();
    let header = Header {
        transaction: 1,
        log_index: 0,
        pool_id: "BP-old".to_owned(),
        ..Default::default()
    };
    let mut image = names.to_image(header);
    image.truncate(image.len() - 4);
    image[..8].copy_from_slice(b"BDFSIMG1");
    image.extend(crc32c::crc32c(&image).to_be_bytes());
    std::fs::write(directory.path().join("image"), image).unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let (log, _) = raft::log::Log::open(disk, directory.path().join("edits"), Default::default()).unwrap();
    let commit = raft::log::GroupCommit::start(log).unwrap();
    let rename = Edit::Rename(Rename {
        id: 20_000,
        parent: crate::namespace::ROOT,
        name: "renamed".to_owned(),
        time: 8,
    });
    // The third does not follow: it was never acknowledged.
    for (number, edit) in [(2, rename), (3, add(20_001, "in-the-log")), (9, add(20_002, "skipped"))] {
        let transaction = Transaction {
            number,
            edits: vec![EditBox { edit: Some(edit) }],
            client_id: vec![7; 16],
            call_id: number as i32,
            response: Bytes::from_static(b"answer"),
            ..Default::default()
        };
        commit.submit(1, transaction.encode_to_vec().into(), |written| {
            written.unwrap();
        });
    }
    drop(commit.close().unwrap());

    let check = |node: &NameNode| {
        assert!(is_there(node, "/renamed") && is_there(node, "/in-the-log"));
        assert!(!is_there(node, "/in-the-image") && !is_there(node, "/skipped"));
        let key = RetryCache::key(&[7; 16], 3).unwrap();
        assert_eq!(node.lock().replicated.retries.get(&key).unwrap(), &b"answer"[..]);
        assert_eq!(node.pool_id, "BP-old");
    };
    let node = open(Arc::new(RealDisk), directory.path());
    check(&node);
    mkdirs(&node, "/new", 50).await.unwrap();
    drop(node);
    // Edits and commands in one log.
    let node = open(Arc::new(RealDisk), directory.path());
    check(&node);
    assert!(is_there(&node, "/new"));
    node.checkpoint().unwrap();
    drop(node);
    let node = open(Arc::new(RealDisk), directory.path());
    check(&node);
    assert!(is_there(&node, "/new"));
}

fn reopen(directory: &std::path::Path, lost: LostEdits) -> Result<NameNode, JournalError> {
    let (user, pool) = ("root".to_owned(), "BP".to_owned());
    NameNode::open(
        Arc::new(RealDisk),
        directory.to_owned(),
        Settings::default(),
        user,
        pool,
        lost,
    )
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).unwrap()),
        }
    }
}

#[tokio::test]
async fn edits_that_are_gone_are_noticed() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("nn");
    std::fs::create_dir(&directory).unwrap();
    let node = open(Arc::new(RealDisk), &directory);
    let older = root.path().join("older");
    for index in 0..6 {
        mkdirs(&node, &format!("/{index}"), index).await.unwrap();
        if index == 1 {
            node.checkpoint().unwrap();
        }
        if index == 3 {
            copy(&directory, &older);
        }
    }
    drop(node);
    type Damage = fn(&std::path::Path, &std::path::Path);
    let damages: [(&str, Damage); 4] = [
        ("no edits", |at, _| std::fs::remove_dir_all(at.join("edits")).unwrap()),
        ("an empty folder of edits", |at, _| {
            std::fs::remove_dir_all(at.join("edits")).unwrap();
            std::fs::create_dir(at.join("edits")).unwrap();
        }),
        ("older edits", |at, older| {
            std::fs::remove_dir_all(at.join("edits")).unwrap();
            copy(&older.join("edits"), &at.join("edits"));
        }),
        ("edits cut off", |at, older| {
            let segment = |at: &std::path::Path| {
                let mut names: Vec<_> = std::fs::read_dir(at.join("edits")).unwrap().collect();
                names.pop().unwrap().unwrap().path()
            };
            let bytes = std::fs::metadata(segment(older)).unwrap().len();
            let file = std::fs::File::options().write(true).open(segment(at)).unwrap();
            file.set_len(bytes).unwrap();
        }),
    ];
    for (what, damage) in damages {
        let damaged = root.path().join(what);
        copy(&directory, &damaged);
        damage(&damaged, &older);
        let refused = reopen(&damaged, LostEdits::Refuse);
        assert!(matches!(refused, Err(JournalError::Lost { .. })), "{what}: {refused:?}");
        let node = reopen(&damaged, LostEdits::Accept).unwrap();
        assert!(
            is_there(&node, "/0") && is_there(&node, "/1") && !is_there(&node, "/5"),
            "{what}"
        );
        mkdirs(&node, "/after", 50).await.unwrap();
        drop(node);
        let node = reopen(&damaged, LostEdits::Refuse).unwrap();
        assert!(is_there(&node, "/after"), "{what}: complete again");
    }
    // The image alone is older: its edits were purged.
    let node = reopen(&directory, LostEdits::Refuse).unwrap();
    assert!((0..6).all(|index| is_there(&node, &format!("/{index}"))));
}
