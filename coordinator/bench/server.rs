//! The servers that are compared: started, asked, killed, started again.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use coordinator_wire::etcdserverpb::StatusRequest;
use coordinator_wire::etcdserverpb::maintenance_client::MaintenanceClient;
use testing::process::{Signal, send, usage};

use crate::Result;
use crate::connection::{Connection, page};

/// A server that is not healthy so long after its start never will be.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// A server that has not ended so long after SIGTERM is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// What is measured: a program to start, or servers that run already.
#[derive(Debug, Clone)]
pub struct Program {
    name: String,
    source: Source,
}

#[derive(Debug, Clone)]
enum Source {
    Path(PathBuf),
    Running(Vec<(String, Option<u32>)>),
}

impl Program {
    pub fn to_start(name: &str, path: PathBuf) -> Self {
        Self {
            name: name.to_owned(),
            source: Source::Path(path),
        }
    }

    /// `places` is `HOST:PORT=PID,…`; without a PID there is no CPU time and no memory to be shown.
    pub fn running(name: &str, places: &str) -> Result<Self> {
        let places = places.split(',').map(|place| match place.split_once('=') {
            Some((address, pid)) => Ok((address.to_owned(), Some(pid.parse()?))),
            None => Ok((place.to_owned(), None)),
        });
        Ok(Self {
            name: name.to_owned(),
            source: Source::Running(places.collect::<Result<_>>()?),
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether its servers can be killed and started again.
    pub fn is_ours_to_stop(&self) -> bool {
        matches!(self.source, Source::Path(_))
    }
}

/// One member.
#[derive(Debug)]
pub struct Member {
    pub address: String,
    pid: Option<u32>,
    /// Only of those that were started here.
    started: Option<Started>,
}

#[derive(Debug)]
struct Started {
    program: PathBuf,
    flags: Vec<String>,
    log: PathBuf,
    child: Child,
}

/// One program's members; those started here are killed and their data removed when dropped.
#[derive(Debug)]
pub struct Contender {
    name: String,
    pub members: Vec<Member>,
    directory: Option<PathBuf>,
}

/// A count at one moment, of all members together.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spent {
    pub cpu_micros: Option<u64>,
    pub syncs: u64,
}

impl Contender {
    /// Starts `nodes` members, and waits until all of them are healthy.
    pub async fn start(program: &Program, nodes: usize, directory: &Path) -> Result<Self> {
        let path = match &program.source {
            Source::Running(places) => {
                let members = places.iter().map(|(address, pid)| Member {
                    address: address.clone(),
                    pid: *pid,
                    started: None,
                });
                return Ok(Self {
                    name: program.name.clone(),
                    members: members.collect(),
                    directory: None,
                });
            }
            Source::Path(path) => path,
        };
        let mark = format!("beside-etcd-{}-{}-{nodes}", std::process::id(), program.name);
        let directory = directory.join(mark);
        std::fs::create_dir_all(&directory)?;
        let mut contender = Self {
            name: program.name.clone(),
            members: Vec::new(),
            directory: Some(directory.clone()),
        };
        let ports = free_ports(2 * nodes)?;
        for number in 0..nodes {
            let flags = flags(&directory, &ports, number);
            let log = directory.join(format!("n{number}.log"));
            let address = format!("127.0.0.1:{}", ports[2 * number]);
            let started = Started::spawn(path.clone(), flags, log)?;
            contender.members.push(Member {
                address,
                pid: Some(started.child.id()),
                started: Some(started),
            });
        }
        for member in &mut contender.members {
            member.until_healthy().await?;
        }
        Ok(contender)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the members have spent so far.
    pub async fn spent(&self) -> Result<Spent> {
        let mut spent = Spent {
            cpu_micros: Some(0),
            syncs: 0,
        };
        for member in &self.members {
            let cpu_micros = member.pid.map(usage).transpose()?.map(|usage| usage.cpu_micros);
            spent.cpu_micros = spent.cpu_micros.zip(cpu_micros).map(|(sum, one)| sum + one);
            spent.syncs += member.syncs().await?;
        }
        Ok(spent)
    }

    /// Which member leads.
    pub async fn leader(&self) -> Result<usize> {
        let until = Instant::now() + START_TIMEOUT;
        loop {
            for (number, member) in self.members.iter().enumerate() {
                if member.is_leader().await.unwrap_or(false) {
                    return Ok(number);
                }
            }
            if Instant::now() > until {
                return Err(format!("{} has no leader", self.name).into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn leader_address(&self) -> Result<String> {
        Ok(self.members[self.leader().await?].address.clone())
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        for member in &mut self.members {
            if let Some(started) = &mut member.started {
                started.kill();
            }
        }
        if let Some(directory) = &self.directory {
            // What is left in a temporary directory harms no one.
            let _ = std::fs::remove_dir_all(directory);
        }
    }
}

impl Member {
    /// Resident memory in bytes: all, and the part that is not mapped from files.
    pub fn resident_bytes(&self) -> Result<Option<(u64, u64)>> {
        let usage = self.pid.map(usage).transpose()?;
        Ok(usage.map(|usage| (usage.resident_bytes, usage.anonymous_bytes)))
    }

    async fn syncs(&self) -> Result<u64> {
        let text = page(&self.address, "/metrics").await?;
        let count = text
            .lines()
            .find_map(|line| line.strip_prefix("etcd_disk_wal_fsync_duration_seconds_count "))
            .ok_or("the metrics do not count the syncs")?;
        Ok(count.trim().parse::<f64>()? as u64)
    }

    async fn is_leader(&self) -> Result<bool> {
        let connection = Connection::open(&self.address).await?;
        let origin = connection.origin.clone();
        let mut client = MaintenanceClient::with_origin(connection, origin);
        let status = client.status(StatusRequest::default()).await?.into_inner();
        Ok(status.header.is_some_and(|header| header.member_id == status.leader))
    }

    /// Waits until `/health` says so; returns how long that took.
    pub async fn until_healthy(&mut self) -> Result<Duration> {
        let begun = Instant::now();
        loop {
            if let Ok(text) = page(&self.address, "/health").await
                && text.contains("\"true\"")
            {
                return Ok(begun.elapsed());
            }
            if let Some(started) = &mut self.started {
                started.check_running()?;
            }
            if begun.elapsed() > START_TIMEOUT {
                return Err(format!("{} is not healthy after {START_TIMEOUT:?}", self.address).into());
            }
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
    }

    /// SIGKILL; returns when the process is gone.
    pub fn kill(&mut self) -> Result<()> {
        self.started()?.kill();
        Ok(())
    }

    /// SIGTERM, as an operator ends it.
    pub fn terminate(&mut self) -> Result<()> {
        self.started()?.terminate()
    }

    /// Starts it again as it was; returns the time from its start until it is healthy.
    pub async fn start_again(&mut self) -> Result<Duration> {
        let started = self.started()?;
        let begun = Instant::now();
        *started = Started::spawn(started.program.clone(), started.flags.clone(), started.log.clone())?;
        self.pid = Some(started.child.id());
        self.until_healthy().await?;
        Ok(begun.elapsed())
    }

    fn started(&mut self) -> Result<&mut Started> {
        let started = self.started.as_mut();
        started.ok_or_else(|| "a server that was not started here cannot be stopped".into())
    }
}

impl Started {
    fn spawn(program: PathBuf, flags: Vec<String>, log: PathBuf) -> Result<Self> {
        let output = std::fs::OpenOptions::new().create(true).append(true).open(&log)?;
        let child = Command::new(&program)
            .args(&flags)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", program.display()))?;
        Ok(Self {
            program,
            flags,
            log,
            child,
        })
    }

    fn check_running(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let end = lines[lines.len().saturating_sub(3)..].join(" | ");
            return Err(format!("{} ended with {status}: {end}", self.program.display()).into());
        }
        Ok(())
    }

    fn kill(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn terminate(&mut self) -> Result<()> {
        send(&self.child, Signal::TERM);
        let until = Instant::now() + STOP_TIMEOUT;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > until {
                self.kill();
                return Err(format!("{} did not end within {STOP_TIMEOUT:?}", self.program.display()).into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

/// The same for both programs.
fn flags(directory: &Path, ports: &[u16], number: usize) -> Vec<String> {
    let client = format!("http://127.0.0.1:{}", ports[2 * number]);
    let peer = |number: usize| format!("http://127.0.0.1:{}", ports[2 * number + 1]);
    let members: Vec<String> = (0..ports.len() / 2)
        .map(|number| format!("n{number}={}", peer(number)))
        .collect();
    vec![
        format!("--name=n{number}"),
        format!("--data-dir={}", directory.join(format!("n{number}")).display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={}", peer(number)),
        format!("--initial-advertise-peer-urls={}", peer(number)),
        format!("--initial-cluster={}", members.join(",")),
        "--initial-cluster-state=new".to_owned(),
        "--initial-cluster-token=beside-etcd".to_owned(),
        "--log-level=warn".to_owned(),
    ]
}

fn free_ports(count: usize) -> Result<Vec<u16>> {
    let ports = (0..count).map(|_| Ok(host::free_port::address()?.port()));
    ports.collect()
}
