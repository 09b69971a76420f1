//! All orders of a small world, instead of one.
//!
//! A [`Model`] has a state and what may happen next in it. [`explore`] visits every state that can be reached, breadth
//! first, so the first counterexample is a shortest one. States are remembered by a hash of 64 bits, as model checkers
//! do: of a million states two share one with a chance of one in thirty million, and then a state is skipped, never
//! reported wrongly.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, VecDeque};
use std::fmt::Debug;
use std::hash::{Hash, Hasher};

use crate::invariant::{Check, Violation};

/// A transition system.
pub trait Model {
    type State: Clone + Hash + Debug;

    fn initial(&self) -> Vec<Self::State>;

    /// What may happen next, in a fixed order.
    fn next(&self, state: &Self::State, next: &mut Next<Self::State>);

    /// What holds in every state.
    fn check(&self, state: &Self::State) -> Check;

    /// What holds where nothing can happen any more.
    fn check_final(&self, _state: &Self::State) -> Check {
        Ok(())
    }
}

/// Collects what may happen. Names cost more than states, so they are made only for the path that is shown.
#[derive(Debug)]
pub struct Next<S> {
    states: Vec<S>,
    names: Option<Vec<String>>,
}

impl<S> Next<S> {
    pub fn push(&mut self, state: S, name: impl FnOnce() -> String) {
        self.states.push(state);
        if let Some(names) = &mut self.names {
            names.push(name());
        }
    }

    fn of<M: Model<State = S>>(model: &M, state: &S, named: bool) -> Self {
        let mut next = Self {
            states: Vec::new(),
            names: named.then(Vec::new),
        };
        model.next(state, &mut next);
        next
    }
}

/// What an exploration found.
#[derive(Debug, Clone)]
pub struct Explored {
    pub states: usize,
    pub transitions: usize,
    /// Steps from a first state to the farthest one.
    pub depth: usize,
    /// Whether every state that can be reached was visited.
    pub complete: bool,
    pub violation: Option<Violation>,
    /// How the violation is reached, the state last.
    pub path: Vec<String>,
}

/// Visits up to `states_max` states.
pub fn explore<M: Model>(model: &M, states_max: usize) -> Explored {
    let mut explored = Explored {
        states: 0,
        transitions: 0,
        depth: 0,
        complete: true,
        violation: None,
        path: Vec::new(),
    };
    // By hash: the hash of the state before.
    let mut known: HashMap<u64, u64> = HashMap::new();
    let mut queue: VecDeque<(u64, usize, M::State)> = VecDeque::new();
    for state in model.initial() {
        let hash = hash_of(&state);
        if known.insert(hash, hash).is_none() {
            queue.push_back((hash, 0, state));
        }
    }
    while let Some((hash, depth, state)) = queue.pop_front() {
        explored.states += 1;
        explored.depth = explored.depth.max(depth);
        let next = Next::of(model, &state, false).states;
        let check = model.check(&state);
        let check = if next.is_empty() {
            check.and_then(|()| model.check_final(&state))
        } else {
            check
        };
        if let Err(violation) = check {
            explored.violation = Some(violation);
            explored.path = path_to(model, &known, hash);
            explored.path.push(format!("{state:?}"));
            explored.complete = false;
            return explored;
        }
        for after in next {
            explored.transitions += 1;
            let after_hash = hash_of(&after);
            if known.contains_key(&after_hash) {
                continue;
            }
            if known.len() >= states_max {
                explored.complete = false;
                continue;
            }
            known.insert(after_hash, hash);
            queue.push_back((after_hash, depth + 1, after));
        }
    }
    explored
}

/// Goes the way again, by the hashes of its states.
fn path_to<M: Model>(model: &M, known: &HashMap<u64, u64>, mut hash: u64) -> Vec<String> {
    let mut hashes = vec![hash];
    while let Some(before) = known.get(&hash).filter(|before| **before != hash) {
        hash = *before;
        hashes.push(hash);
    }
    let first = hashes.pop();
    let mut path = Vec::new();
    let mut state = model.initial().into_iter().find(|state| Some(hash_of(state)) == first);
    while let (Some(from), Some(hash)) = (state.take(), hashes.pop()) {
        let next = Next::of(model, &from, true);
        let named = next.states.into_iter().zip(next.names.unwrap_or_default());
        if let Some((after, name)) = named.into_iter().find(|(after, _)| hash_of(after) == hash) {
            path.push(name);
            state = Some(after);
        }
    }
    path
}

/// The same on every run: the hasher's keys are fixed within a release of the standard library, and nothing is kept.
fn hash_of(state: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariant::require;

    /// Two who add one to a number by reading and writing it.
    struct Counters {
        locked: bool,
    }

    impl Model for Counters {
        type State = (u8, [Option<u8>; 2], [bool; 2]);

        fn initial(&self) -> Vec<Self::State> {
            vec![(0, [None; 2], [false; 2])]
        }

        fn next(&self, state: &Self::State, next: &mut Next<Self::State>) {
            for who in 0..2 {
                let mut after = *state;
                match state.1[who] {
                    None if !(state.2[who] || self.locked && state.1[1 - who].is_some()) => {
                        after.1[who] = Some(state.0);
                        next.push(after, || format!("{who} reads"));
                    }
                    Some(read) => {
                        after.0 = read + 1;
                        after.1[who] = None;
                        after.2[who] = true;
                        next.push(after, || format!("{who} writes"));
                    }
                    None => {}
                }
            }
        }

        fn check(&self, _: &Self::State) -> Check {
            Ok(())
        }

        fn check_final(&self, state: &Self::State) -> Check {
            require(state.0 == 2, "nothing_lost", || format!("{} of 2", state.0))
        }
    }

    #[test]
    fn a_lost_update_is_found_on_a_shortest_path() {
        let explored = explore(&Counters { locked: false }, 1_000);
        assert_eq!(explored.violation.unwrap().invariant, "nothing_lost");
        assert_eq!(explored.path.len(), 5, "four steps and the state: {:?}", explored.path);
        let explored = explore(&Counters { locked: true }, 1_000);
        assert!(
            explored.violation.is_none() && explored.complete && explored.states == 8,
            "{explored:?}"
        );
    }
}
