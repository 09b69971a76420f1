//! The command line.

use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use futures::future::{Either, select};

use crate::Error;
use crate::engine::{Engine, Format, Memory, Options, Sink, partitions};
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
    /// The statements, separated by semicolons.
    #[arg(
        short = 'c',
        value_name = "SQL",
        required_unless_present = "file",
        conflicts_with = "file"
    )]
    command: Option<String>,
    /// A file with the statements.
    #[arg(short = 'f', value_name = "FILE")]
    file: Option<PathBuf>,
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
}

#[derive(Debug, Args)]
struct Serve {
    /// Where Flight SQL is spoken.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:32010")]
    listen: String,
    /// Where /metrics and /healthz are.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:32011")]
    admin: String,
    #[command(flatten)]
    limits: Limits,
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
        flight::serve(engine.context().clone(), flight, admin, shutdown)
            .await
            .map_err(Error::Usage)
    }
}

impl Sql {
    async fn run(self) -> Result<(), Error> {
        let script = match (self.command, &self.file) {
            (Some(command), _) => command,
            (None, Some(path)) => std::fs::read_to_string(path).map_err(|error| Error::file("read", path, error))?,
            (None, None) => return Err(Error::Usage("give SQL with -c, or a file with -f".into())),
        };
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
