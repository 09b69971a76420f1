//! Process life, the same for every service.
//!
//! A service's `main` is three steps: [`config::parse`] turns flags, `BONSAI_*` variables and `bonsai.toml` into its
//! arguments; [`run`] gives it a runtime, logs and a [`Shutdown`] that SIGTERM and SIGINT trigger; inside, it opens its
//! [`DataDir`], its [`Listener`], with [`tls`] if that is wanted, and its [`admin`] page, and reports readiness with
//! [`Status::announce_ready`]. This crate knows no protocol but HTTP and TLS, and no service.
//!
//! Every way out is one of four: exit code 0 after an orderly shutdown, 1 with one line `error: …` that says what to do,
//! 2 for arguments that are wrong, or a kill, which loses nothing that was acknowledged. Deliberately missing: daemons
//! (the launcher and other supervisors do that) and log files (they keep stderr).

pub mod admin;
pub mod bounded;
pub mod config;
mod data_dir;
pub mod free_port;
mod listener;
pub mod metrics;
mod open_files;
mod shutdown;
pub mod status;
pub mod telemetry;
pub mod tls;

use std::fmt::Display;
use std::future::Future;
use std::io::Write;
use std::process::ExitCode;

pub use data_dir::{DataDir, DataDirError};
pub use listener::{Listener, Permit, UnixListener, bind_path};
pub use open_files::open_files_max;
pub use shutdown::{DRAIN_DEADLINE, Shutdown};
pub use status::Status;

/// Runs a service to its end: a tokio runtime, logs, and a [`Shutdown`] triggered by SIGTERM or SIGINT.
///
/// An error ends the process with one line `error: …` on stderr and exit code 1. A service that does not end within
/// [`DRAIN_DEADLINE`] after the signal, or that gets a second one, is ended with exit code 1.
pub fn run<F, Fut, E>(service: &'static str, telemetry: &telemetry::Options, serve: F) -> ExitCode
where
    F: FnOnce(Shutdown) -> Fut,
    Fut: Future<Output = Result<(), E>>,
    E: Display,
{
    telemetry::init(telemetry);
    open_files::raise();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name(service)
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format_args!("cannot start the runtime: {error}")),
    };
    let outcome = runtime.block_on(async {
        let shutdown = Shutdown::on_signals();
        serve(shutdown).await
    });
    // Blocking tasks that still run must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// Says `error: …` on stderr and returns exit code 1.
pub fn fail(error: &dyn Display) -> ExitCode {
    // Not `eprintln!`, which panics when stderr is closed.
    let _ = writeln!(std::io::stderr(), "error: {error}");
    ExitCode::FAILURE
}

/// The ready line: `log-broker ready listen=127.0.0.1:9092 …`.
fn announce_ready(service: &str, addresses: &[(&str, std::net::SocketAddr)]) {
    let mut line = format!("{service} ready");
    for (name, address) in addresses {
        line.push_str(&format!(" {name}={address}"));
    }
    print_line(&line);
}

/// Prints a line on stdout and flushes it. A closed stdout is not an error.
fn print_line(line: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}
