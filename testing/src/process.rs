//! Real programs as processes.
//!
//! Every service prints one ready line on stdout, `NAME ready key=address …` (`host::Status`). [`Program`] says how
//! to start one; [`Process`] is one that is ready, is killed when dropped, and can be started again with the same
//! arguments. Its stderr goes to a file, whose last lines a failed start prints.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

use crate::http;
use crate::wait::{DEADLINE, eventually};

/// How many lines of a program's log a failed start shows.
const LOG_LINES_SHOWN: usize = 30;

/// How to start a program: its path, arguments and environment.
///
/// The environment is empty except for `PATH`, so that no setting of the person who runs the tests reaches the program.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    args: Vec<OsString>,
    environment: BTreeMap<OsString, OsString>,
    log: Option<PathBuf>,
}

impl Program {
    /// `path` is `env!("CARGO_BIN_EXE_…")`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path_variable = std::env::var_os("PATH").map(|value| ("PATH".into(), value));
        Self {
            path: path.into(),
            args: Vec::new(),
            environment: path_variable.into_iter().collect(),
            log: None,
        }
    }

    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment
            .insert(name.as_ref().to_owned(), value.as_ref().to_owned());
        self
    }

    /// Appends stderr to this file. Without it stderr is the test's own.
    #[must_use]
    pub fn log_to(mut self, path: impl Into<PathBuf>) -> Self {
        self.log = Some(path.into());
        self
    }

    /// The command, for a test that needs more than [`Program::start`] and [`Program::run`].
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command
            .args(&self.args)
            .env_clear()
            .envs(&self.environment)
            .stdin(Stdio::null());
        command
    }

    /// Starts it without waiting for its ready line. Its stdout is piped.
    #[track_caller]
    pub fn spawn(&self) -> Child {
        let mut command = self.command();
        if let Some(log) = &self.log {
            command.stderr(append_to(log));
        }
        command
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", self.path.display()))
    }

    /// Starts it and waits for its ready line.
    ///
    /// # Panics
    /// When the program ends, or prints anything else first; with the end of its log.
    #[track_caller]
    pub fn start(&self) -> Process {
        let mut child = self.spawn();
        let mut line = String::new();
        let Some(stdout) = child.stdout.take() else {
            unreachable!("stdout is piped")
        };
        let read = BufReader::new(stdout).read_line(&mut line);
        let mut process = Process {
            program: self.clone(),
            child,
            addresses: BTreeMap::new(),
        };
        let Some(addresses) = ready_line(&line) else {
            let state = process.child.try_wait();
            panic!(
                "{} {:?} printed no ready line but {line:?} ({read:?}, {state:?}){}",
                self.path.display(),
                self.args,
                process.end_of_log()
            );
        };
        process.addresses = addresses;
        process
    }

    /// Runs it to its end, with its output captured. For programs that are expected to end by themselves.
    ///
    /// # Panics
    /// When it does not end within [`DEADLINE`].
    #[track_caller]
    pub fn run(&self) -> Output {
        let mut child = self
            .command()
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", self.path.display()));
        let stdout = read_in_background(child.stdout.take());
        let stderr = read_in_background(child.stderr.take());
        let status = wait_within(&mut child, DEADLINE).unwrap_or_else(|| {
            let _ = child.kill();
            panic!(
                "{} {:?} did not end within {DEADLINE:?}",
                self.path.display(),
                self.args
            )
        });
        let collect = |thread: std::thread::JoinHandle<Vec<u8>>| thread.join().unwrap_or_default();
        Output {
            status,
            stdout: collect(stdout),
            stderr: collect(stderr),
        }
    }
}

/// Reads a pipe to its end on a thread, so that a program that writes much does not block.
fn read_in_background(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What could be read is what the caller gets.
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}

#[track_caller]
fn append_to(path: &Path) -> File {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .unwrap_or_else(|error| panic!("cannot open {}: {error}", path.display()))
}

/// The addresses of `NAME ready key=address …`, by key.
fn ready_line(line: &str) -> Option<BTreeMap<String, SocketAddr>> {
    let (_, rest) = line.trim_end().split_once(" ready")?;
    rest.split_whitespace()
        .map(|word| {
            let (key, address) = word.split_once('=')?;
            Some((key.to_owned(), address.parse().ok()?))
        })
        .collect()
}

