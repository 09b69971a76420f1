//! The command line.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use coordinator_client::registry::{self, Id, Registrar, Registration};
use futures::future::{Either, select};

use crate::Error;
use crate::engine::{self, Engine, Format, Memory, Options, Sink, partitions};
use crate::flight;

/// Cells of `batch partitions` when none are asked for.
const CELLS: usize = 64;
/// Open connections to a socket of `batch serve`: programs on one machine, some with pools.
const CONNECTIONS_MAX: usize = 256;

/// SQL with spatial functions and joins over files and hdfs, in one process.
#[derive(Debug, Parser)]
#[command(name = "batch", version)]
pub struct Batch {
    #[command(flatten)]
    pub telemetry: host::telemetry::Options,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run SQL; the result of the last statement is printed.
    Sql(Sql),
    /// Show the KD-tree's cells over a table, as numbers and as a picture.
    Partitions(Partitions),
    /// Answer Arrow Flight SQL, for ADBC and JDBC programs, until told to stop.
    Serve(Serve),
}

#[derive(Debug, Args)]
struct Limits {
    /// Memory that the operators share; they spill when it is used up. For example 512MB or 2GB.
    #[arg(long, value_name = "BYTES")]
    memory_limit: Option<Memory>,
    /// Directory for spilled data (default: the system's temporary directory).
    #[arg(long, value_name = "DIR")]
    spill: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Sql {
    /// The statements, separated by semicolons. Without -c and a file they are read from stdin.
    #[arg(short = 'c', value_name = "SQL", conflicts_with_all = ["file", "script"])]
    command: Option<String>,
    /// A file with the statements; `-` is stdin.
    #[arg(short = 'f', value_name = "FILE", conflicts_with = "script")]
    file: Option<PathBuf>,
    /// The same, without -f.
    #[arg(value_name = "FILE")]
    script: Option<PathBuf>,
    /// How the result looks.
    #[arg(long, value_enum, default_value = "table")]
    output: Format,
    /// Where the result goes instead of stdout.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Threads of work a stage, and cells of the spatial partitioner (default: one a core, 64 cells).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    partitions: Option<u32>,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    coordinator: coordinator_client::Options,
}

#[derive(Debug, Args)]
struct Partitions {
    /// A file, a directory or an hdfs:// URL.
    #[arg(long)]
    table: String,
    /// A column with geometries, or an expression that makes them: 'ST_Point(lon, lat)'.
    #[arg(long, value_name = "SQL")]
    geometry: String,
    /// Where the picture goes.
    #[arg(long, value_name = "FILE.svg")]
    out: Option<PathBuf>,
    /// Cells at most.
    #[arg(long, value_name = "N", default_value_t = CELLS as u32, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    partitions: u32,
    /// How the cells are printed.
    #[arg(long, value_enum, default_value = "table")]
    output: CellFormat,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    coordinator: coordinator_client::Options,
}

#[derive(Debug, Args)]
struct Serve {
    /// Where Flight SQL is spoken.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:32010")]
    listen: String,
    /// Where /metrics and /healthz are.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:32011")]
    admin: String,
    /// Host under which the server is registered in the coordinator, where it is not the one it listens on.
    #[arg(long, value_name = "HOST")]
    advertise: Option<String>,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    coordinator: coordinator_client::Options,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CellFormat {
    /// A line a cell, for people.
    Table,
    /// One JSON object a cell.
    Json,
}

/// Runs the command until it ends or the process is told to stop.
pub fn run(batch: Batch) -> ExitCode {
    let Batch { telemetry, mut command } = batch;
    let spill = command.own_spill();
    let code = host::run("batch", &telemetry, |shutdown| async move {
        match command {
            Command::Sql(sql) => until(&shutdown, sql.run()).await,
            Command::Partitions(partitions) => until(&shutdown, partitions.run()).await,
            // It drains by itself.
            Command::Serve(serve) => serve.run(shutdown).await,
        }
    });
    // A query that was stopped may not have come to cleaning up; where it never spilled there is nothing to remove.
    let _gone_or_never_there = std::fs::remove_dir_all(spill);
    code
}

impl Command {
    /// Lets the command spill into a directory that is this process's alone.
    fn own_spill(&mut self) -> PathBuf {
        let limits = match self {
            Command::Sql(sql) => &mut sql.limits,
            Command::Partitions(partitions) => &mut partitions.limits,
            Command::Serve(serve) => &mut serve.limits,
        };
        let parent = limits.spill.take().unwrap_or_else(std::env::temp_dir);
        let own = parent.join(format!("batch-spill-{}", std::process::id()));
        limits.spill = Some(own.clone());
        own
    }
}

async fn until(shutdown: &host::Shutdown, work: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    match select(pin!(work), pin!(shutdown.requested())).await {
        Either::Left((outcome, _)) => outcome,
        // What the query holds, spilled files too, goes with it.
        Either::Right(_) => Err(Error::Usage("stopped by a signal before the query was done".into())),
    }
}

impl Serve {
    async fn run(self, shutdown: host::Shutdown) -> Result<(), Error> {
        let options = Options {
            memory_limit: self.limits.memory_limit,
            spill: self.limits.spill,
            partitions: None,
        };
        let engine = Engine::new(&options)?;
        let bind = async |flag, address: &str| {
            let listener = host::Listener::bind_for(flag, address, CONNECTIONS_MAX).await;
            listener.map_err(|error| Error::Usage(error.to_string()))
        };
        let flight = bind("--listen", &self.listen).await?;
        let admin = bind("--admin", &self.admin).await?;
        follow(&self.coordinator).await?;
        let address = |listener: &host::Listener| {
            let bound = listener.local_addr().map_err(|error| Error::Usage(error.to_string()))?;
            Ok::<_, Error>(registry::address(bound, self.advertise.as_deref(), &self.coordinator))
        };
        let (flight_address, admin_address) = (address(&flight)?, address(&admin)?);
        let owner = registry::owner_at(&flight_address);
        let registration = Registration::new("batch", env!("CARGO_PKG_VERSION"), owner)
            .with_address("flight", flight_address)
            .with_address("admin", admin_address);
        let registrar = Registrar::start(&self.coordinator, registration, Id::Next).await;
        let registrar = registrar.map_err(|error| Error::Usage(error.to_string()))?;
        let until = shutdown.clone();
        let registrar = registrar.map(|registrar| tokio::spawn(registrar.keep(async move { until.requested().await })));
        let outcome = flight::serve(engine.context().clone(), flight, admin, shutdown).await;
        if let Some(registrar) = registrar {
            let _ = registrar.await;
        }
        outcome.map_err(Error::Usage)
    }
}

/// Finds services through the coordinator that the flags name, if any.
async fn follow(options: &coordinator_client::Options) -> Result<(), Error> {
    let followed = engine::follow(options).await;
    followed.map_err(|error| Error::Usage(error.to_string()))
}

impl Sql {
    async fn run(self) -> Result<(), Error> {
        let stdin = Path::new("-");
        let script = match (self.command, self.file.as_deref().or(self.script.as_deref())) {
            (Some(command), _) => command,
            (None, None) if std::io::stdin().is_terminal() => {
                return Err(Error::Usage(
                    "give SQL with -c, a file with -f, or statements on stdin".into(),
                ));
            }
            (None, path) if path.is_none_or(|path| path == stdin) => std::io::read_to_string(std::io::stdin())
                .map_err(|error| Error::file("read", Path::new("/dev/stdin"), error))?,
            (None, path) => {
                let path = path.unwrap_or(stdin);
                std::fs::read_to_string(path).map_err(|error| Error::file("read", path, error))?
            }
        };
        follow(&self.coordinator).await?;
        let options = Options {
            memory_limit: self.limits.memory_limit,
            spill: self.limits.spill,
            partitions: self.partitions.map(|partitions| partitions as usize),
        };
        let engine = Engine::new(&options)?;
        let mut sink = Sink::new(self.output, self.out.as_deref())?;
        match engine.run(&script, &mut sink).await {
            // The reader has seen enough (`batch sql … | head`).
            Err(Error::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            outcome => outcome,
        }
    }
}

impl Partitions {
    async fn run(self) -> Result<(), Error> {
        follow(&self.coordinator).await?;
        let limits = self.limits;
        let options = Options {
            memory_limit: limits.memory_limit,
            spill: limits.spill,
            partitions: None,
        };
        let engine = Engine::new(&options)?;
        let cells = self.partitions as usize;
        let (cells, picture) = partitions::partitions(&engine, &self.table, &self.geometry, cells).await?;
        if let Some(path) = &self.out {
            partitions::save(&picture, path)?;
        }
        match self.output {
            CellFormat::Json => {
                for cell in &cells {
                    let line = serde_json::to_string(cell).map_err(|error| Error::Usage(error.to_string()))?;
                    println!("{line}");
                }
            }
            CellFormat::Table => {
                println!(
                    "{:>6} {:>10} {:>14} {:>14} {:>14} {:>14}",
                    "cell", "rows", "min_x", "min_y", "max_x", "max_y"
                );
                for cell in &cells {
                    println!(
                        "{:>6} {:>10} {:>14.6} {:>14.6} {:>14.6} {:>14.6}",
                        cell.cell, cell.rows, cell.min_x, cell.min_y, cell.max_x, cell.max_y
                    );
                }
            }
        }
        Ok(())
    }
}
