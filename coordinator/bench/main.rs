//! The coordinator beside a real etcd: both are started, put under the same load in turn, and shown in one table.
//!
//! # How it moves
//! Both programs run at the same time with fsync on, each in a directory of its own, started with the same flags. Every
//! measurement is many short rounds, A B A B, because disk and load of a shared machine change from minute to minute; what
//! is shown is the median of the rounds. The load comes from this process, over connections that many requests share, as
//! light as it can be made: it takes its share of the same processors as the server that it measures.
//!
//! # What it shows
//! Rate and latency as the client sees them; the CPU time of all server processes per operation, which is the steadiest
//! figure on a busy machine; and the syncs of the write-ahead log per operation as each server counts them, so that
//! no one wins by not syncing.
//!
//! # Where it stops
//! Loopback, no TLS, no authentication; one machine, so three members share its disk and its processors.
//!
//!     cargo bench -p coordinator --bench beside_etcd -- --etcd PATH [--nodes 1,3] [--keys 1000000] [--json]

mod availability;
mod connection;
mod load;
mod operations;
mod server;
mod size;
mod watching;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use testing::bench::{Progress, Row, Table};

use crate::load::FIGURES;
use crate::operations::Operation;
use crate::server::{Contender, Program};

/// What goes wrong ends the measurement: a half-measured table helps no one.
type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Measures the coordinator beside a real etcd.
#[derive(Debug, Clone, Parser)]
struct Arguments {
    /// The coordinator's program.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_coordinator"))]
    coordinator: PathBuf,
    /// etcd's program; without it the coordinator is measured alone.
    #[arg(long)]
    etcd: Option<PathBuf>,
    /// Instead of starting coordinators: where they run, `HOST:PORT=PID` (the PID for CPU and memory), commas between.
    #[arg(long)]
    coordinator_at: Option<String>,
    /// Instead of starting etcds: where they run, `HOST:PORT=PID`, commas between.
    #[arg(long)]
    etcd_at: Option<String>,
    /// How many members to measure with.
    #[arg(long, value_delimiter = ',', default_value = "1")]
    nodes: Vec<usize>,
    /// How many clients put and get at once.
    #[arg(long, value_delimiter = ',', default_value = "1,64,512")]
    clients: Vec<usize>,
    /// Which operations (of put, get, serializable, txn, watch, keepalive, failover, start).
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "put,get,serializable,txn,watch,keepalive,failover,start"
    )]
    rows: Vec<String>,
    /// Rounds of each measurement.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of a round.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Also fill one member with this many keys: memory, restart and snapshot.
    #[arg(long)]
    keys: Option<usize>,
    /// Bytes of a value.
    #[arg(long, default_value_t = 256)]
    value_bytes: usize,
    /// Where the servers keep their data; removed afterwards. It should be on the disk that matters.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    directory: PathBuf,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Arguments {
    fn wants(&self, row: &str) -> bool {
        self.rows.iter().any(|wanted| wanted == row)
    }

    fn round(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    /// Who is to be measured, the coordinator first.
    fn programs(&self) -> Result<Vec<Program>> {
        let ours = match &self.coordinator_at {
            Some(places) => Program::running("coordinator", places)?,
            None => Program::to_start("coordinator", self.coordinator.clone()),
        };
        let original = match (&self.etcd_at, &self.etcd) {
            (Some(places), _) => Some(Program::running("etcd", places)?),
            (None, Some(path)) => Some(Program::to_start("etcd", path.clone())),
            (None, None) => None,
        };
        Ok([Some(ours), original].into_iter().flatten().collect())
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // One thread: what the load takes is the servers' loss, and one thread takes least.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(measure(&arguments)),
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(table) => {
            print!("{}", if arguments.json { table.json() } else { table.text() });
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(arguments: &Arguments) -> Result<Table> {
    let programs = arguments.programs()?;
    let mut table = Table::new(
        &[("nodes", 5), ("operation", 29), ("clients", 7)],
        &FIGURES,
        programs.iter().map(|program| program.name().to_owned()).collect(),
    );
    let progress = Progress::new();
    for nodes in &arguments.nodes {
        load_rows(arguments, &programs, *nodes, &progress, &mut table).await?;
        if *nodes == 1 && arguments.wants("start") {
            table.line(availability::start(arguments, &programs, &progress).await?);
        }
        if *nodes > 1 && arguments.wants("failover") {
            table.line(availability::failover(arguments, &programs, *nodes, &progress).await?);
        }
    }
    if let Some(keys) = arguments.keys {
        for line in size::measure(arguments, &programs, keys, &progress).await? {
            table.line(line);
        }
    }
    progress.clear();
    Ok(table)
}

/// The operations under load, on one set of servers.
async fn load_rows(
    arguments: &Arguments,
    programs: &[Program],
    nodes: usize,
    progress: &Progress,
    table: &mut Table,
) -> Result<()> {
    let measurements = plan(arguments);
    if measurements.is_empty() {
        return Ok(());
    }
    let mut contenders = Vec::new();
    for program in programs {
        progress.show(&format!("starting {nodes} × {}", program.name()));
        let contender = Contender::start(program, nodes, &arguments.directory).await?;
        operations::fill(&contender, operations::KEYS, arguments.value_bytes).await?;
        contenders.push(contender);
    }
    for (operation, clients) in measurements {
        let mut row = Row::new(
            [nodes.to_string(), operation.title().to_owned(), clients.to_string()],
            contenders.len(),
        );
        for round in 1..=arguments.rounds {
            for (place, contender) in contenders.iter().enumerate() {
                progress.show(&format!(
                    "{nodes} node(s), {}, {clients} clients: round {round} of {}, {}",
                    operation.title(),
                    arguments.rounds,
                    contender.name(),
                ));
                let round = operations::round(contender, operation, clients, arguments).await?;
                row.add(place, round.figures());
            }
        }
        table.row(row);
    }
    Ok(())
}

/// Which operations with how many clients.
fn plan(arguments: &Arguments) -> Vec<(Operation, usize)> {
    let mut plan = Vec::new();
    for (word, operation, every_count) in [
        ("put", Operation::Put, true),
        ("get", Operation::Get, true),
        ("serializable", Operation::GetSerializable, true),
        ("txn", Operation::ComparePut, false),
        ("keepalive", Operation::KeepAlive, false),
        ("watch", Operation::Watch, false),
    ] {
        if !arguments.wants(word) {
            continue;
        }
        if every_count {
            plan.extend(arguments.clients.iter().map(|clients| (operation, *clients)));
        } else {
            plan.push((operation, operation.usual_clients()));
        }
    }
    plan
}
