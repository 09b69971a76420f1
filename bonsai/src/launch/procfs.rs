//! What the kernel knows of a process: whether it still is the one we started, and what it uses.
//!
//! A pid alone names nobody for long: the kernel gives it away again. So a process is a pid together with the moment of
//! its start (field 22 of `/proc/PID/stat`), and no signal is sent to a pid whose start has changed. Where there is no
//! `/proc`, the start is unknown and the pid alone must do.

use std::fs;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde::{Deserialize, Serialize};

/// A process that cannot be mistaken for a later one with the same pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub pid: u32,
    /// Start time in kernel ticks since boot; `None` where `/proc` does not tell.
    pub started: Option<u64>,
}

impl Process {
    pub fn of(pid: u32) -> Self {
        Self {
            pid,
            started: stat(pid).map(|stat| stat.started),
        }
    }

    pub fn this() -> Self {
        Self::of(std::process::id())
    }

    /// Whether it still runs; a zombie does not.
    pub fn is_alive(&self) -> bool {
        match (self.started, stat(self.pid)) {
            (Some(started), Some(stat)) => stat.started == started && stat.state != 'Z',
            (Some(_), None) => false,
            (None, _) => pid_of(self.pid).is_some_and(|pid| test_kill_process(pid).is_ok()),
        }
    }

    /// Whether it was stopped, by SIGSTOP or by a debugger.
    pub fn is_stopped(&self) -> bool {
        stat(self.pid).is_some_and(|stat| matches!(stat.state, 'T' | 't'))
    }

    /// Sends `signal` if it still runs.
    pub fn signal(&self, signal: Signal) -> bool {
        self.is_alive() && pid_of(self.pid).is_some_and(|pid| kill_process(pid, signal).is_ok())
    }

    /// Resident memory in bytes.
    pub fn rss_bytes(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kib * 1024)
    }
}

/// The command line of `pid`, shortened to what fits in a message.
pub fn command_line(pid: u32) -> Option<String> {
    const CHARS_MAX: usize = 80;
    let raw = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words: Vec<_> = raw.split(|byte| *byte == 0).filter(|word| !word.is_empty()).collect();
    let line = words
        .iter()
        .map(|word| String::from_utf8_lossy(word))
        .collect::<Vec<_>>()
        .join(" ");
    if line.chars().count() <= CHARS_MAX {
        return Some(line);
    }
    Some(line.chars().take(CHARS_MAX).chain("…".chars()).collect())
}

struct Stat {
    state: char,
    started: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The name in the second field may hold spaces and brackets, so the fields are counted from the last bracket.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, fields) = text.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

fn pid_of(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let stat = parse_stat("7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 0 0").unwrap();
        assert_eq!((stat.state, stat.started), ('S', 4242));
    }

    #[test]
    fn this_process_is_alive_and_its_successor_is_not() {
        let this = Process::this();
        assert!(this.is_alive());
        if let Some(started) = this.started {
            assert!(
                !Process {
                    pid: this.pid,
                    started: Some(started + 1)
                }
                .is_alive()
            );
            assert!(this.rss_bytes().unwrap() > 100_000);
        }
    }

    #[test]
    fn a_dead_child_is_not_alive() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::of(child.id());
        assert!(process.is_alive());
        assert!(process.signal(Signal::KILL));
        child.wait().unwrap();
        assert!(!process.is_alive());
        assert!(!process.signal(Signal::KILL));
    }
}
