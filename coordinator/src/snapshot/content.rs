//! What is in a snapshot, given and taken.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use coordinator_wire::authpb::{Role, User};
use coordinator_wire::coordinatorpb::{StoredAuth, StoredLease};
use coordinator_wire::etcdserverpb::{AlarmMember, Member};
use coordinator_wire::mvccpb::KeyValue;
use prost::Message;

use super::schema::{
    AUTH_ENABLED, AUTH_REVISION, CLUSTER_VERSION, CONF_STATE, CONSISTENT_INDEX, FINISHED_COMPACTION,
    SCHEDULED_COMPACTION, STORAGE_VERSION, TERM, number, parse_revision_key, parse_version, revision_key,
    version_value,
};
use super::{Bucket, Reader, SnapshotError, Source, Visit};
use crate::store::{Archive, NEVER_COMPACTED, Revision, Version};

/// Everything but the versions.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Frame {
    /// Ids and the seconds granted, in order.
    pub leases: Vec<(i64, i64)>,
    /// Member and kind.
    pub alarms: Vec<(u64, i32)>,
    pub accounts: StoredAuth,
    pub members: Vec<Member>,
    /// The last entry of the log that is in it, and that entry's term.
    pub applied: u64,
    pub term: u64,
    pub compacted: i64,
    /// The release line that the cluster runs, such as `3.6.0`.
    pub version: String,
}

/// A state to be written.
#[derive(Debug, Clone)]
pub struct Content {
    pub versions: Arc<dyn Archive>,
    pub frame: Frame,
}

impl Source for Content {
    fn scan(&self, bucket: Bucket, visit: &mut Visit<'_>) -> Result<(), SnapshotError> {
        if bucket == Bucket::Key {
            return self.versions(visit);
        }
        self.frame
            .pairs(bucket)
            .iter()
            .try_for_each(|(key, value)| visit(key, value))
    }
}

/// A version as the pair that it is in a file.
pub fn pair(version: &Version) -> (Vec<u8>, Vec<u8>) {
    (revision_key(version.revision, version.deleted), version_value(version))
}

impl Content {
    fn versions(&self, visit: &mut Visit<'_>) -> Result<(), SnapshotError> {
        let mut outcome = Ok(());
        let all = (Revision::default(), Revision::end_of(i64::MAX));
        self.versions.scan(all.0, all.1, &mut |version| {
            let (key, value) = pair(&version);
            outcome = visit(&key, &value);
            outcome.is_ok()
        })?;
        outcome
    }
}

impl Frame {
    /// The pairs of a bucket in the order of their keys.
    fn pairs(&self, bucket: Bucket) -> BTreeMap<Vec<u8>, Vec<u8>> {
        match bucket {
            Bucket::Alarm => {
                let alarms = self.alarms.iter();
                let encoded = alarms.map(|(member_id, alarm)| AlarmMember {
                    member_id: *member_id,
                    alarm: *alarm,
                });
                encoded.map(|alarm| (alarm.encode_to_vec(), Vec::new())).collect()
            }
            Bucket::Auth => BTreeMap::from([
                (AUTH_ENABLED.to_vec(), vec![u8::from(self.accounts.enabled)]),
                (AUTH_REVISION.to_vec(), self.accounts.revision.to_be_bytes().to_vec()),
            ]),
            Bucket::AuthRoles => {
                let roles = self.accounts.roles.iter();
                roles.map(|role| (role.name.to_vec(), role.encode_to_vec())).collect()
            }
            Bucket::AuthUsers => {
                let users = self.accounts.users.iter();
                users.map(|user| (user.name.to_vec(), user.encode_to_vec())).collect()
            }
            Bucket::Cluster => BTreeMap::from([(CLUSTER_VERSION.to_vec(), self.version.clone().into_bytes())]),
            Bucket::Lease => {
                let leases = self.leases.iter();
                leases
                    .map(|(id, ttl)| {
                        (
                            id.to_be_bytes().to_vec(),
                            StoredLease { id: *id, ttl: *ttl }.encode_to_vec(),
                        )
                    })
                    .collect()
            }
            Bucket::Members => {
                let members = self.members.iter();
                members
                    .map(|member| {
                        (
                            format!("{:x}", member.id).into_bytes(),
                            member_json(member).into_bytes(),
                        )
                    })
                    .collect()
            }
            Bucket::Meta => self.meta(),
            Bucket::Key | Bucket::MembersRemoved => BTreeMap::new(),
        }
    }

    fn meta(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut pairs = BTreeMap::from([
            (CONF_STATE.to_vec(), self.voters_json().into_bytes()),
            (CONSISTENT_INDEX.to_vec(), self.applied.to_be_bytes().to_vec()),
            (STORAGE_VERSION.to_vec(), self.version.clone().into_bytes()),
            (TERM.to_vec(), self.term.to_be_bytes().to_vec()),
        ]);
        if self.compacted != NEVER_COMPACTED {
            let revision = revision_key(Revision::new(self.compacted, 0), false);
            pairs.insert(SCHEDULED_COMPACTION.to_vec(), revision.clone());
            pairs.insert(FINISHED_COMPACTION.to_vec(), revision);
        }
        pairs
    }

