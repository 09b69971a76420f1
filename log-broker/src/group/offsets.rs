//! Committed offsets: the state that the records of `__consumer_offsets` add up to.
//!
//! A record takes effect when it is durable, in the order of the log, whether it was just written or is read at a start.
//! The offsets of a transaction wait, by producer, for the marker that ends it in their partition of the log; if it
//! commits, they count from their own place in the log, so that an offset that was committed behind them stays.

use std::collections::{BTreeMap, BTreeSet};

use log_broker_wire::internal::consumer_offsets::{Entry, OffsetCommitKey, OffsetCommitValue};
use serde::{Deserialize, Serialize};

/// The committed offset of a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committed {
    pub offset: i64,
    pub leader_epoch: i32,
    pub metadata: String,
    #[serde(default)]
    pub committed_at_ms: i64,
    /// When it expires, whatever the broker's retention says; clients before OffsetCommit version 5 could ask for it.
    #[serde(default)]
    pub expires_at_ms: Option<i64>,
}

/// From when on the retention of a group's offsets counts (KIP-211).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expiry {
    /// A group that never had members: from each commit.
    SinceCommit,
    /// A group without members: from when the last one left.
    Since(i64),
    /// A group with members: from each commit, and only of topics that no member subscribes to.
    Unsubscribed(BTreeSet<String>),
    /// Not at all, now.
    Never,
}

/// Group, topic, partition.
type Place = (String, String, i32);
type Topics = BTreeMap<String, BTreeMap<i32, Stored>>;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Stored {
    committed: Committed,
    /// The offset of its record, to compare with others of the same partition of the log.
    record_offset: i64,
}

/// All committed offsets of all groups.
///
/// * `open` names the producers in `pending`, by what they wait to commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offsets {
    groups: BTreeMap<String, Topics>,
    /// Offsets of open transactions, by partition of the log and producer.
    pending: BTreeMap<(i32, i64), BTreeMap<Place, Stored>>,
    open: BTreeMap<Place, BTreeSet<i64>>,
}

impl Committed {
    fn from_value(value: &OffsetCommitValue) -> Self {
        Self {
            offset: value.offset,
            leader_epoch: value.leader_epoch,
            metadata: value.metadata.clone(),
            committed_at_ms: value.commit_timestamp,
            expires_at_ms: (value.expire_timestamp >= 0).then_some(value.expire_timestamp),
        }
    }

    /// The record that stores it.
    pub fn entry(&self, group: &str, topic: &str, partition: i32) -> Entry {
        let value = OffsetCommitValue {
            offset: self.offset,
            leader_epoch: self.leader_epoch,
            metadata: self.metadata.clone(),
            commit_timestamp: self.committed_at_ms,
            expire_timestamp: self.expires_at_ms.unwrap_or(-1),
            ..Default::default()
        };
        Entry::OffsetCommit(key(group, topic, partition), Some(value))
    }

    fn is_expired(&self, expiry: &Expiry, topic: &str, retention_ms: i64, now_ms: i64) -> bool {
        let since = match expiry {
            Expiry::Never => return false,
            Expiry::Unsubscribed(topics) if topics.contains(topic) => return false,
            Expiry::SinceCommit | Expiry::Unsubscribed(_) => self.committed_at_ms,
            Expiry::Since(since) => *since,
        };
        match self.expires_at_ms {
            Some(expires_at) => now_ms >= expires_at,
            None => now_ms.saturating_sub(since) >= retention_ms,
        }
    }
}

fn key(group: &str, topic: &str, partition: i32) -> OffsetCommitKey {
    OffsetCommitKey {
        group: group.to_owned(),
        topic: topic.to_owned(),
        partition,
    }
}

/// The record that deletes an offset.
pub fn tombstone(group: &str, topic: &str, partition: i32) -> Entry {
    Entry::OffsetCommit(key(group, topic, partition), None)
}

impl Offsets {
    /// Applies a record at its offset in the log; others than offsets are no business of this room.
    pub fn apply(&mut self, entry: &Entry, record_offset: i64) {
        let Entry::OffsetCommit(key, value) = entry else { return };
        match value {
            Some(value) => {
                let stored = Stored {
                    committed: Committed::from_value(value),
                    record_offset,
                };
                self.put(key, stored);
            }
            None => self.remove(key),
        }
    }

