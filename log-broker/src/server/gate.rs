//! Few at a time: for work that takes much memory.

use std::sync::{Condvar, Mutex, PoisonError};

use super::partition::lock;

/// Lets a number of threads in; others block until one leaves. For threads that may block.
#[derive(Debug)]
pub(super) struct Gate {
    free: Mutex<usize>,
    left: Condvar,
}

/// Leaves the gate when it is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a>(&'a Gate);

impl Gate {
    pub(super) fn new(threads: usize) -> Self {
        Self {
            free: Mutex::new(threads),
            left: Condvar::new(),
        }
    }

    pub(super) fn enter(&self) -> Turn<'_> {
        let free = lock(&self.free);
        let mut free = self
            .left
            .wait_while(free, |free| *free == 0)
            .unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Turn(self)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *lock(&self.0.free) += 1;
        self.0.left.notify_one();
    }
}
