//! The search for an order that explains a history.

use std::collections::HashSet;
use std::hash::Hash;

use super::Operation;

/// A sequential machine.
pub trait Model {
    type Operation;
    type State: Clone + Eq + Hash;

    fn initial(&self) -> Self::State;

    /// The state after `operation`, or none if it could not have been answered as it was. An operation without an answer
    /// fits whatever it would have been answered.
    fn step(&self, state: &Self::State, operation: &Self::Operation, answered: bool) -> Option<Self::State>;
}

/// What the search found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// An order exists.
    Linearizable,
    /// There is none.
    Impossible,
    /// The search was given up after as many steps as it was allowed.
    Undecided,
}

/// A call or a return, in a doubly linked list from which operations are lifted as they are put in order.
#[derive(Debug, Clone, Copy)]
struct Entry {
    operation: usize,
    is_call: bool,
    next: usize,
    previous: usize,
}

/// The head of the list, and its end.
const HEAD: usize = 0;
const END: usize = usize::MAX;

#[derive(Debug)]
struct Entries {
    list: Vec<Entry>,
    /// Where each operation's call and return stand; no return where there was no answer.
    places: Vec<(usize, Option<usize>)>,
}

impl Entries {
    fn new<O>(operations: &[Operation<O>]) -> Self {
        // A return comes before a call of the same moment: that is the stricter reading, and clients of one moment are
        // told apart by the heap's order, which is real.
        let mut moments: Vec<(u64, bool, usize)> = Vec::with_capacity(2 * operations.len());
        for (at, operation) in operations.iter().enumerate() {
            moments.push((operation.called, true, at));
            if let Some(answered) = operation.answered {
                moments.push((answered.max(operation.called), operation.called == answered, at));
            }
        }
        // Stable: an operation whose call and return share a moment keeps the call in front.
        moments.sort_by_key(|(at, is_call, _)| (*at, *is_call));
        let mut list = vec![Entry {
            operation: END,
            is_call: false,
            next: END,
            previous: END,
        }];
        let mut places = vec![(END, None); operations.len()];
        for (_, _, operation) in moments {
            let (at, is_call) = (list.len(), places[operation].0 == END);
            if is_call {
                places[operation].0 = at;
            } else {
                places[operation].1 = Some(at);
            }
            list[at - 1].next = at;
            list.push(Entry {
                operation,
                is_call,
                next: END,
                previous: at - 1,
            });
        }
        Self { list, places }
    }

    fn lift(&mut self, operation: usize) {
        let (call, answer) = self.places[operation];
        self.take_out(call);
        if let Some(answer) = answer {
            self.take_out(answer);
        }
    }

    /// Undoes the last [`Entries::lift`] that was not undone.
    fn put_back(&mut self, operation: usize) {
        let (call, answer) = self.places[operation];
        if let Some(answer) = answer {
            self.put_in(answer);
        }
        self.put_in(call);
    }

    fn take_out(&mut self, at: usize) {
        let Entry { next, previous, .. } = self.list[at];
        self.list[previous].next = next;
        if next != END {
            self.list[next].previous = previous;
        }
    }

    fn put_in(&mut self, at: usize) {
        let Entry { next, previous, .. } = self.list[at];
        self.list[previous].next = at;
        if next != END {
            self.list[next].previous = at;
        }
    }
}

/// Looks for an order of `operations` that keeps to real time and that `model` can go through. Gives up after
/// `steps_max` steps.
pub fn linearizable<M: Model>(model: &M, operations: &[Operation<M::Operation>], steps_max: u64) -> Verdict {
    let mut entries = Entries::new(operations);
    let mut open = operations
        .iter()
        .filter(|operation| operation.answered.is_some())
        .count();
    let mut state = model.initial();
    let mut done = vec![0u64; operations.len().div_ceil(64)];
    let mut tried: HashSet<(Vec<u64>, M::State)> = HashSet::new();
    let mut order: Vec<(usize, M::State)> = Vec::new();
    let mut at = entries.list[HEAD].next;
    let mut steps = 0;
    // Operations that were never answered need no place in the order.
    while open > 0 {
        steps += 1;
        if steps > steps_max {
            return Verdict::Undecided;
        }
        let entry = (at != END).then(|| entries.list[at]);
        if let Some(entry) = entry.filter(|entry| entry.is_call) {
            let operation = &operations[entry.operation];
            let answered = operation.answered.is_some();
            if let Some(next_state) = model.step(&state, &operation.what, answered) {
                flip(&mut done, entry.operation);
                if tried.insert((done.clone(), next_state.clone())) {
                    order.push((entry.operation, std::mem::replace(&mut state, next_state)));
                    entries.lift(entry.operation);
                    open -= usize::from(answered);
                    at = entries.list[HEAD].next;
                    continue;
                }
                flip(&mut done, entry.operation);
            }
            at = entry.next;
            continue;
        }
        // An answer that nothing so far explains (or nothing is left to try): take the last choice back.
        let Some((operation, before)) = order.pop() else {
            return Verdict::Impossible;
        };
        state = before;
        flip(&mut done, operation);
        entries.put_back(operation);
        open += usize::from(operations[operation].answered.is_some());
        at = entries.list[entries.places[operation].0].next;
    }
    Verdict::Linearizable
}

fn flip(set: &mut [u64], at: usize) {
    set[at / 64] ^= 1 << (at % 64);
}
