//! What of a group outlives a restart: the generation in force, its members and their assignments.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Effect, Group, Groups, Member, State};

/// A group to be stored, or to be forgotten where it has no members any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    pub group: String,
    pub generation: i32,
    pub stored: Option<StoredGroup>,
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

impl Groups {
    /// Brings a stored group back. Its members have a whole session timeout to be heard again.
    pub fn restore(&mut self, name: &str, stored: StoredGroup, now_ms: i64) {
        if stored.members.is_empty() {
            return;
        }
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
                expires_ms: now_ms + i64::from(member.session_timeout_ms),
            };
            (id, restored)
        });
        let group = Group {
            name: name.to_owned(),
            state: State::Stable,
            generation: stored.generation,
            protocol_type: stored.protocol_type,
            protocol: stored.protocol,
            leader: stored.leader,
            members: members.collect(),
            pending: BTreeMap::new(),
        };
        self.groups.insert(name.to_owned(), group);
    }

    /// Tells how storing a generation went: now its members may learn their assignments.
    pub fn stored(&mut self, group: &str, generation: i32, succeeded: bool, now_ms: i64) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let Some(group) = self.groups.get_mut(group)
            && group.generation == generation
        {
            group.stored(succeeded, now_ms, &mut effects);
        }
        effects
    }
}

impl Group {
    /// The effect that stores the group as it is, or forgets it.
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
        let stored = (!self.members.is_empty()).then(|| StoredGroup {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            generation: self.generation,
            leader: self.leader.clone(),
            members: members.collect(),
        });
        Effect::Store(Box::new(Store {
            group: self.name.clone(),
            generation: self.generation,
            stored,
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
