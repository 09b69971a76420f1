//! What an epoch holds.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::operator::{Counters, Snapshot};

/// A task: a vertex of the graph and one of its subtasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId {
    pub vertex: u32,
    pub subtask: u32,
}

impl Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.vertex, self.subtask)
    }
}

/// The state of one task at a barrier.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TaskState {
    /// A source's position.
    pub position: Option<Value>,
    pub operators: Vec<Snapshot>,
    /// What a sink has made durable and must make visible.
    pub committable: Option<Value>,
}

impl TaskState {
    pub fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        self.operators.iter().for_each(|operator| sum.add(operator.counters));
        sum
    }
}

/// The manifest as it is written: tables are files beside it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub format: u32,
    /// Which program made it.
    pub fingerprint: String,
    /// The hash that the keys were divided by; manifests of format 1 had none with a name.
    #[serde(default)]
    pub key_hash: Option<String>,
    pub incarnation: u64,
    pub epoch: u64,
    /// The job has come to its end with this epoch.
    pub finished: bool,
    /// Tasks by `vertex-subtask`.
    pub tasks: BTreeMap<String, TaskEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TaskEntry {
    pub task: TaskId,
    pub position: Option<Value>,
    pub operators: Vec<OperatorState>,
    pub committable: Option<Value>,
}

/// An operator's snapshot without its table.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct OperatorState {
    pub facts: BTreeMap<String, Value>,
    pub counters: Counters,
    /// The file that holds the table, and its CRC32C.
    pub table: Option<(String, u32)>,
}
