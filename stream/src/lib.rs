//! The stream runner: Flink SQL over Arrow batches, with exactly-once checkpoints.
//!
//! `stream run FILE.sql` reads a program in Flink's grammar ([`sql`]), plans each statement over its [`table`]s into a [`graph`] of pure
//! [`operator`]s over [`expression`]s, and runs it as tasks on bounded channels ([`runtime`]). Rows flow as Arrow batches, yet watermarks move
//! with every row ([`time`]), so exactly the rows that Flink calls late are late. With `--state` the job is cut into
//! epochs ([`checkpoint`]) that a restart continues from; sinks show an epoch's rows once it is published. Sources and
//! sinks are [`connector`]s with a [`format`](crate::format), results go out through [`output`], and Flink's
//! [`functions`] are vectorised.
//!
//! `stream serve` runs the same statements for other people's clients: Flink's SQL [`gateway`].
//!
//! It stops where a program needs what is not here: such a statement is refused by name and place before it runs.
//! Deliberately missing: aggregates that take rows back, user functions, jobs that spread over machines.

mod checkpoint;
pub mod connector;
mod error;
mod expression;
pub mod format;
pub mod functions;
pub mod gateway;
pub mod graph;
mod operator;
pub mod output;
pub mod runtime;
pub mod sql;
pub mod table;
pub mod time;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use connector::discovery;
use coordinator_client::registry::{self, Id, Registrar, Registration};
use host::telemetry;
use prometheus::Registry;
use runtime::Meter;
use runtime::program::{self, Output};
use runtime::progress;

pub use error::Error;

/// Connections to /metrics at a time: a scraper and some people.
const ADMIN_CONNECTIONS_MAX: usize = 32;
/// Connections to the gateway at a time: its clients open one a call.
const GATEWAY_CONNECTIONS_MAX: usize = 512;

/// Runs Flink SQL.
#[derive(Debug, Parser)]
#[command(name = "stream")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    telemetry: telemetry::Options,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the statements of a file and prints the last one's result.
    Run(RunArguments),
    /// Answers Flink's SQL gateway REST API, for sql-client and the JDBC driver, until told to stop.
    Serve(ServeArguments),
}

#[derive(Debug, Args)]
struct ServeArguments {
    /// Where the gateway listens; /metrics and /healthz are there too.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8083")]
    listen: String,
    /// Where jobs and their checkpoints are kept: started again with the same directory, the server's jobs go on.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Host under which the gateway is registered in the coordinator, where it is not the one it listens on.
    #[arg(long, value_name = "HOST")]
    advertise: Option<String>,
    /// Also finds brokers for tables without a bootstrap address, and the name node of hdfs://bonsai/.
    #[command(flatten)]
    coordinator: coordinator_client::Options,
}

#[derive(Debug, Args)]
struct RunArguments {
    /// The program.
    #[arg(
        value_name = "FILE.sql",
        required_unless_present = "script",
        conflicts_with = "script"
    )]
    file: Option<PathBuf>,
    /// The program, as `sql-client.sh -f` has it; `-` is stdin.
    #[arg(short = 'f', value_name = "FILE.sql")]
    script: Option<PathBuf>,
    /// How many tasks share the keys of an aggregation.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=128))]
    parallelism: u32,
    /// Where checkpoints are kept: started again with the same directory, the program goes on where it was.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// How the result is printed.
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
    /// When this file appears, sources stop at what is there and the job ends.
    #[arg(long, value_name = "PATH")]
    drain_file: Option<PathBuf>,
    /// Serves /metrics and /healthz here while the program runs.
    #[arg(long, value_name = "HOST:PORT")]
    admin: Option<String>,
    #[command(flatten)]
    coordinator: coordinator_client::Options,
}

/// The program's entry point; the first argument is the program's name.
pub fn main(argv: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Arguments = match host::config::parse("stream", argv) {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    let mut telemetry = arguments.telemetry;
    let run = match arguments.command {
        Command::Run(run) => run,
        Command::Serve(serve) => {
            return host::run("stream", &telemetry, |shutdown| run_gateway(serve, shutdown));
        }
    };
    if telemetry.log_level == "info" {
        // A program's stderr is for its summary and its error.
        telemetry.log_level = "warn".to_owned();
    }
    host::run("stream", &telemetry, |shutdown| async move {
        run_program(run, shutdown).await
    })
}

async fn run_gateway(serve: ServeArguments, shutdown: host::Shutdown) -> Result<(), String> {
    let listener = host::Listener::bind_for("--listen", &serve.listen, GATEWAY_CONNECTIONS_MAX)
        .await
        .map_err(|error| error.to_string())?;
    let _held = match &serve.state {
        None => None,
        Some(path) => Some(host::DataDir::open(path, "stream-gateway", 1).map_err(|error| error.to_string())?),
    };
    let bound = listener.local_addr().map_err(|error| error.to_string())?;
    discovery::follow(&serve.coordinator)
        .await
        .map_err(|error| error.to_string())?;
    let address = registry::address(bound, serve.advertise.as_deref(), &serve.coordinator);
    let registration = Registration::new("stream", env!("CARGO_PKG_VERSION"), registry::owner_at(&address))
        .with_address("sql", address);
    let registrar = Registrar::start(&serve.coordinator, registration, Id::Next).await;
    let registrar = registrar.map_err(|error| error.to_string())?;
    let until = shutdown.clone();
    let registrar = registrar.map(|registrar| tokio::spawn(registrar.keep(async move { until.requested().await })));
    let outcome = gateway::serve(listener, serve.state.as_deref(), shutdown).await;
    if let Some(registrar) = registrar {
        let _ = registrar.await;
    }
    outcome
}

async fn run_program(run: RunArguments, shutdown: host::Shutdown) -> Result<(), String> {
    let registry = Registry::new();
    let meter = Meter::new(&registry);
    let file = run.script.or(run.file).unwrap_or_default();
    let text = read_script(&file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    discovery::follow(&run.coordinator)
        .await
        .map_err(|error| error.to_string())?;
    let _held = match &run.state {
        None => None,
        Some(path) => Some(host::DataDir::open(path, "stream", 1).map_err(|error| error.to_string())?),
    };
    let plan = program::Plan {
        text,
        parallelism: run.parallelism,
        state: run.state,
        drain_file: run.drain_file,
        output: run.output,
    };
    if let Some(address) = &run.admin {
        serve_admin(address, registry, &shutdown).await?;
    }
    let shown = tokio::spawn(progress::show(meter.clone()));
    let outcome = program::run(&plan, &meter, &shutdown).await;
    shown.abort();
    progress::clear();
    outcome.map_err(|error| error.to_string())
}

/// A program's text; `-` is stdin.
fn read_script(file: &Path) -> std::io::Result<String> {
    if file == Path::new("-") {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(file)
    }
}

/// Serves the metrics until the process ends.
async fn serve_admin(address: &str, registry: Registry, shutdown: &host::Shutdown) -> Result<(), String> {
    let listener = host::Listener::bind(address, ADMIN_CONNECTIONS_MAX)
        .await
        .map_err(|error| error.to_string())?;
    let bound = listener.local_addr().map_err(|error| error.to_string())?;
    tracing::warn!(admin = %bound, "serving /metrics");
    let status = host::Status::new("stream", "job").http(bound);
    let router = host::admin::router(registry, Arc::new(|| Ok(())), status);
    tokio::spawn(host::admin::serve(listener, router, shutdown.clone()));
    Ok(())
}
