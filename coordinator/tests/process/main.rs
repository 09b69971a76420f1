//! The real program as a process of its own: killed, given garbage, refused.

mod client;
mod garbage;
mod kill;
mod program;
mod security;
mod start;
