//! What a service is and where: one ready line on stdout, and one JSON document at `/status`, from the same facts.
//!
//! ```text
//! log-broker ready listen=127.0.0.1:9092 admin=127.0.0.1:9644 http=127.0.0.1:9644
//! ```
//!
//! ```json
//! {"program":"log-broker","version":"0.1.0","role":"broker","addresses":{"http":"127.0.0.1:9644",…},
//!  "data_directory":"/var/lib/x","ready":true,"facts":{…}}
//! ```
//!
//! `http` is in the ready line and the document of every service: it is where `/status`, `/metrics` and `/healthz` are. The other
//! addresses have the names of the service's own flags. `ready` is what `/healthz` answers; `reason` is there when it is
//! false. `facts` are the service's own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value, json};

/// The key of the address that every service has.
const HTTP: &str = "http";

/// Reports whether the service can serve: `Err` carries the reason.
pub type Health = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

type Facts = Arc<dyn Fn() -> Map<String, Value> + Send + Sync>;

/// A service, its role and its addresses.
#[derive(Clone)]
pub struct Status {
    program: &'static str,
    role: &'static str,
    addresses: Vec<(&'static str, SocketAddr)>,
    http: Option<SocketAddr>,
    data_directory: Option<PathBuf>,
    facts: Facts,
}

impl Status {
    /// `program` is the name in the ready line.
    pub fn new(program: &'static str, role: &'static str) -> Self {
        Self {
            program,
            role,
            addresses: Vec::new(),
            http: None,
            data_directory: None,
            facts: Arc::new(Map::new),
        }
    }

    /// Adds an address under the name of its flag. A second one of the same name is in the ready line only.
    #[must_use]
    pub fn address(mut self, name: &'static str, address: SocketAddr) -> Self {
        self.addresses.push((name, address));
        self
    }

    /// Where the pages are. A service that listens on a Unix socket only has no such address.
    #[must_use]
    pub fn http(mut self, address: SocketAddr) -> Self {
        self.http = Some(address);
        self
    }

    /// The directory with everything that survives a restart.
    #[must_use]
    pub fn data_directory(mut self, path: &Path) -> Self {
        self.data_directory = Some(path.to_owned());
        self
    }

    /// The service's own facts, taken for each request: it must not wait for locks that are held over I/O.
    #[must_use]
    pub fn facts<const N: usize>(
        mut self,
        facts: impl Fn() -> [(&'static str, Value); N] + Send + Sync + 'static,
    ) -> Self {
        self.facts = Arc::new(move || {
            facts()
                .into_iter()
                .map(|(name, fact)| (name.to_owned(), fact))
                .collect()
        });
        self
    }

    /// Reports on stdout, in one line, that the service is ready and where.
    ///
    /// People read it, and the launcher does: it learns the ports that were asked for as 0.
    pub fn announce_ready(&self) {
        crate::announce_ready(self.program, &self.named());
    }

    fn named(&self) -> Vec<(&'static str, SocketAddr)> {
        let mut named = self.addresses.clone();
        named.extend(self.http.map(|address| (HTTP, address)));
        named
    }

    /// The document.
    pub fn document(&self, health: &Health) -> Value {
        // The first of a name stays.
        let addresses = self.named().into_iter().rev();
        let addresses: Map<String, Value> = addresses
            .map(|(name, address)| (name.to_owned(), json!(address.to_string())))
            .collect();
        let health = health();
        let mut document = json!({
            "program": self.program,
            "version": env!("CARGO_PKG_VERSION"),
            "role": self.role,
            "addresses": addresses,
            "data_directory": self.data_directory.as_ref().map(|path| path.display().to_string()),
            "ready": health.is_ok(),
            "facts": (self.facts)(),
        });
        if let Err(reason) = health {
            document["reason"] = Value::String(reason);
        }
        document
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_says_what_where_and_whether_it_is_ready() {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let status = Status::new("log-broker", "broker")
            .address("listen", address(1))
            .address("listen", address(2))
            .http(address(3))
            .data_directory(Path::new("/data"))
            .facts(|| [("partitions", json!(7))]);
        let well: Health = Arc::new(|| Ok(()));
        let document = status.document(&well);
        assert_eq!(status.named().len(), 3);
        let expected = json!({
            "program": "log-broker", "version": env!("CARGO_PKG_VERSION"), "role": "broker",
            "addresses": { "listen": "127.0.0.1:1", "http": "127.0.0.1:3" },
            "data_directory": "/data", "ready": true, "facts": { "partitions": 7 },
        });
        assert_eq!(document, expected);
        let ill: Health = Arc::new(|| Err("the disk is full".to_owned()));
        let document = status.document(&ill);
        assert_eq!(
            (&document["ready"], &document["reason"]),
            (&json!(false), &json!("the disk is full"))
        );
    }
}
