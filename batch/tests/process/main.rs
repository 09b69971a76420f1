//! The real program: on the command line, and as a Flight SQL server.

#![allow(clippy::unwrap_used, reason = "the helpers of a test are test code")]

mod flight;
mod program;
