//! `bonsai logs`: the logs of all services as one, by time, and with `-f` what is added to them.
//!
//! Each line is `service | time level text`. A line without a time of its own (a backtrace, say) belongs to the one before.
//! What a log became when it reached its limit (`SERVICE.log.1`) is read as its beginning.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;

use super::Error;
use super::names::{Known, known};
use super::output::{self, LAUNCHER, LOG_BYTES_MAX, Lines, time_of};
use super::service;
use super::stack::{Stack, unknown};
use super::status::duration;

const POLL: Duration = Duration::from_millis(200);
/// How many lines of each log are shown without a wish.
const LINES_DEFAULT: usize = 100;

#[derive(Debug, Args)]
pub struct LogsArgs {
    /// Only this service's, or `bonsai` for the launcher's own.
    #[arg(value_parser = known(Known::Logs), hide_possible_values = true)]
    service: Option<String>,
    /// Go on with what is added, until Ctrl-C: also after a restart, and of services that start later.
    #[arg(short, long)]
    follow: bool,
    /// How many lines of each log to begin with: 100, or all with --since.
    #[arg(short = 'n', long)]
    lines: Option<usize>,
    /// Only lines that are not older: 10m, 2h, or a time such as 2026-12-01T12:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<DateTime<Utc>>,
}

pub fn logs(stack: &Stack, args: &LogsArgs) -> Result<(), Error> {
    let names = names(stack, args.service.as_deref())?;
    // An error means that the reader has gone away.
    let _ = show(stack, args, names);
    Ok(())
}

fn show(stack: &Stack, args: &LogsArgs, mut names: Vec<String>) -> io::Result<()> {
    let mut tails: Vec<Tail> = names.iter().map(|name| Tail::new(name, stack.log_of(name))).collect();
    let lines_max = match (args.lines, args.since) {
        (Some(lines), _) => lines,
        (None, None) => LINES_DEFAULT,
        (None, Some(_)) => usize::MAX,
    };
    let mut begin = Vec::new();
    for tail in &mut tails {
        let lines = tail.read_all();
        let lines = lines
            .into_iter()
            .filter(|line| args.since.is_none_or(|since| line.time >= since));
        let lines: Vec<Line> = lines.collect();
        let spare = lines.len().saturating_sub(lines_max);
        begin.extend(lines.into_iter().skip(spare));
    }
    print(&names, begin)?;
    if !args.follow {
        return Ok(());
    }
    loop {
        std::thread::sleep(POLL);
        if args.service.is_none() {
            for name in names_of(stack).unwrap_or_default() {
                if !names.contains(&name) {
                    tails.push(Tail::new(&name, stack.log_of(&name)));
                    names.push(name);
                }
            }
        }
        let added = tails.iter_mut().flat_map(Tail::read).collect();
        print(&names, added)?;
    }
}

/// By time; lines of the same time stay in the order of their logs.
fn print(names: &[String], mut lines: Vec<Line>) -> io::Result<()> {
    lines.sort_by_key(|line| line.time);
    for line in lines {
        output::print_prefixed(names, &line.service, &line.text)?;
    }
    Ok(())
}

fn names(stack: &Stack, wanted: Option<&str>) -> Result<Vec<String>, Error> {
    match wanted {
        None => names_of(stack).ok_or_else(|| Error::NoState(stack.directory().to_owned())),
        Some(name) => {
            if name != LAUNCHER {
                service::find(name).ok_or_else(|| unknown(name))?;
            }
            Ok(vec![name.to_owned()])
        }
    }
}

/// Of the logs that there are.
fn names_of(stack: &Stack) -> Option<Vec<String>> {
    let entries = fs::read_dir(stack.logs()).ok()?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.file_name().to_str()?.strip_suffix(".log")?.to_owned()))
        .filter(|name| name == LAUNCHER || service::find(name).is_some())
        .collect();
    names.sort();
    Some(names)
}

