//! Which service listens where, decided and checked before anything is started.
//!
//! The originals' ports are the default; `--port SERVICE=N` changes one, `--any-port` takes free ones instead. What was
//! used is kept in `DIR/ports`, so that the next start uses the same and the other commands find them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use super::Error;
use super::holder;
use super::service::{Instance, find};

const FILE: &str = "ports";

/// What the ports file calls a coordinator that is not of this stack.
const ELSEWHERE: &str = "coordinator.elsewhere";

/// Ports by `SERVICE.PORT` (`log-broker.listen`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ports {
    by_key: BTreeMap<String, u16>,
    /// Addresses of a coordinator, or of an etcd, that others run and this stack uses.
    elsewhere: Vec<String>,
}

/// What the command line asks for.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    pub any: bool,
    /// `log-broker=9093` or `log-broker.admin=9645`.
    pub overrides: Vec<String>,
    /// Addresses of a coordinator to use instead of an own one.
    pub coordinator: Vec<String>,
}

impl Ports {
    /// What `DIR/ports` says; empty where there is none.
    pub fn load(directory: &Path) -> Result<Self, Error> {
        let path = directory.join(FILE);
        match fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text).ok_or(Error::BadPortsFile(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Error::io(format!("cannot read {}", path.display()), error)),
        }
    }

    pub fn save(&self, directory: &Path) -> Result<(), Error> {
        let mut text = String::new();
        for (key, port) in &self.by_key {
            let _ = writeln!(text, "{key}={port}");
        }
        if !self.elsewhere.is_empty() {
            let _ = writeln!(text, "{ELSEWHERE}={}", self.elsewhere.join(","));
        }
        super::board::write_atomically(&directory.join(FILE), text.as_bytes())
    }

    fn parse(text: &str) -> Option<Self> {
        let mut ports = Self::default();
        for line in text.lines() {
            match line.split_once('=')? {
                (ELSEWHERE, addresses) => ports.elsewhere = addresses.split(',').map(str::to_owned).collect(),
                (key, port) => {
                    ports.by_key.insert(key.to_owned(), port.parse().ok()?);
                }
            }
        }
        Some(ports)
    }

    #[cfg(test)]
    pub fn defaults(instances: &[Instance]) -> Self {
        let mut ports = Self::default();
        for (instance, port) in pairs(instances) {
            ports
                .by_key
                .insert(key(&instance.name, port.name), instance.default_port(port));
        }
        ports
    }

    /// `127.0.0.1:9092`.
    pub fn address(&self, service: &str, port: &str) -> String {
        format!(
            "{}:{}",
            Ipv4Addr::LOCALHOST,
            self.by_key.get(&key(service, port)).copied().unwrap_or(0)
        )
    }

    pub fn contains(&self, service: &str) -> bool {
        find(service)
            .and_then(|row| row.ports.first())
            .is_some_and(|port| self.by_key.contains_key(&key(service, port.name)))
    }

    /// Where the coordinator serves: this stack's members, or those that were named to be used instead.
    pub fn coordinators(&self) -> Vec<String> {
        match self.elsewhere.as_slice() {
            [] => self.addresses("coordinator", "client"),
            elsewhere => elsewhere.to_vec(),
        }
    }

    /// Whether the coordinator is somebody else's.
    pub fn is_coordinator_elsewhere(&self) -> bool {
        !self.elsewhere.is_empty()
    }

    /// The addresses of all processes of a service (`datanode`, `datanode-2`, …), in their order.
    pub fn addresses(&self, service: &str, port: &str) -> Vec<String> {
        std::iter::once(service.to_owned())
            .chain((2..).map(|ordinal| format!("{service}-{ordinal}")))
            .take_while(|name| self.contains(name))
            .map(|name| self.address(&name, port))
            .collect()
    }

    /// Decides the ports of `instances` and makes sure that each is free. Ports recorded for services that are not
    /// started now are kept.
    pub fn plan(instances: &[Instance], recorded: &Self, wishes: &Wishes) -> Result<Self, Error> {
        let overrides = parse_overrides(&wishes.overrides)?;
        let mut planned = recorded.clone();
        planned.elsewhere = wishes.coordinator.clone();
        // Held until all are chosen, so that none is chosen twice.
        let mut held = Vec::new();
        let mut taken = Vec::new();
        for (instance, port) in pairs(instances) {
            let key = key(&instance.name, port.name);
            let wished = overrides.get(&key).copied();
            let number = match wished.or_else(|| recorded.by_key.get(&key).copied()) {
                Some(number) => number,
                None if wishes.any => 0,
                None => instance.default_port(port),
            };
            let listener = match number {
                0 => Some(any_free()?),
                number => match bind(number) {
                    Ok(listener) => Some(listener),
                    Err(_) if wishes.any && wished.is_none() => Some(any_free()?),
                    Err(error) => {
                        taken.push(complaint(&instance.name, port.name, number, &error));
                        None
                    }
                },
            };
            if let Some(listener) = listener {
                let address = listener
                    .local_addr()
                    .map_err(|error| Error::io("cannot read a port", error))?;
                planned.by_key.insert(key, address.port());
                held.push(listener);
            }
        }
        if taken.is_empty() {
            Ok(planned)
        } else {
            Err(Error::Taken(taken.join("\n       ")))
        }
    }
}

fn pairs(instances: &[Instance]) -> impl Iterator<Item = (&Instance, &'static super::service::Port)> {
    instances
        .iter()
        .flat_map(|instance| instance.service.ports.iter().map(move |port| (instance, port)))
}

