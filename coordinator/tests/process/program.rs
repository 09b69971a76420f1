//! Starts and ends the coordinator.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Output;

use coordinator_client::Client;
use testing::{Process, Program, Signal};

/// A coordinator that is ready; killed when dropped.
pub struct Coordinator {
    process: Process,
    pub address: SocketAddr,
}

pub fn program(data: &Path, listen: &str) -> Program {
    Program::new(env!("CARGO_BIN_EXE_coordinator"))
        .arg("--data-dir")
        .arg(data)
        .args(["--listen-client-urls", listen])
        .args(["--log-level", "error", "--log-format", "text"])
        // Not the default, which may be taken; a flag overrides it.
        .env("ETCD_LISTEN_PEER_URLS", "http://127.0.0.1:0")
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
        let process = program(data, listen).args(flags).start();
        Self {
            address: process.address("client"),
            process,
        }
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
        self.process.kill();
    }

    /// Asks it to end as an operator does; returns its exit code.
    pub fn terminate(self) -> Option<i32> {
        self.end_by(&[Signal::TERM])
    }

    /// Sends signals one after the other, the last of which ends it; returns its exit code.
    pub fn end_by(mut self, signals: &[Signal]) -> Option<i32> {
        for signal in signals {
            self.process.signal(*signal);
        }
        self.process.wait().code()
    }

    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    pub fn status(&self) -> serde_json::Value {
        self.process.status()
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.process.resident_bytes()
    }
}

/// Runs one that is expected to end by itself.
pub fn run(data: &Path, listen: &str, more: &[&str]) -> Output {
    program(data, listen).args(more).run()
}
