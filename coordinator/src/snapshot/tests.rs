use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use coordinator_wire::etcdserverpb::Member;
use coordinator_wire::mvccpb::KeyValue;
use disk::faulty::MemoryDisk;
use disk::{Disk, DiskFile, Mode};
use proptest::prelude::*;

use super::content::{Content, Frame, read};
use super::*;
use crate::store::{Archive, Revision, Version};

/// Pairs by bucket.
#[derive(Debug, Default)]
struct Pairs(BTreeMap<Bucket, BTreeMap<Vec<u8>, Vec<u8>>>);

impl Source for Pairs {
    fn scan(&self, bucket: Bucket, visit: &mut Visit<'_>) -> Result<(), SnapshotError> {
        let pairs = self.0.get(&bucket).into_iter().flatten();
        pairs.into_iter().try_for_each(|(key, value)| visit(key, value))
    }
}

fn file_of(bytes: &[u8]) -> Arc<dyn DiskFile> {
    let disk = MemoryDisk::default();
    disk.create_dir_all(Path::new("/data")).expect("memory");
    let file = disk.open(Path::new("/data/snapshot"), Mode::Write).expect("memory");
    file.write_at(bytes, 0).expect("memory");
    file
}

fn written(source: &dyn Source) -> Vec<u8> {
    let layout = measure(source).expect("readable");
    let mut bytes = Vec::new();
    write(source, &layout, &mut |page| {
        bytes.extend_from_slice(page);
        Ok(())
    })
    .expect("readable");
    assert_eq!(bytes.len() as u64, layout.bytes());
    bytes
}

fn read_back(bytes: &[u8], bucket: Bucket) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, SnapshotError> {
    let file = file_of(bytes);
    let reader = Reader::open(file.as_ref())?;
    let mut pairs = BTreeMap::new();
    reader.scan(bucket, &mut |key, value| {
        pairs.insert(key.to_vec(), value.to_vec());
        Ok(())
    })?;
    Ok(pairs)
}

fn numbered(count: usize, value_bytes: usize) -> Pairs {
    let pairs = (0..count).map(|number| (format!("{number:017}").into_bytes(), vec![7; value_bytes]));
    Pairs(BTreeMap::from([(Bucket::Key, pairs.collect())]))
}

#[test]
fn trees_of_every_height_come_back() {
    // One leaf; one branch; just one child too many for a branch; several levels; values larger than a page.
    for (count, value_bytes) in [
        (0, 0),
        (1, 0),
        (3, 10),
        (200, 100),
        (4_183, 4_000),
        (20_000, 60),
        (5, 20_000),
    ] {
        let source = numbered(count, value_bytes);
        let bytes = written(&source);
        let found = read_back(&bytes, Bucket::Key).expect("sound");
        assert_eq!(
            Some(&found),
            source.0.get(&Bucket::Key),
            "{count} of {value_bytes} bytes"
        );
        assert!(read_back(&bytes, Bucket::Meta).expect("sound").is_empty());
    }
}

#[derive(Debug)]
struct Versions(Vec<Version>);

impl Archive for Versions {
    fn get(&self, revision: Revision) -> Result<Option<Version>, ArchiveError> {
        Ok(self.0.iter().find(|version| version.revision == revision).cloned())
    }

    fn scan(&self, from: Revision, to: Revision, visit: &mut dyn FnMut(Version) -> bool) -> Result<(), ArchiveError> {
        let mut versions = self.0.iter().filter(|version| (from..=to).contains(&version.revision));
        let _ended = versions.all(|version| visit(version.clone()));
        Ok(())
    }
}

fn content() -> Content {
    let put = |main: i64, sub: u32, key: &'static str, version: i64| Version {
        revision: Revision::new(main, sub),
        deleted: false,
        kv: KeyValue {
            key: key.into(),
            value: format!("{main}.{sub}").into(),
            create_revision: main,
            mod_revision: main,
            version,
            lease: 7,
        },
    };
    let tombstone = Version {
        revision: Revision::new(9, 0),
        deleted: true,
        kv: KeyValue {
            key: "a".into(),
            mod_revision: 9,
            ..Default::default()
        },
    };
    let frame = Frame {
        leases: vec![(7, 60), (i64::MAX, 5)],
        alarms: vec![(1, 1), (2, 2)],
        accounts: coordinator_wire::coordinatorpb::StoredAuth {
            enabled: true,
            revision: 3,
            users: vec![coordinator_wire::authpb::User {
                name: "root".into(),
                password: "hash".into(),
                ..Default::default()
            }],
            roles: vec![coordinator_wire::authpb::Role {
                name: "root".into(),
                ..Default::default()
            }],
        },
        members: vec![Member {
            id: 5,
            name: "default".into(),
            ..Default::default()
        }],
        applied: 12,
        term: 2,
        compacted: 4,
        version: "3.6.0".into(),
    };
    let versions = vec![put(5, 0, "a", 1), put(8, 0, "b", 1), put(8, 1, "c", 3), tombstone];
    Content {
        versions: Arc::new(Versions(versions)),
        frame,
    }
}

#[test]
fn a_state_comes_back_whole_but_for_its_members() {
    let content = content();
    let bytes = written(&content);
    let file = file_of(&bytes);
    let mut versions = Vec::new();
    let found = read(&Reader::open(file.as_ref()).expect("sound"), &mut |version| {
        versions.push(version);
        Ok(())
    })
    .expect("sound");
    let mut expected = Vec::new();
    let all = (Revision::default(), Revision::end_of(i64::MAX));
    let visited = content.versions.scan(all.0, all.1, &mut |version| {
        expected.push(version);
        true
    });
    visited.expect("readable");
    assert_eq!(versions, expected);
    let frame = Frame {
        members: Vec::new(),
        ..content.frame
    };
    assert_eq!((found.frame, found.revision), (frame, 9));
}

/// Reads everything; whatever happens, it must be an answer.
fn read_all(bytes: &[u8]) -> Result<(), SnapshotError> {
    let file = file_of(bytes);
    let reader = Reader::open(file.as_ref())?;
    read(&reader, &mut |_| Ok(())).map(|_| ())
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let bytes = written(&content());
    read_all(&bytes).expect("whole, it is sound");
    for length in (0..bytes.len()).step_by(97) {
        assert!(read_all(&bytes[..length]).is_err(), "cut at {length}");
    }
}

#[test]
fn a_flipped_bit_is_refused_or_harmless_but_never_a_panic() {
    let bytes = written(&content());
    // The padding of pages is long and says nothing: what follows 600 bytes of a page is left out.
    let spoken = (0..bytes.len()).filter(|at| at % 4096 < 600).step_by(5);
    for at in spoken {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        let _answer = read_all(&damaged);
    }
}

#[test]
fn a_tree_in_circles_is_refused() {
    let mut bytes = written(&numbered(200, 100));
    let pages = bytes.len() / 4096;
    let branch = (3..pages)
        .find(|page| bytes[page * 4096 + 8] == 1)
        .expect("there is a branch");
    // The first child becomes the branch itself.
    let child = branch * 4096 + 16 + 8;
    bytes[child..child + 8].copy_from_slice(&(branch as u64).to_le_bytes());
    let refusal = read_back(&bytes, Bucket::Key).expect_err("it never ends");
    assert!(refusal.to_string().contains("circles"), "{refusal}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn garbage_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..9000), meta in any::<bool>()) {
        let mut file = bytes;
        if meta && file.len() > 4096 * 2 {
            let sound = written(&content());
            file[..4096 * 2].copy_from_slice(&sound[..4096 * 2]);
        }
        prop_assert!(read_all(&file).is_err());
    }
}
