//! What of a group outlives a restart: the generation in force, its members and their assignments, as one record of
//! `__consumer_offsets`.

use std::collections::BTreeMap;

use bytes::Bytes;
use log_broker_wire::internal::consumer_offsets::{Entry, GroupKey, GroupMetadataValue, MemberMetadata};
use serde::{Deserialize, Serialize};

use super::{Effect, Group, Groups, Member, State};

/// A group to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Store {
    pub group: String,
    pub generation: i32,
    /// The record that says how it is now.
    pub entry: Entry,
    /// What is due afterwards, whether that succeeded or not.
    pub then: Vec<Effect>,
}

/// A generation of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredGroup {
    pub protocol_type: String,
    pub protocol: Option<String>,
    pub generation: i32,
    pub leader: Option<String>,
    pub members: BTreeMap<String, StoredMember>,
    /// When it came into its state; -1 where that is not known.
    #[serde(default = "unknown")]
    pub state_since_ms: i64,
}

fn unknown() -> i64 {
    -1
}

/// A member with what it said of the chosen protocol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredMember {
    pub instance_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub session_timeout_ms: i32,
    pub rebalance_timeout_ms: i32,
    #[serde(with = "hexadecimal")]
    pub metadata: Bytes,
    #[serde(with = "hexadecimal")]
    pub assignment: Bytes,
}

impl StoredGroup {
    fn from_value(value: GroupMetadataValue) -> Self {
        let members = value.members.into_iter().map(|member| {
            let stored = StoredMember {
                instance_id: member.group_instance_id,
                client_id: member.client_id,
                client_host: member.client_host,
                session_timeout_ms: member.session_timeout,
                rebalance_timeout_ms: member.rebalance_timeout,
                metadata: member.subscription,
                assignment: member.assignment,
            };
            (member.member_id, stored)
        });
        Self {
            protocol_type: value.protocol_type,
            protocol: value.protocol,
            generation: value.generation,
            leader: value.leader,
            members: members.collect(),
            state_since_ms: value.current_state_timestamp,
        }
    }

    /// The record that stores it.
    pub fn entry(&self, group: &str) -> Entry {
        let members = self.members.iter().map(|(id, member)| MemberMetadata {
            member_id: id.clone(),
            group_instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout: member.rebalance_timeout_ms,
            session_timeout: member.session_timeout_ms,
            subscription: member.metadata.clone(),
            assignment: member.assignment.clone(),
        });
        let value = GroupMetadataValue {
            protocol_type: self.protocol_type.clone(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            current_state_timestamp: self.state_since_ms,
            members: members.collect(),
        };
        Entry::GroupMetadata(group_key(group), Some(value))
    }
}

fn group_key(group: &str) -> GroupKey {
    GroupKey {
        group: group.to_owned(),
    }
}

/// The record that deletes a group.
pub fn group_tombstone(group: &str) -> Entry {
    Entry::GroupMetadata(group_key(group), None)
}

/// What the records of a log say of its groups, the newest of each.
#[derive(Debug, Default)]
pub struct Replay(BTreeMap<String, GroupMetadataValue>);

impl Replay {
    /// Takes the next record of the log; others than groups are no business of this room.
    pub fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::GroupMetadata(key, Some(value)) => self.0.insert(key.group, value),
            Entry::GroupMetadata(key, None) => self.0.remove(&key.group),
            _ => None,
        };
    }
}

impl Groups {
    /// Brings back the groups that were stored.
    pub fn restore_all(&mut self, replay: Replay, now_ms: i64) {
        for (name, value) in replay.0 {
            self.restore(&name, StoredGroup::from_value(value), now_ms);
        }
    }

    /// Brings a stored group back. Its members have a whole session timeout to be heard again.
    pub fn restore(&mut self, name: &str, stored: StoredGroup, now_ms: i64) {
        let protocol = stored.protocol.clone().unwrap_or_default();
        let members = stored.members.into_iter().map(|(id, member)| {
            let restored = Member {
                instance_id: member.instance_id,
                client_id: member.client_id,
                client_host: member.client_host,
                session_timeout_ms: member.session_timeout_ms,
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                protocols: vec![(protocol.clone(), member.metadata)],
                assignment: member.assignment,
                joining: None,
                syncing: None,
                expires_ms: now_ms.saturating_add(i64::from(member.session_timeout_ms)),
                timer_ms: i64::MAX,
            };
            (id, restored)
        });
        let members: BTreeMap<String, Member> = members.collect();
        let mut group = Group {
            state: if members.is_empty() {
                State::Empty
            } else {
                State::Stable
            },
            generation: stored.generation,
            protocol_type: stored.protocol_type,
            protocol: stored.protocol,
            leader: stored.leader,
            state_since_ms: (stored.state_since_ms >= 0).then_some(stored.state_since_ms),
            members,
            ..Group::new(name.to_owned())
        };
        for id in group.members.keys().cloned().collect::<Vec<_>>() {
            group.watch(&id);
        }
        self.groups.insert(name.to_owned(), group);
        self.schedule(name);
    }

    /// Tells how storing a generation went: now its members may learn their assignments.
    pub fn stored(&mut self, group: &str, generation: i32, succeeded: bool, now_ms: i64) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let Some(found) = self.groups.get_mut(group)
            && found.generation == generation
        {
            found.stored(succeeded, now_ms, &mut effects);
            self.schedule(group);
        }
        effects
    }
}

impl Group {
    /// The effect that stores the group as it is.
    pub(super) fn store(&self, then: Vec<Effect>) -> Effect {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let members = self.members.iter().map(|(id, member)| {
            let stored = StoredMember {
                instance_id: member.instance_id.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                session_timeout_ms: member.session_timeout_ms,
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                metadata: member.metadata(protocol).cloned().unwrap_or_default(),
                assignment: member.assignment.clone(),
            };
            (id.clone(), stored)
        });
        let stored = StoredGroup {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            generation: self.generation,
            leader: self.leader.clone(),
            members: members.collect(),
            state_since_ms: self.state_since_ms.unwrap_or(-1),
        };
        Effect::Store(Box::new(Store {
            group: self.name.clone(),
            generation: self.generation,
            entry: stored.entry(&self.name),
            then,
        }))
    }
}

/// Opaque bytes in JSON.
mod hexadecimal {
    use std::fmt::Write;

    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(bytes.len() * 2);
        for byte in bytes {
            let _ = write!(text, "{byte:02x}");
        }
        serializer.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
        let bytes = text.as_bytes().chunks(2).map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        });
        let bytes: Option<Vec<u8>> = bytes.collect();
        bytes
            .map(Bytes::from)
            .ok_or_else(|| de::Error::custom("not hexadecimal"))
    }
}
