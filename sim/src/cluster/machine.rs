//! What consensus is for.

use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use raft::consensus::Index;

/// A deterministic state machine under a log.
pub trait Machine: Sized {
    /// What a command is answered with.
    type Answer: Debug;
    /// What a snapshot holds.
    type State: Debug;

    /// The machine before the first entry.
    fn new() -> Self;
    /// Carries out the command of entry `index`.
    fn apply(&mut self, index: Index, command: &Bytes) -> Self::Answer;
    /// Entry `index` holds no command.
    fn skip(&mut self, index: Index);
    /// A snapshot of it as it is now.
    fn state(&mut self) -> Arc<Self::State>;
    fn restore(state: &Self::State) -> Self;
    /// A snapshot takes the place of what is there, while the process lives on.
    fn install(&mut self, state: &Self::State) {
        *self = Self::restore(state);
    }
    /// A digest of its state after entry `index`, on the entries where it is cheap enough; the same ones on all members.
    fn digest(&self, index: Index) -> Option<u64>;
}
