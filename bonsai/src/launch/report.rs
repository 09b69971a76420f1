//! How the stack is right now, from every side: its launcher's notes, each service's health page, a call of its own
//! protocol, its log, and the disk below it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Error;
use super::board::{State, Status};
use super::health::{self, Health};
use super::probe::{self, Answer};
use super::procfs::Process;
use super::service;
use super::stack::Stack;

/// How much of a log's end is searched for its last error.
const LOG_TAIL_BYTES: u64 = 256 << 10;

#[derive(Debug)]
pub struct Report {
    pub directory: PathBuf,
    pub supervisor: Process,
    pub is_up: bool,
    pub services: Vec<ServiceReport>,
}

#[derive(Debug)]
pub struct ServiceReport {
    pub status: Status,
    pub health: Health,
    /// `None` if it was not asked.
    pub probe: Option<Result<Answer, String>>,
    /// The last error in its log.
    pub last_error: Option<String>,
    /// What the file system of its data has left.
    pub disk_available_bytes: Option<u64>,
}

impl Report {
    /// Asks all services, each within its own time.
    pub async fn of(stack: &Stack) -> Result<Self, Error> {
        let snapshot = stack.snapshot()?;
        let is_up = snapshot.supervisor.is_alive();
        let services: Vec<Status> = match is_up {
            true => snapshot.services,
            false => snapshot.services.into_iter().map(stopped).collect(),
        };
        let ports = stack.ports()?;
        let has_coordinator = ports.is_coordinator_elsewhere()
            || services
                .iter()
                .any(|status| service::find(&status.service).is_some_and(|row| row.name == "coordinator"));
        let (mut health, probes) = tokio::join!(health::of_all(&services), probe::of_all(&services, &ports));
        if has_coordinator && is_up {
            health::check_registrations(&ports.coordinators().join(","), &services, &mut health).await;
        }
        let services = services.into_iter().zip(health).zip(probes);
        let services = services
            .map(|((status, health), probe)| ServiceReport {
                health: health.and(problem(probe.as_ref())),
                last_error: last_error(&stack.log_of(&status.service)),
                disk_available_bytes: available(&stack.data_of(&status.service)),
                status,
                probe,
            })
            .collect();
        Ok(Self {
            directory: stack.directory().to_owned(),
            supervisor: snapshot.supervisor,
            is_up,
            services,
        })
    }

    pub fn is_healthy(&self) -> bool {
        self.is_up && self.services.iter().all(|service| service.health.is_healthy())
    }
}

impl ServiceReport {
    pub fn answer(&self) -> Option<&Answer> {
        self.probe.as_ref()?.as_ref().ok()
    }

    pub fn object(&self) -> Value {
        let Self {
            status, health, probe, ..
        } = self;
        let probe = probe.as_ref().map(|probe| match probe {
            Ok(answer) => json!({
                "call": answer.call,
                "ok": true,
                "elapsed_ms": answer.elapsed.as_secs_f64() * 1e3,
                "facts": answer.facts.values,
                "warnings": answer.facts.warnings,
            }),
            Err(error) => json!({ "ok": false, "error": error }),
        });
        json!({
            "service": status.service,
            "address": status.address,
            "pid": status.process.map(|process| process.pid),
            "state": status.state,
            "healthy": health.is_healthy(),
            "reason": health.reason(),
            "ready_ms": status.ready_ms,
            "rss_bytes": status.process.and_then(|process| process.rss_bytes()),
            "restarts": status.restarts,
            "last_exit": status.last_exit,
            "last_error": self.last_error,
            "disk_available_bytes": self.disk_available_bytes,
            "probe": probe,
        })
    }
}

fn problem(probe: Option<&Result<Answer, String>>) -> Health {
    match probe {
        None => Health::Healthy,
        Some(Err(error)) => Health::Unhealthy(error.clone()),
        Some(Ok(answer)) => match &answer.facts.problem {
            Some(problem) => Health::Unhealthy(problem.clone()),
            None => Health::Healthy,
        },
    }
}

/// What a service is when its supervisor is gone.
fn stopped(status: Status) -> Status {
    Status {
        process: None,
        ready_ms: None,
        state: State::Stopped,
        reason: None,
        ..status
    }
}

/// Bytes that a process of this user can still write below `directory`, or its nearest parent that is there.
pub fn available(directory: &Path) -> Option<u64> {
    let there = directory.ancestors().find(|ancestor| ancestor.exists())?;
    let space = rustix::fs::statvfs(there).ok()?;
    Some(space.f_bavail.saturating_mul(space.f_frsize))
}

/// The last line of a log that reports an error.
fn last_error(log: &Path) -> Option<String> {
    let mut file = File::open(log).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES))).ok()?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    text.lines()
        .rev()
        .find(|line| super::output::is_error(line))
        .map(health::one_line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_error_of_a_log_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("x.log");
        assert_eq!(last_error(&log), None);
        let text = "2026-12-01T12:00:00.000Z ERROR a: first\n2026-12-01T12:00:01.000Z ERROR a: second\n\
                    2026-12-01T12:00:02.000Z  WARN a: third\n";
        std::fs::write(&log, text).unwrap();
        assert_eq!(
            last_error(&log).as_deref(),
            Some("2026-12-01T12:00:01.000Z ERROR a: second")
        );
    }

    #[test]
    fn the_disk_of_a_directory_that_is_not_there_is_its_parents() {
        let directory = tempfile::tempdir().unwrap();
        assert!(available(&directory.path().join("a/b")).is_some_and(|bytes| bytes > 0));
    }
}
