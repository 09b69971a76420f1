//! `bonsai run -- CMD`: a stack for the length of a command, as a CI job needs it.
//!
//! The command's environment has the addresses that `bonsai env` prints, its exit code is ours, and when it fails, the logs
//! of services that were not well follow on stderr. A stack that is up in the directory is used as it is and left running.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use clap::Args;
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

use super::Error;
use super::borrow::{Life, start_behind};
use super::environment::variables;
use super::health;
use super::procfs::Process;
use super::report::Report;
use super::stack::Stack;
use super::up::{UpArgs, prepare, program, temporary_directory};

/// How long services that are ready may take to be healthy.
const HEALTHY_MAX: Duration = Duration::from_secs(30);
/// Lines of a log that a failure shows.
const LINES_MAX: usize = 50;

#[derive(Debug, Args)]
pub struct RunArgs {
    /// Keep everything in a temporary directory, and delete it at the end.
    #[arg(long, conflicts_with = "data")]
    ephemeral: bool,
    /// Start only these: coordinator, log-broker, namenode, datanode (dfs: both), stream, batch.
    #[arg(long, value_delimiter = ',', value_name = "SERVICE,…")]
    only: Vec<String>,
    /// A setting of log-broker, namenode or datanode: log-broker.num.partitions=4.
    #[arg(long, value_name = "SERVICE.NAME=VALUE")]
    set: Vec<String>,
    /// The command, with its arguments.
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "CMD"
    )]
    command: Vec<String>,
}

pub fn run(data: Option<&Path>, args: &RunArgs) -> Result<ExitCode, Error> {
    let temporary = args.ephemeral.then(temporary_directory);
    let stack = Stack::at(temporary.as_deref().or(data))?;
    let outcome = run_in(&stack, args);
    if args.ephemeral && stack.directory().exists() {
        stack.delete()?;
    }
    outcome
}

fn run_in(stack: &Stack, args: &RunArgs) -> Result<ExitCode, Error> {
    let up = UpArgs {
        only: args.only.clone(),
        set: args.set.clone(),
        any_port: true,
        ..UpArgs::default()
    };
    let background = match stack.running()? {
        Some(_) => None,
        None => {
            drop(prepare(stack, &up)?);
            // This is the main thread: the stack does not outlive it.
            Some(start_behind(stack, &up, Life::Thread, &program()?)?)
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::io("cannot start the runtime", error))?;
    let outcome = runtime.block_on(command(stack, args));
    if let Some(mut background) = background {
        Process::of(background.child.id()).signal(Signal::TERM);
        // It drains within its own deadlines.
        let _ended = background.child.wait();
    }
    outcome
}

async fn command(stack: &Stack, args: &RunArgs) -> Result<ExitCode, Error> {
    if let Some(snapshot) = stack.running()? {
        let health = health::settled(&snapshot.services, HEALTHY_MAX).await;
        for (status, health) in snapshot.services.iter().zip(health) {
            if let Some(reason) = health.reason() {
                errln!("bonsai: {} is not healthy: {reason}", status.service);
            }
        }
    }
    let failed = |error| Error::NoCommand(args.command[0].clone(), error);
    let mut child = tokio::process::Command::new(&args.command[0])
        .args(&args.command[1..])
        .envs(variables(stack)?)
        .env("BONSAI_DATA", stack.directory())
        .spawn()
        .map_err(failed)?;
    let process = child.id().map(Process::of);
    // Ctrl-C reaches the command too; the stack ends after it.
    let listen = |kind| signal(kind).map_err(|error| Error::io("cannot listen for signals", error));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let status = loop {
        tokio::select! {
            status = child.wait() => break status.map_err(failed)?,
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {
                let _told = process.is_some_and(|process| process.signal(Signal::TERM));
            }
        }
    };
    if !status.success() {
        show_failing(stack).await?;
    }
    Ok(code(status))
}

/// As a shell has it: 128 and the number of the signal.
fn code(status: ExitStatus) -> ExitCode {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// The ends of the logs of those that are not healthy, or were restarted.
async fn show_failing(stack: &Stack) -> Result<(), Error> {
    let report = Report::of(stack).await?;
    let failing = report
        .services
        .iter()
        .filter(|service| !service.health.is_healthy() || service.status.restarts > 0);
    for service in failing {
        let name = &service.status.service;
        let reason = service.health.reason().or(service.status.last_exit.as_deref());
        errln!("bonsai: {name}: {}; the end of its log:", reason.unwrap_or("restarted"));
        let log = std::fs::read(stack.log_of(name)).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        for line in &lines[lines.len().saturating_sub(LINES_MAX)..] {
            errln!("{name} | {line}");
        }
    }
    Ok(())
}
