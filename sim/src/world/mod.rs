//! The world: time, chance, the network, clocks, and what was done to them.
//!
//! Nothing here knows what runs in it. A scenario owns an event heap, takes the next event, lets a member step, and
//! schedules what follows. All chance comes from one seed, all order from the heap, so one number is one whole run:
//! [`Trace::digest`] shows it.
//!
//! Time is in microseconds and moves from event to event; a second in which nothing happens costs nothing.
//!
//! Deliberately missing: threads, tasks, the real clock. What needs those is not tested here but with real processes.

mod clock;
mod events;
mod faults;
mod network;
mod random;
mod trace;

pub use clock::Clock;
pub use events::{Events, MILLISECOND, Micros, SECOND};
pub use faults::{Fault, Tally};
pub use network::{Address, Arrivals, Network, Weather};
pub use random::{Random, split_mix};
pub use trace::Trace;
