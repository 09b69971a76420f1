//! The machine: ports, open files, disk, memory, clock.

use std::fs::{self, File};
use std::io::Write;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Resource, getrlimit};

use super::Finding;
use crate::launch::Error;
use crate::launch::ports::{Ports, Wishes};
use crate::launch::report::available;
use crate::launch::service::instances;
use crate::launch::shape::Shape;
use crate::launch::stack::Stack;

/// Below this a busy broker or data node runs out of descriptors: each connection, segment and replica takes one.
const FILES_MIN: u64 = 4_096;
const DISK_LOW_BYTES: u64 = 1 << 30;
const DISK_FULL_BYTES: u64 = 64 << 20;
const MEMORY_LOW_BYTES: u64 = 512 << 20;
/// A disk that takes longer for a sync limits everything that is acknowledged.
const SYNC_SLOW: Duration = Duration::from_millis(50);
const SYNC_ROUNDS: usize = 9;
const SYNC_BYTES: usize = 4 << 10;
/// A file from further in the future shows a clock that went back.
const CLOCK_SLACK: Duration = Duration::from_secs(60);

pub fn check(stack: &Stack) -> Result<Vec<Finding>, Error> {
    let mut findings = vec![ports(stack)?, open_files()];
    findings.extend(disk(stack));
    findings.extend([memory(), clock(stack)].into_iter().flatten());
    Ok(findings)
}

/// Of a stack that is down; one that is up holds its ports itself.
fn ports(stack: &Stack) -> Result<Finding, Error> {
    if stack.running()?.is_some() {
        return Ok(Finding::ok("ports", "held by the stack that is up"));
    }
    let instances = instances(None, Shape::load(stack.directory())?.copies());
    Ok(match Ports::plan(&instances, &stack.ports()?, &Wishes::default()) {
        Ok(_) => Finding::ok("ports", "all are free"),
        Err(Error::Taken(complaints)) => Finding::error(
            "ports",
            complaints.lines().map(str::trim).collect::<Vec<_>>().join("; "),
            "a service cannot start while another process has its port",
            "end that process, or use `bonsai up --any-port`",
        ),
        Err(error) => return Err(error),
    })
}

fn open_files() -> Finding {
    let limit = getrlimit(Resource::Nofile);
    let shown = |limit: Option<u64>| limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
    let what = format!(
        "open files: {} (at most {})",
        shown(limit.current),
        shown(limit.maximum)
    );
    // The services raise their own limit as far as they may.
    match limit.maximum {
        Some(maximum) if maximum < FILES_MIN => Finding::warning(
            "files",
            what,
            "each connection, log segment and replica being read takes one",
            "raise the hard limit: `ulimit -Hn 65536`, or LimitNOFILE of the unit",
        ),
        _ => Finding::ok("files", what),
    }
}

fn disk(stack: &Stack) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(bytes) = available(stack.directory()) {
        let what = format!("{:.1} GB left for {}", bytes as f64 / 1e9, stack.directory().display());
        let advice = "delete what is not needed, or move the stack with --data";
        findings.push(match bytes {
            ..DISK_FULL_BYTES => Finding::error("disk", what, "services refuse writes when the disk is full", advice),
            DISK_FULL_BYTES..DISK_LOW_BYTES => {
                Finding::warning("disk", what, "services refuse writes when the disk is full", advice)
            }
            _ => Finding::ok("disk", what),
        });
    }
    if !stack.directory().is_dir() {
        return findings;
    }
    findings.push(match sync_time(stack) {
        Ok(time) if time < SYNC_SLOW => Finding::ok(
            "sync",
            format!("a sync takes {:.1} ms (median)", time.as_secs_f64() * 1e3),
        ),
        Ok(time) => Finding::warning(
            "sync",
            format!("a sync takes {:.0} ms (median)", time.as_secs_f64() * 1e3),
            "nothing is acknowledged before it is synced: each produce, put and block waits for this",
            "use a local SSD; network file systems and busy disks are slow at this",
        ),
        Err(error) => Finding::error(
            "sync",
            format!("cannot write and sync in {}: {error}", stack.directory().display()),
            "services that cannot sync acknowledge nothing",
            "mend the directory's permissions or the disk",
        ),
    });
    findings
}

/// The median of a few small writes with a sync.
fn sync_time(stack: &Stack) -> std::io::Result<Duration> {
    let path = stack.directory().join(format!("doctor-{}", std::process::id()));
    let measured = File::create(&path).and_then(|mut file| {
        let mut times = Vec::new();
        for _ in 0..SYNC_ROUNDS {
            let started = Instant::now();
            file.write_all(&[0; SYNC_BYTES])?;
            file.sync_data()?;
            times.push(started.elapsed());
        }
        times.sort();
        Ok(times[SYNC_ROUNDS / 2])
    });
    let removed = fs::remove_file(&path);
    measured.and_then(|time| removed.map(|()| time))
}

fn memory() -> Option<Finding> {
    let bytes = available_memory(&fs::read_to_string("/proc/meminfo").ok()?)?;
    let what = format!("{:.1} GB of memory available", bytes as f64 / 1e9);
    Some(match bytes {
        ..MEMORY_LOW_BYTES => Finding::warning(
            "memory",
            what,
            "queries spill to disk early, and the kernel may end processes",
            "end other programs, or start fewer services with --only",
        ),
        _ => Finding::ok("memory", what),
    })
}

fn available_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// Leases, retention and watermarks are about time; a clock that went back keeps or deletes too much.
fn clock(stack: &Stack) -> Option<Finding> {
    let written = fs::metadata(stack.directory().join("state.json"))
        .ok()?
        .modified()
        .ok()?;
    Some(match written.duration_since(SystemTime::now()) {
        Ok(ahead) if ahead > CLOCK_SLACK => Finding::warning(
            "clock",
            format!("the stack's state was written {} s in the future", ahead.as_secs()),
            "the clock went back: retention and event times are wrong until it has caught up",
            "set the clock, and keep it with NTP",
        ),
        _ => Finding::ok("clock", "not behind what was written last"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::doctor::Severity;

    #[test]
    fn memory_is_read_in_kib() {
        assert_eq!(available_memory("MemTotal: 9 kB\nMemAvailable:   2 kB\n"), Some(2_048));
        assert_eq!(available_memory("nonsense"), None);
    }

    #[test]
    fn a_clock_that_went_back_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let stack = Stack::at(Some(directory.path())).unwrap();
        assert!(clock(&stack).is_none(), "nothing was ever started");
        let state = File::create(directory.path().join("state.json")).unwrap();
        assert_eq!(clock(&stack).unwrap().severity, Severity::Ok);
        state
            .set_modified(SystemTime::now() + Duration::from_secs(3_600))
            .unwrap();
        assert_eq!(clock(&stack).unwrap().severity, Severity::Warning);
    }

    #[test]
    fn a_sync_is_measured_and_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let stack = Stack::at(Some(directory.path())).unwrap();
        assert!(sync_time(&stack).is_ok());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        let nowhere = Stack::at(Some(&directory.path().join("none"))).unwrap();
        assert!(sync_time(&nowhere).is_err());
    }
}
