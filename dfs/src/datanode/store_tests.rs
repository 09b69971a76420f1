use std::sync::Arc;

use disk::RealDisk;
use disk::faulty::FaultyDisk;

use super::super::live::Live;
use super::*;
use dfs_wire::checksum::Kind;

const CHECKSUM: Checksum = Checksum {
    kind: Kind::Crc32c,
    chunk: 512,
};

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 31 % 251) as u8).collect()
}

fn open(directory: &Path) -> Store {
    Store::open(Arc::new(RealDisk), directory.join("blocks"), 0).unwrap()
}

/// Writes a replica that stays open, checksums of `checked` bytes.
fn write(store: &Store, block: u64, data: &[u8], checked: usize) -> (Files, Arc<Live>) {
    let live = Arc::new(Live::default());
    let files = store.create(block, 1, CHECKSUM, false, &live).unwrap();
    files.data.write_at(data, 0).unwrap();
    files
        .meta
        .write_at(&CHECKSUM.compute(&data[..checked]), META_HEADER_BYTES as u64)
        .unwrap();
    (files, live)
}

#[test]
fn finalized_replicas_are_there_again_and_copies_under_way_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let data = content(1300);
    let (files, _live) = write(&store, 300, &data, 1300);
    store.finalize(300, &files, 1300).unwrap();
    store
        .create(301, 1, CHECKSUM, true, &Arc::new(Live::default()))
        .unwrap();
    drop(store);

    let store = open(directory.path());
    assert_eq!(store.list().len(), 1);
    let (files, replica) = store.read(300, 1).unwrap();
    assert_eq!(
        (replica.state, replica.length, replica.stamp),
        (State::Finalized, 1300, 1)
    );
    let mut read = vec![0; 1300];
    files.data.read_exact_at(&mut read, 0).unwrap();
    assert_eq!(read, data);
    assert!(store.verify(300) && store.read(300, 2).is_err() && store.read(301, 0).is_err());
    assert_eq!(store.used(), 1300);
    assert!(store.remove(300, 1) && !store.remove(300, 1));
    assert_eq!(store.used(), 0);
}

#[test]
fn a_crash_keeps_all_that_the_checksums_vouch_for() {
    // Data of 1400 bytes came, but the checksums on disk are those of `checked` bytes: 488 of the last chunk and so on.
    for checked in [0, 1, 511, 512, 513, 1000, 1024, 1399, 1400] {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        let data = content(1400);
        write(&store, 300, &data, checked);
        drop(store);
        let store = open(directory.path());
        let replica = store.get(300).unwrap();
        assert_eq!((replica.state, replica.length), (State::Rwr, checked as u64));
        store.recover(300, 9, checked as u64).unwrap();
        assert!(store.verify(300));
        assert_eq!(store.get(300).unwrap().stamp, 9);
    }
}

#[test]
fn recovery_cuts_to_the_agreed_length() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let (_files, live) = write(&store, 300, &content(1300), 1300);
    store.release(300, &live, 1300);
    assert!(
        store.recover(300, 5, 1301).is_err(),
        "nobody has bytes that did not come"
    );
    store.recover(300, 6, 700).unwrap();
    assert!(store.verify(300));
    assert_eq!(store.get(300).unwrap().length, 700);
    assert!(store.recover(300, 4, 700).is_err(), "stamps only grow");
}

#[test]
fn one_flipped_bit_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let (files, _live) = write(&store, 300, &content(200_000), 200_000);
    store.finalize(300, &files, 200_000).unwrap();
    assert!(store.verify(300));
    files.data.write_at(&[content(150_001)[150_000] ^ 1], 150_000).unwrap();
    assert!(!store.verify(300));
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let directory = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new(Arc::new(RealDisk));
    let store = Store::open(Arc::new(disk.clone()), directory.path().join("blocks"), 0).unwrap();
    disk.set_space_left(Some(0));
    assert!(
        store
            .create(300, 1, CHECKSUM, false, &Arc::new(Live::default()))
            .is_err()
    );
    assert!(store.get(300).is_none());
    disk.set_space_left(None);
    let (files, _live) = write(&store, 300, &content(10), 10);
    store.finalize(300, &files, 10).unwrap();
    assert!(store.verify(300));
}

#[test]
fn data_outlives_its_checksums() {
    for state in [State::Finalized, State::Rbw] {
        for damage in ["gone", "empty", "damaged"] {
            let directory = tempfile::tempdir().unwrap();
            let store = open(directory.path());
            let data = content(1300);
            let (files, live) = write(&store, 300, &data, 1300);
            if state == State::Finalized {
                store.finalize(300, &files, 1300).unwrap();
            } else {
                store.release(300, &live, 1300);
            }
            let meta = store.meta_path(300, 1, state);
            let copy = std::fs::read(&meta).unwrap();
            match damage {
                "gone" => std::fs::remove_file(&meta).unwrap(),
                "empty" => std::fs::write(&meta, []).unwrap(),
                _ => std::fs::write(&meta, [9; 7]).unwrap(),
            }
            if state == State::Finalized {
                assert!(!store.verify(300), "noticed while it runs: {damage}");
            }
            drop(store);

            let store = open(directory.path());
            assert_eq!(std::fs::read(store.data_path(300)).unwrap(), data, "{state:?} {damage}");
            if state == State::Rbw || damage == "gone" {
                assert_eq!(store.get(300).unwrap().state, State::Corrupt, "{state:?} {damage}");
                assert!(store.recover(300, 9, 10).is_err() && store.read(300, 0).is_err());
                assert!(
                    store
                        .create(300, 9, CHECKSUM, true, &Arc::new(Live::default()))
                        .is_err(),
                    "nothing is written over it"
                );
            }
            drop(store);

            std::fs::write(&meta, copy).unwrap();
            let store = open(directory.path());
            assert_eq!(store.get(300).unwrap().length, 1300, "once its meta file is back");
            assert_ne!(store.get(300).unwrap().state, State::Corrupt);
        }
    }
}

#[test]
fn an_older_meta_file_beside_the_newer_one_removes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let (files, _live) = write(&store, 300, &content(1300), 1300);
    store.finalize(300, &files, 1300).unwrap();
    store.recover(300, 5, 1300).unwrap();
    let newer = store.meta_path(300, 5, State::Finalized);
    std::fs::copy(&newer, store.meta_path(300, 1, State::Finalized)).unwrap();
    drop(store);
    let store = open(directory.path());
    let replica = store.get(300).unwrap();
    assert_eq!(
        (replica.stamp, replica.length, replica.state),
        (5, 1300, State::Finalized)
    );
    assert!(store.verify(300));
}
