//! The simulated world.

pub mod history;
pub mod invariant;
pub mod world;
