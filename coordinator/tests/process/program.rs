//! Starts and ends the coordinator.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use coordinator_client::Client;

/// A coordinator that runs; killed when dropped.
pub struct Coordinator {
    child: Child,
    pub address: SocketAddr,
}

pub fn command(data: &Path, listen: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coordinator"));
    command
        .env_clear()
        .arg("--data-dir")
        .arg(data)
        .args([
            "--listen-client-urls",
            listen,
            "--log-level",
            "error",
            "--log-format",
            "text",
        ])
        // No one else's, and not the default, which may be taken; a flag says otherwise.
        .env("ETCD_LISTEN_PEER_URLS", "http://127.0.0.1:0");
    command
}

impl Coordinator {
    /// Starts one, on a port with which it may be started again, and waits until it is ready.
    pub fn start(data: &Path) -> Self {
        let address = host::free_port::address().expect("a port");
        Self::start_at(data, &format!("http://{address}"))
    }

    pub fn start_at(data: &Path, listen: &str) -> Self {
        Self::start_with(data, listen, &[])
    }

    pub fn start_with(data: &Path, listen: &str, flags: &[String]) -> Self {
        let mut child = command(data, listen)
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program is there");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("it says something");
        let address = line
            .strip_prefix("coordinator ready client=")
            .and_then(|addresses| addresses.split_whitespace().next())
            .unwrap_or_else(|| panic!("{line:?} is no ready line"))
            .parse()
            .expect("an address");
        Self { child, address }
    }

    pub async fn client(&self) -> Client {
        Client::connect(&self.address.to_string()).await.expect("it serves")
    }

    /// For the services that our own client does not know.
    pub async fn channel(&self) -> tonic::transport::Channel {
        let endpoint = tonic::transport::Endpoint::from_shared(self.listen_url()).expect("a URL");
        endpoint.connect().await.expect("it serves")
    }

    pub fn listen_url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Asks it to end as an operator does; returns its exit code.
    pub fn terminate(self) -> Option<i32> {
        self.end_by(&["-TERM"])
    }

    /// Sends signals one after the other, the last of which ends it; returns its exit code.
    pub fn end_by(mut self, signals: &[&str]) -> Option<i32> {
        let pid = self.child.id().to_string();
        for signal in signals {
            let sent = Command::new("kill").args([*signal, pid.as_str()]).status();
            assert!(sent.expect("kill is there").success());
        }
        self.child.wait().expect("it ends").code()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .expect("Linux says it");
        line.split_whitespace()
            .nth(1)
            .and_then(|kilobytes| kilobytes.parse::<u64>().ok())
            .expect("a number")
            << 10
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        let _already_ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Runs one that is expected to end by itself.
pub fn run(data: &Path, listen: &str, more: &[&str]) -> Output {
    let mut child = command(data, listen)
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program is there");
    let status = child.wait().expect("it ends");
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    child
        .stdout
        .take()
        .expect("piped")
        .read_to_end(&mut stdout)
        .expect("readable");
    child
        .stderr
        .take()
        .expect("piped")
        .read_to_end(&mut stderr)
        .expect("readable");
    Output { status, stdout, stderr }
}
