//! A job is a child process of the demo: `bonsai stream run …` or `bonsai batch sql …`. One that is killed, or that fails
//! because a service below it was, is started again; the stream job then goes on from its newest checkpoint.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

use super::error::Error;
use crate::launch::{describe_exit, lifeline, program};

const ATTEMPTS_MAX: u32 = 10;
const PAUSE: Duration = Duration::from_millis(500);
/// What a program says when no further attempt can help: the fault is in what it was asked.
const HOPELESS: [&str; 3] = ["parse:", "validate:", "unsupported:"];

/// A job to be run to its end.
#[derive(Debug)]
pub struct Job {
    /// `stream` or `batch`: what people call it.
    pub name: &'static str,
    pub arguments: Vec<String>,
    /// Where what it says on stderr goes.
    pub log: PathBuf,
}

impl Job {
    pub fn new(name: &'static str, arguments: &[&str], directory: &Path) -> Self {
        let arguments = arguments.iter().map(|word| (*word).to_owned()).collect();
        Self {
            name,
            arguments,
            log: directory.join(format!("{name}.log")),
        }
    }

    /// Runs until it has succeeded; returns what it printed. Restarts are told.
    pub async fn run(&self) -> Result<String, Error> {
        let mut attempt = 1;
        loop {
            let (output, said) = self.run_once().await?;
            if output.status.success() {
                return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
            }
            let reason = reason(&output, &said);
            let hopeless = output.status.code() == Some(2) || HOPELESS.iter().any(|word| reason.starts_with(word));
            if hopeless || attempt >= ATTEMPTS_MAX {
                return Err(Error::Job {
                    program: self.name.to_owned(),
                    reason,
                    log: self.log.clone(),
                });
            }
            outln!("    {} {reason}; starting it again", self.name);
            attempt += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Its exit status and its stderr, which the log receives line by line as well.
    async fn run_once(&self) -> Result<(Output, String), Error> {
        let program = program()?;
        let failed = || Error::io(format!("cannot use {}", self.log.display()));
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .map_err(failed())?;
        let before = log.metadata().map_err(failed())?.len();
        let output = Command::new(&program)
            .args(&self.arguments)
            .env(lifeline::VARIABLE, std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(Error::io(format!("cannot run {}", program.display())))?
            .wait_with_output()
            .await
            .map_err(Error::io(format!("cannot watch {}", self.name)))?;
        let text = std::fs::read(&self.log).map_err(failed())?;
        let said = text.get(usize::try_from(before).unwrap_or(0)..).unwrap_or_default();
        Ok((output, String::from_utf8_lossy(said).into_owned()))
    }
}

/// The program's own sentence, or how it ended.
fn reason(output: &Output, said: &str) -> String {
    let error = said.lines().rev().find_map(|line| line.strip_prefix("error: "));
    error.map_or_else(|| describe_exit(&output.status), str::to_owned)
}
