//! `bonsai up`: decide, check, then run in the foreground or leave a supervisor in the background.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use host::DataDir;

use super::Error;
use super::borrow::start_behind;
use super::ports::{Ports, Wishes};
use super::service::{self, Copies, Instance};
use super::stack::{Stack, unknown};
use super::status::print_table;
use super::supervisor::{self, Plan};

/// etcd's advice: a larger cluster survives no more in practice, and is slower.
const COORDINATORS_MAX: u16 = 7;

#[derive(Debug, Clone, Default, Args)]
pub struct UpArgs {
    /// Keep everything in a temporary directory, and delete it at the end.
    #[arg(long, conflicts_with_all = ["data", "detach"])]
    pub ephemeral: bool,
    /// Start only these: coordinator, log-broker, dfs, namenode, datanode.
    #[arg(long, value_delimiter = ',', value_name = "SERVICE,…")]
    pub only: Vec<String>,
    /// Listen on another port than the original's: log-broker=9093, namenode.http=9871. May be repeated.
    #[arg(long, value_name = "SERVICE=PORT")]
    pub port: Vec<String>,
    /// Listen on free ports. They are kept in DIR/ports, and used again.
    #[arg(long)]
    pub any_port: bool,
    /// Return when all are ready, and leave them running.
    #[arg(long)]
    pub detach: bool,
    /// How many coordinators, one cluster together: as many as there were, or one at the first start.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(COORDINATORS_MAX)))]
    pub coordinators: Option<u16>,
    /// Start none, and use this one, or this etcd, instead.
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "HOST:PORT,…",
        conflicts_with = "coordinators"
    )]
    pub coordinator: Vec<String>,
    /// How many data nodes.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=16))]
    pub datanodes: u16,
    /// The process that `--detach` leaves behind.
    #[arg(long, hide = true, conflicts_with = "detach")]
    pub background: bool,
}

pub fn up(data: Option<&Path>, args: &UpArgs) -> Result<(), Error> {
    if args.background {
        // A session of its own: the end of the terminal is not its end.
        let _ = rustix::process::setsid();
    }
    let temporary = args
        .ephemeral
        .then(|| std::env::temp_dir().join(format!("bonsai-{}", std::process::id())));
    let stack = Stack::at(temporary.as_deref().or(data))?;
    let Prepared { lock, instances, ports } = prepare(&stack, args)?;
    if args.detach {
        drop(lock);
        return detach(&stack, args);
    }
    outln!(
        "bonsai {} · state in {}",
        env!("CARGO_PKG_VERSION"),
        stack.directory().display()
    );
    if !args.background {
        outln!("Ctrl-C stops all services; `bonsai status`, `logs`, `env` show more\n");
    }
    let plan = Plan {
        stack,
        instances,
        ports,
        program: program()?,
    };
    let outcome = serve(plan);
    drop(lock);
    if let Some(directory) = temporary {
        fs::remove_dir_all(&directory)
            .map_err(|error| Error::io(format!("cannot delete {}", directory.display()), error))?;
    }
    outcome
}

/// What is decided, with the stack held for this process.
#[derive(Debug)]
pub struct Prepared {
    pub lock: DataDir,
    pub instances: Vec<Instance>,
    pub ports: Ports,
}

/// Refuses what cannot work before anything is started: a stack that is up, a name that is none, a port that is taken.
pub fn prepare(stack: &Stack, args: &UpArgs) -> Result<Prepared, Error> {
    let copies = Copies {
        coordinators: coordinators(stack, args.coordinators)?,
        datanodes: args.datanodes,
    };
    let instances = chosen(args, copies)?;
    let lock = stack.lock()?;
    for leftover in stack.end_leftovers()? {
        eprintln!("bonsai: ended {leftover}, which a killed launcher had left");
    }
    let wishes = Wishes {
        any: args.any_port,
        overrides: args.port.clone(),
        coordinator: args.coordinator.clone(),
    };
    let ports = Ports::plan(&instances, &stack.ports()?, &wishes)?;
    ports.save(stack.directory())?;
    let logs = stack.logs();
    fs::create_dir_all(&logs).map_err(|error| Error::io(format!("cannot create {}", logs.display()), error))?;
    Ok(Prepared { lock, instances, ports })
}

fn detach(stack: &Stack, args: &UpArgs) -> Result<(), Error> {
    let background = start_behind(stack, args, false)?;
    outln!(
        "bonsai {} · state in {}\n",
        env!("CARGO_PKG_VERSION"),
        stack.directory().display()
    );
    print_table(&background.snapshot.services);
    let pid = background.snapshot.supervisor.pid;
    outln!("\nrunning in the background (pid {pid}); `bonsai down` ends it");
    Ok(())
}

fn serve(plan: Plan) -> Result<(), Error> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::io("cannot start the runtime", error))?
        .block_on(supervisor::run(plan))
}

/// This very program.
pub fn program() -> Result<PathBuf, Error> {
    std::env::current_exe().map_err(|error| Error::io("cannot find this program's own file", error))
}

/// How many coordinators to start. Who is in the cluster is agreed upon by its members, so the number that a stack began
/// with stays until it is reset: fewer would have no majority, others would not be let in.
fn coordinators(stack: &Stack, wanted: Option<u16>) -> Result<u16, Error> {
    let there = |ordinal: &u16| match ordinal {
        1 => stack.data_of("coordinator").is_dir(),
        ordinal => stack.data_of(&format!("coordinator-{ordinal}")).is_dir(),
    };
    let present = u16::try_from((1..=COORDINATORS_MAX).filter(there).count()).unwrap_or(COORDINATORS_MAX);
    match (present, wanted) {
        (0, wanted) => Ok(wanted.unwrap_or(1)),
        (present, Some(wanted)) if wanted != present => {
            Err(Error::OtherCluster(stack.directory().to_owned(), present, wanted))
        }
        (present, _) => Ok(present),
    }
}

fn chosen(args: &UpArgs, copies: Copies) -> Result<Vec<Instance>, Error> {
    let mut names: Vec<&str> = Vec::new();
    for word in &args.only {
        names.extend(service::expand(word).ok_or_else(|| unknown(word))?);
    }
    if args.only.is_empty() {
        names = service::SERVICES.iter().map(|service| service.name).collect();
    }
    if !args.coordinator.is_empty() {
        names.retain(|name| *name != "coordinator");
    }
    for service in names.iter().filter_map(|name| service::find(name)) {
        if let Some(missing) = service.requires.iter().find(|required| !names.contains(required)) {
            return Err(Error::Missing(service.name, missing));
        }
    }
    Ok(service::instances(Some(&names), copies))
}
