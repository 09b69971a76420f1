//! The real broker as a process.

use std::net::SocketAddr;
use std::path::Path;

use log_broker_client::Client;
use testing::http::{self, Response};
use testing::{Process, Program};

/// A broker that is ready. It is killed when dropped.
pub struct Broker {
    process: Process,
    pub listen: String,
}

/// How the broker is started: `more` are further flags.
pub fn program(data: &Path, listen: &str, more: &[&str]) -> Program {
    Program::new(env!("CARGO_BIN_EXE_log-broker"))
        .arg("--data")
        .arg(data)
        .args(["--listen", listen, "--admin", "127.0.0.1:0", "--log-level", "warn"])
        .args(more)
}

/// For a broker that is started again at the same address.
pub fn free_address() -> String {
    host::free_port::address().unwrap().to_string()
}

impl Broker {
    pub fn start(data: &Path, listen: &str, more: &[&str]) -> Self {
        let process = program(data, listen, more).start();
        Self {
            listen: process.address("listen").to_string(),
            process,
        }
    }

    pub fn kill(mut self) {
        self.process.kill();
    }

    pub fn terminate(mut self) -> Option<i32> {
        self.process.terminate().code()
    }

    pub fn resident_bytes(&self) -> u64 {
        self.process.resident_bytes()
    }

    fn admin(&self) -> SocketAddr {
        self.process.address("admin")
    }

    pub fn get(&self, path: &str) -> Response {
        http::request(self.admin(), "GET", path, "").unwrap()
    }

    pub fn status(&self) -> serde_json::Value {
        self.process.status()
    }

    pub async fn client(&self) -> Client {
        Client::connect(&self.listen, "test").await.unwrap()
    }
}
