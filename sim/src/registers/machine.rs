//! A few registers: the smallest state machine that shows a lost, doubled or reordered command.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use raft::consensus::Index;

use crate::cluster::Machine;
use crate::history::RegisterOperation;
use crate::world::split_mix;

/// How many there are: few, so that clients get in each other's way.
pub const REGISTERS: usize = 4;

const WRITE: u8 = 1;
const COMPARE_AND_SET: u8 = 2;
/// Operation, register, new value, expected value.
const COMMAND_BYTES: usize = 18;

/// All registers.
#[derive(Debug, Clone, Default)]
pub struct Registers {
    values: [u64; REGISTERS],
}

impl Registers {
    pub fn read(&self, register: usize) -> u64 {
        self.values[register]
    }
}

/// The command of an operation that changes something.
pub fn command(register: usize, operation: RegisterOperation) -> Option<Bytes> {
    let (kind, new, expected) = match operation {
        RegisterOperation::Write(value) => (WRITE, value, 0),
        RegisterOperation::CompareAndSet { expected, new, .. } => (COMPARE_AND_SET, new, expected),
        RegisterOperation::Read(_) => return None,
    };
    let mut bytes = BytesMut::with_capacity(COMMAND_BYTES);
    bytes.put_u8(kind);
    bytes.put_u8(register as u8);
    bytes.put_u64(new);
    bytes.put_u64(expected);
    Some(bytes.freeze())
}

impl Machine for Registers {
    /// What was found before the operation.
    type Answer = u64;
    type State = Self;

    fn new() -> Self {
        Self::default()
    }

    fn apply(&mut self, index: Index, command: &Bytes) -> u64 {
        assert_eq!(command.len(), COMMAND_BYTES, "entry {index} is a command of ours");
        let number = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&command[at..at + 8]);
            u64::from_be_bytes(bytes)
        };
        let value = &mut self.values[usize::from(command[1]) % REGISTERS];
        let found = *value;
        if command[0] == WRITE || found == number(10) {
            *value = number(2);
        }
        found
    }

    fn skip(&mut self, _index: Index) {}

    fn state(&mut self) -> Arc<Self> {
        Arc::new(self.clone())
    }

    fn restore(state: &Self) -> Self {
        state.clone()
    }

    fn digest(&self, _index: Index) -> Option<u64> {
        let mut digest = 0;
        for value in self.values {
            digest ^= value;
            digest = split_mix(&mut digest);
        }
        Some(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_do_what_they_say() {
        let mut registers = Registers::new();
        let mut apply = |operation| registers.apply(1, &command(2, operation).expect("it changes something"));
        let swap = |expected, new| RegisterOperation::CompareAndSet {
            expected,
            new,
            found: 0,
        };
        assert_eq!(apply(RegisterOperation::Write(7)), 0);
        assert_eq!(apply(swap(6, 8)), 7);
        assert_eq!(apply(swap(7, 9)), 7);
        assert_eq!(apply(RegisterOperation::Write(1)), 9);
        assert_eq!((registers.read(2), registers.read(1)), (1, 0));
    }
}
