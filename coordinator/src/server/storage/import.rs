//! A start on a data directory that `etcdutl snapshot restore` made.
//!
//! Such a directory holds a bbolt file and a log that says no more than who the members are. So the file is read as a
//! snapshot is ([`crate::server::storage::restore`]), the members and ids are taken from the log, and the member goes on from there; etcd's
//! own files stay where they are and are not looked at again.
//!
//! A directory that etcd has served from is another matter: its log holds acknowledged writes that the file does not have.
//! It is told by its log, which then has other entries than those that found a cluster, and refused with the way out.

use std::path::Path;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use coordinator_wire::etcdserverpb as pb;
use disk::{Disk, Mode};
use prost::Message;

use crate::members::Members;
use crate::server::settings::data_directory::STORE_FILE;
use crate::server::storage::restore::{self, FIRST_APPLIED};
use crate::server::storage::store_file::{Identity, InitialState};
use crate::snapshot::Reader;

/// What etcd has in a data directory.
pub(in crate::server) const ETCD_DIRECTORY: &str = "member";
const SNAPSHOT: &str = "member/snap/db";
const LOG: &str = "member/wal";
/// Far more than a log takes that only founds a cluster.
const LOG_BYTES_MAX: usize = 1 << 20;

/// The kinds of records in etcd's log (walpb).
const METADATA: i64 = 1;
const ENTRY: i64 = 2;
const STATE: i64 = 3;
const CRC: i64 = 4;
const SNAPSHOT_MARK: i64 = 5;
/// An entry that changes the members, and the change that adds one (raftpb).
const CONF_CHANGE: i32 = 1;
const ADD_NODE: i32 = 0;

