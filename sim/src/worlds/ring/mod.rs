//! Consistent hashing, with and without bounded loads, over joins and leaves.
//!
//! # The idea
//! Karger and others, *Consistent Hashing and Random Trees* (1997); Mirrokni, Thorup, Zadimoghaddam, *Consistent Hashing
//! with Bounded Loads* (2018). The core is `cluster::ring`. Members come and go; keys stay. Plain hashing moves only the
//! keys of the member that left, but the fullest member is far above the mean; with bounded loads none is above
//! ⌈(1+ε)·mean⌉, and some keys of others move as well, O(1/ε²) for each key that had to.
//!
//! # What must hold
//! [`balance`]: no member is above its capacity, and every key has an owner. [`movement`]: plain hashing moves nothing
//! but what it must; bounded loads move less than the paper's bound allows. Planted: a full member takes another key.

mod balance;
mod movement;
mod world;

pub use world::RingWorld;