    fn voters_json(&self) -> String {
        let ids = |learners: bool| -> Vec<u64> {
            let members = self.members.iter().filter(|member| member.is_learner == learners);
            members.map(|member| member.id).collect()
        };
        serde_json::json!({ "voters": ids(false), "learners": ids(true), "auto_leave": false }).to_string()
    }
}

fn member_json(member: &Member) -> String {
    serde_json::json!({
        "id": member.id,
        "peerURLs": member.peer_ur_ls,
        "isLearner": member.is_learner,
        "name": member.name,
        "clientURLs": member.client_ur_ls,
    })
    .to_string()
}

/// What a file says beside its versions.
#[derive(Debug, Default, PartialEq)]
pub struct Found {
    pub frame: Frame,
    /// The last revision; it may have no version where a restore has raised it.
    pub revision: i64,
}

/// Reads a file: each version, in order, is shown to `visit`.
///
/// The members are not read: anyone who restores a snapshot founds a new cluster.
pub fn read(
    reader: &Reader<'_>,
    visit: &mut dyn FnMut(Version) -> Result<(), SnapshotError>,
) -> Result<Found, SnapshotError> {
    let mut found = Found::default();
    let frame = &mut found.frame;
    frame.compacted = NEVER_COMPACTED;
    reader.scan(Bucket::Meta, &mut |key, value| {
        match key {
            SCHEDULED_COMPACTION | FINISHED_COMPACTION => {
                let (revision, _) = parse_revision_key(value).ok_or(unreadable(Bucket::Meta))?;
                frame.compacted = frame.compacted.max(revision.main);
            }
            CONSISTENT_INDEX => frame.applied = number(value).ok_or(unreadable(Bucket::Meta))?,
            TERM => frame.term = number(value).ok_or(unreadable(Bucket::Meta))?,
            STORAGE_VERSION => frame.version = String::from_utf8_lossy(value).into_owned(),
            _ => {}
        }
        Ok(())
    })?;
    reader.scan(Bucket::Lease, &mut |_, value| {
        let lease = StoredLease::decode(value).map_err(|_| unreadable(Bucket::Lease))?;
        frame.leases.push((lease.id, lease.ttl));
        Ok(())
    })?;
    reader.scan(Bucket::Alarm, &mut |key, _| {
        let alarm = AlarmMember::decode(key).map_err(|_| unreadable(Bucket::Alarm))?;
        frame.alarms.push((alarm.member_id, alarm.alarm));
        Ok(())
    })?;
    frame.accounts = accounts(reader)?;
    let mut revision = found.frame.compacted.max(0);
    reader.scan(Bucket::Key, &mut |key, value| {
        let (at, deleted) = parse_revision_key(key).ok_or(unreadable(Bucket::Key))?;
        revision = revision.max(at.main);
        if value.is_empty() {
            return visit(revision_mark(at, deleted));
        }
        visit(parse_version(key, value).ok_or(unreadable(Bucket::Key))?)
    })?;
    found.revision = revision;
    Ok(found)
}

/// The pair without a key that `etcdutl snapshot restore --bump-revision` leaves at the new revision. No range can name it, but
/// HashKV counts it.
pub fn revision_mark(revision: Revision, deleted: bool) -> Version {
    Version {
        revision,
        deleted,
        kv: KeyValue::default(),
    }
}

/// The revision up to which a compaction was begun and not finished; etcd finishes it at its next start.
pub fn pending_compaction(reader: &Reader<'_>) -> Result<Option<i64>, SnapshotError> {
    let (mut scheduled, mut finished) = (NEVER_COMPACTED, NEVER_COMPACTED);
    reader.scan(Bucket::Meta, &mut |key, value| {
        let to = match key {
            SCHEDULED_COMPACTION => &mut scheduled,
            FINISHED_COMPACTION => &mut finished,
            _ => return Ok(()),
        };
        *to = parse_revision_key(value).ok_or(unreadable(Bucket::Meta))?.0.main;
        Ok(())
    })?;
    Ok((scheduled > finished).then_some(scheduled))
}

fn accounts(reader: &Reader<'_>) -> Result<StoredAuth, SnapshotError> {
    let mut accounts = StoredAuth::default();
    reader.scan(Bucket::Auth, &mut |key, value| {
        match key {
            AUTH_ENABLED => accounts.enabled = value == [1],
            AUTH_REVISION => accounts.revision = number(value).ok_or(unreadable(Bucket::Auth))?,
            _ => {}
        }
        Ok(())
    })?;
    reader.scan(Bucket::AuthUsers, &mut |_, value| {
        let user = User::decode(Bytes::copy_from_slice(value)).map_err(|_| unreadable(Bucket::AuthUsers))?;
        accounts.users.push(user);
        Ok(())
    })?;
    reader.scan(Bucket::AuthRoles, &mut |_, value| {
        let role = Role::decode(Bytes::copy_from_slice(value)).map_err(|_| unreadable(Bucket::AuthRoles))?;
        accounts.roles.push(role);
        Ok(())
    })?;
    Ok(accounts)
}

fn unreadable(bucket: Bucket) -> SnapshotError {
    SnapshotError::Unreadable { bucket: bucket.name() }
}
