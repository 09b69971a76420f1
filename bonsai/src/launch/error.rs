use std::io;
use std::path::PathBuf;

/// Why the stack cannot be started, shown or stopped. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Operator: free the ports or choose others. One line a port.
    #[error("{0}")]
    Taken(String),
    /// Operator: mend the flag.
    #[error("--port {0} is not SERVICE=NUMBER or SERVICE.PORT=NUMBER, such as log-broker=9093 or namenode.http=9871")]
    BadPort(String),
    #[error("{0} is unreadable: delete it, and ports are chosen again")]
    BadPortsFile(PathBuf),
    #[error("{0} is unreadable: end the processes of this stack by hand, then delete it")]
    BadStateFile(PathBuf),
    /// Operator: mend the name.
    #[error("there is no service {0}: choose among {1}")]
    UnknownService(String, String),
    #[error("{0} cannot run without {1}: add it to --only")]
    Missing(&'static str, &'static str),
    /// Operator: a cluster's members are not changed by counting them.
    #[error(
        "the cluster in {0} has {1} coordinators, not {2}: leave --coordinators out, start over with `bonsai reset coordinator`, or change its members with `etcdctl member`"
    )]
    OtherCluster(PathBuf, u16, u16),
    /// Operator: the blocks of the others would be unreadable.
    #[error(
        "the stack in {0} has {1} data nodes, not {2}, and blocks may be on any of them: leave --datanodes out, or start over with `bonsai reset dfs`"
    )]
    FewerDataNodes(PathBuf, u16, u16),
    #[error(
        "--set {0} is not SERVICE.NAME=VALUE, such as log-broker.num.partitions=4; the services with settings are log-broker, namenode and datanode"
    )]
    BadSetting(String),
    #[error("{0} is unreadable: delete it, and give the numbers and settings of the stack once more")]
    BadShapeFile(PathBuf),
    /// Operator: the launcher decides this one.
    #[error(
        "the setting {1} of `{0}` (an environment variable or bonsai.toml) has no effect under `bonsai up`, which decides it: use up's --port, --host, --advertise, --set or --coordinator"
    )]
    Overruled(String, String),
    /// Operator: the stack runs already.
    #[error("bonsai is already up in {0} ({1}): see it with `bonsai status`, end it with `bonsai down`")]
    AlreadyUp(PathBuf, String),
    #[error("bonsai is up in {0} ({1}): end it first with `bonsai down`")]
    StillUp(PathBuf, String),
    #[error("nothing is up in {0}: start it with `bonsai up`")]
    NotUp(PathBuf),
    #[error("there is no state of bonsai in {0}: start it with `bonsai up`, or name its directory with --data")]
    NoState(PathBuf),
    /// Operator: read the service's own error, which is in here.
    #[error("{service} did not start: {reason} (its log: {log})")]
    NotStarted {
        service: String,
        reason: String,
        log: PathBuf,
    },
    /// Operator: as above, of a stack started in the background.
    #[error("the stack did not start: {0}")]
    Background(String),
    #[error("the stack in {0} is up, but not all of it is ready: see `bonsai status` and `bonsai logs`")]
    NotReady(PathBuf),
    #[error("the stack in {0} runs without {1}: end it with `bonsai down`, or use another directory with --data")]
    Lacks(PathBuf, &'static str),
    #[error("the registrations in the coordinator at {0} cannot be read: {1}")]
    Registry(String, String),
    /// Operator: the service's own words.
    #[error("the jobs at http://{0}: {1}")]
    Jobs(String, String),
    #[error("cannot run {0}: {1}")]
    NoCommand(String, io::Error),
    /// Operator or developer: say where the program is.
    #[error(
        "the program `bonsai` is not found: put it on the PATH, set BONSAI_BIN, or give its path to Builder::program"
    )]
    NoProgram,
    #[error("the stack did not end within {0} seconds: end pid {1} by hand")]
    NotEnded(u64, u32),
    #[error(transparent)]
    DataDir(#[from] host::DataDirError),
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
}

impl Error {
    /// A service found its port taken, though it was free when it was chosen.
    pub fn is_taken_port(&self) -> bool {
        matches!(self, Self::NotStarted { reason, .. } if reason.contains("Address already in use") || reason.contains("address already in use"))
    }

    pub fn io(what: impl Into<String>, source: io::Error) -> Self {
        Self::Io {
            what: what.into(),
            source,
        }
    }
}
