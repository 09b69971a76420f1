//! A stack is a directory. This is what can be asked of one, and how one that is up is ended or one that is not is emptied.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use host::{DataDir, DataDirError};
use rustix::process::Signal;

use super::Error;
use super::board::{Snapshot, State, Status};
use super::output;
use super::ports::Ports;
use super::procfs::Process;
use super::service::{self, SERVICES};

/// Where the state is kept unless told otherwise.
pub const DEFAULT_DIRECTORY: &str = ".bonsai";
const OWNER: &str = "bonsai";
const FORMAT: u32 = 1;
/// What a stack keeps beside the services' own directories.
const OWN_ENTRIES: [&str; 6] = ["logs", "conf", "demo", "ports", "shape.json", "state.json"];
/// All services one after the other, each within its own deadline, and some.
const DOWN_DEADLINE: Duration = Duration::from_secs(60);
/// What drains longer than this is named.
const SLOW_DOWN: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(20);

#[derive(Debug, Clone)]
pub struct Stack {
    directory: PathBuf,
}

impl Stack {
    /// The stack in `data`, or in `./.bonsai`. Nothing is created.
    pub fn at(data: Option<&Path>) -> Result<Self, Error> {
        let data = data.unwrap_or(Path::new(DEFAULT_DIRECTORY));
        let directory =
            std::path::absolute(data).map_err(|error| Error::io(format!("cannot use {}", data.display()), error))?;
        Ok(Self { directory })
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn data_of(&self, service: &str) -> PathBuf {
        self.directory.join(service)
    }

    pub fn logs(&self) -> PathBuf {
        self.directory.join("logs")
    }

    pub fn conf(&self) -> PathBuf {
        self.directory.join("conf")
    }

    pub fn log_of(&self, service: &str) -> PathBuf {
        output::path(&self.logs(), service)
    }

    /// Takes the stack for this process, until the result is dropped.
    pub fn lock(&self) -> Result<DataDir, Error> {
        DataDir::open(&self.directory, OWNER, FORMAT).map_err(|error| match error {
            DataDirError::Held { path, holder } => Error::AlreadyUp(path, holder),
            other => other.into(),
        })
    }

    pub fn snapshot(&self) -> Result<Snapshot, Error> {
        Snapshot::load(&self.directory)?.ok_or_else(|| Error::NoState(self.directory.clone()))
    }

    /// The state if a supervisor runs.
    pub fn running(&self) -> Result<Option<Snapshot>, Error> {
        Ok(Snapshot::load(&self.directory)?.filter(|snapshot| snapshot.supervisor.is_alive()))
    }

    pub fn ports(&self) -> Result<Ports, Error> {
        Ports::load(&self.directory)
    }

    /// Deletes the whole directory.
    pub fn delete(&self) -> Result<(), Error> {
        let deleted = fs::remove_dir_all(&self.directory);
        deleted.map_err(|error| Error::io(format!("cannot delete {}", self.directory.display()), error))
    }

    /// Ends processes that a supervisor left behind when it was killed. To be called with the lock held.
    pub fn end_leftovers(&self) -> Result<Vec<String>, Error> {
        const PATIENCE: Duration = Duration::from_secs(5);
        let Some(snapshot) = Snapshot::load(&self.directory)? else {
            return Ok(Vec::new());
        };
        let left: Vec<(&Status, Process)> = snapshot
            .services
            .iter()
            .filter_map(|status| Some((status, status.process?)))
            .filter(|(_, process)| process.is_alive())
            .collect();
        for (_, process) in &left {
            process.signal(Signal::TERM);
            process.signal(Signal::CONT);
        }
        let deadline = Instant::now() + PATIENCE;
        for (_, process) in &left {
            if !gone_by(process, deadline) {
                process.signal(Signal::KILL);
                gone_by(process, Instant::now() + PATIENCE);
            }
        }
        Ok(left
            .iter()
            .map(|(status, process)| format!("{} (pid {})", status.service, process.pid))
            .collect())
    }
}

fn gone_by(process: &Process, deadline: Instant) -> bool {
    while process.is_alive() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(POLL);
    }
    true
}

/// `bonsai down`.
pub fn down(stack: &Stack) -> Result<(), Error> {
    let snapshot = stack.snapshot()?;
    let supervisor = snapshot.supervisor;
    if !supervisor.is_alive() {
        let lock = stack.lock()?;
        let ended = stack.end_leftovers()?;
        drop(lock);
        match ended.as_slice() {
            [] => outln!("nothing was up in {}", stack.directory.display()),
            ended => outln!("ended what a killed launcher had left: {}", ended.join(", ")),
        }
        return Ok(());
    }
    let started = Instant::now();
    supervisor.signal(Signal::TERM);
    // A launcher that was stopped (SIGSTOP, Ctrl-Z) must go on to end.
    supervisor.signal(Signal::CONT);
    let mut told = Vec::new();
    while !gone_by(&supervisor, Instant::now() + SLOW_DOWN) && started.elapsed() < DOWN_DEADLINE {
        for status in stack.snapshot()?.services {
            if status.state == State::Stopping && !told.contains(&status.service) {
                outln!(
                    "waiting for {} to drain; `bonsai down` once more forces it",
                    status.service
                );
                told.push(status.service);
            }
        }
    }
    if supervisor.is_alive() {
        return Err(Error::NotEnded(DOWN_DEADLINE.as_secs(), supervisor.pid));
    }
    outln!(
        "down after {} ms; the data stays in {}",
        started.elapsed().as_millis(),
        stack.directory.display()
    );
    Ok(())
}

