//! The retry cache: a call that comes a second time is answered the same, and done once. So is one that comes again while the
//! first is under way: it waits for the first one's outcome.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use crate::Error;

/// Answers kept at most, whatever their age: 200,000 of about 200 bytes.
const ENTRIES_MAX: usize = 200_000;

/// Which call: the client's id and its number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CallKey {
    pub client_id: Box<[u8]>,
    pub call_id: i32,
}

/// Answers of calls that changed something, in the order in which they were given.
#[derive(Debug, Default)]
pub struct RetryCache {
    answers: HashMap<CallKey, Bytes>,
    ages: VecDeque<(u64, CallKey)>,
}

impl RetryCache {
    /// Clients without a proper id (16 bytes) cannot be told apart, and have no retries.
    pub fn key(client_id: &[u8], call_id: i32) -> Option<CallKey> {
        (client_id.len() == 16 && call_id >= 0).then(|| CallKey {
            client_id: client_id.into(),
            call_id,
        })
    }

    pub fn insert(&mut self, client_id: &[u8], call_id: i32, response: Bytes, now: u64) {
        let Some(key) = Self::key(client_id, call_id) else {
            return;
        };
        if self.answers.insert(key.clone(), response).is_none() {
            self.ages.push_back((now, key));
        }
        if self.ages.len() > ENTRIES_MAX {
            self.drop_oldest();
        }
    }

    pub fn get(&self, key: &CallKey) -> Option<Bytes> {
        self.answers.get(key).cloned()
    }

    /// Forgets answers older than `limit_ms`.
    pub fn expire(&mut self, now: u64, limit_ms: u64) {
        while self.ages.front().is_some_and(|(at, _)| at + limit_ms <= now) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((_, key)) = self.ages.pop_front() {
            self.answers.remove(&key);
        }
    }

    pub fn len(&self) -> usize {
        self.answers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }
}

/// How a call ended; `None` while it is under way.
type Outcome = Option<Result<Bytes, Error>>;

/// Calls that are being executed.
#[derive(Debug, Default)]
pub struct InFlight {
    calls: Mutex<HashMap<CallKey, watch::Receiver<Outcome>>>,
}

/// What to do with a call.
#[derive(Debug)]
pub enum Turn<'a> {
    /// Execute it.
    First(Execution<'a>),
    /// It is being executed: wait for its outcome.
    Repeated(watch::Receiver<Outcome>),
}

/// A call that is being executed. Dropping it lets those that wait know that it has no outcome.
#[derive(Debug)]
pub struct Execution<'a> {
    calls: &'a InFlight,
    key: CallKey,
    outcome: watch::Sender<Outcome>,
}

impl InFlight {
    fn lock(&self) -> MutexGuard<'_, HashMap<CallKey, watch::Receiver<Outcome>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    pub fn begin(&self, key: CallKey) -> Turn<'_> {
        let mut calls = self.lock();
        match calls.entry(key.clone()) {
            Entry::Occupied(first) => Turn::Repeated(first.get().clone()),
            Entry::Vacant(place) => {
                let (outcome, receiver) = watch::channel(None);
                place.insert(receiver);
                Turn::First(Execution {
                    calls: self,
                    key,
                    outcome,
                })
            }
        }
    }
}

impl Execution<'_> {
    pub fn finish(self, outcome: Result<Bytes, Error>) {
        self.outcome.send_replace(Some(outcome));
    }
}

impl Drop for Execution<'_> {
    fn drop(&mut self) {
        self.calls.lock().remove(&self.key);
    }
}
