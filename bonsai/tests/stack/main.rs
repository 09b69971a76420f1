//! The launcher with the real services, as real processes: each test has a directory and ports of its own.

mod harness;
mod life;
mod refusals;
mod trouble;