/// A moment, or how long ago it was.
fn since(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    let ago = duration(text)
        .map_err(|_| format!("'{text}' is no time: write for example 10m, 2h or 2026-12-01T12:00:00Z"))?;
    let ago = chrono::Duration::from_std(ago).map_err(|error| error.to_string())?;
    Utc::now()
        .checked_sub_signed(ago)
        .ok_or_else(|| format!("'{text}' is too long ago"))
}

#[derive(Debug)]
struct Line {
    service: String,
    time: DateTime<Utc>,
    text: String,
}

/// A log being read; when it is replaced by a new one, the old one is read to its end first.
#[derive(Debug)]
struct Tail {
    service: String,
    path: PathBuf,
    file: Option<File>,
    lines: Lines,
    /// Of the line before.
    time: DateTime<Utc>,
}

impl Tail {
    fn new(service: &str, path: PathBuf) -> Self {
        Self {
            service: service.to_owned(),
            path,
            file: None,
            lines: Lines::default(),
            time: DateTime::UNIX_EPOCH,
        }
    }

    /// As [`Tail::read`], beginning with the log before this one.
    fn read_all(&mut self) -> Vec<Line> {
        self.file = File::open(self.path.with_extension("log.1")).ok();
        self.read()
    }

    /// The lines added since the last time; none where there is no log yet.
    fn read(&mut self) -> Vec<Line> {
        let mut added = self.rest();
        if self.is_replaced() {
            // What came between the last read and the replacement.
            added.extend(self.rest());
            self.file = File::open(&self.path).ok();
            added.extend(self.rest());
        }
        added
    }

    fn is_replaced(&self) -> bool {
        let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let Ok(newest) = fs::metadata(&self.path) else {
            return false;
        };
        let open = self.file.as_ref().and_then(|file| file.metadata().ok());
        open.map(identity) != Some(identity(newest))
    }

    fn rest(&mut self) -> Vec<Line> {
        let mut bytes = Vec::new();
        if let Some(file) = &mut self.file {
            // What could not be read now is read the next time.
            let _read = file.take(2 * LOG_BYTES_MAX).read_to_end(&mut bytes);
        }
        let lines = self.lines.push(&bytes);
        lines.into_iter().map(|text| self.line(text)).collect()
    }

    fn line(&mut self, text: String) -> Line {
        if let Some(time) = time_of(&text) {
            self.time = time;
        }
        Line {
            service: self.service.clone(),
            time: self.time,
            text,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn texts(lines: Vec<Line>) -> Vec<String> {
        lines.into_iter().map(|line| line.text).collect()
    }

    fn replace(path: &Path, text: &str) {
        fs::rename(path, path.with_extension("log.1")).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn a_tail_follows_through_a_replacement() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.log");
        let mut tail = Tail::new("x", path.clone());
        assert!(tail.read().is_empty());
        fs::write(&path, "one\ntwo\nthr").unwrap();
        assert_eq!(texts(tail.read()), ["one", "two"]);
        fs::write(&path, "one\ntwo\nthree\nfour\n").unwrap();
        replace(&path, "five\n");
        assert_eq!(
            texts(tail.read()),
            ["three", "four", "five"],
            "also what was added before the replacement"
        );
        let mut late = Tail::new("x", path);
        assert_eq!(texts(late.read_all()), ["one", "two", "three", "four", "five"]);
    }

    #[test]
    fn a_line_without_a_time_has_that_of_the_one_before() {
        let mut tail = Tail::new("x", PathBuf::from("none"));
        let first = tail.line("2026-12-01T12:00:00.000000Z ERROR x: panic".to_owned());
        let second = tail.line("   at src/main.rs:1".to_owned());
        assert_eq!(second.time, first.time);
    }

    #[test]
    fn times_are_moments_or_spans() {
        assert_eq!(
            since("2026-12-01T12:00:00Z").unwrap().to_rfc3339(),
            "2026-12-01T12:00:00+00:00"
        );
        let ago = Utc::now() - since("10m").unwrap();
        assert!((599..=601).contains(&ago.num_seconds()), "{ago}");
        assert!(since("yesterday").unwrap_err().contains("10m"));
        assert!(since("999999999999h").is_err());
    }
}
