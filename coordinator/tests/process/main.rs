//! The real program as a process of its own: killed, given garbage, refused.

mod client;
mod cluster;
mod coordination;
mod garbage;
mod gateway;
mod kill;
mod maintenance;
mod program;
mod security;
mod start;