    /// Keeps an offset of a transaction until the transaction ends.
    pub fn apply_transactional(&mut self, log_partition: i32, producer_id: i64, entry: &Entry, record_offset: i64) {
        let Entry::OffsetCommit(key, Some(value)) = entry else {
            return;
        };
        let stored = Stored {
            committed: Committed::from_value(value),
            record_offset,
        };
        let place = (key.group.clone(), key.topic.clone(), key.partition);
        self.open.entry(place.clone()).or_default().insert(producer_id);
        self.pending
            .entry((log_partition, producer_id))
            .or_default()
            .insert(place, stored);
    }

    /// The marker of a producer was written to a partition of the log: what it committed there counts, or never did.
    pub fn end_transaction(&mut self, log_partition: i32, producer_id: i64, is_commit: bool) {
        for (place, stored) in self.pending.remove(&(log_partition, producer_id)).unwrap_or_default() {
            if let Some(producers) = self.open.get_mut(&place) {
                producers.remove(&producer_id);
                if producers.is_empty() {
                    self.open.remove(&place);
                }
            }
            let (group, topic, partition) = place;
            let newer = self.stored(&group, &topic, partition).map(|known| known.record_offset);
            if is_commit && newer.is_none_or(|known| known < stored.record_offset) {
                self.put(&key(&group, &topic, partition), stored);
            }
        }
    }

    fn put(&mut self, key: &OffsetCommitKey, stored: Stored) {
        let topics = self.groups.entry(key.group.clone()).or_default();
        topics
            .entry(key.topic.clone())
            .or_default()
            .insert(key.partition, stored);
    }

    fn remove(&mut self, key: &OffsetCommitKey) {
        let Some(topics) = self.groups.get_mut(&key.group) else {
            return;
        };
        if let Some(partitions) = topics.get_mut(&key.topic) {
            partitions.remove(&key.partition);
            if partitions.is_empty() {
                topics.remove(&key.topic);
            }
        }
        if topics.is_empty() {
            self.groups.remove(&key.group);
        }
    }

    fn stored(&self, group: &str, topic: &str, partition: i32) -> Option<&Stored> {
        self.groups.get(group)?.get(topic)?.get(&partition)
    }

    pub fn get(&self, group: &str, topic: &str, partition: i32) -> Option<&Committed> {
        self.stored(group, topic, partition).map(|stored| &stored.committed)
    }

    /// Whether an open transaction may still change the offset (KIP-447).
    pub fn is_unstable(&self, group: &str, topic: &str, partition: i32) -> bool {
        let place = (group.to_owned(), topic.to_owned(), partition);
        !self.open.is_empty() && self.open.contains_key(&place)
    }

