//! What clients saw, and whether one machine that does one thing at a time could have shown it.
//!
//! A client calls, and later has an answer or has none. [`History`] holds both moments and what was asked and answered. An
//! operation without an answer may have happened at any later time, or never: unknown outcomes stay unknown, for ever.
//! [`linearizable`] searches for an order (Wing and Gong, 1993; with Lowe's memory of what was tried; Porcupine is the
//! well-known form) for any sequential [`Model`]; [`Register`] is one. The coordinator needs no search: its answers
//! carry revisions, which are the order, so the replay checks them in one pass.

mod register;
mod search;

pub use register::{Register, RegisterOperation};
pub use search::{Model, Verdict, linearizable};

use std::collections::HashSet;

use crate::world::Micros;

/// One operation of one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation<O> {
    pub client: usize,
    pub called: Micros,
    /// When the answer came; none if it never did.
    pub answered: Option<Micros>,
    /// What was asked, and if there was an answer, the answer.
    pub what: O,
}

/// All operations of all clients, in the order in which they were called.
#[derive(Debug, Clone)]
pub struct History<O> {
    operations: Vec<Operation<O>>,
    withdrawn: HashSet<usize>,
}

impl<O> Default for History<O> {
    fn default() -> Self {
        Self {
            operations: Vec::new(),
            withdrawn: HashSet::new(),
        }
    }
}

impl<O> History<O> {
    /// Notes a call and returns its place, for [`History::answer`].
    pub fn call(&mut self, client: usize, now: Micros, what: O) -> usize {
        self.operations.push(Operation {
            client,
            called: now,
            answered: None,
            what,
        });
        self.operations.len() - 1
    }

    /// Notes an answer.
    pub fn answer(&mut self, at: usize, now: Micros, fill: impl FnOnce(&mut O)) {
        let operation = &mut self.operations[at];
        debug_assert!(operation.answered.is_none(), "an operation is answered once");
        operation.answered = Some(now);
        fill(&mut operation.what);
    }

    /// The operation was refused: it never happened, and is taken out.
    pub fn withdraw(&mut self, at: usize) {
        self.withdrawn.insert(at);
    }

    /// All that may have happened.
    pub fn remaining(&self) -> impl Iterator<Item = &Operation<O>> {
        let all = self.operations.iter().enumerate();
        all.filter(|(at, _)| !self.withdrawn.contains(at))
            .map(|(_, operation)| operation)
    }

    pub fn operations(&self) -> &[Operation<O>] {
        &self.operations
    }

    pub fn get(&self, at: usize) -> &Operation<O> {
        &self.operations[at]
    }

    /// How many were answered.
    pub fn answered(&self) -> usize {
        self.operations
            .iter()
            .filter(|operation| operation.answered.is_some())
            .count()
    }
}
