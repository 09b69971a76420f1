//! Who is there, who owns what, where a copy goes, how the actual becomes the ideal.
//!
//! # What it is
//! What several services need alike once there is more than one node, as pure cores: no I/O, no clock, no chance of their
//! own.
//! - [`member`]: SWIM with Lifeguard's refinements, and notes that merge. A hint, never a fence.
//! - [`ring`]: consistent hashing with bounded loads.
//! - [`spread`]: placement over racks, load, free space and distance; and the picture of it.
//! - [`reconcile`]: ideal state, actual state, external view; the next moves under rules.
//! - [`hlc`]: a hybrid logical clock.
//! - [`udp`]: the one room at the edge: a thread, a socket and a shared key around [`member`].
//!
//! # Where it stops
//! Nothing here decides who may write. That is what leases and their `create_revision` are for.

pub mod hlc;
pub mod member;
mod plant;
pub mod reconcile;
pub mod ring;
pub mod spread;
pub mod udp;

pub use plant::Plant;
#[cfg(feature = "planted-faults")]
pub use plant::plant;

/// SplitMix64 (Steele, Lea and Flood, 2014): a mixer of numbers, the same on every machine and in every build.
pub fn mix(mut word: u64) -> u64 {
    word = word.wrapping_add(0x9E37_79B9_7F4A_7C15);
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}
