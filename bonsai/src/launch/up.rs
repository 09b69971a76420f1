//! `bonsai up`: decide, check, then run in the foreground or leave a supervisor in the background.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use clap::Args;
use host::DataDir;

use super::Error;
use super::borrow::{Life, start_behind};
use super::health;
use super::names::{Known, known};
use super::ports::{Ports, Wishes};
use super::procfs::Process;
use super::service::{self, Copies, Instance};
use super::shape::{Asked, Shape, overruled};
use super::stack::{Stack, unknown};
use super::status::print_table;
use super::supervisor::{self, Plan};

/// etcd's advice: a larger cluster survives no more in practice, and is slower.
const COORDINATORS_MAX: u16 = 7;
const DATANODES_MAX: u16 = 16;
/// How often free ports are chosen when others take them first.
const STARTS_MAX: u32 = 5;
/// Where an ephemeral stack is, in the temporary directory; the launcher's pid follows.
const EPHEMERAL: &str = "bonsai-";

/// Which lines of the services the terminal shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    Nothing,
    Warnings,
    Everything,
}

#[derive(Debug, Clone, Default, Args)]
pub struct UpArgs {
    /// Keep everything in a temporary directory, and delete it at the end.
    #[arg(long, conflicts_with = "data")]
    pub ephemeral: bool,
    /// Start only these: coordinator, log-broker, namenode, datanode (dfs: both), stream, batch.
    #[arg(long, value_delimiter = ',', value_name = "SERVICE,…", value_parser = known(Known::Groups), hide_possible_values = true)]
    pub only: Vec<String>,
    /// Listen on another port than the original's: log-broker=9093, namenode.http=9871. May be repeated.
    #[arg(long, value_name = "SERVICE=PORT")]
    pub port: Vec<String>,
    /// Listen on free ports. They are kept in DIR/ports, and used again.
    #[arg(long)]
    pub any_port: bool,
    /// Listen on this address: 0.0.0.0 for all of the machine's. Kept for the next start. The services have no authentication.
    #[arg(long, value_name = "IP")]
    pub host: Option<IpAddr>,
    /// Host that clients elsewhere are given, where it is not the one they came in on. Kept; empty: none.
    #[arg(long, value_name = "HOST")]
    pub advertise: Option<String>,
    /// A setting of log-broker, namenode or datanode: log-broker.num.partitions=4. Kept; without a value: the default again.
    #[arg(long, value_name = "SERVICE.NAME=VALUE")]
    pub set: Vec<String>,
    /// Show every line of the services; without, warnings and errors.
    #[arg(short, long)]
    pub verbose: bool,
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
    /// How many data nodes: as many as there were, or one at the first start.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=16))]
    pub datanodes: Option<u16>,
    /// End when stdin is closed: for a program that starts a stack of its own and may be killed.
    #[arg(long, conflicts_with = "detach")]
    pub until_eof: bool,
    /// The process that `--detach` leaves behind.
    #[arg(long, hide = true, conflicts_with = "detach")]
    pub background: bool,
    /// Delete the stack's directory at the end.
    #[arg(long, hide = true, requires = "background")]
    pub delete_at_end: bool,
}

pub fn up(data: Option<&Path>, args: &UpArgs) -> Result<(), Error> {
    let mut args = args.clone();
    if args.background {
        // What a variable or the file says of these was for the process that started this one.
        (args.detach, args.ephemeral) = (false, false);
        // A session of its own: the end of the terminal is not its end.
        let _ = rustix::process::setsid();
    }
    let args = &args;
    if args.until_eof {
        end_at_eof();
    }
    let temporary = args.ephemeral.then(temporary_directory);
    let stack = Stack::at(temporary.as_deref().or(data))?;
    let outcome = up_in(&stack, args);
    // One that runs in the background now is deleted by its own process.
    let is_ours = args.delete_at_end || args.ephemeral && !(args.detach && outcome.is_ok());
    if is_ours {
        stack.delete()?;
    }
    outcome
}

