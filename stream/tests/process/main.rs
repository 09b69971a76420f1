//! The real program: its jobs killed and resumed, its SQL gateway as clients use it.

#![allow(clippy::unwrap_used, reason = "the helpers of a test are test code")]

mod gateway;
mod kill;
