//! The queries that run, by number, so that a client can cancel them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::engine::Interrupt;

/// How many statements that were cancelled before they ran are remembered.
const CANCELLED_MAX: usize = 1_024;

#[derive(Debug, Clone, Default)]
pub struct Running {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    running: HashMap<u64, Interrupt>,
    cancelled: VecDeque<u64>,
}

/// A query among the running; taken out when this is dropped.
#[derive(Debug)]
pub struct Entry {
    query: u64,
    running: Running,
    interrupt: Interrupt,
}

impl Running {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None`: it was cancelled before it began.
    pub fn enter(&self, query: u64) -> Option<Entry> {
        let mut state = self.state();
        if state.cancelled.contains(&query) {
            return None;
        }
        let interrupt = Interrupt::default();
        state.running.insert(query, interrupt.clone());
        Some(Entry {
            query,
            running: self.clone(),
            interrupt,
        })
    }

    /// Stops a query that runs, and keeps one that has not begun from beginning.
    pub fn cancel(&self, query: u64) {
        let mut state = self.state();
        if let Some(interrupt) = state.running.get(&query) {
            interrupt.raise();
        }
        state.cancelled.push_back(query);
        if state.cancelled.len() > CANCELLED_MAX {
            state.cancelled.pop_front();
        }
    }
}

impl Entry {
    pub fn interrupt(&self) -> Interrupt {
        self.interrupt.clone()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.running.state().running.remove(&self.query);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_cancelled_while_it_runs_and_before() {
        let running = Running::default();
        let entry = running.enter(7).unwrap();
        let interrupt = entry.interrupt();
        assert!(interrupt.check().is_ok());
        running.cancel(7);
        assert!(interrupt.check().is_err());
        drop(entry);
        running.cancel(8);
        assert!(running.enter(8).is_none() && running.enter(9).is_some());
        assert!(running.state().running.is_empty());
    }
}
