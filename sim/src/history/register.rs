//! A register, as the model of one key.

use std::collections::BTreeSet;

use super::search::Model;
use super::{Operation, Verdict, linearizable};

/// A value that no one wrote.
pub const NOTHING: u64 = 0;
/// Steps after which a search is given up. A history of a world needs some hundreds.
const STEPS_MAX: u64 = 2_000_000;

/// What is done with a register. Every value is written once in a history, so a value names its write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RegisterOperation {
    Write(u64),
    /// What was read is filled in with the answer.
    Read(u64),
    /// Writes `new` if the register holds `expected`; `found` is filled in with the answer.
    CompareAndSet {
        expected: u64,
        new: u64,
        found: u64,
    },
}

/// One register that holds [`NOTHING`] at first.
#[derive(Debug, Clone, Copy, Default)]
pub struct Register;

impl Model for Register {
    type Operation = RegisterOperation;
    type State = u64;

    fn initial(&self) -> u64 {
        NOTHING
    }

    fn step(&self, state: &u64, operation: &RegisterOperation, answered: bool) -> Option<u64> {
        match *operation {
            RegisterOperation::Write(value) => Some(value),
            RegisterOperation::Read(value) => (!answered || value == *state).then_some(*state),
            RegisterOperation::CompareAndSet { expected, new, found } => {
                let fits = !answered || found == *state;
                fits.then_some(if *state == expected { new } else { *state })
            }
        }
    }
}

impl Register {
    /// Checks the history of one register.
    pub fn check(operations: &[Operation<RegisterOperation>]) -> Verdict {
        linearizable(&Self, &without_unseen(operations), STEPS_MAX)
    }
}

/// Leaves out operations without an answer that no one saw an effect of. Whatever order explains the history with them
/// explains it without: no answer depends on the value that they would have written. It is what keeps the search short,
/// since each of them could stand anywhere.
fn without_unseen(operations: &[Operation<RegisterOperation>]) -> Vec<Operation<RegisterOperation>> {
    let mut seen = BTreeSet::new();
    for operation in operations {
        match operation.what {
            RegisterOperation::Read(value) if operation.answered.is_some() => {
                seen.insert(value);
            }
            RegisterOperation::CompareAndSet { expected, found, .. } => {
                seen.insert(expected);
                if operation.answered.is_some() {
                    seen.insert(found);
                }
            }
            _ => {}
        }
    }
    let has_effect = |operation: &&Operation<RegisterOperation>| {
        operation.answered.is_some()
            || match operation.what {
                RegisterOperation::Read(_) => false,
                RegisterOperation::Write(new) | RegisterOperation::CompareAndSet { new, .. } => seen.contains(&new),
            }
    };
    operations.iter().filter(has_effect).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::RegisterOperation::{CompareAndSet, Read, Write};
    use super::*;
    use crate::world::Random;

    fn operation(client: usize, called: u64, answered: u64, what: RegisterOperation) -> Operation<RegisterOperation> {
        Operation {
            client,
            called,
            answered: (answered != 0).then_some(answered),
            what,
        }
    }

    fn swap(expected: u64, new: u64, found: u64) -> RegisterOperation {
        CompareAndSet { expected, new, found }
    }

    #[test]
    fn right_histories_pass() {
        let histories = [
            vec![],
            vec![operation(0, 1, 2, Write(1)), operation(1, 3, 4, Read(1))],
            // Overlapping: the read may come before or after.
            vec![
                operation(0, 1, 9, Write(1)),
                operation(1, 2, 3, Read(0)),
                operation(2, 4, 5, Read(1)),
            ],
            // Never answered, seen much later.
            vec![
                operation(0, 1, 0, Write(1)),
                operation(1, 2, 3, Read(0)),
                operation(2, 4, 5, Read(1)),
            ],
            // Never answered, never seen.
            vec![
                operation(0, 1, 0, Write(1)),
                operation(1, 2, 3, Read(0)),
                operation(2, 4, 5, Read(0)),
            ],
            vec![
                operation(0, 1, 2, Write(1)),
                operation(1, 3, 4, swap(1, 2, 1)),
                operation(1, 5, 6, swap(1, 3, 2)),
                operation(0, 7, 8, Read(2)),
            ],
            // A swap that was never answered carried the value on.
            vec![
                operation(0, 1, 2, Write(1)),
                operation(1, 3, 0, swap(1, 2, 0)),
                operation(0, 4, 5, Read(2)),
            ],
        ];
        for history in histories {
            assert_eq!(Register::check(&history), Verdict::Linearizable, "{history:?}");
        }
    }

    #[test]
    fn wrong_histories_are_refused() {
        let histories = [
            // Stale read.
            vec![operation(0, 1, 2, Write(1)), operation(1, 3, 4, Read(0))],
            // A value that no one wrote.
            vec![operation(0, 1, 2, Write(1)), operation(1, 3, 4, Read(7))],
            // Time travel: new, then old.
            vec![
                operation(0, 1, 9, Write(1)),
                operation(1, 2, 3, Read(1)),
                operation(2, 4, 5, Read(0)),
            ],
            // A lost update.
            vec![
                operation(0, 1, 2, Write(1)),
                operation(0, 3, 4, Write(2)),
                operation(1, 5, 6, Read(1)),
            ],
            // An unknown write that came, went and came again.
            vec![
                operation(0, 1, 0, Write(1)),
                operation(1, 2, 3, Read(1)),
                operation(1, 4, 5, Write(2)),
                operation(2, 6, 7, Read(1)),
            ],
            // Read before it was called.
            vec![operation(1, 1, 2, Read(1)), operation(0, 3, 4, Write(1))],
            // Two swaps of one value, both successful.
            vec![
                operation(0, 1, 2, Write(1)),
                operation(1, 3, 8, swap(1, 2, 1)),
                operation(2, 3, 8, swap(1, 3, 1)),
            ],
            // A swap that failed although it must have seen what it expected.
            vec![operation(0, 1, 2, Write(1)), operation(1, 3, 4, swap(1, 2, 0))],
        ];
        for history in histories {
            assert_eq!(Register::check(&history), Verdict::Impossible, "{history:?}");
        }
    }

    /// Histories made by a real register pass; one answer changed, and they do not.
    #[test]
    fn random_histories_pass_and_changed_ones_do_not() {
        for seed in 0..200 {
            let mut random = Random::new(seed);
            let (mut state, mut now, mut history) = (NOTHING, 10, Vec::new());
            for n in 1..=60 {
                // The effect lies between call and answer, and effects are in order.
                let (called, answered) = (now - random.below(10), now + 1 + random.below(10));
                now += 3;
                let lost = random.percent(10);
                let what = match random.below(3) {
                    0 => {
                        if !lost || random.percent(50) {
                            state = n;
                        }
                        Write(n)
                    }
                    1 => Read(state),
                    _ => {
                        let (found, expected) = (state, if random.percent(70) { state } else { 999 });
                        if found == expected && (!lost || random.percent(50)) {
                            state = n;
                        }
                        swap(expected, n, found)
                    }
                };
                history.push(operation(n as usize, called, if lost { 0 } else { answered }, what));
            }
            assert_eq!(Register::check(&history), Verdict::Linearizable, "seed {seed}");
            history.push(operation(99, now + 50, now + 51, Read(12_345)));
            assert_eq!(Register::check(&history), Verdict::Impossible, "seed {seed}");
        }
    }
}
