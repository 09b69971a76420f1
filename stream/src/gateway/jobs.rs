//! The jobs of a gateway: what runs, what has ended, and what a restart goes on with.
//!
//! An INSERT's job has a directory, `jobs/ID` below the state directory: `job.json`, which holds all that the job is planned
//! from (the statements that made the session's tables, its options, the INSERT), and its checkpoints. The file is durable
//! before the job starts, so a server that was killed starts every job again from its newest checkpoint. Without a state
//! directory the jobs have one that goes with the process. Queries are jobs too, but they end with their readers.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use host::Shutdown;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::Error;
use crate::checkpoint::Store;
use crate::runtime::Failing;

/// Ended jobs that are still listed; the oldest go first.
const ENDED_MAX: usize = 1_000;
/// How long a server that ends waits for its jobs to stop at a checkpoint. What does not in time goes on from an earlier
/// one after the restart.
const STOP_WAIT: Duration = Duration::from_millis(700);
const RECORD: &str = "job.json";

/// Flink's job statuses, as far as jobs here have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    Running,
    Finished,
    Failed,
    Canceled,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Finished => "FINISHED",
            Self::Failed => "FAILED",
            Self::Canceled => "CANCELED",
        }
    }
}

/// What a job is made from, and what became of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    pub id: String,
    pub name: String,
    pub status: Status,
    pub started_ms: i64,
    pub ended_ms: Option<i64>,
    pub error: Option<String>,
    /// The checkpoint that the job was stopped with.
    #[serde(default)]
    pub savepoint: Option<PathBuf>,
    /// The statements that made the session's tables and views, in their order.
    pub ddl: Vec<String>,
    pub options: BTreeMap<String, String>,
    pub statement: String,
    /// Why it is being started again, while it is.
    #[serde(skip)]
    pub failing: Option<String>,
}

impl Record {
    /// Its status in Flink's words: one that runs and fails is `RESTARTING`.
    pub fn state(&self) -> &str {
        match (self.status, &self.failing) {
            (Status::Running, Some(_)) => "RESTARTING",
            (status, _) => status.name(),
        }
    }
}

/// A job that runs or has run.
pub struct Job {
    record: watch::Sender<Record>,
    /// Asks it to stop at its next checkpoint.
    pub stop: Shutdown,
    abort: Mutex<Option<AbortHandle>>,
    /// Where its record and its checkpoints are; none for a query.
    directory: Option<PathBuf>,
    /// Why it is being stopped: what it counts as when it has.
    stopping: Mutex<Option<Status>>,
    /// Set by its attempts to run.
    pub failing: Failing,
    saving: Mutex<()>,
}

pub struct Jobs {
    jobs: Mutex<BTreeMap<String, Arc<Job>>>,
    root: PathBuf,
    /// Whether the directory outlives the process.
    pub kept: bool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

impl Job {
    pub fn record(&self) -> Record {
        Record {
            failing: self.failing.reason(),
            ..self.record.borrow().clone()
        }
    }

    /// Where its checkpoints are.
    pub fn checkpoints(&self) -> Option<PathBuf> {
        self.directory.as_ref().map(|directory| directory.join("checkpoints"))
    }

    pub fn started(&self, abort: AbortHandle) {
        *locked(&self.abort) = Some(abort);
    }

    /// The job has ended: at its end, stopped, or with an error.
    pub fn settle(&self, finished: Result<bool, &Error>, server_ends: bool) {
        let asked = *locked(&self.stopping);
        let (status, error) = match (finished, asked) {
            (_, Some(Status::Canceled)) => (Status::Canceled, None),
            (Ok(true), _) | (Ok(false), Some(_)) => (Status::Finished, None),
            // Stopped with the server: it goes on with the next one.
            (Ok(false), None) => return,
            (Err(_), None) if server_ends => return,
            (Err(error), _) => (Status::Failed, Some(error.to_string())),
        };
        let ended = self.record.send_if_modified(|record| {
            let running = record.status == Status::Running;
            if running {
                record.status = status;
                record.error = error;
                record.ended_ms = Some(now_ms());
            }
            running
        });
        if ended {
            self.save();
        }
    }

    fn save(&self) {
        let Some(directory) = &self.directory else { return };
        let _one_at_a_time = locked(&self.saving);
        if let Err(error) = write_record(directory, &self.record()) {
            tracing::error!(%error, directory = %directory.display(), "cannot write down what became of a job");
        }
    }

