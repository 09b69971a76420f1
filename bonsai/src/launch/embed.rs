//! A stack of a test's own: processes on free ports with a temporary directory, ended when it is dropped.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use super::Error;
use super::borrow::{Background, Life, start_behind};
use super::environment::variables;
use super::health;
use super::stack::Stack;
use super::up::{UpArgs, prepare, temporary_directory};

/// How long services that are ready may take to be healthy.
const HEALTHY_MAX: Duration = Duration::from_secs(30);
/// Names the program where it is not on the PATH.
const PROGRAM_VARIABLE: &str = "BONSAI_BIN";
const PROGRAM: &str = "bonsai";

/// What to start, and with which program.
#[derive(Debug, Clone, Default)]
pub struct Builder {
    only: Vec<String>,
    settings: Vec<String>,
    coordinators: Option<u16>,
    datanodes: Option<u16>,
    program: Option<PathBuf>,
}

/// A running stack of this process's own, with its data. Dropping it ends the services and deletes the data. If the
/// process is killed, the services end by themselves.
///
/// Several in one process do not see each other.
///
/// ```ignore
#[doc = include_str!("../../tests/stack/embedded/example.rs")]
/// ```
#[derive(Debug)]
pub struct Embedded {
    stack: Stack,
    child: Child,
    variables: BTreeMap<&'static str, String>,
}

impl Builder {
    /// Only these services: `log-broker`, `dfs` for name node and data node, … All of them unless this is called.
    pub fn only<S: Into<String>>(mut self, services: impl IntoIterator<Item = S>) -> Self {
        self.only = services.into_iter().map(Into::into).collect();
        self
    }

    /// A setting of `log-broker`, `namenode` or `datanode`, such as `num.partitions`.
    pub fn set(mut self, service: &str, name: &str, value: &str) -> Self {
        self.settings.push(format!("{service}.{name}={value}"));
        self
    }

    pub fn coordinators(mut self, count: u16) -> Self {
        self.coordinators = Some(count);
        self
    }

    pub fn datanodes(mut self, count: u16) -> Self {
        self.datanodes = Some(count);
        self
    }

    /// The program `bonsai`; else what `BONSAI_BIN` says, or what is on the PATH.
    pub fn program(mut self, path: impl Into<PathBuf>) -> Self {
        self.program = Some(path.into());
        self
    }

    /// Starts the services and waits until all of them are healthy, 30 seconds at most after they are ready. Blocks, and may be called inside
    /// of an asynchronous runtime.
    ///
    /// # Errors
    /// There is no program, a service did not start (with its own error), or is not healthy.
    pub fn start(self) -> Result<Embedded, Error> {
        let program = match self.program {
            Some(program) => program,
            None => find_program().ok_or(Error::NoProgram)?,
        };
        let args = UpArgs {
            only: self.only,
            set: self.settings,
            coordinators: self.coordinators,
            datanodes: self.datanodes,
            any_port: true,
            ..UpArgs::default()
        };
        let stack = Stack::at(Some(&temporary_directory()))?;
        let started = prepare(&stack, &args).and_then(|prepared| {
            drop(prepared);
            start_behind(&stack, &args, Life::Pipe, &program)
        });
        let Background { snapshot, child } = match started {
            Ok(background) => background,
            Err(error) => {
                let _first_error_counts = stack.delete();
                return Err(error);
            }
        };
        let mut embedded = Embedded {
            stack,
            child,
            variables: BTreeMap::new(),
        };
        embedded.variables = variables(&embedded.stack)?.into_iter().collect();
        let settled = std::thread::spawn(move || -> Result<_, Error> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| Error::io("cannot start the runtime", error))?;
            let health = runtime.block_on(health::settled(&snapshot.services, HEALTHY_MAX));
            let sick = snapshot
                .services
                .iter()
                .zip(&health)
                .find(|(_, health)| !health.is_healthy());
            Ok(sick.map(|(status, health)| (status.service.clone(), health.reason().unwrap_or_default().to_owned())))
        });
        match settled.join() {
            Ok(Ok(None)) => Ok(embedded),
            Ok(Ok(Some((service, reason)))) => Err(Error::NotStarted {
                log: embedded.stack.log_of(&service),
                service,
                reason,
            }),
            Ok(Err(error)) => Err(error),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl Embedded {
    /// All services.
    ///
    /// # Errors
    /// As [`Builder::start`].
    pub fn start() -> Result<Self, Error> {
        Self::builder().start()
    }

    pub fn builder() -> Builder {
        Builder::default()
    }

    /// `HOST:PORT` of the brokers, as Kafka's clients take it; `None` if there is no broker in this stack.
    pub fn brokers(&self) -> Option<&str> {
        self.variable("BOOTSTRAP_SERVERS")
    }

    /// `HOST:PORT` of the coordinators, as etcd's clients take it.
    pub fn coordinators(&self) -> Option<&str> {
        self.variable("ETCDCTL_ENDPOINTS")
    }

    /// `hdfs://HOST:PORT`.
    pub fn hdfs_url(&self) -> Option<&str> {
        self.variable("HDFS_URL")
    }

    /// `http://HOST:PORT/webhdfs/v1`.
    pub fn webhdfs_url(&self) -> Option<&str> {
        self.variable("WEBHDFS_URL")
    }

    /// `http://HOST:PORT` of Flink's SQL gateway.
    pub fn sql_gateway_url(&self) -> Option<&str> {
        self.variable("SQL_GATEWAY_URL")
    }

    /// `grpc://HOST:PORT`, as ADBC's Flight SQL driver takes it.
    pub fn flight_sql_uri(&self) -> Option<&str> {
        self.variable("FLIGHT_SQL_URI")
    }

    /// What `bonsai env` prints: for programs that a test starts.
    pub fn environment(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.variables.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// The stack's directory: its data, and its logs in `logs`.
    pub fn directory(&self) -> &Path {
        self.stack.directory()
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        // The supervisor drains, within its own deadlines, when its stdin is closed.
        drop(self.child.stdin.take());
        let _ended = self.child.wait();
        if let Err(error) = self.stack.delete() {
            errln!("bonsai: {error}");
        }
    }
}

fn find_program() -> Option<PathBuf> {
    if let Some(program) = std::env::var_os(PROGRAM_VARIABLE) {
        return Some(program.into());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(PROGRAM))
        .find(|program| program.is_file())
}
