//! `bonsai logs`: the end of each service's log, and with `-f` what is added to it.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::Error;
use super::names::{Known, known};
use super::output::{self, LAUNCHER, LOG_BYTES_MAX, Lines};
use super::service;
use super::stack::{Stack, unknown};

const POLL: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub struct LogsArgs {
    /// Only this service's, or `bonsai` for the launcher's own.
    #[arg(value_parser = known(Known::Logs), hide_possible_values = true)]
    service: Option<String>,
    /// Go on with what is added, until Ctrl-C.
    #[arg(short, long)]
    follow: bool,
    /// How many lines of each log to begin with.
    #[arg(short = 'n', long, default_value_t = 100)]
    lines: usize,
}

pub fn logs(stack: &Stack, args: &LogsArgs) -> Result<(), Error> {
    let names = names(stack, args.service.as_deref())?;
    // An error means that the reader has gone away.
    let _ = show(stack, args, &names);
    Ok(())
}

fn show(stack: &Stack, args: &LogsArgs, names: &[String]) -> io::Result<()> {
    let mut tails: Vec<Tail> = names.iter().map(|name| Tail::new(name, stack.log_of(name))).collect();
    for tail in &mut tails {
        let lines = tail.read();
        for line in lines.iter().skip(lines.len().saturating_sub(args.lines)) {
            output::print_prefixed(names, &tail.service, line)?;
        }
    }
    if !args.follow {
        return Ok(());
    }
    loop {
        std::thread::sleep(POLL);
        for tail in &mut tails {
            for line in tail.read() {
                output::print_prefixed(names, &tail.service, &line)?;
            }
        }
    }
}

fn names(stack: &Stack, wanted: Option<&str>) -> Result<Vec<String>, Error> {
    if let Some(name) = wanted {
        if name != LAUNCHER {
            service::find(name).ok_or_else(|| unknown(name))?;
        }
        return Ok(vec![name.to_owned()]);
    }
    let Ok(entries) = fs::read_dir(stack.logs()) else {
        return Err(Error::NoState(stack.directory().to_owned()));
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.file_name().to_str()?.strip_suffix(".log")?.to_owned()))
        .filter(|name| name == LAUNCHER || service::find(name).is_some())
        .collect();
    names.sort();
    Ok(names)
}

/// A log being read; when it is replaced by a new one, reading goes on with that.
#[derive(Debug)]
struct Tail {
    service: String,
    path: PathBuf,
    position: u64,
    lines: Lines,
}

impl Tail {
    fn new(service: &str, path: PathBuf) -> Self {
        Self {
            service: service.to_owned(),
            path,
            position: 0,
            lines: Lines::default(),
        }
    }

    /// The lines added since the last time; none where there is no log yet.
    fn read(&mut self) -> Vec<String> {
        let Ok(mut file) = File::open(&self.path) else {
            return Vec::new();
        };
        let len = file.metadata().map_or(0, |metadata| metadata.len());
        if len < self.position {
            self.position = 0;
        }
        let mut bytes = Vec::new();
        let read = file
            .seek(SeekFrom::Start(self.position))
            .and_then(|_| file.take(2 * LOG_BYTES_MAX).read_to_end(&mut bytes));
        self.position += read.map_or(0, |count| count as u64);
        self.lines.push(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_follows_through_a_replacement() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.log");
        let mut tail = Tail::new("x", path.clone());
        assert!(tail.read().is_empty());
        fs::write(&path, "one\ntwo\nthr").unwrap();
        assert_eq!(tail.read(), ["one", "two"]);
        fs::write(&path, "one\ntwo\nthree\n").unwrap();
        assert_eq!(tail.read(), ["three"]);
        fs::write(&path, "new\n").unwrap();
        assert_eq!(tail.read(), ["new"]);
    }
}