    /// Ends it at once; what it wrote since its last checkpoint does not become visible.
    pub fn cancel(&self) -> Result<(), Error> {
        self.refuse_unless_running()?;
        *locked(&self.stopping) = Some(Status::Canceled);
        if let Some(abort) = &*locked(&self.abort) {
            abort.abort();
        }
        self.settle(Ok(false), false);
        Ok(())
    }

    fn refuse_unless_running(&self) -> Result<(), Error> {
        let record = self.record.borrow();
        if record.status == Status::Running {
            return Ok(());
        }
        Err(Error::runtime(format!(
            "Job {} is not running: it is {}.",
            record.id,
            record.status.name()
        )))
    }

    /// Stops it at a checkpoint, or with `drain` at the end of what its sources have now; gives the checkpoint's path.
    pub async fn stop(&self, drain: bool) -> Result<Option<PathBuf>, Error> {
        self.refuse_unless_running()?;
        let Some(directory) = &self.directory else {
            self.cancel()?;
            return Ok(None);
        };
        *locked(&self.stopping) = Some(Status::Finished);
        if drain {
            std::fs::write(self.drain_file(directory), b"").map_err(|error| unusable(directory, &error))?;
        } else {
            self.stop.trigger();
        }
        let mut record = self.record.subscribe();
        let ended = record.wait_for(|record| record.status != Status::Running).await;
        let ended = ended.map_err(Error::runtime)?.clone();
        if let (Status::Failed, Some(error)) = (ended.status, ended.error) {
            return Err(Error::runtime(error));
        }
        let savepoint = newest_checkpoint(&directory.join("checkpoints"));
        self.record
            .send_modify(|record| record.savepoint.clone_from(&savepoint));
        self.save();
        Ok(savepoint)
    }

    /// When this file appears, the job's sources end at what is there.
    pub fn drain_file(&self, directory: &Path) -> PathBuf {
        directory.join("drain")
    }

    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }
}

impl Jobs {
    /// The jobs below `state`, or below a directory of this process.
    pub fn open(state: Option<&Path>) -> Result<Self, Error> {
        let (root, kept) = match state {
            Some(state) => (state.join("jobs"), true),
            None => {
                let name = format!("bonsai-stream-{}", uuid::Uuid::new_v4().simple());
                (std::env::temp_dir().join(name), false)
            }
        };
        if kept {
            std::fs::create_dir_all(&root).map_err(|error| unusable(&root, &error))?;
        }
        Ok(Self {
            jobs: Mutex::default(),
            root,
            kept,
        })
    }

    /// The records that an earlier process left.
    pub fn found(&self) -> Result<Vec<Record>, Error> {
        let mut records: Vec<Record> = Vec::new();
        if !self.kept {
            return Ok(records);
        }
        for entry in std::fs::read_dir(&self.root).map_err(|error| unusable(&self.root, &error))? {
            let directory = entry.map_err(|error| unusable(&self.root, &error))?.path();
            let path = directory.join(RECORD);
            match std::fs::read(&path) {
                Ok(bytes) => match serde_json::from_slice(&bytes) {
                    Ok(record) => records.push(record),
                    Err(error) => {
                        return Err(Error::runtime(format!(
                            "{} is damaged ({error}): restore it, or move its directory away to give the job up",
                            path.display()
                        )));
                    }
                },
                // The process died before the job was accepted.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(unusable(&path, &error)),
            }
        }
        records.sort_by_key(|record| record.started_ms);
        Ok(records)
    }

    /// Takes a job over, before it starts. An INSERT's is durable when this returns.
    pub fn add(&self, record: Record, has_directory: bool) -> Result<Arc<Job>, Error> {
        let directory = has_directory.then(|| self.root.join(&record.id));
        if let Some(directory) = &directory {
            std::fs::create_dir_all(directory.join("checkpoints")).map_err(|error| unusable(directory, &error))?;
            write_record(directory, &record)?;
            sync(&self.root)?;
        }
        let id = record.id.clone();
        let job = Arc::new(Job {
            record: watch::Sender::new(record),
            stop: Shutdown::new(),
            abort: Mutex::default(),
            directory,
            stopping: Mutex::default(),
            failing: Failing::default(),
            saving: Mutex::default(),
        });
        let mut jobs = locked(&self.jobs);
        jobs.insert(id, Arc::clone(&job));
        let mut ended: Vec<(i64, String)> = jobs
            .values()
            .map(|job| job.record())
            .filter(|record| record.status != Status::Running)
            .map(|record| (record.started_ms, record.id))
            .collect();
        ended.sort();
        let spare = ended.len().saturating_sub(ENDED_MAX);
        for (_, id) in &ended[..spare] {
            if let Some(directory) = jobs.remove(id).and_then(|job| job.directory.clone())
                && let Err(error) = std::fs::remove_dir_all(&directory)
            {
                tracing::warn!(%error, directory = %directory.display(), "cannot remove an old job");
            }
        }
        Ok(job)
    }

