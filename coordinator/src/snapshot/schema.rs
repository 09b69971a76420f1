//! etcd's encodings of single pairs.

use bytes::Bytes;
use coordinator_wire::mvccpb::KeyValue;
use prost::Message;

use crate::store::{Revision, Version};

pub(super) const AUTH_ENABLED: &[u8] = b"authEnabled";
pub(super) const AUTH_REVISION: &[u8] = b"authRevision";
pub(super) const CLUSTER_VERSION: &[u8] = b"clusterVersion";
pub(super) const CONF_STATE: &[u8] = b"confState";
pub(super) const CONSISTENT_INDEX: &[u8] = b"consistent_index";
pub(super) const FINISHED_COMPACTION: &[u8] = b"finishedCompactRev";
pub(super) const SCHEDULED_COMPACTION: &[u8] = b"scheduledCompactRev";
pub(super) const STORAGE_VERSION: &[u8] = b"storageVersion";
pub(super) const TERM: &[u8] = b"term";

const REVISION_BYTES: usize = 17;
const TOMBSTONE: u8 = b't';

/// The key of a version: both parts of the revision, and a mark behind it if it is a tombstone.
pub(super) fn revision_key(revision: Revision, deleted: bool) -> Vec<u8> {
    let mut key = Vec::with_capacity(REVISION_BYTES + 1);
    key.extend_from_slice(&revision.main.to_be_bytes());
    key.push(b'_');
    key.extend_from_slice(&u64::from(revision.sub).to_be_bytes());
    if deleted {
        key.push(TOMBSTONE);
    }
    key
}

/// The revision and whether it is a tombstone's.
pub(super) fn parse_revision_key(key: &[u8]) -> Option<(Revision, bool)> {
    let deleted = match key.len().checked_sub(REVISION_BYTES)? {
        0 => false,
        1 if key[REVISION_BYTES] == TOMBSTONE => true,
        _ => return None,
    };
    let main = i64::from_be_bytes(key[..8].try_into().ok()?);
    let sub = u64::from_be_bytes(key[9..REVISION_BYTES].try_into().ok()?);
    let revision = Revision::new(main, u32::try_from(sub).ok()?);
    (key[8] == b'_' && main > 0).then_some((revision, deleted))
}

/// The value of a version. Of a tombstone etcd keeps nothing but the key.
pub(super) fn version_value(version: &Version) -> Vec<u8> {
    if version.deleted {
        let kv = KeyValue {
            key: version.kv.key.clone(),
            ..Default::default()
        };
        return kv.encode_to_vec();
    }
    version.kv.encode_to_vec()
}

/// A version of ours, of a pair of etcd's.
pub(super) fn parse_version(key: &[u8], value: &[u8]) -> Option<Version> {
    let (revision, deleted) = parse_revision_key(key)?;
    let mut kv = KeyValue::decode(Bytes::copy_from_slice(value)).ok()?;
    // A restored etcd may have raised its revision by an entry without a pair; see `content`.
    if kv.key.is_empty() || (!deleted && kv.mod_revision != revision.main) {
        return None;
    }
    kv.mod_revision = revision.main;
    Some(Version { revision, deleted, kv })
}

pub(super) fn number(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}