/// `bonsai reset [SERVICE]`: deletes the data of one service, or all of the stack's.
pub fn reset(stack: &Stack, service: Option<&str>) -> Result<(), Error> {
    if !stack.directory.exists() {
        return Err(Error::NoState(stack.directory.clone()));
    }
    let lock = stack.lock().map_err(|error| match error {
        Error::AlreadyUp(path, pid) => Error::StillUp(path, pid),
        other => other,
    })?;
    stack.end_leftovers()?;
    let mut removed = Vec::new();
    for name in directories_of(stack, service)? {
        remove(&stack.directory.join(&name)).map(|existed| existed.then(|| removed.push(name)))?;
    }
    if service.is_none() {
        for name in OWN_ENTRIES {
            remove(&stack.directory.join(name)).map(|existed| existed.then(|| removed.push(name.to_owned())))?;
        }
    }
    drop(lock);
    match removed.as_slice() {
        [] => outln!("there was nothing to delete in {}", stack.directory.display()),
        removed => outln!("deleted {} in {}", removed.join(", "), stack.directory.display()),
    }
    Ok(())
}

/// The entries of the stack's directory that belong to `word` (a service or `dfs`), or to all services.
fn directories_of(stack: &Stack, word: Option<&str>) -> Result<Vec<String>, Error> {
    let mut wanted: Vec<&str> = match word {
        Some(word) => service::expand(word).ok_or_else(|| unknown(word))?,
        None => SERVICES.iter().map(|service| service.name).collect(),
    };
    let too: Vec<&str> = wanted
        .iter()
        .filter_map(|name| service::find(name))
        .flat_map(|row| row.reset_too)
        .copied()
        .collect();
    wanted.extend(too);
    let entries = fs::read_dir(&stack.directory)
        .map_err(|error| Error::io(format!("cannot read {}", stack.directory.display()), error))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| service::find(name).is_some_and(|service| wanted.contains(&service.name)))
        .collect();
    names.sort();
    Ok(names)
}

/// Removes a file or a tree; false if there was none.
fn remove(path: &Path) -> Result<bool, Error> {
    let removed = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match removed {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io(format!("cannot delete {}", path.display()), error)),
    }
}

pub fn unknown(word: &str) -> Error {
    let names: Vec<&str> = SERVICES.iter().map(|service| service.name).collect();
    Error::UnknownService(word.to_owned(), names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack() -> (tempfile::TempDir, Stack) {
        let directory = tempfile::tempdir().unwrap();
        let stack = Stack::at(Some(&directory.path().join("s"))).unwrap();
        drop(stack.lock().unwrap());
        for name in ["log-broker", "namenode", "datanode", "datanode-2", "logs"] {
            fs::create_dir(stack.data_of(name)).unwrap();
        }
        (directory, stack)
    }

    fn left(stack: &Stack) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(stack.directory())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "LOCK" && name != "FORMAT")
            .collect();
        names.sort();
        names
    }

    #[test]
    fn data_nodes_go_with_their_name_node() {
        let (_keep, stack) = stack();
        reset(&stack, Some("namenode")).unwrap();
        assert_eq!(left(&stack), ["log-broker", "logs"]);
    }

    #[test]
    fn one_service_is_reset_alone_and_all_together() {
        let (_keep, stack) = stack();
        reset(&stack, Some("log-broker")).unwrap();
        assert_eq!(left(&stack), ["datanode", "datanode-2", "logs", "namenode"]);
        reset(&stack, None).unwrap();
        assert!(left(&stack).is_empty());
    }

    #[test]
    fn a_stack_that_is_up_is_not_reset() {
        let (_keep, stack) = stack();
        let _lock = stack.lock().unwrap();
        assert!(matches!(reset(&stack, None), Err(Error::StillUp(..))));
        assert_eq!(left(&stack).len(), 5);
    }

    #[test]
    fn an_unknown_service_is_named() {
        let (_keep, stack) = stack();
        let message = reset(&stack, Some("kafka")).unwrap_err().to_string();
        assert!(
            message.contains("there is no service kafka") && message.contains("log-broker"),
            "{message}"
        );
    }
}