/// Where an ephemeral stack of this process is. What earlier ones have left is deleted.
pub fn temporary_directory() -> PathBuf {
    remove_leftovers();
    // A process can have several: the library.
    static STARTED: AtomicU32 = AtomicU32::new(0);
    let own = format!("{EPHEMERAL}{}", std::process::id());
    std::env::temp_dir().join(match STARTED.fetch_add(1, Ordering::Relaxed) {
        0 => own,
        number => format!("{own}-{number}"),
    })
}

/// Asks this process to end when its stdin is closed.
fn end_at_eof() {
    // No task of the runtime: a read of stdin cannot be cancelled, and would hold up the end.
    std::thread::spawn(|| {
        let _broken_is_closed = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        Process::this().signal(rustix::process::Signal::TERM);
    });
}

fn up_in(stack: &Stack, args: &UpArgs) -> Result<(), Error> {
    let mut prepared = prepare(stack, args)?;
    for line in &prepared.told {
        outln!("{line}");
    }
    if args.detach {
        drop(prepared.lock);
        return detach(stack, args);
    }
    outln!(
        "bonsai {} · state in {}",
        env!("CARGO_PKG_VERSION"),
        stack.directory().display()
    );
    if !args.background {
        outln!("Ctrl-C stops all services; `bonsai status`, `logs`, `env` show more\n");
    }
    for _ in 1..STARTS_MAX {
        match serve(prepared.plan(stack, args)?) {
            // Between the choice of a port and the service's own `bind` another process took it.
            Err(error) if args.any_port && error.is_taken_port() => {
                outln!("{error}; choosing other ports");
                prepared.choose_ports(stack, args)?;
            }
            outcome => return outcome,
        }
    }
    serve(prepared.plan(stack, args)?)
}

/// What is decided, with the stack held for this process.
#[derive(Debug)]
pub struct Prepared {
    pub lock: DataDir,
    instances: Vec<Instance>,
    ports: Ports,
    shape: Shape,
    /// What the user should know about it.
    pub told: Vec<String>,
}

impl Prepared {
    fn plan(&self, stack: &Stack, args: &UpArgs) -> Result<Plan, Error> {
        Ok(Plan {
            stack: stack.clone(),
            instances: self.instances.clone(),
            ports: self.ports.clone(),
            shape: self.shape.clone(),
            program: program()?,
            shown: match (args.background, args.verbose) {
                (true, _) => Shown::Nothing,
                (false, true) => Shown::Everything,
                (false, false) => Shown::Warnings,
            },
        })
    }

    /// Decides once more, keeping what is still free.
    fn choose_ports(&mut self, stack: &Stack, args: &UpArgs) -> Result<(), Error> {
        self.ports = Ports::plan(&self.instances, &stack.ports()?, &wishes(args))?;
        self.ports.save(stack.directory())
    }
}

fn wishes(args: &UpArgs) -> Wishes {
    Wishes {
        any: args.any_port,
        overrides: args.port.clone(),
        coordinator: args.coordinator.clone(),
        own_coordinator: args.coordinators.is_some(),
        host: args.host,
        advertise: args.advertise.clone(),
    }
}

