//! Work on the store file that waits for its one writer, the persister.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::SyncSender;
use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::members::Members;
use crate::server::storage::store_file::Numbers;

/// The name under which a received store file is written.
pub(in crate::server) const INCOMING: &str = "store.incoming";

/// What only the persister can do, who has the store file.
pub(in crate::server) enum Job {
    /// Copy the file as it is now.
    Copy {
        to: PathBuf,
        done: oneshot::Sender<io::Result<(Numbers, Members)>>,
    },
    /// Put the file that has arrived in the place of the present one.
    Adopt { done: SyncSender<io::Result<()>> },
}

/// The jobs that wait for the persister.
#[derive(Default)]
pub(in crate::server) struct Jobs(Mutex<Vec<Job>>);

impl Jobs {
    pub(in crate::server) fn push(&self, job: Job) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(job);
    }

    /// Takes all that wait.
    pub(in crate::server) fn take(&self) -> Vec<Job> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