    /// All of a group: topic, partition, offset.
    pub fn of_group(&self, group: &str) -> impl Iterator<Item = (&str, i32, &Committed)> {
        self.groups
            .get(group)
            .into_iter()
            .flatten()
            .flat_map(|(topic, partitions)| {
                partitions
                    .iter()
                    .map(move |(partition, stored)| (topic.as_str(), *partition, &stored.committed))
            })
    }

    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.keys().map(String::as_str)
    }

    /// Whether anything is committed by a group, or waits for the end of a transaction.
    pub fn contains(&self, group: &str) -> bool {
        self.groups.contains_key(group) || self.open.keys().any(|(of, ..)| of == group)
    }

    /// The groups that have committed offsets of a topic.
    pub fn groups_of_topic(&self, topic: &str) -> Vec<String> {
        let groups = self.groups.iter().filter(|(_, topics)| topics.contains_key(topic));
        groups.map(|(group, _)| group.clone()).collect()
    }

    /// The records that delete offsets of a group: those of one topic, or all.
    pub fn tombstones(&self, group: &str, topic: Option<&str>) -> Vec<Entry> {
        self.of_group(group)
            .filter(|(of, ..)| topic.is_none_or(|topic| topic == *of))
            .map(|(topic, partition, _)| tombstone(group, topic, partition))
            .collect()
    }

    /// The records that delete what has expired of a group.
    pub fn expired(&self, group: &str, expiry: &Expiry, retention_ms: i64, now_ms: i64) -> Vec<Entry> {
        self.of_group(group)
            .filter(|(topic, partition, committed)| {
                committed.is_expired(expiry, topic, retention_ms, now_ms) && !self.is_unstable(group, topic, *partition)
            })
            .map(|(topic, partition, _)| tombstone(group, topic, partition))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(topic: &str, offset: i64, at_ms: i64) -> Entry {
        Committed {
            offset,
            leader_epoch: 0,
            metadata: String::new(),
            committed_at_ms: at_ms,
            expires_at_ms: None,
        }
        .entry("g", topic, 0)
    }

    fn offset(offsets: &Offsets, topic: &str) -> Option<i64> {
        offsets.get("g", topic, 0).map(|committed| committed.offset)
    }

    #[test]
    fn a_transactions_offsets_count_when_it_commits() {
        let mut offsets = Offsets::default();
        offsets.apply(&commit("t", 1, 0), 0);
        offsets.apply_transactional(3, 9, &commit("t", 5, 0), 1);
        assert_eq!(
            (offset(&offsets, "t"), offsets.is_unstable("g", "t", 0)),
            (Some(1), true)
        );
        offsets.end_transaction(2, 9, true); // The same producer in another partition of the log.
        assert!(offsets.is_unstable("g", "t", 0));
        offsets.end_transaction(3, 9, true);
        assert_eq!(
            (offset(&offsets, "t"), offsets.is_unstable("g", "t", 0)),
            (Some(5), false)
        );
        offsets.apply_transactional(3, 9, &commit("t", 7, 0), 3);
        offsets.end_transaction(3, 9, false);
        assert_eq!(
            (offset(&offsets, "t"), offsets.is_unstable("g", "t", 0)),
            (Some(5), false)
        );
    }

    #[test]
    fn an_offset_behind_a_transactions_own_stays() {
        let mut offsets = Offsets::default();
        offsets.apply_transactional(0, 9, &commit("t", 5, 0), 10);
        offsets.apply(&commit("t", 8, 0), 11);
        offsets.end_transaction(0, 9, true);
        assert_eq!(offset(&offsets, "t"), Some(8));
    }

    #[test]
    fn two_producers_keep_an_offset_unstable_until_both_end() {
        let mut offsets = Offsets::default();
        offsets.apply_transactional(0, 1, &commit("t", 5, 0), 1);
        offsets.apply_transactional(0, 2, &commit("t", 6, 0), 2);
        offsets.end_transaction(0, 2, true);
        assert!(offsets.is_unstable("g", "t", 0) && offsets.contains("g"));
        offsets.end_transaction(0, 1, true);
        assert_eq!(
            (offset(&offsets, "t"), offsets.is_unstable("g", "t", 0)),
            (Some(6), false)
        );
    }

    #[test]
    fn offsets_expire_by_what_their_group_does() {
        let mut offsets = Offsets::default();
        offsets.apply(&commit("old", 1, 100), 0);
        offsets.apply(&commit("new", 1, 200), 1);
        let expired = |expiry: &Expiry, now_ms| {
            let entries = offsets.expired("g", expiry, 1000, now_ms);
            let topics = entries.into_iter().map(|entry| match entry {
                Entry::OffsetCommit(key, None) => key.topic,
                other => panic!("{other:?}"),
            });
            topics.collect::<Vec<_>>()
        };
        assert_eq!(expired(&Expiry::SinceCommit, 1099), Vec::<String>::new());
        assert_eq!(expired(&Expiry::SinceCommit, 1100), ["old"]);
        assert_eq!(expired(&Expiry::SinceCommit, 1200), ["new", "old"]);
        assert_eq!(expired(&Expiry::Since(500), 1499), Vec::<String>::new());
        assert_eq!(expired(&Expiry::Since(500), 1500), ["new", "old"]);
        assert_eq!(expired(&Expiry::Unsubscribed(["old".to_owned()].into()), 5000), ["new"]);
        assert_eq!(expired(&Expiry::Never, 5000), Vec::<String>::new());
    }

    #[test]
    fn tombstones_delete_and_leave_nothing_behind() {
        let mut offsets = Offsets::default();
        offsets.apply(&commit("a", 1, 0), 0);
        offsets.apply(&commit("b", 1, 0), 1);
        assert_eq!(offsets.groups_of_topic("a"), ["g"]);
        for entry in offsets.tombstones("g", Some("a")) {
            offsets.apply(&entry, 2);
        }
        assert_eq!((offset(&offsets, "a"), offset(&offsets, "b")), (None, Some(1)));
        for entry in offsets.tombstones("g", None) {
            offsets.apply(&entry, 3);
        }
        assert_eq!(offsets, Offsets::default());
    }
}
