//! What is known of each service right now, for tasks in the supervisor and, through `DIR/state.json`, for others.
//!
//! Every change is written at once, to a new file that then takes the old one's name: a reader sees the old state or the
//! new one, never half of it. The file also says who the supervisor is; whether that process still runs decides whether
//! the rest is to be believed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::Error;
use super::procfs::Process;

const FILE: &str = "state.json";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// For another service to be ready.
    Waiting,
    Starting,
    Ready,
    /// It died; the next attempt follows.
    Restarting,
    Stopping,
    Stopped,
    /// It never became ready.
    Failed,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Restarting => "restarting",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub service: String,
    pub address: String,
    pub process: Option<Process>,
    pub state: State,
    /// From the start of the process to its ready line.
    pub ready_ms: Option<u64>,
    pub restarts: u32,
    /// Why it failed, in its own words.
    pub reason: Option<String>,
    /// How it ended the last time that it died.
    #[serde(default)]
    pub last_exit: Option<String>,
    /// Its health page: `HOST:PORT/PATH`.
    #[serde(default)]
    pub health: String,
}

impl Status {
    pub fn new(service: &str, address: String, health: String) -> Self {
        Self {
            service: service.to_owned(),
            address,
            process: None,
            state: State::Waiting,
            ready_ms: None,
            restarts: 0,
            reason: None,
            last_exit: None,
            health,
        }
    }
}

/// The contents of `DIR/state.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Snapshot {
    pub supervisor: Process,
    pub services: Vec<Status>,
}

impl Snapshot {
    /// `None` where nothing was ever started.
    pub fn load(directory: &Path) -> Result<Option<Self>, Error> {
        let path = directory.join(FILE);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|_| Error::BadStateFile(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(format!("cannot read {}", path.display()), error)),
        }
    }

    pub fn all(&self, state: State) -> bool {
        self.services.iter().all(|service| service.state == state)
    }
}

/// The supervisor's own view, which it shares.
#[derive(Debug)]
pub struct Board {
    services: watch::Sender<Vec<Status>>,
    path: PathBuf,
}

impl Board {
    pub fn new(directory: &Path, services: Vec<Status>) -> Self {
        let board = Self {
            services: watch::Sender::new(services),
            path: directory.join(FILE),
        };
        board.save();
        board
    }

    pub fn services(&self) -> Vec<Status> {
        self.services.borrow().clone()
    }

    pub fn change(&self, service: &str, change: impl FnOnce(&mut Status)) {
        self.services.send_modify(|services| {
            if let Some(status) = services.iter_mut().find(|status| status.service == service) {
                change(status);
            }
        });
        self.save();
    }

    /// Resolves when `condition` holds.
    pub async fn until(&self, condition: impl FnMut(&Vec<Status>) -> bool) {
        let mut receiver = self.services.subscribe();
        // The sender lives as long as `self`.
        let _ = receiver.wait_for(condition).await;
    }

    /// Losing the file costs others their view, not the services their life: so it is said, and goes on.
    fn save(&self) {
        let snapshot = Snapshot {
            supervisor: Process::this(),
            services: self.services(),
        };
        let saved = serde_json::to_vec_pretty(&snapshot)
            .map_err(|error| Error::io("cannot write the state", error.into()))
            .and_then(|bytes| write_atomically(&self.path, &bytes));
        if let Err(error) = saved {
            errln!("bonsai: {error}");
        }
    }
}

pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let temporary = path.with_extension("new");
    fs::write(&temporary, bytes)
        .and_then(|()| fs::rename(&temporary, path))
        .map_err(|error| Error::io(format!("cannot write {}", path.display()), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_see_every_change() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Snapshot::load(directory.path()).unwrap().is_none());
        let board = Board::new(
            directory.path(),
            vec![Status::new("log-broker", "127.0.0.1:9092".to_owned(), String::new())],
        );
        board.change("log-broker", |status| status.state = State::Ready);
        let snapshot = Snapshot::load(directory.path()).unwrap().unwrap();
        assert!(snapshot.all(State::Ready));
        assert!(snapshot.supervisor.is_alive());
    }

    #[test]
    fn a_broken_state_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(FILE), "{").unwrap();
        assert!(matches!(Snapshot::load(directory.path()), Err(Error::BadStateFile(_))));
    }
}
