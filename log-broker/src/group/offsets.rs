//! The positions that groups have committed. Whoever keeps this writes each [`Change`] to a log before it is applied.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::StoredGroup;

/// A position in a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committed {
    pub offset: i64,
    pub leader_epoch: i32,
    pub metadata: String,
}

/// A change of what is committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    Commit {
        group: String,
        positions: Vec<(String, i32, Committed)>,
    },
    /// Forgets single partitions of a group.
    Forget {
        group: String,
        partitions: Vec<(String, i32)>,
    },
    ForgetGroup {
        group: String,
    },
    /// A topic was deleted.
    ForgetTopic {
        topic: String,
    },
    /// A group's generation, or that the group has no members any more; not the offsets' business.
    Members {
        group: String,
        stored: Option<StoredGroup>,
    },
}

type Positions = BTreeMap<String, BTreeMap<i32, Committed>>;

/// All positions of all groups.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offsets(BTreeMap<String, Positions>);

impl Offsets {
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Members { .. } => return,
            Change::Commit { group, positions } => {
                let topics = self.0.entry(group).or_default();
                for (topic, partition, committed) in positions {
                    topics.entry(topic).or_default().insert(partition, committed);
                }
                return; // Nothing became empty.
            }
            Change::Forget { group, partitions } => {
                if let Some(topics) = self.0.get_mut(&group) {
                    for (topic, partition) in partitions {
                        if let Some(positions) = topics.get_mut(&topic) {
                            positions.remove(&partition);
                        }
                    }
                }
            }
            Change::ForgetGroup { group } => {
                self.0.remove(&group);
            }
            Change::ForgetTopic { topic } => {
                for topics in self.0.values_mut() {
                    topics.remove(&topic);
                }
            }
        }
        self.0.retain(|_, topics| {
            topics.retain(|_, positions| !positions.is_empty());
            !topics.is_empty()
        });
    }

    pub fn get(&self, group: &str, topic: &str, partition: i32) -> Option<&Committed> {
        self.0.get(group)?.get(topic)?.get(&partition)
    }

    /// All of a group: topic, partition, position.
    pub fn of_group(&self, group: &str) -> impl Iterator<Item = (&str, i32, &Committed)> {
        self.0.get(group).into_iter().flatten().flat_map(|(topic, positions)| {
            positions
                .iter()
                .map(move |(partition, committed)| (topic.as_str(), *partition, committed))
        })
    }

    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub fn contains(&self, group: &str) -> bool {
        self.0.contains_key(group)
    }

    /// Whether anything is committed for a topic.
    pub fn mentions(&self, topic: &str) -> bool {
        self.0.values().any(|topics| topics.contains_key(topic))
    }
}