/// Sends a signal to a child that is not a [`Process`].
#[track_caller]
pub fn send(child: &Child, signal: Signal) {
    let sent = kill_process(Pid::from_child(child), signal);
    assert!(sent.is_ok(), "cannot send {signal:?}: {sent:?}");
}

/// Whether each thread is in state T, the field behind the name in parentheses.
fn all_stopped(tasks: &Path) -> bool {
    let Ok(threads) = fs::read_dir(tasks) else { return false };
    threads.flatten().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        state.is_none() || state == Some('T')
    })
}

fn wait_within(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            Ok(None) => return None,
            Err(error) => panic!("cannot wait for a child: {error}"),
        }
    }
}

/// A program that printed its ready line. It is killed when dropped.
#[derive(Debug)]
pub struct Process {
    program: Program,
    child: Child,
    addresses: BTreeMap<String, SocketAddr>,
}

impl Process {
    /// An address of the ready line by its key.
    #[track_caller]
    pub fn address(&self, key: &str) -> SocketAddr {
        match self.addresses.get(key) {
            Some(address) => *address,
            None => panic!("the ready line has no {key}: {:?}", self.addresses),
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, and waits for the end.
    #[track_caller]
    pub fn kill(&mut self) {
        let killed = self.child.kill().and_then(|()| self.child.wait());
        assert!(killed.is_ok(), "cannot kill: {killed:?}");
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Panics
    /// When it does not end within [`DEADLINE`].
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        send(&self.child, signal);
    }

    /// SIGSTOP: alive, connected, and silent, until [`Process::resume`]. The signal alone is no promise: a busy machine lets
    /// threads run on for a while, so this waits until all have stopped.
    #[track_caller]
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        let tasks = PathBuf::from(format!("/proc/{}/task", self.child.id()));
        if tasks.exists() {
            eventually("all threads of a stopped process have stopped", || all_stopped(&tasks));
        }
    }

    #[track_caller]
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Waits until it ends by itself.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        match wait_within(&mut self.child, DEADLINE) {
            Some(status) => status,
            None => panic!("it did not end within {DEADLINE:?}{}", self.end_of_log()),
        }
    }

    #[track_caller]
    pub fn is_running(&mut self) -> bool {
        wait_within(&mut self.child, Duration::ZERO).is_none()
    }

    /// Starts it again with the same arguments, after it was killed or has ended.
    #[track_caller]
    pub fn restart(&mut self) {
        assert!(!self.is_running(), "it still runs");
        *self = self.program.start();
    }

    /// SIGKILL and a new start.
    #[track_caller]
    pub fn kill_and_restart(&mut self) {
        self.kill();
        self.restart();
    }

    /// Resident memory in bytes.
    #[track_caller]
    pub fn resident_bytes(&self) -> u64 {
        let usage = usage(self.pid());
        usage
            .unwrap_or_else(|error| panic!("no memory figure: {error}"))
            .resident_bytes
    }

