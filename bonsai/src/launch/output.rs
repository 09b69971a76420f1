//! What the services print: each line goes to `DIR/logs/SERVICE.log`; warnings and errors also, with a coloured prefix, to
//! the terminal, so that the table of addresses stays in sight. The launcher's own lines go to `bonsai.log` and the terminal.
//!
//! A log file is bounded: at [`LOG_BYTES_MAX`] it becomes `SERVICE.log.1`, which replaces the one before. The terminal is
//! held back while the services start, so that the table comes last.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anstyle::{AnsiColor, Color, Style};
use chrono::{DateTime, SecondsFormat, Utc};

use super::up::Shown;

/// Enough for a day of warnings, small enough for a laptop.
pub const LOG_BYTES_MAX: u64 = 8 << 20;
/// A longer line is cut into several, so that no service fills our memory.
const LINE_BYTES_MAX: usize = 16 << 10;
/// Lines kept for the terminal while it is held back; the files have them all.
const HELD_LINES_MAX: usize = 1_000;

const COLOURS: [AnsiColor; 6] = [
    AnsiColor::Cyan,
    AnsiColor::Yellow,
    AnsiColor::Green,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::BrightRed,
];

/// The launcher's own name in front of its own lines.
pub const LAUNCHER: &str = "bonsai";

#[derive(Debug)]
pub struct Output {
    directory: PathBuf,
    names: Vec<String>,
    shown: Shown,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    logs: BTreeMap<String, BoundedLog>,
    /// `None` once the terminal is released.
    held: Option<Vec<(String, String)>>,
}

impl Output {
    pub fn new(directory: &Path, names: Vec<String>, shown: Shown) -> Self {
        let inner = Mutex::new(Inner {
            logs: BTreeMap::new(),
            held: Some(Vec::new()),
        });
        Self {
            directory: directory.to_owned(),
            names,
            shown,
            inner,
        }
    }

    pub fn path(&self, service: &str) -> PathBuf {
        path(&self.directory, service)
    }

    /// A line of a service's output.
    pub fn line(&self, service: &str, line: &str) {
        let mut inner = self.inner();
        self.keep(&mut inner, service, line);
        match self.shown {
            Shown::Everything => self.show(&mut inner, service, line),
            // Lines of a service that starts are in its log, and in the error if it fails to start.
            Shown::Warnings if inner.held.is_none() && is_warning(line) => self.show(&mut inner, service, line),
            Shown::Warnings | Shown::Nothing => {}
        }
    }

    /// A line of the launcher itself.
    pub fn say(&self, line: &str) {
        let mut inner = self.inner();
        self.keep(&mut inner, LAUNCHER, line);
        if self.shown != Shown::Nothing {
            self.show(&mut inner, LAUNCHER, line);
        }
    }

    /// A line in a log begins with its time: most have one of the service's own.
    fn keep(&self, inner: &mut Inner, name: &str, line: &str) {
        let log = inner
            .logs
            .entry(name.to_owned())
            .or_insert_with(|| BoundedLog::open(path(&self.directory, name), LOG_BYTES_MAX));
        match time_of(line) {
            Some(_) => log.write(line),
            None => log.write(&format!("{} {line}", now())),
        }
    }

    /// Shows what was held back, and from now on everything at once.
    pub fn release(&self) {
        let mut inner = self.inner();
        for (service, line) in inner.held.take().into_iter().flatten() {
            self.print(&service, &line);
        }
    }

    fn show(&self, inner: &mut Inner, service: &str, line: &str) {
        match &mut inner.held {
            Some(held) if held.len() < HELD_LINES_MAX => held.push((service.to_owned(), line.to_owned())),
            Some(_) => {}
            None => self.print(service, line),
        }
    }

