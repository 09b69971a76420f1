//! The catalog: which topics there are, and the few numbers that must never be used twice.
//!
//! It is one small file, replaced as a whole and durably before a change is acknowledged. Pure: ids come from the
//! caller, and the file is written by whoever owns the catalog. With several brokers it will be keys of the coordinator.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::property::TopicProperties;

/// Name of the file in the data directory.
pub const FILE: &str = "catalog.json";

/// Longest topic name, in bytes: a directory is named after it.
const NAME_BYTES_MAX: usize = 249;

/// Most partitions that one topic may have here: each is open files and memory.
pub const PARTITIONS_MAX: i32 = 10_000;

/// Producer ids are reserved in blocks, so that the file is written once in so many.
const PRODUCER_ID_BLOCK: i64 = 1000;

/// What is known of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicEntry {
    #[serde(with = "id_as_text")]
    pub id: Uuid,
    pub partitions: i32,
    #[serde(default)]
    pub properties: TopicProperties,
}

/// * A topic id is never reused, a producer id neither.
/// * `leader_epoch` grows with every start of the broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalog {
    pub cluster_id: String,
    pub leader_epoch: i32,
    /// Producer ids below it may be in use.
    pub producer_ids_reserved: i64,
    pub topics: BTreeMap<String, TopicEntry>,
}

impl Catalog {
    pub fn new(cluster_id: String) -> Self {
        Self {
            cluster_id,
            leader_epoch: -1,
            producer_ids_reserved: 0,
            topics: BTreeMap::new(),
        }
    }

    /// Reserves the next block of producer ids.
    pub fn reserve_producer_ids(&mut self) -> std::ops::Range<i64> {
        let first = self.producer_ids_reserved;
        self.producer_ids_reserved += PRODUCER_ID_BLOCK;
        first..self.producer_ids_reserved
    }
}

/// A topic id in the file: hyphenated hexadecimal, as administrators know it.
mod id_as_text {
    use serde::{Deserialize, Deserializer, Serializer, de};
    use uuid::Uuid;

    pub(super) fn serialize<S: Serializer>(id: &Uuid, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Uuid, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Whether a topic may have this name (Kafka's rule).
///
/// # Errors
/// Why not.
pub fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("Topic name is invalid: the empty string is not allowed".to_owned());
    }
    if name == "." || name == ".." {
        return Err("Topic name is invalid: '.' or '..' is not allowed".to_owned());
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(format!(
            "Topic name is invalid: the length of '{name}' is longer than {NAME_BYTES_MAX} characters"
        ));
    }
    if !name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
    {
        return Err(format!(
            "Topic name is invalid: '{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' \
             and '-'"
        ));
    }
    Ok(())
}

/// The topic of the transaction coordinator.
pub const TRANSACTION_STATE: &str = "__transaction_state";
/// The topic of the group coordinator.
pub const CONSUMER_OFFSETS: &str = "__consumer_offsets";

/// Whether the topic is the brokers' own, which clients only read.
pub fn is_internal(topic: &str) -> bool {
    topic == TRANSACTION_STATE || topic == CONSUMER_OFFSETS
}

/// The directory of a partition.
pub fn partition_dir(topic: &str, partition: i32) -> String {
    format!("{topic}-{partition}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas() {
        for good in ["flights", "a.b_c-D9", &"x".repeat(249)] {
            assert_eq!(check_name(good), Ok(()));
        }
        for bad in ["", ".", "..", "a/b", "../x", "ü", "a b", "a\0", &"x".repeat(250)] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn producer_ids_are_not_given_twice() {
        let mut catalog = Catalog::new("c".to_owned());
        assert_eq!(catalog.reserve_producer_ids(), 0..1000);
        assert_eq!(catalog.reserve_producer_ids(), 1000..2000);
    }
}