#[derive(Clone, PartialEq, prost::Message)]
struct Record {
    #[prost(int64, tag = "1")]
    kind: i64,
    #[prost(uint32, tag = "2")]
    crc: u32,
    #[prost(bytes = "bytes", tag = "3")]
    data: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Metadata {
    #[prost(uint64, tag = "1")]
    member: u64,
    #[prost(uint64, tag = "2")]
    cluster: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Entry {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(bytes = "bytes", tag = "4")]
    data: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ConfChange {
    #[prost(int32, tag = "2")]
    kind: i32,
    #[prost(bytes = "bytes", tag = "4")]
    context: Bytes,
}

/// Whether etcd's files are in `data`, and nothing of ours.
pub(in crate::server) fn is_wanted(disk: &dyn Disk, data: &Path) -> bool {
    disk.exists(&data.join(SNAPSHOT)).unwrap_or(false) && !disk.exists(&data.join(STORE_FILE)).unwrap_or(true)
}

/// What etcd's files in `data` found. Nothing is written.
///
/// # Errors
/// One sentence: etcd has served from them, or they cannot be read.
pub(in crate::server) fn check(disk: &dyn Disk, data: &Path) -> Result<InitialState, String> {
    let founding = founding_of(disk, data).map_err(|error| cannot(data, &error))?;
    founding.ok_or_else(|| {
        format!(
            "{} is a data directory of etcd, which has served from it: let etcd save a snapshot (etcdctl snapshot save FILE), \
             then `coordinator restore FILE --data-dir` a new directory and start with that",
            data.display()
        )
    })
}

/// Makes a store file of etcd's files in `data`.
///
/// # Errors
/// As [`check`].
pub(in crate::server) fn import(disk: &Arc<dyn Disk>, data: &Path) -> Result<(), String> {
    let founding = check(disk.as_ref(), data)?;
    tracing::info!(data_dir = %data.display(), "importing a data directory of etcdutl snapshot restore");
    let file = disk.open(&data.join(SNAPSHOT), Mode::Read);
    let file = file.map_err(|error| cannot(data, &error))?;
    let reader = Reader::open(file.as_ref()).map_err(|error| cannot(data, &error))?;
    let restored = restore::fill(disk, &data.join(STORE_FILE), &reader, &founding, 0);
    let restored = restored.map_err(|error| cannot(data, &error))?;
    tracing::info!(
        revision = restored.revision,
        versions = restored.versions,
        "imported a data directory of etcdutl snapshot restore; its folder `member` is not used any more"
    );
    Ok(())
}

fn cannot(data: &Path, error: &dyn std::fmt::Display) -> String {
    format!("cannot import etcd's files in {}: {error}", data.display())
}

/// What the log founds; `None` where it says more than that.
fn founding_of(disk: &dyn Disk, data: &Path) -> std::io::Result<Option<InitialState>> {
    let directory = data.join(LOG);
    if !disk.exists(&directory)? {
        return Ok(None);
    }
    let files = disk.list(&directory)?;
    let mut logs = files.iter().filter(|entry| entry.name.ends_with(".wal"));
    let (Some(log), None) = (logs.next(), logs.next()) else {
        return Ok(None);
    };
    let file = disk.open(&directory.join(&log.name), Mode::Read)?;
    let length = usize::try_from(file.len()?).unwrap_or(usize::MAX);
    let mut bytes = vec![0; length.min(LOG_BYTES_MAX)];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(founding_in(bytes.into(), length <= LOG_BYTES_MAX))
}

/// Reads the records of a log's beginning, `is_whole` if that is all.
fn founding_in(mut log: Bytes, is_whole: bool) -> Option<InitialState> {
    let (mut metadata, mut members, mut crc, mut is_ended) = (None, Vec::new(), 0, is_whole);
    while log.len() >= 8 {
        // The lower 56 bits are the length; where the uppermost bit is set, three of the others count the padding.
        let field = log.get_u64_le();
        if field == 0 {
            is_ended = true;
            break;
        }
        let length = usize::try_from(field & 0x00ff_ffff_ffff_ffff).ok()?;
        let padding = if field >> 63 == 1 {
            usize::try_from(field >> 56 & 7).ok()?
        } else {
            0
        };
        if length.checked_add(padding)? > log.len() {
            return None;
        }
        let record = Record::decode(log.split_to(length)).ok()?;
        log.advance(padding);
        if record.kind == CRC {
            crc = record.crc;
            continue;
        }
        crc = crc32c::crc32c_append(crc, &record.data);
        if crc != record.crc {
            return None;
        }
        match record.kind {
            METADATA => metadata = Some(Metadata::decode(record.data).ok()?),
            ENTRY => members.push(added(record.data)?),
            STATE | SNAPSHOT_MARK => {}
            _ => return None,
        }
    }
    let metadata = metadata.filter(|_| is_ended)?;
    let identity = Identity {
        cluster: metadata.cluster,
        member: metadata.member,
    };
    let is_member = members.iter().any(|member: &pb::Member| member.id == identity.member);
    is_member.then(|| InitialState {
        identity,
        members: Members::found(members),
        applied: FIRST_APPLIED,
    })
}

/// The member that an entry adds; `None` where it does anything else.
fn added(entry: Bytes) -> Option<pb::Member> {
    let entry = Entry::decode(entry).ok()?;
    let change = ConfChange::decode(entry.data).ok()?;
    let member: serde_json::Value = serde_json::from_slice(&change.context).ok()?;
    let urls = member.get("peerURLs")?.as_array()?.iter();
    let peer_ur_ls = urls.map(|url| url.as_str().map(str::to_owned)).collect::<Option<_>>()?;
    (entry.kind == CONF_CHANGE && change.kind == ADD_NODE).then_some(())?;
    Some(pb::Member {
        id: member.get("id")?.as_u64()?,
        peer_ur_ls,
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;

    use super::*;

    /// A log as etcdutl writes it.
    fn log(records: &[(i64, Vec<u8>)]) -> Bytes {
        let (mut log, mut crc) = (Vec::new(), 0);
        for (kind, data) in records {
            crc = crc32c::crc32c_append(crc, data);
            let record = Record {
                kind: *kind,
                crc,
                data: data.clone().into(),
            };
            let record = record.encode_to_vec();
            let padding = (8 - record.len() % 8) % 8;
            let flag = if padding > 0 { (0x80 | padding as u64) << 56 } else { 0 };
            log.put_u64_le(record.len() as u64 | flag);
            log.extend(record);
            log.extend(vec![0; padding]);
        }
        // Etcd's files are filled up with zeros.
        log.extend([0; 64]);
        log.into()
    }

    fn metadata() -> (i64, Vec<u8>) {
        let metadata = Metadata { member: 7, cluster: 9 };
        (METADATA, metadata.encode_to_vec())
    }

    fn adds(id: u64, kind: i32) -> (i64, Vec<u8>) {
        let context = format!(r#"{{"id":{id},"peerURLs":["http://h:{id}"],"name":"n"}}"#);
        let change = ConfChange {
            kind: ADD_NODE,
            context: context.into(),
        };
        let data = change.encode_to_vec().into();
        (ENTRY, Entry { kind, data }.encode_to_vec())
    }

    #[test]
    fn a_log_that_founds_a_cluster_is_taken() {
        let log = log(&[
            metadata(),
            adds(7, CONF_CHANGE),
            adds(8, CONF_CHANGE),
            (STATE, vec![8, 1]),
            (SNAPSHOT_MARK, vec![]),
        ]);
        let founding = founding_in(log, false).expect("it founds a cluster");
        assert_eq!((founding.identity.member, founding.identity.cluster), (7, 9));
        let urls: Vec<_> = founding
            .members
            .iter()
            .map(|member| member.peer_ur_ls[0].clone())
            .collect();
        assert_eq!(urls, ["http://h:7", "http://h:8"]);
    }

    #[test]
    fn a_log_that_says_more_or_is_damaged_is_refused() {
        let normal = 0;
        let used = log(&[metadata(), adds(7, CONF_CHANGE), adds(8, normal)]);
        assert!(founding_in(used, true).is_none());
        let sound = log(&[metadata(), adds(7, CONF_CHANGE)]);
        for at in 0..sound.len() - 64 {
            let mut damaged = sound.to_vec();
            damaged[at] ^= 1;
            // What is changed in padding is not read.
            let found = founding_in(damaged.into(), true);
            assert!(found.is_none_or(|found| found.identity.member == 7), "byte {at}");
        }
        assert!(founding_in(sound.slice(..40), false).is_none(), "its end is not there");
        assert!(
            founding_in(log(&[adds(7, CONF_CHANGE)]), true).is_none(),
            "it says no ids"
        );
    }
}
