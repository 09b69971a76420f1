//! Runs jobs: tasks on channels, checkpoints, restarts.
//!
//! Each subtask of the graph is a tokio task on the threads of [`workers`], away from those that serve sockets and signals. Rows, watermarks and barriers go over bounded channels, so a slow sink
//! slows its source; a task that reads several channels aligns barriers in its [`gate`]. The [`job`] owns the pure
//! [`crate::checkpoint::Coordinator`] and carries out what it decides: it asks sources for barriers, writes epochs, tells
//! sinks to commit. When a connector fails and there is a state directory, the job starts again from its newest epoch;
//! a failed row would only fail again, so it ends the job.
//!
//! [`program`] is `stream run`: the statements of a file one after the other.

mod gate;
mod job;
mod meter;
pub mod program;
pub mod progress;
mod sink_task;
mod source_task;
mod task;
mod wiring;
pub mod workers;

pub use job::{Failing, Report, Settings, State, run_job};
pub use meter::Meter;

use crate::Error;

/// Why a task ended the job.
#[derive(Debug, Clone)]
pub enum Failure {
    /// A row could not be processed: trying again would fail again.
    Row(Error),
    /// A file or service failed: a restart from the last epoch may help.
    Peer(Error),
}

impl Failure {
    pub fn into_error(self) -> Error {
        match self {
            Self::Row(error) | Self::Peer(error) => error,
        }
    }
}
