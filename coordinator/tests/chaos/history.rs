//! What clients did and saw, with the time.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A pair as a read shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub value: Vec<u8>,
    pub mod_revision: i64,
}

/// What a client asked for.
#[derive(Debug, Clone)]
pub enum Asked {
    /// Every value is put once only.
    Put {
        key: String,
        value: Vec<u8>,
    },
    /// Two keys at once.
    PutBoth {
        keys: [String; 2],
        value: Vec<u8>,
    },
    Delete {
        key: String,
    },
    /// Put if the key was last changed at this revision (0: if it is not there).
    Swap {
        key: String,
        expected: i64,
        value: Vec<u8>,
    },
    Get {
        key: String,
        serializable: bool,
    },
}

/// What it was answered.
#[derive(Debug, Clone)]
pub enum Answered {
    /// Changed at this revision.
    Changed(i64),
    /// A deletion of nothing, at a store of this revision.
    Nothing(i64),
    /// Not swapped, since this is what was there.
    NotSwapped(i64, Option<Seen>),
    /// Read at this revision.
    Read(i64, Option<Seen>),
    /// No answer, or an error: it may have been carried out, or be carried out still.
    Unknown,
}

#[derive(Debug, Clone)]
pub struct Operation {
    #[expect(dead_code, reason = "shown when an operation does not fit")]
    pub client: u64,
    pub asked: Asked,
    pub answered: Answered,
    pub began: Duration,
    pub ended: Duration,
}

impl Operation {
    pub fn is_acknowledged(&self) -> bool {
        !matches!(self.answered, Answered::Unknown)
    }
}

/// All operations of all clients, as they end.
#[derive(Debug)]
pub struct Journal {
    epoch: Instant,
    operations: Mutex<Vec<Operation>>,
}

impl Journal {
    pub fn new() -> Self {
        Self {
            epoch: Instant::now(),
            operations: Mutex::new(Vec::new()),
        }
    }

    pub fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    pub fn note(&self, operation: Operation) {
        self.operations.lock().expect("no panic").push(operation);
    }

    pub fn into_operations(self) -> Vec<Operation> {
        self.operations.into_inner().expect("no panic")
    }
}
