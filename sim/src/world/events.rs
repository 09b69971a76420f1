//! What will happen, in the order in which it will.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A moment of the world, in microseconds since it began. No clock of a member shows it; see [`super::Clock`].
pub type Micros = u64;

pub const MILLISECOND: Micros = 1_000;
pub const SECOND: Micros = 1_000_000;

/// From the highest bits down: when, as which one it was scheduled, and where it is kept.
type Key = u128;

const SLOT_BITS: u32 = 24;
const MOMENT_SHIFT: u32 = 64;

/// The event heap. Two events of one moment happen in the order in which they were scheduled, so a run has one order.
///
/// The heap moves keys of 16 bytes, compared as one number; the events stay where they are.
#[derive(Debug)]
pub struct Events<E> {
    now: Micros,
    sequence: u64,
    heap: BinaryHeap<Reverse<Key>>,
    slots: Vec<Option<E>>,
    free: Vec<u32>,
}

impl<E> Default for Events<E> {
    fn default() -> Self {
        Self {
            now: 0,
            sequence: 0,
            heap: BinaryHeap::new(),
            slots: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<E> Events<E> {
    pub fn now(&self) -> Micros {
        self.now
    }

    /// How many have been scheduled so far.
    pub fn scheduled(&self) -> u64 {
        self.sequence
    }

    /// Schedules an event; one for the past happens now.
    pub fn at(&mut self, at: Micros, event: E) {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(event);
                slot
            }
            None => {
                self.slots.push(Some(event));
                let slot = self.slots.len() - 1;
                assert!(slot < 1 << SLOT_BITS, "fewer than 2^24 events are under way");
                slot as u32
            }
        };
        let moment = Key::from(at.max(self.now)) << MOMENT_SHIFT;
        let key = moment | Key::from(self.sequence << SLOT_BITS | u64::from(slot));
        self.heap.push(Reverse(key));
        self.sequence += 1;
    }

    pub fn after(&mut self, delay: Micros, event: E) {
        self.at(self.now + delay, event);
    }

    /// The next event if it happens before `end`; the world's time moves to it.
    pub fn next_before(&mut self, end: Micros) -> Option<E> {
        let Reverse(key) = *self.heap.peek()?;
        let at = (key >> MOMENT_SHIFT) as Micros;
        if at >= end {
            return None;
        }
        self.heap.pop();
        self.now = at;
        let slot = key as u32 & ((1 << SLOT_BITS) - 1);
        self.free.push(slot);
        self.slots[slot as usize].take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_happen_in_order_of_time_then_of_scheduling() {
        let mut events = Events::default();
        events.at(20, 'c');
        events.at(10, 'a');
        events.at(10, 'b');
        events.at(30, 'd');
        let mut seen = Vec::new();
        while let Some(event) = events.next_before(30) {
            if event == 'a' {
                events.at(5, 'A'); // Too late: it happens now, after what was already due now.
            }
            seen.push((events.now(), event));
        }
        assert_eq!(seen, [(10, 'a'), (10, 'b'), (10, 'A'), (20, 'c')]);
        assert_eq!(events.next_before(31), Some('d'));
        assert_eq!(events.next_before(u64::MAX), None);
    }

    #[test]
    fn places_are_used_again() {
        let mut events = Events::default();
        for n in 0..1_000u64 {
            events.after(1, n);
            assert_eq!(events.next_before(u64::MAX), Some(n));
        }
        assert_eq!(events.slots.len(), 1);
    }
}
