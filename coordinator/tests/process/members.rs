//! Members of a cluster as processes, and what tests ask of them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use coordinator_client::wire::etcdserverpb as pb;
use coordinator_client::{Client, Keys, RangeOptions};
use pb::kv_client::KvClient;
use pb::maintenance_client::MaintenanceClient;
use testing::process::send;
use testing::{Program, Signal};
use tonic::transport::{Channel, Endpoint};

/// How long something may take that must happen.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// So that a busy machine elects no other leader while megabytes are written.
pub const PATIENT: &str = "--election-timeout=2000";

/// A port for a member that may be started again with it.
pub fn free_port() -> u16 {
    host::free_port::address().expect("a port").port()
}

/// One member: its flags, and its process while it runs.
pub struct Member {
    pub name: String,
    /// Of its peer URL.
    pub scheme: &'static str,
    pub data: PathBuf,
    pub client: u16,
    pub peer: u16,
    pub child: Option<Child>,
}

impl Member {
    pub fn new(directory: &Path, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            scheme: "http",
            data: directory.join(name),
            client: free_port(),
            peer: free_port(),
            child: None,
        }
    }

    pub fn peer_url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.peer)
    }

    pub fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.client)
    }

    /// Fails unless a read through this member finds all these keys, which begin with `prefix`.
    pub async fn holds(&self, prefix: &'static str, keys: impl Iterator<Item = &str>) {
        let client = Client::connect(&self.endpoint()).await.expect("it serves");
        let read = client.range(Keys::prefix(prefix), RangeOptions::default());
        let found = read.await.expect("read");
        let found: BTreeSet<&[u8]> = found.kvs.iter().map(|kv| kv.key.as_ref()).collect();
        for key in keys {
            assert!(found.contains(key.as_bytes()), "{key} is lost");
        }
    }

    fn program(&self, members: &str, state: &str, more: &[&str]) -> Program {
        let client = format!("http://127.0.0.1:{}", self.client);
        Program::new(env!("CARGO_BIN_EXE_coordinator"))
            .log_to(self.data.with_extension("log"))
            .arg("--data-dir")
            .arg(&self.data)
            .args(["--name", &self.name, "--initial-cluster", members])
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &self.peer_url()])
            .args(["--initial-advertise-peer-urls", &self.peer_url()])
            .args(["--initial-cluster-state", state])
            .args(["--log-level", "info", "--log-format", "text"])
            .args(more)
    }

    /// Starts it without waiting for it.
    pub fn spawn(&mut self, members: &str, state: &str, more: &[&str]) {
        self.child = Some(self.program(members, state, more).spawn());
    }

    pub fn until_ready(&mut self) {
        let stdout = self
            .child
            .as_mut()
            .and_then(|child| child.stdout.take())
            .expect("it runs");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("it says something");
        assert!(line.starts_with("coordinator ready"), "{line:?}; {}", self.log());
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.data.with_extension("log")).unwrap_or_default()
    }

    pub fn signal(&self, signal: Signal) {
        send(self.child.as_ref().expect("it runs"), signal);
    }

    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it runs");
        child.wait().expect("it ends");
    }

    /// Waits until it has ended by itself.
    pub async fn until_ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it ran");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = child.try_wait().expect("a child") {
                return status;
            }
            if Instant::now() > deadline {
                self.child = Some(child);
                panic!("{} goes on; {}", self.name, self.log());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until its log has `words` somewhere behind the first `skipped` bytes.
    pub async fn until_logged(&self, skipped: usize, words: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log()[skipped..].contains(words) {
            assert!(
                Instant::now() < deadline,
                "{} never logs {words:?}; {}",
                self.name,
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.endpoint())).expect("an address");
        endpoint.connect().await.expect("it serves")
    }

    pub async fn status(&self) -> Option<pb::StatusResponse> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.endpoint())).expect("an address");
        let channel = endpoint
            .connect_timeout(Duration::from_secs(1))
            .timeout(Duration::from_secs(1))
            .connect()
            .await
            .ok()?;
        let answer = MaintenanceClient::new(channel)
            .status(pb::StatusRequest {})
            .await
            .ok()?;
        Some(answer.into_inner())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _already_ended = child.kill();
            let _reaped = child.wait();
        }
    }
}

pub struct Cluster {
    pub members: Vec<Member>,
    pub initial: String,
    pub directory: tempfile::TempDir,
    /// What each member is started with besides its own.
    pub flags: Vec<String>,
}

pub fn initial(members: &[Member]) -> String {
    let named = members
        .iter()
        .map(|member| format!("{}={}", member.name, member.peer_url()));
    named.collect::<Vec<_>>().join(",")
}

impl Cluster {
    pub fn start(count: usize) -> Self {
        Self::start_with(count, &[])
    }

    pub fn start_with(count: usize, more: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut members: Vec<Member> = (0..count)
            .map(|number| Member::new(directory.path(), &format!("m{number}")))
            .collect();
        let initial = initial(&members);
        for member in &mut members {
            member.spawn(&initial, "new", more);
        }
        for member in &mut members {
            member.until_ready();
        }
        Self {
            members,
            initial,
            directory,
            flags: more.iter().map(|flag| (*flag).to_owned()).collect(),
        }
    }

    pub fn endpoints(&self) -> String {
        let endpoints: Vec<_> = self.members.iter().map(Member::endpoint).collect();
        endpoints.join(",")
    }

    pub async fn client(&self) -> Client {
        Client::connect(&self.endpoints()).await.expect("it serves")
    }

    /// Which of the members that run leads, by the word of all of them.
    pub async fn leader(&self) -> usize {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut leaders = BTreeSet::new();
            let mut ids = BTreeMap::new();
            for (number, member) in self.members.iter().enumerate() {
                if member.child.is_none() {
                    continue;
                }
                if let Some(status) = member.status().await {
                    leaders.insert(status.leader);
                    ids.insert(status.header.expect("a header").member_id, number);
                }
            }
            if leaders.len() == 1
                && let Some(number) = leaders.first().and_then(|leader| ids.get(leader))
            {
                return *number;
            }
            assert!(
                Instant::now() < deadline,
                "they do not agree upon a leader: {leaders:?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn restart(&mut self, number: usize) {
        self.spawn(number);
        self.members[number].until_ready();
    }

    /// Starts a member with the flags that it had, without waiting for it.
    pub fn spawn(&mut self, number: usize) {
        let (initial, flags) = (self.initial.clone(), self.flags.clone());
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        self.members[number].spawn(&initial, "new", &flags);
    }
}

/// Reads a key of one member only, from its own state.
pub async fn local(member: &Member, key: &str) -> Option<Vec<u8>> {
    let request = pb::RangeRequest {
        key: key.to_owned().into(),
        serializable: true,
        ..Default::default()
    };
    let answer = KvClient::new(member.channel().await)
        .range(request)
        .await
        .expect("readable");
    answer.into_inner().kvs.first().map(|kv| kv.value.to_vec())
}

pub async fn eventually_local(member: &Member, key: &str) {
    let deadline = Instant::now() + PATIENCE;
    while local(member, key).await.is_none() {
        assert!(Instant::now() < deadline, "{key} never comes; {}", member.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