/// Refuses what cannot work before anything is started: a stack that is up, a name that is none, a port that is taken.
pub fn prepare(stack: &Stack, args: &UpArgs) -> Result<Prepared, Error> {
    let before = Shape::load(stack.directory())?;
    let asked = Asked {
        coordinators: args.coordinators,
        datanodes: args.datanodes,
        settings: &args.set,
    };
    let (shape, mut told) = before.next(stack.directory(), present(stack), asked)?;
    let recorded = stack.ports()?;
    let wishes = wishes(args);
    let is_elsewhere = !wishes.coordinator.is_empty() || recorded.is_coordinator_elsewhere() && !wishes.own_coordinator;
    let instances = chosen(args, shape.copies(), is_elsewhere)?;
    let lock = stack.lock()?;
    for leftover in stack.end_leftovers()? {
        errln!("bonsai: ended {leftover}, which a killed launcher had left");
    }
    let ports = Ports::plan(&instances, &recorded, &wishes)?;
    if is_elsewhere && wishes.coordinator.is_empty() {
        let addresses = ports.coordinators().join(",");
        told.push(format!(
            "using the coordinator at {addresses}, as before; --coordinators 1 starts one of its own"
        ));
    }
    if ports.is_open() {
        told.push("listening beyond this machine: the services have no authentication".to_owned());
    }
    for instance in &instances {
        let words = instance.command_line(&stack.data_of(&instance.name), &ports, &instances, &shape);
        if let Some(error) = overruled(&instance.service.command_path(), &words) {
            return Err(error);
        }
    }
    ports.save(stack.directory())?;
    shape.save(stack.directory())?;
    let logs = stack.logs();
    fs::create_dir_all(&logs).map_err(|error| Error::io(format!("cannot create {}", logs.display()), error))?;
    Ok(Prepared {
        lock,
        instances,
        ports,
        shape,
        told,
    })
}

/// Deletes what ephemeral stacks that were killed have left.
fn remove_leftovers() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid = name
            .to_str()
            .and_then(|name| name.strip_prefix(EPHEMERAL)?.split('-').next()?.parse::<u32>().ok());
        let is_left = |pid: u32| !Process::of(pid).is_alive();
        // Only what is a stack, and that no process holds.
        if pid.is_some_and(is_left)
            && let Ok(stack) = Stack::at(Some(&entry.path()))
            && stack.directory().join("FORMAT").exists()
            && let Ok(lock) = stack.lock()
        {
            let _next_time = fs::remove_dir_all(stack.directory());
            drop(lock);
        }
    }
}

fn detach(stack: &Stack, args: &UpArgs) -> Result<(), Error> {
    let background = start_behind(stack, args, Life::Detached, &program()?)?;
    outln!(
        "bonsai {} · state in {}\n",
        env!("CARGO_PKG_VERSION"),
        stack.directory().display()
    );
    let services = &background.snapshot.services;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::io("cannot start the runtime", error))?;
    let health = runtime.block_on(health::settled(services, supervisor::SETTLE_MAX));
    print_table(services, &health);
    let pid = background.snapshot.supervisor.pid;
    outln!("\nrunning in the background (pid {pid}); {}", how_to_end(stack, args));
    Ok(())
}

fn how_to_end(stack: &Stack, args: &UpArgs) -> String {
    match args.ephemeral {
        false => "`bonsai down` ends it".to_owned(),
        true => format!(
            "`bonsai down --data {}` ends it and deletes that directory",
            stack.directory().display()
        ),
    }
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

/// How many coordinators and data nodes have data in the stack.
fn present(stack: &Stack) -> Copies {
    let count = |service: &str, max: u16| {
        let there = |ordinal: &u16| match ordinal {
            1 => stack.data_of(service).is_dir(),
            ordinal => stack.data_of(&format!("{service}-{ordinal}")).is_dir(),
        };
        // The highest: one in the middle may have been deleted by hand.
        (1..=max).rev().find(there).unwrap_or(0)
    };
    Copies {
        coordinators: count("coordinator", COORDINATORS_MAX),
        datanodes: count("datanode", DATANODES_MAX),
    }
}

fn chosen(args: &UpArgs, copies: Copies, is_elsewhere: bool) -> Result<Vec<Instance>, Error> {
    let mut names: Vec<&str> = Vec::new();
    for word in &args.only {
        names.extend(service::expand(word).ok_or_else(|| unknown(word))?);
    }
    if args.only.is_empty() {
        names = service::SERVICES.iter().map(|service| service.name).collect();
    }
    if is_elsewhere {
        names.retain(|name| *name != "coordinator");
    }
    for service in names.iter().filter_map(|name| service::find(name)) {
        if let Some(missing) = service.requires.iter().find(|required| !names.contains(required)) {
            return Err(Error::Missing(service.name, missing));
        }
    }
    Ok(service::instances(Some(&names), copies))
}
