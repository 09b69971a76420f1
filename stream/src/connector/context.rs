//! Where in a job a connector runs.

use crate::time::Zone;

/// Where in a job a source or a sink runs.
#[derive(Debug, Clone)]
pub struct Context {
    /// Names the job: the same after a restart, different for another job. Part of the sinks' file names.
    pub job: String,
    /// This instance among `parallelism` ones, from 0.
    pub subtask: u32,
    pub parallelism: u32,
    /// The session's `table.local-time-zone`.
    pub zone: Zone,
}

impl Default for Context {
    fn default() -> Self {
        Self {
            job: "job".to_owned(),
            subtask: 0,
            parallelism: 1,
            zone: Zone::UTC,
        }
    }
}

impl Context {
    /// The context in which the planner validates a table's options.
    pub fn of_zone(zone: Zone) -> Self {
        Self {
            zone,
            ..Self::default()
        }
    }
}