    /// A closed terminal must not end the supervisor.
    fn print(&self, service: &str, line: &str) {
        let _ = print_prefixed(&self.names, service, line);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// This moment, as the services write theirs.
fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// When a line of a log was written, if it begins with that: in text, or as the first member of a JSON object.
pub fn time_of(line: &str) -> Option<DateTime<Utc>> {
    let text = match line.strip_prefix('{') {
        None => line.split_whitespace().next()?,
        Some(_) => {
            let rest = ["\"ts\":\"", "\"timestamp\":\""]
                .iter()
                .find_map(|name| line.split_once(name))?
                .1;
            rest.split('"').next()?
        }
    };
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    Some(time.to_utc())
}

/// A line that deserves attention, in text and in JSON.
fn is_warning(line: &str) -> bool {
    has_level(line, "WARN") || is_error(line)
}

/// A line that reports an error, in text and in JSON.
pub fn is_error(line: &str) -> bool {
    // As the service wrote it, or behind the time that the log adds.
    line.starts_with("error: ")
        || line
            .split_once(' ')
            .is_some_and(|(time, rest)| time_of(time).is_some() && rest.starts_with("error: "))
        || line.contains("panicked at")
        || has_level(line, "ERROR")
}

/// Whether the level stands at the line's beginning, where levels are.
fn has_level(line: &str, level: &str) -> bool {
    let head: String = line.chars().take(80).collect();
    let in_json = [
        format!("\"{level}\""),
        format!("\"level\":\"{}\"", level.to_lowercase()),
    ];
    head.split_whitespace().any(|word| word == level) || in_json.iter().any(|text| head.contains(text.as_str()))
}

pub fn path(directory: &Path, service: &str) -> PathBuf {
    directory.join(format!("{service}.log"))
}

/// Prints `service | line`, coloured by the service's place in `names` where stdout is a terminal.
pub fn print_prefixed(names: &[String], service: &str, line: &str) -> io::Result<()> {
    let width = names.iter().map(String::len).max().unwrap_or(0).max(LAUNCHER.len());
    let style = names
        .iter()
        .position(|name| name == service)
        .map_or(Style::new().bold(), |place| {
            Style::new().fg_color(Some(Color::Ansi(COLOURS[place % COLOURS.len()])))
        });
    let mut stdout = io::stdout().lock();
    if is_coloured() {
        writeln!(stdout, "{style}{service:width$} |{style:#} {line}")
    } else {
        writeln!(stdout, "{service:width$} | {line}")
    }
}

pub fn is_coloured() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

#[derive(Debug)]
struct BoundedLog {
    path: PathBuf,
    /// `None` when it cannot be written; said once.
    file: Option<File>,
    len: u64,
    len_max: u64,
}

impl BoundedLog {
    fn open(path: PathBuf, len_max: u64) -> Self {
        let mut log = Self {
            path,
            file: None,
            len: 0,
            len_max,
        };
        log.reopen();
        log
    }

    fn reopen(&mut self) {
        match File::options().create(true).append(true).open(&self.path) {
            Ok(file) => {
                self.len = file.metadata().map_or(0, |metadata| metadata.len());
                self.file = Some(file);
            }
            Err(error) => {
                errln!("bonsai: cannot write {}: {error}", self.path.display());
                self.file = None;
            }
        }
    }

    fn write(&mut self, line: &str) {
        if self.len > 0 && self.len + line.len() as u64 >= self.len_max {
            let old = self.path.with_extension("log.1");
            if fs::rename(&self.path, old).is_ok() {
                self.reopen();
            }
        }
        let Some(file) = &mut self.file else { return };
        match writeln!(file, "{line}") {
            Ok(()) => self.len += line.len() as u64 + 1,
            Err(error) => {
                errln!("bonsai: cannot write {}: {error}", self.path.display());
                self.file = None;
            }
        }
    }
}

/// Cuts a stream of bytes into lines.
#[derive(Debug, Default)]
pub struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// The lines that `bytes` complete.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.rest.len() >= LINE_BYTES_MAX {
                lines.extend(self.finish());
            }
        }
        lines
    }

    /// What is left without an end of line.
    pub fn finish(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.rest);
        if line.is_empty() {
            return None;
        }
        Some(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_however_the_bytes_arrive() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(b"one\ntw"), ["one"]);
        assert_eq!(lines.push(b"o\r\n\nthree"), ["two", ""]);
        assert_eq!(lines.finish().as_deref(), Some("three"));
        assert_eq!(lines.finish(), None);
    }

    #[test]
    fn warnings_are_told_from_the_rest() {
        for line in [
            "2026-12-01T12:00:00.000Z  WARN log_broker::server: x",
            "error: cannot listen",
            r#"{"level":"warn","ts":"x"}"#,
            "thread 'main' panicked at src/x.rs:1",
        ] {
            assert!(is_warning(line), "{line}");
        }
        assert!(!is_warning(
            "2026-12-01T12:00:00.000Z  INFO raft: leader of term 2 WARNING not"
        ));
    }

    #[test]
    fn each_line_is_kept_once_and_the_launchers_own_are_bounded_too() {
        let directory = tempfile::tempdir().unwrap();
        let output = Output::new(directory.path(), vec!["x".to_owned()], Shown::Nothing);
        output.line("x", "from the service");
        output.say("from the launcher");
        let read = |name| fs::read_to_string(path(directory.path(), name)).unwrap();
        let kept = |name, text: &str| {
            let log = read(name);
            assert!(
                time_of(&log).is_some() && log.ends_with(&format!("Z {text}\n")),
                "{log}"
            );
            assert_eq!(log.lines().count(), 1);
        };
        kept("x", "from the service");
        kept(LAUNCHER, "from the launcher");
        let stamped = "2026-12-01T12:00:00.000000Z  INFO x: y";
        output.line("y", stamped);
        assert_eq!(read("y"), format!("{stamped}\n"));
    }

    #[test]
    fn the_time_of_a_line_is_read_in_text_and_in_json() {
        let time = DateTime::parse_from_rfc3339("2026-12-01T12:00:00.5Z").unwrap().to_utc();
        assert_eq!(time_of("2026-12-01T12:00:00.500000Z  WARN x: y"), Some(time));
        assert_eq!(time_of(r#"{"level":"info","ts":"2026-12-01T12:00:00.5Z"}"#), Some(time));
        assert_eq!(time_of("log-broker ready listen=127.0.0.1:9092"), None);
        assert_eq!(time_of("{"), None);
        assert!(is_error("2026-12-01T12:00:00.500000Z error: the disk is full"));
    }

    #[test]
    fn an_endless_line_is_cut() {
        let mut lines = Lines::default();
        let cut: Vec<String> = (0..20).flat_map(|_| lines.push(&[b'x'; 4096])).collect();
        assert_eq!(cut.len(), 5);
        assert!(cut.iter().all(|line| line.len() == LINE_BYTES_MAX));
    }

    #[test]
    fn a_log_keeps_its_bound_and_its_newest_lines() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.log");
        let mut log = BoundedLog::open(path.clone(), 100);
        for number in 0..50 {
            log.write(&format!("line {number}"));
        }
        let newest = fs::read_to_string(&path).unwrap();
        let before = fs::read_to_string(directory.path().join("x.log.1")).unwrap();
        assert!(newest.ends_with("line 49\n"));
        assert!(newest.len() <= 100 && before.len() <= 100);
        let last_before: u32 = before
            .lines()
            .last()
            .unwrap()
            .strip_prefix("line ")
            .unwrap()
            .parse()
            .unwrap();
        assert!(newest.starts_with(&format!("line {}\n", last_before + 1)));
    }
}
