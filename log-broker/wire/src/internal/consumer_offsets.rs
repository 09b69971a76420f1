//! `__consumer_offsets`: committed offsets and the state of groups.
//!
//! Written in the versions that Kafka 4 writes; older versions of the values are read as well.

use bytes::Bytes;
use uuid::Uuid;

use super::{encode, number};
use crate::field::nullable_structure;
use crate::{At, Error, Field, table};

/// Record types, the numbers that keys begin with. The first has two: Kafka reads both and writes the second.
const OFFSET_COMMIT_LEGACY: i16 = 0;
const OFFSET_COMMIT: i16 = 1;
const GROUP_METADATA: i16 = 2;
const CONSUMER_GROUP_METADATA: i16 = 3;
const CONSUMER_GROUP_MEMBER_METADATA: i16 = 5;
const CONSUMER_GROUP_TARGET_ASSIGNMENT_METADATA: i16 = 6;
const CONSUMER_GROUP_TARGET_ASSIGNMENT_MEMBER: i16 = 7;
const CONSUMER_GROUP_CURRENT_MEMBER_ASSIGNMENT: i16 = 8;

/// The versions that the values of offsets and classic groups are written in, and the first flexible one.
const VALUE_VERSION: i16 = 3;
const VALUE_FLEXIBLE: i16 = 4;
/// The version of an offset that has an expiry of its own, as clients before OffsetCommit version 5 could ask for.
const EXPIRY_VERSION: i16 = 1;
/// Values of groups of the `consumer` protocol have one version, a flexible one.
const CONSUMER_VERSION: i16 = 0;

table! {
    structures;

    OffsetCommitKey {
        group: String [..],
        topic: String [..],
        partition: i32 [..],
    }
    GroupKey {
        group: String [..],
    }
    MemberKey {
        group: String [..],
        member_id: String [..],
    }
    OffsetCommitValue {
        offset: i64 [..],
        leader_epoch: i32 [3..] = -1,
        metadata: String [..],
        commit_timestamp: i64 [..],
        expire_timestamp: i64 [1..=1] = -1,
        topic_id: Uuid [4..] tag 0,
    }
    GroupMetadataValue {
        protocol_type: String [..],
        generation: i32 [..],
        protocol: Option<String> [..],
        leader: Option<String> [..],
        current_state_timestamp: i64 [2..] = -1,
        members: Vec<MemberMetadata> [..],
    }
    MemberMetadata {
        member_id: String [..],
        group_instance_id: Option<String> [3..],
        client_id: String [..],
        client_host: String [..],
        rebalance_timeout: i32 [1..] = -1,
        session_timeout: i32 [..],
        subscription: Bytes [..],
        assignment: Bytes [..],
    }
    ConsumerGroupMetadataValue {
        epoch: i32 [..],
        metadata_hash: i64 [..] tag 0,
    }
    ConsumerGroupMemberMetadataValue {
        instance_id: Option<String> [..],
        rack_id: Option<String> [..],
        client_id: String [..],
        client_host: String [..],
        subscribed_topic_names: Vec<String> [..],
        subscribed_topic_regex: Option<String> [..],
        rebalance_timeout_ms: i32 [..] = -1,
        server_assignor: Option<String> [..],
        classic_member_metadata: Option<ClassicMemberMetadata> [..] tag 0,
    }
    ClassicMemberMetadata {
        session_timeout_ms: i32 [..],
        supported_protocols: Vec<ClassicProtocol> [..],
    }
    ClassicProtocol {
        name: String [..],
        metadata: Bytes [..],
    }
    TargetAssignmentMetadataValue {
        assignment_epoch: i32 [..],
        assignment_timestamp: i64 [..] tag 0,
    }
    TargetAssignmentMemberValue {
        topic_partitions: Vec<TopicPartitions> [..],
    }
    TopicPartitions {
        topic_id: Uuid [..],
        partitions: Vec<i32> [..],
    }
    CurrentMemberAssignmentValue {
        member_epoch: i32 [..],
        previous_member_epoch: i32 [..],
        state: i8 [..],
        assigned_partitions: Vec<TopicPartitions> [..],
        partitions_pending_revocation: Vec<TopicPartitions> [..],
    }
}

nullable_structure!(ClassicMemberMetadata);

