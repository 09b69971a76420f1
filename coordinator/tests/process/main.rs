//! The real program as a process of its own: killed, given garbage, refused.

mod catching_up;
mod client;
mod cluster;
mod coordination;
mod garbage;
mod gateway;
mod handover;
mod kill;
mod maintenance;
mod members;
mod program;
mod security;
mod start;
