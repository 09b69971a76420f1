//! The retry cache: a call that comes a second time is answered the same, and done once. So is one that comes again while the
//! first is under way: it waits for the first one's outcome.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use super::image::ImageAnswer;
use crate::Error;

/// Answers kept at most, whatever their age: 200,000 of about 200 bytes.
const ENTRIES_MAX: usize = 200_000;

/// Which call: the client's id and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallKey {
    pub client_id: [u8; 16],
    pub call_id: i32,
}

/// Answers of calls that changed something, in the order in which they were given. Kept small: there may be one for each of
/// the calls of ten minutes.
#[derive(Debug, Default)]
pub struct RetryCache {
    answers: VecDeque<Answer>,
    /// The number of each call's answer; the first in `answers` has the number `first`.
    numbers: HashMap<CallKey, u32>,
    first: u32,
}

#[derive(Debug)]
struct Answer {
    at: u64,
    key: CallKey,
    response: Box<[u8]>,
}

impl RetryCache {
    /// Clients without a proper id (16 bytes) cannot be told apart, and have no retries.
    pub fn key(client_id: &[u8], call_id: i32) -> Option<CallKey> {
        let client_id = client_id.try_into().ok().filter(|_| call_id >= 0)?;
        Some(CallKey { client_id, call_id })
    }

    pub fn insert(&mut self, client_id: &[u8], call_id: i32, response: &[u8], now: u64) {
        let Some(key) = Self::key(client_id, call_id) else {
            return;
        };
        let answer = Answer {
            at: now,
            key,
            response: response.into(),
        };
        // A former answer of the same call stays in the queue, unused, until its time.
        self.numbers
            .insert(key, self.first.wrapping_add(self.answers.len() as u32));
        self.answers.push_back(answer);
        if self.answers.len() > ENTRIES_MAX {
            self.drop_oldest();
        }
    }

    pub fn get(&self, key: &CallKey) -> Option<Bytes> {
        let at = self.numbers.get(key)?.wrapping_sub(self.first) as usize;
        let answer = self.answers.get(at)?;
        Some(Bytes::copy_from_slice(&answer.response))
    }

    /// Forgets answers older than `limit_ms`.
    pub fn expire(&mut self, now: u64, limit_ms: u64) {
        while self.answers.front().is_some_and(|answer| answer.at + limit_ms <= now) {
            self.drop_oldest();
        }
        if self.answers.len() < self.answers.capacity() / 4 {
            self.answers.shrink_to(self.answers.len() * 2);
            self.numbers.shrink_to(self.answers.len() * 2);
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(answer) = self.answers.pop_front() {
            if self.numbers.get(&answer.key) == Some(&self.first) {
                self.numbers.remove(&answer.key);
            }
            self.first = self.first.wrapping_add(1);
        }
    }

    /// The numbers of the answers: the first, and the one after the last.
    pub fn numbers(&self) -> (u32, u32) {
        (self.first, self.first.wrapping_add(self.answers.len() as u32))
    }

    /// Gives the next `limit` answers of those `numbers` that have not expired meanwhile; false if those were the last.
    pub fn image_part(&self, numbers: &mut (u32, u32), limit: usize, mut take: impl FnMut(ImageAnswer)) -> bool {
        let (next, end) = *numbers;
        // Numbers wrap around; those that expired are before the first.
        let offset = |number: u32| (number.wrapping_sub(self.first) as i32).max(0) as usize;
        let (from, end) = (offset(next), offset(end).min(self.answers.len()));
        let until = from.saturating_add(limit).min(end);
        for answer in self.answers.range(from.min(until)..until) {
            take(ImageAnswer {
                client_id: answer.key.client_id.to_vec(),
                call_id: answer.key.call_id,
                at: answer.at,
                response: answer.response.to_vec(),
            });
        }
        numbers.0 = self.first.wrapping_add(until as u32);
        until < end
    }

    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
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
        match calls.entry(key) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_found_until_they_expire() {
        let mut cache = RetryCache {
            first: u32::MAX - 2,
            ..Default::default()
        };
        let key = |call_id| RetryCache::key(&[1; 16], call_id).unwrap();
        for call_id in 0..6 {
            cache.insert(&[1; 16], call_id, &[call_id as u8; 3], 100 * call_id as u64);
        }
        cache.insert(&[1; 16], 1, b"again", 600);
        cache.insert(&[1; 8], 1, b"no proper id", 600);
        assert_eq!(cache.get(&key(4)).unwrap(), &[4; 3][..]);
        assert_eq!(cache.get(&key(1)).unwrap(), &b"again"[..]);
        cache.expire(1000, 600);
        assert!(cache.get(&key(0)).is_none() && cache.get(&key(4)).is_none());
        assert_eq!(cache.get(&key(5)).unwrap(), &[5; 3][..]);
        assert_eq!(cache.get(&key(1)).unwrap(), &b"again"[..]);
        cache.expire(2000, 600);
        assert!(cache.is_empty() && cache.answers.is_empty());
    }
}