/// A key with its value; no value deletes.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    OffsetCommit(OffsetCommitKey, Option<OffsetCommitValue>),
    GroupMetadata(GroupKey, Option<GroupMetadataValue>),
    ConsumerGroupMetadata(GroupKey, Option<ConsumerGroupMetadataValue>),
    ConsumerGroupMember(MemberKey, Option<ConsumerGroupMemberMetadataValue>),
    TargetAssignmentMetadata(GroupKey, Option<TargetAssignmentMetadataValue>),
    TargetAssignmentMember(MemberKey, Option<TargetAssignmentMemberValue>),
    CurrentMemberAssignment(MemberKey, Option<CurrentMemberAssignmentValue>),
}

impl Entry {
    /// Key and value as bytes.
    pub fn encode(&self) -> (Bytes, Option<Bytes>) {
        fn both(
            kind: i16,
            key: &impl Field,
            value: Option<&impl Field>,
            (version, flexible): (i16, bool),
        ) -> (Bytes, Option<Bytes>) {
            let value = value.map(|value| encode(version, value, version, flexible));
            (encode(kind, key, 0, false), value)
        }
        let (classic, consumer) = ((VALUE_VERSION, false), (CONSUMER_VERSION, true));
        match self {
            Entry::OffsetCommit(key, value) => {
                let has_expiry = value.as_ref().is_some_and(|value| value.expire_timestamp >= 0);
                let version = if has_expiry { (EXPIRY_VERSION, false) } else { classic };
                both(OFFSET_COMMIT, key, value.as_ref(), version)
            }
            Entry::GroupMetadata(key, value) => both(GROUP_METADATA, key, value.as_ref(), classic),
            Entry::ConsumerGroupMetadata(key, value) => both(CONSUMER_GROUP_METADATA, key, value.as_ref(), consumer),
            Entry::ConsumerGroupMember(key, value) => {
                both(CONSUMER_GROUP_MEMBER_METADATA, key, value.as_ref(), consumer)
            }
            Entry::TargetAssignmentMetadata(key, value) => {
                both(CONSUMER_GROUP_TARGET_ASSIGNMENT_METADATA, key, value.as_ref(), consumer)
            }
            Entry::TargetAssignmentMember(key, value) => {
                both(CONSUMER_GROUP_TARGET_ASSIGNMENT_MEMBER, key, value.as_ref(), consumer)
            }
            Entry::CurrentMemberAssignment(key, value) => {
                both(CONSUMER_GROUP_CURRENT_MEMBER_ASSIGNMENT, key, value.as_ref(), consumer)
            }
        }
    }

    /// Reads a record; `None` where its type is not one of these.
    ///
    /// # Errors
    /// When key or value are not what their numbers say, or the value is of a version that is not known.
    pub fn decode(key: &Bytes, value: Option<&Bytes>) -> Result<Option<Self>, Error> {
        let (kind, mut input) = number(key)?;
        let at = At::new(0, false);
        Ok(Some(match kind {
            OFFSET_COMMIT_LEGACY | OFFSET_COMMIT => {
                Entry::OffsetCommit(Field::decode(&mut input, at)?, classic(value)?)
            }
            GROUP_METADATA => Entry::GroupMetadata(Field::decode(&mut input, at)?, classic(value)?),
            CONSUMER_GROUP_METADATA => Entry::ConsumerGroupMetadata(Field::decode(&mut input, at)?, consumer(value)?),
            CONSUMER_GROUP_MEMBER_METADATA => {
                Entry::ConsumerGroupMember(Field::decode(&mut input, at)?, consumer(value)?)
            }
            CONSUMER_GROUP_TARGET_ASSIGNMENT_METADATA => {
                Entry::TargetAssignmentMetadata(Field::decode(&mut input, at)?, consumer(value)?)
            }
            CONSUMER_GROUP_TARGET_ASSIGNMENT_MEMBER => {
                Entry::TargetAssignmentMember(Field::decode(&mut input, at)?, consumer(value)?)
            }
            CONSUMER_GROUP_CURRENT_MEMBER_ASSIGNMENT => {
                Entry::CurrentMemberAssignment(Field::decode(&mut input, at)?, consumer(value)?)
            }
            _ => return Ok(None),
        }))
    }
}

fn classic<T: Field>(value: Option<&Bytes>) -> Result<Option<T>, Error> {
    decode_value(value, VALUE_FLEXIBLE, VALUE_FLEXIBLE)
}

fn consumer<T: Field>(value: Option<&Bytes>) -> Result<Option<T>, Error> {
    decode_value(value, CONSUMER_VERSION, CONSUMER_VERSION)
}

