//! A stack for the length of a task: the one that runs in the directory, or else one that is started, and ended after.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Error;
use super::board::{Snapshot, State};
use super::lifeline;
use super::ports::Ports;
use super::procfs::Process;
use super::service::SERVICES;
use super::stack::Stack;
use super::up::{UpArgs, prepare, program};

/// Longer than any single service may take to start.
const READY_DEADLINE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(10);

/// A supervisor in another process, with all its services ready.
#[derive(Debug)]
pub struct Background {
    pub snapshot: Snapshot,
    pub child: Child,
}

/// When a supervisor in the background ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// At `bonsai down`.
    Detached,
    /// With the thread that started it, see [`lifeline`].
    Thread,
    /// When the pipe to its stdin is closed: with this process at the latest.
    Pipe,
}

/// Starts `program`, a launcher, as a supervisor, and returns when all is ready.
///
/// Called after [`prepare`], so what can be refused at once has been.
pub fn start_behind(stack: &Stack, args: &UpArgs, life: Life, program: &Path) -> Result<Background, Error> {
    let log = stack.log_of("bonsai");
    let io_error = |error| Error::io(format!("cannot write {}", log.display()), error);
    let file = File::options().create(true).append(true).open(&log).map_err(io_error)?;
    let before = file.metadata().map_or(0, |metadata| metadata.len());
    let mut command = Command::new(program);
    command
        .arg("up")
        .arg("--data")
        .arg(stack.directory())
        .arg("--background");
    // The rest of what was asked for is in the stack's directory by now.
    if args.any_port {
        command.arg("--any-port");
    }
    if !args.only.is_empty() {
        command.arg("--only").arg(args.only.join(","));
    }
    if args.ephemeral && life == Life::Detached {
        command.arg("--delete-at-end");
    }
    match life {
        Life::Thread => command.env(lifeline::VARIABLE, std::process::id().to_string()),
        Life::Pipe => command.arg("--until-eof").env_remove(lifeline::VARIABLE),
        Life::Detached => command.env_remove(lifeline::VARIABLE),
    };
    let stdin = if life == Life::Pipe {
        Stdio::piped()
    } else {
        Stdio::null()
    };
    let mut child = command
        .stdin(stdin)
        .stdout(file.try_clone().map_err(io_error)?)
        .stderr(file)
        .spawn()
        .map_err(|error| Error::io("cannot start the background process", error))?;
    let deadline = Instant::now() + READY_DEADLINE;
    loop {
        let ended = child
            .try_wait()
            .map_err(|error| Error::io("cannot watch the background process", error))?;
        if ended.is_some() || Instant::now() >= deadline {
            if ended.is_none() {
                Process::of(child.id()).signal(rustix::process::Signal::TERM);
                let _ended = child.wait();
            }
            let text = fs::read(&log).unwrap_or_default();
            let text = text.get(usize::try_from(before).unwrap_or(0)..).unwrap_or_default();
            let reason = String::from_utf8_lossy(text)
                .lines()
                .rev()
                .find_map(|line| line.strip_prefix("error: "))
                .map_or_else(|| "it said nothing".to_owned(), str::to_owned);
            return Err(Error::Background(reason));
        }
        if let Some(snapshot) = stack.running()?
            && snapshot.supervisor.pid == child.id()
            && snapshot.all(State::Ready)
        {
            return Ok(Background { snapshot, child });
        }
        std::thread::sleep(POLL);
    }
}

/// A stack to work with.
#[derive(Debug)]
pub struct Borrowed {
    pub ports: Ports,
    pub snapshot: Snapshot,
    /// `None` if it ran already, or is to be left running.
    ours: Option<Child>,
}

impl Borrowed {
    /// The whole stack, running and ready. One that runs already is used as it is, and left as it is.
    pub fn new(stack: &Stack, args: &UpArgs, keep: bool) -> Result<Self, Error> {
        if let Some(snapshot) = stack.running()? {
            let ports = stack.ports()?;
            let missing = SERVICES
                .iter()
                .filter(|service| service.name != "coordinator" || !ports.is_coordinator_elsewhere())
                .find(|service| !snapshot.services.iter().any(|status| status.service == service.name));
            if let Some(missing) = missing {
                return Err(Error::Lacks(stack.directory().to_owned(), missing.name));
            }
            let snapshot = wait_until_ready(stack, snapshot)?;
            return Ok(Self {
                ports,
                snapshot,
                ours: None,
            });
        }
        drop(prepare(stack, args)?);
        let background = start_behind(
            stack,
            args,
            if keep { Life::Detached } else { Life::Thread },
            &program()?,
        )?;
        let ours = if keep { None } else { Some(background.child) };
        Ok(Self {
            ports: stack.ports()?,
            snapshot: background.snapshot,
            ours,
        })
    }

    pub fn was_started(&self) -> bool {
        self.ours.is_some()
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if let Some(mut child) = self.ours.take() {
            Process::of(child.id()).signal(rustix::process::Signal::TERM);
            // It drains within its own deadlines.
            let _ = child.wait();
        }
    }
}

fn wait_until_ready(stack: &Stack, mut snapshot: Snapshot) -> Result<Snapshot, Error> {
    let deadline = Instant::now() + READY_DEADLINE;
    while !snapshot.all(State::Ready) {
        if Instant::now() >= deadline {
            return Err(Error::NotReady(stack.directory().to_owned()));
        }
        std::thread::sleep(POLL);
        snapshot = stack
            .running()?
            .ok_or_else(|| Error::NotUp(stack.directory().to_owned()))?;
    }
    Ok(snapshot)
}