    /// All jobs, in the order in which they started.
    pub fn list(&self) -> Vec<Record> {
        let mut records: Vec<Record> = locked(&self.jobs).values().map(|job| job.record()).collect();
        records.sort_by(|a, b| (a.started_ms, &a.id).cmp(&(b.started_ms, &b.id)));
        records
    }

    pub fn get(&self, id: &str) -> Option<Arc<Job>> {
        locked(&self.jobs).get(id).cloned()
    }

    /// The server ends: its jobs stop at a checkpoint, as far as they do so in time.
    pub async fn stop_all(&self) {
        let running: Vec<Arc<Job>> = locked(&self.jobs)
            .values()
            .filter(|job| job.record.borrow().status == Status::Running)
            .cloned()
            .collect();
        running.iter().for_each(|job| job.stop.trigger());
        let ended = async {
            for job in &running {
                while locked(&job.abort).as_ref().is_some_and(|abort| !abort.is_finished()) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        };
        if tokio::time::timeout(STOP_WAIT, ended).await.is_err() {
            tracing::warn!("some jobs did not stop in time; they go on from an earlier checkpoint");
        }
        if !self.kept {
            let _gone = std::fs::remove_dir_all(&self.root);
        }
    }
}

/// What a job left on disk.
#[derive(Debug)]
pub struct Kept {
    pub id: String,
    pub name: String,
    /// The newest checkpoint whose manifest and files are whole, or why there is none among those that are there.
    pub newest_epoch: Result<Option<u64>, String>,
    /// Newer checkpoints that are damaged, and how.
    pub damaged: Vec<String>,
}

/// Reads all jobs below a state directory, with every file of their newest checkpoints; changes nothing.
///
/// # Errors
/// A directory that cannot be read, or a record that is damaged.
pub fn inspect(state: &Path) -> Result<Vec<Kept>, Error> {
    let root = state.join("jobs");
    if !root.is_dir() {
        return Ok(Vec::new());
    }
    let jobs = Jobs {
        jobs: Mutex::default(),
        root,
        kept: true,
    };
    let mut kept = Vec::new();
    for record in jobs.found()? {
        let checkpoints = jobs.root.join(&record.id).join("checkpoints");
        let read = Store::inspect(Arc::new(disk::RealDisk), &checkpoints, &record.id);
        let (newest_epoch, damaged) = match read {
            Ok(None) => (Ok(None), Vec::new()),
            Ok(Some(restored)) => (Ok(Some(restored.epoch)), restored.passed_over),
            Err(error) => (Err(error.to_string()), Vec::new()),
        };
        kept.push(Kept {
            id: record.id,
            name: record.name,
            newest_epoch,
            damaged,
        });
    }
    Ok(kept)
}

/// The newest checkpoint in a job's directory.
fn newest_checkpoint(directory: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(directory).ok()?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let newest = names
        .filter(|name| name.starts_with("epoch-") && !name.ends_with(".part"))
        .max()?;
    Some(directory.join(newest))
}

fn write_record(directory: &Path, record: &Record) -> Result<(), Error> {
    let part = directory.join(format!("{RECORD}.part"));
    let bytes = serde_json::to_vec_pretty(record).map_err(Error::runtime)?;
    let write = || {
        let mut file = std::fs::File::create(&part)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        std::fs::rename(&part, directory.join(RECORD))
    };
    write().map_err(|error| unusable(directory, &error))?;
    sync(directory)
}

fn sync(directory: &Path) -> Result<(), Error> {
    let synced = std::fs::File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|error| unusable(directory, &error))
}

fn unusable(path: &Path, error: &std::io::Error) -> Error {
    Error::runtime(format!("cannot use {}: {error}", path.display()))
}
