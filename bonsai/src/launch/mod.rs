//! The launcher: services as processes of this very program, started in order, watched, and ended in reverse.
//!
//! How it moves: [`up`] decides the ports ([`ports`]) and checks them all before anything is started, then gives each
//! process of the table ([`service`]) a keeper ([`keeper`]). A keeper waits until those before it are ready, starts its
//! process, reads its output ([`output`]), and starts it again when it dies. What each knows is on the board ([`board`]),
//! which is also a file, so that `status`, `down`, `env` and the demo can see it from outside. A service is ready when it says
//! so on stdout, and it is asked to end with SIGTERM; how it is then, its health page ([`health`]) and a call of its own
//! protocol ([`probe`]) say, together in one [`report`]. [`doctor`] asks more, and tries.
//!
//! One directory is one stack: locked by its supervisor, it holds the services' data directories, `logs/`, the stack's
//! [`shape`] and `ports`, `state.json`, `conf/` and what the demo makes. Two stacks are two directories.
//!
//! Where it stops: one machine, one user. It is no init system: a service has no schedule, no user of its own
//! and no resource limits.

mod board;
mod borrow;
mod doctor;
mod embed;
mod environment;
mod error;
mod health;
mod holder;
mod http;
mod jobs;
mod keeper;
pub mod lifeline;
mod logs;
mod names;
mod output;
mod ports;
mod probe;
mod procfs;
mod report;
mod run;
mod service;
mod shape;
mod stack;
mod status;
mod supervisor;
mod up;

pub use board::Snapshot;
pub use borrow::Borrowed;
pub use doctor::{DoctorArgs, doctor};
pub use embed::{Builder, Embedded};
pub use environment::env;
pub use error::Error;
pub use health::{Health, health_of};
pub use jobs::{JobsArgs, jobs};
pub use keeper::describe as describe_exit;
pub use logs::{LogsArgs, logs};
pub use names::{Known, known};
pub use output::is_coloured;
pub use run::{RunArgs, run};
pub use stack::{Stack, down, reset};
pub use status::{StatusArgs, status};
pub use up::{UpArgs, program, up};
