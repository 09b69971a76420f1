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
/// This many of the next events are looked at one by one, before a place is searched for among the others.
const NEAR: usize = 8;
/// A list of this many is long enough that moving it costs more than a heap; what is later than all of it goes there.
const LIST_MAX: usize = 512;

/// The event queue. Two events of one moment happen in the order in which they were scheduled, so a run has one order.
///
/// A world has some dozens of events ahead, and most new ones are among the next few. So the queue is a list in order,
/// the next event last: taking that is free, and adding one moves a few keys of 16 bytes, compared as one number; the
/// events stay where they are. A heap takes three times as long for both; worlds of thousands of members have one for
/// what the list has no room for.
#[derive(Debug)]
pub struct Events<E> {
    now: Micros,
    sequence: u64,
    /// Descending.
    keys: Vec<Key>,
    /// What did not fit in the list; empty in small worlds.
    far: BinaryHeap<Reverse<Key>>,
    slots: Vec<Option<E>>,
    free: Vec<u32>,
}

impl<E> Default for Events<E> {
    fn default() -> Self {
        Self {
            now: 0,
            sequence: 0,
            keys: Vec::new(),
            far: BinaryHeap::new(),
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
        self.insert(key);
        self.sequence += 1;
    }

    fn insert(&mut self, key: Key) {
        if self.keys.len() >= LIST_MAX {
            return self.far.push(Reverse(key));
        }
        let near = self.keys.len().saturating_sub(NEAR);
        let place = match self.keys[near..].iter().rposition(|later| *later > key) {
            Some(place) => near + place + 1,
            None => self.keys[..near].partition_point(|later| *later > key),
        };
        self.keys.insert(place, key);
    }

    pub fn after(&mut self, delay: Micros, event: E) {
        self.at(self.now + delay, event);
    }

    /// The next event if it happens before `end`; the world's time moves to it.
    pub fn next_before(&mut self, end: Micros) -> Option<E> {
        let listed = self.keys.last().copied();
        let far = self.far.peek().map(|key| key.0);
        // Every key is another, so there is one order, wherever a key is kept.
        let is_listed = listed.is_some_and(|listed| far.is_none_or(|far| listed < far));
        let key = if is_listed { listed? } else { far? };
        let at = (key >> MOMENT_SHIFT) as Micros;
        if at >= end {
            return None;
        }
        if is_listed {
            self.keys.pop();
        } else {
            self.far.pop();
        }
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
    fn near_and_far_events_come_in_one_order() {
        let (mut events, mut random) = (Events::default(), crate::world::Random::new(1));
        let mut moments: Vec<Micros> = (0..2_000).map(|_| random.below(900)).collect();
        for moment in &moments {
            events.at(*moment, *moment);
        }
        moments.sort_unstable();
        let found: Vec<Micros> = std::iter::from_fn(|| events.next_before(u64::MAX)).collect();
        assert_eq!(found, moments);
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
