//! What every [`Disk`] must do, tried on each of them: a fake that behaves otherwise proves nothing.

use std::io::{ErrorKind, IoSlice};
use std::path::Path;
use std::sync::Arc;

use crate::faulty::{FaultyDisk, MemoryDisk};
use crate::{Disk, Entry, Mode, PooledDisk, RealDisk};

#[test]
fn the_real_disk_keeps_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    keeps_the_contract(&RealDisk, directory.path());
}

#[test]
fn the_disk_in_memory_keeps_the_contract() {
    keeps_the_contract(&MemoryDisk::new(), Path::new("/root"));
}

#[test]
fn a_faulty_disk_without_faults_keeps_the_contract() {
    keeps_the_contract(&FaultyDisk::new(Arc::new(MemoryDisk::new())), Path::new("/root"));
}

#[test]
fn a_pooled_disk_keeps_the_contract() {
    // With room for all: a file that lost its name can only be read while it is open.
    keeps_the_contract(&PooledDisk::new(Arc::new(MemoryDisk::new()), 64), Path::new("/root"));
}

fn keeps_the_contract(disk: &dyn Disk, root: &Path) {
    let dir = root.join("some/where");
    disk.create_dir_all(&dir).unwrap();
    disk.create_dir_all(&dir).unwrap();
    files_are_opened_as_asked(disk, &dir);
    positions_are_independent(disk, &dir);
    names_are_replaced_and_listed_in_order(disk, &dir);
    contents_are_replaced_as_a_whole(disk, &dir);
    disk.remove_dir_all(&root.join("some")).unwrap();
    assert!(!disk.exists(&dir).unwrap());
    assert_eq!(disk.list(&dir).unwrap_err().kind(), ErrorKind::NotFound);
}

fn files_are_opened_as_asked(disk: &dyn Disk, dir: &Path) {
    let path = dir.join("file");
    let kind = |mode| disk.open(&path, mode).map(|_| ()).map_err(|error| error.kind());
    assert_eq!(kind(Mode::Read), Err(ErrorKind::NotFound));
    assert_eq!(kind(Mode::CreateNew), Ok(()));
    assert_eq!(kind(Mode::CreateNew), Err(ErrorKind::AlreadyExists));
    assert_eq!(kind(Mode::Write), Ok(()));
    assert_eq!(kind(Mode::Read), Ok(()));
    assert_eq!(
        disk.open(&dir.join("no/such"), Mode::Write).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    disk.remove_file(&path).unwrap();
    assert_eq!(disk.remove_file(&path).unwrap_err().kind(), ErrorKind::NotFound);
}

fn positions_are_independent(disk: &dyn Disk, dir: &Path) {
    let path = dir.join("positions");
    let writer = disk.open(&path, Mode::CreateNew).unwrap();
    let reader = disk.open(&path, Mode::Read).unwrap();
    assert!(reader.is_empty().unwrap());
    assert_eq!(writer.append(b"01234").unwrap(), 0);
    assert_eq!(writer.append(b"56789").unwrap(), 5);
    writer.write_at(b"ab", 2).unwrap();
    let mut bytes = [0; 4];
    reader.read_exact_at(&mut bytes, 1).unwrap();
    assert_eq!(&bytes, b"1ab4");
    assert_eq!(reader.read_at(&mut bytes, 8).unwrap(), 2, "what is there");
    assert_eq!(reader.read_at(&mut bytes, 10).unwrap(), 0, "the end");
    assert_eq!(reader.read_at(&mut bytes, 99).unwrap(), 0, "beyond the end");
    assert_eq!(
        reader.read_exact_at(&mut bytes, 8).unwrap_err().kind(),
        ErrorKind::UnexpectedEof
    );
    writer.set_len(3).unwrap();
    writer
        .write_vectored_at(&[IoSlice::new(b"x"), IoSlice::new(b""), IoSlice::new(b"yz")], 5)
        .unwrap();
    writer.sync_data().unwrap();
    let mut bytes = [9; 8];
    reader.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"01a\0\0xyz", "gaps are zero");
    disk.remove_file(&path).unwrap();
    assert_eq!(reader.len().unwrap(), 8, "an open file outlives its name");
}

fn names_are_replaced_and_listed_in_order(disk: &dyn Disk, dir: &Path) {
    for name in ["b", "a", "c"] {
        disk.open(&dir.join(name), Mode::CreateNew)
            .unwrap()
            .write_at(name.as_bytes(), 0)
            .unwrap();
    }
    disk.create_dir_all(&dir.join("bb")).unwrap();
    disk.rename(&dir.join("c"), &dir.join("a")).unwrap();
    disk.sync_dir(dir).unwrap();
    let names: Vec<(String, bool, u64)> = disk
        .list(dir)
        .unwrap()
        .into_iter()
        .map(|Entry { name, is_dir, len }| (name, is_dir, len))
        .collect();
    assert_eq!(
        names,
        [("a".into(), false, 1), ("b".into(), false, 1), ("bb".into(), true, 0)]
    );
    let mut byte = [0];
    disk.open(&dir.join("a"), Mode::Read)
        .unwrap()
        .read_exact_at(&mut byte, 0)
        .unwrap();
    assert_eq!(&byte, b"c");
    assert!(disk.exists(&dir.join("bb")).unwrap() && !disk.exists(&dir.join("c")).unwrap());
    assert_eq!(
        disk.rename(&dir.join("c"), &dir.join("d")).unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

fn contents_are_replaced_as_a_whole(disk: &dyn Disk, dir: &Path) {
    let path = dir.join("replaced");
    let contents = || {
        let file = disk.open(&path, Mode::Read).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    };
    disk.replace(&path, b"a long first text").unwrap();
    assert_eq!(contents(), b"a long first text");
    let reader = disk.open(&path, Mode::Read).unwrap();
    // What a crash in the middle left behind is no obstacle.
    let torn = disk.open(&dir.join("replaced.new"), Mode::Write).unwrap();
    torn.write_at(b"a torn text that is longer than the next", 0).unwrap();
    disk.replace(&path, b"short").unwrap();
    assert_eq!(contents(), b"short");
    assert!(!disk.exists(&dir.join("replaced.new")).unwrap());
    assert_eq!(reader.len().unwrap(), 17, "a reader keeps the contents that it opened");
    disk.replace(&path, b"").unwrap();
    assert_eq!(contents(), b"");
    let nowhere = disk.replace(&dir.join("no/such"), b"x").unwrap_err();
    assert_eq!(nowhere.kind(), ErrorKind::NotFound);
    disk.remove_file(&path).unwrap();
}
