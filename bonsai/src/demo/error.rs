use std::io;
use std::path::PathBuf;

use crate::columns::ReadError;
use crate::launch;
use crate::map::PngError;

/// Why the story ends early. Each says what to do, or who does.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Launch(#[from] launch::Error),
    #[error("{file}: {source}")]
    Read { file: String, source: ReadError },
    #[error("the log: {0}")]
    Log(#[from] log_broker_client::Error),
    #[error("the coordinator: {0}")]
    Coordinator(#[from] coordinator_client::Error),
    #[error("the file system: cannot {what}: {source}")]
    Files {
        what: String,
        source: hdfs_native::HdfsError,
    },
    /// Operator: the program's own words tell what to do.
    #[error("{program}: {reason} (its log: {log})")]
    Job {
        program: String,
        reason: String,
        log: PathBuf,
    },
    #[error("{program} answered something unexpected: {answer}")]
    Answer { program: String, answer: String },
    /// Operator: make room, or use another disk.
    #[error(
        "the demo needs {needed_mb} MB in {directory}, and {free_mb} MB are free: make room, or use another disk with --data DIR"
    )]
    Space {
        directory: PathBuf,
        free_mb: u64,
        needed_mb: u64,
    },
    /// Operator: mend what the service says.
    #[error("{service} has not been healthy for {seconds} seconds: {reason}")]
    Lost {
        service: String,
        reason: String,
        seconds: u64,
    },
    /// Operator: wait for the other one.
    #[error("another demo runs on this stack: wait for its end, or use another directory (--data DIR --any-port)")]
    Busy,
    #[error(transparent)]
    Map(#[from] PngError),
    #[error("interrupted")]
    Interrupted,
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
}

impl Error {
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    pub fn read(file: &str) -> impl FnOnce(ReadError) -> Self {
        let file = file.to_owned();
        move |source| Self::Read { file, source }
    }
}