fn decode_value<T: Field>(value: Option<&Bytes>, newest: i16, first_flexible: i16) -> Result<Option<T>, Error> {
    let Some(value) = value else { return Ok(None) };
    let (version, mut input) = number(value)?;
    if !(0..=newest).contains(&version) {
        return Err(Error::Version {
            api: "__consumer_offsets value",
            version,
            known: 0..=newest,
        });
    }
    T::decode(&mut input, At::new(version, version >= first_flexible)).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset_key() -> OffsetCommitKey {
        OffsetCommitKey {
            group: "g".to_owned(),
            topic: "t".to_owned(),
            partition: 1,
        }
    }

    #[test]
    fn an_offset_commit_is_kafkas_bytes() {
        let value = OffsetCommitValue {
            offset: 7,
            leader_epoch: 2,
            metadata: "m".to_owned(),
            commit_timestamp: 9,
            ..Default::default()
        };
        let entry = Entry::OffsetCommit(offset_key(), Some(value));
        let (key, bytes) = entry.encode();
        assert_eq!(&key[..], b"\0\x01\0\x01g\0\x01t\0\0\0\x01");
        let bytes = bytes.unwrap();
        assert_eq!(
            &bytes[..],
            b"\0\x03\0\0\0\0\0\0\0\x07\0\0\0\x02\0\x01m\0\0\0\0\0\0\0\x09"
        );
        assert_eq!(Entry::decode(&key, Some(&bytes)).unwrap(), Some(entry));
        // The legacy type, an expiry of its own (version 1), and a topic id (version 4).
        let legacy = Bytes::from_static(b"\0\0\0\x01g\0\x01t\0\0\0\x01");
        let with_expiry = Bytes::from_static(b"\0\x01\0\0\0\0\0\0\0\x07\0\x01m\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\x0b");
        let Some(Entry::OffsetCommit(key, Some(value))) = Entry::decode(&legacy, Some(&with_expiry)).unwrap() else {
            panic!("an offset commit");
        };
        assert_eq!((&key, value.offset, value.expire_timestamp), (&offset_key(), 7, 11));
        assert_eq!(Entry::OffsetCommit(key, Some(value)).encode().1, Some(with_expiry));
        let with_id = b"\0\x04\0\0\0\0\0\0\0\x07\0\0\0\x02\x02m\0\0\0\0\0\0\0\x09\x01\0\x10\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01";
        let decoded = Entry::decode(&legacy, Some(&Bytes::from_static(with_id))).unwrap();
        let Some(Entry::OffsetCommit(_, Some(value))) = decoded else {
            panic!("an offset commit");
        };
        assert_eq!((value.offset, value.topic_id), (7, Uuid::from_bytes([1; 16])));
    }

    #[test]
    fn every_record_comes_back_and_no_cut_one_is_taken() {
        let group = || GroupKey { group: "g".to_owned() };
        let member = || MemberKey {
            group: "g".to_owned(),
            member_id: "m".to_owned(),
        };
        let (plain, flexible) = (At::new(VALUE_VERSION, false), At::new(0, true));
        for round in 0..7 {
            let next = &mut (round * 11);
            let entries = [
                Entry::OffsetCommit(offset_key(), Some(Field::sample(next, plain))),
                Entry::GroupMetadata(group(), Some(Field::sample(next, plain))),
                Entry::ConsumerGroupMetadata(group(), Some(Field::sample(next, flexible))),
                Entry::ConsumerGroupMember(member(), Some(Field::sample(next, flexible))),
                Entry::TargetAssignmentMetadata(group(), Some(Field::sample(next, flexible))),
                Entry::TargetAssignmentMember(member(), Some(Field::sample(next, flexible))),
                Entry::CurrentMemberAssignment(member(), Some(Field::sample(next, flexible))),
                Entry::ConsumerGroupMember(member(), None),
            ];
            for entry in entries {
                let (key, value) = entry.encode();
                assert_eq!(Entry::decode(&key, value.as_ref()).unwrap().as_ref(), Some(&entry));
                for len in 0..key.len() {
                    assert!(Entry::decode(&key.slice(..len), None).is_err());
                }
                let Some(value) = value else { continue };
                for len in 0..value.len() {
                    assert!(
                        Entry::decode(&key, Some(&value.slice(..len))).is_err(),
                        "{entry:?} {len}"
                    );
                }
            }
        }
        assert_eq!(Entry::decode(&Bytes::from_static(b"\0\x63rest"), None).unwrap(), None);
        let newer = Bytes::from_static(b"\0\x09\0");
        assert!(Entry::decode(&Entry::GroupMetadata(group(), None).encode().0, Some(&newer)).is_err());
    }
}