    /// GET over HTTP/1.1 from the address under `key`; the body.
    #[track_caller]
    pub fn http_get(&self, key: &str, path: &str) -> String {
        http::get(self.address(key), path).unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// A sample of the Prometheus page at the address under `key`, without labels.
    #[track_caller]
    pub fn metric(&self, key: &str, name: &str) -> f64 {
        let page = self.http_get(key, "/metrics");
        let value = page
            .lines()
            .filter_map(|line| line.split_once(' '))
            .find_map(|(found, value)| (found == name).then(|| value.parse().ok())?);
        value.unwrap_or_else(|| panic!("no metric {name} in:\n{page}"))
    }

    /// The document at `/status`.
    ///
    /// # Panics
    /// When it does not agree with the ready line, or is not what every service has there.
    #[track_caller]
    pub fn status(&self) -> serde_json::Value {
        let page = self.http_get("http", "/status");
        let document: serde_json::Value =
            serde_json::from_str(&page).unwrap_or_else(|error| panic!("/status is not JSON: {error}: {page}"));
        let keys = [
            "program",
            "version",
            "role",
            "addresses",
            "data_directory",
            "ready",
            "facts",
        ];
        for key in keys {
            assert!(document.get(key).is_some(), "/status has no {key}: {page}");
        }
        for (name, address) in &self.addresses {
            assert_eq!(
                document["addresses"][name],
                address.to_string(),
                "{name} in /status: {page}"
            );
        }
        document
    }

    /// All of the log so far; empty if the program does not log to a file.
    pub fn log(&self) -> String {
        let log = self.program.log.as_ref();
        log.and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default()
    }

    fn end_of_log(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let from = lines.len().saturating_sub(LOG_LINES_SHOWN);
        match lines[from..].join("\n") {
            none if none.is_empty() => String::new(),
            some => format!("; the end of its log:\n{some}"),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What Linux says about a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// User and system time so far, in microseconds.
    pub cpu_micros: u64,
    /// All resident memory.
    pub resident_bytes: u64,
    /// Resident memory that is not mapped from files.
    pub anonymous_bytes: u64,
}

/// Ticks of `/proc/PID/stat` in a second: `USER_HZ`, which is 100 on every Linux that programs see.
const TICKS_PER_SECOND: u64 = 100;

/// CPU time and memory of a process.
///
/// # Errors
/// When it does not run, or `/proc` has another form.
pub fn usage(pid: u32) -> std::io::Result<Usage> {
    let unknown = |what: &str| std::io::Error::other(format!("/proc/{pid} has another form: {what}"));
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The program's name, in parentheses, may hold anything; the numbers come after it.
    let (_, numbers) = stat.rsplit_once(')').ok_or_else(|| unknown("stat"))?;
    let fields: Vec<&str> = numbers.split_whitespace().collect();
    let ticks = |field: usize| -> std::io::Result<u64> {
        let ticks = fields.get(field).and_then(|ticks| ticks.parse::<u64>().ok());
        ticks.ok_or_else(|| unknown("stat"))
    };
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let bytes = |name: &str| -> std::io::Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kilobytes.map(|kilobytes| kilobytes << 10).ok_or_else(|| unknown(name))
    };
    Ok(Usage {
        // utime and stime: fields 14 and 15 of the line (proc_pid_stat(5)).
        cpu_micros: (ticks(11)? + ticks(12)?) * (1_000_000 / TICKS_PER_SECOND),
        resident_bytes: bytes("VmRSS:")?,
        anonymous_bytes: bytes("RssAnon:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Program {
        Program::new("/bin/sh").args(["-c", script])
    }

    #[test]
    fn the_ready_line_gives_addresses_by_key() {
        let process = shell("echo 'x ready client=127.0.0.1:1 peer=[::1]:2'; sleep 60").start();
        assert_eq!(process.address("client").port(), 1);
        assert!(process.address("peer").is_ipv6());
        assert_eq!(ready_line("x ready listen=nonsense"), None);
        assert_eq!(ready_line("error: no"), None);
    }

    #[test]
    #[should_panic(expected = "the disk is on fire")]
    fn a_failed_start_shows_the_end_of_the_log() {
        let directory = crate::TestDir::new();
        let log = directory.join("log");
        let _process = shell("echo 'the disk is on fire' >&2; exit 1").log_to(log).start();
    }

    #[test]
    fn a_process_ends_by_sigterm_and_starts_again() {
        let mut process = shell("trap 'exit 7' TERM; echo 'x ready'; while :; do sleep 0.01; done").start();
        assert!(process.is_running());
        assert_eq!(process.terminate().code(), Some(7));
        process.restart();
        process.kill_and_restart();
        assert!(process.is_running() && process.resident_bytes() > 0);
    }

    #[test]
    fn a_frozen_process_makes_no_progress_until_it_is_resumed() {
        let directory = crate::TestDir::new();
        let marks = directory.join("marks");
        let script = format!(
            "echo 'x ready'; while :; do echo >> {}; sleep 0.01; done",
            marks.display()
        );
        let process = shell(&script).start();
        let written = || fs::metadata(&marks).map_or(0, |file| file.len());
        crate::eventually("it writes", || written() > 2);
        process.freeze();
        std::thread::sleep(Duration::from_millis(50));
        let before = written();
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(written(), before);
        process.resume();
        crate::eventually("it writes again", || written() > before);
    }

    #[test]
    fn output_larger_than_a_pipe_does_not_block_a_run() {
        let output = shell("yes | head -c 300000; yes | head -c 300000 >&2; exit 3").run();
        assert_eq!((output.stdout.len(), output.stderr.len()), (300_000, 300_000));
        assert_eq!(output.status.code(), Some(3));
    }

    #[test]
    fn cpu_time_is_counted() {
        let mut child = shell("while :; do :; done").spawn();
        crate::eventually("it burns", || {
            usage(child.id()).is_ok_and(|usage| usage.cpu_micros > 20_000)
        });
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(usage(u32::MAX >> 1).is_err());
    }
}