fn key(service: &str, port: &str) -> String {
    format!("{service}.{port}")
}

/// `SERVICE=N` means the service's first port.
fn parse_overrides(words: &[String]) -> Result<BTreeMap<String, u16>, Error> {
    let mut overrides = BTreeMap::new();
    for word in words {
        let bad = || Error::BadPort(word.clone());
        let (name, number) = word.split_once('=').ok_or_else(bad)?;
        let number: u16 = number.parse().map_err(|_| bad())?;
        let (service, port) = match name.split_once('.') {
            Some((service, port)) => (service, Some(port)),
            None => (name, None),
        };
        let row = find(service).ok_or_else(bad)?;
        let mut candidates = row
            .ports
            .iter()
            .filter(|candidate| port.is_none_or(|port| candidate.name == port));
        let port = candidates.next().ok_or_else(bad)?;
        overrides.insert(key(service, port.name), number);
    }
    Ok(overrides)
}

fn bind(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
}

fn any_free() -> Result<TcpListener, Error> {
    host::free_port::listen().map_err(|error| Error::io("cannot take a free port", error))
}

fn complaint(service: &str, port: &str, number: u16, error: &io::Error) -> String {
    let flag = match find(service).and_then(|row| row.ports.first()) {
        Some(first) if first.name == port => format!("--port {service}={}", number.saturating_add(1)),
        _ => format!("--port {service}.{port}={}", number.saturating_add(1)),
    };
    let what = if error.kind() == io::ErrorKind::AddrInUse {
        match holder::describe(number) {
            Some(holder) => format!("is taken by {holder}"),
            None => "is taken by another process".to_owned(),
        }
    } else {
        format!("cannot be used: {error}")
    };
    format!(
        "port {number} ({service}, {port}) {what}: stop it, or give another with {flag}, or take free ones with --any-port"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::service::{Copies, instances};

    fn plan(recorded: &Ports, any: bool, overrides: &[&str]) -> Result<Ports, Error> {
        let overrides = overrides.iter().map(|word| (*word).to_owned()).collect();
        Ports::plan(
            &instances(Some(&["log-broker"]), Copies::SINGLE),
            recorded,
            &Wishes {
                any,
                overrides,
                ..Wishes::default()
            },
        )
    }

    #[test]
    fn free_ports_are_distinct_recorded_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let ports = plan(&Ports::default(), true, &[]).unwrap();
        ports.save(directory.path()).unwrap();
        let recorded = Ports::load(directory.path()).unwrap();
        assert_eq!(recorded, ports);
        assert_ne!(
            ports.address("log-broker", "listen"),
            ports.address("log-broker", "admin")
        );
        assert_eq!(plan(&recorded, true, &[]).unwrap(), ports);
        assert_eq!(plan(&recorded, false, &[]).unwrap(), ports);
    }

    #[test]
    fn a_taken_port_is_refused_with_its_holder_and_flag() {
        let held = any_free().unwrap();
        let number = held.local_addr().unwrap().port();
        let wish = format!("log-broker.admin={number}");
        let error = plan(&Ports::default(), true, &[&wish]).unwrap_err().to_string();
        assert!(
            error.contains(&format!("port {number} (log-broker, admin) is taken by")),
            "{error}"
        );
        assert!(
            error.contains(&format!("--port log-broker.admin={}", number + 1)),
            "{error}"
        );
    }

    #[test]
    fn with_any_port_a_recorded_port_that_is_taken_is_replaced() {
        let first = plan(&Ports::default(), true, &[]).unwrap();
        let _held = TcpListener::bind(first.address("log-broker", "listen")).unwrap();
        assert!(plan(&first, false, &[]).is_err());
        let second = plan(&first, true, &[]).unwrap();
        assert_ne!(
            first.address("log-broker", "listen"),
            second.address("log-broker", "listen")
        );
        assert_eq!(
            first.address("log-broker", "admin"),
            second.address("log-broker", "admin")
        );
    }

    #[test]
    fn wishes_that_make_no_sense_are_refused() {
        for wish in [
            "9092",
            "kafka=9092",
            "log-broker.http=1",
            "log-broker=70000",
            "log-broker=",
        ] {
            assert!(
                matches!(plan(&Ports::default(), true, &[wish]), Err(Error::BadPort(_))),
                "{wish}"
            );
        }
    }

    #[test]
    fn a_coordinator_elsewhere_is_remembered_until_the_next_start() {
        let directory = tempfile::tempdir().unwrap();
        let etcd = ["10.0.0.1:2379".to_owned(), "10.0.0.2:2379".to_owned()];
        let wishes = Wishes {
            any: true,
            coordinator: etcd.to_vec(),
            ..Wishes::default()
        };
        let all = instances(Some(&["log-broker"]), Copies::SINGLE);
        let ports = Ports::plan(&all, &Ports::default(), &wishes).unwrap();
        ports.save(directory.path()).unwrap();
        let recorded = Ports::load(directory.path()).unwrap();
        assert_eq!(recorded.coordinators(), etcd);
        let broker = all[0].command_line(Path::new("d"), &recorded, &all).join(" ");
        assert!(
            broker.ends_with("--coordinator 10.0.0.1:2379,10.0.0.2:2379"),
            "{broker}"
        );
        assert!(plan(&recorded, true, &[]).unwrap().coordinators().is_empty());
    }

    #[test]
    fn a_broken_ports_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(FILE), "log-broker.listen=abc\n").unwrap();
        assert!(matches!(Ports::load(directory.path()), Err(Error::BadPortsFile(_))));
    }
}
