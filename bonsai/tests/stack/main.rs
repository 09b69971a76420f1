//! The stack as people run it, with the real services as real processes: each test has a directory and ports of its own.

#![allow(clippy::unwrap_used, reason = "all of this is a test, its helpers too")]

mod cluster;
mod comfort;
mod demo;
mod doctor;
mod embedded;
mod full_disk;
mod harness;
mod life;
mod reach;
mod readme;
mod reference;
mod refusals;
mod registry;
mod shape;
mod stand_in;
mod trouble;
mod truth;
