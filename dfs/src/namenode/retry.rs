//! The retry cache: a call that comes a second time is answered the same, and done once.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

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
