//! Which service listens where, decided and checked before anything is started.
//!
//! The originals' ports are the default; `--port SERVICE=N` changes one, `--any-port` takes free ones instead; `--host` says
//! on which of the machine's addresses. What was used is kept in `DIR/ports`, so that the next start uses the same and the
//! other commands find them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::Path;

use super::Error;
use super::holder;
use super::service::{Instance, Port, find};

const FILE: &str = "ports";

/// What the ports file calls a coordinator that is not of this stack.
const ELSEWHERE: &str = "coordinator.elsewhere";
const HOST: &str = "host";
const ADVERTISE: &str = "advertise";

/// Ports by `SERVICE.PORT` (`log-broker.listen`), and the hosts that go with them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ports {
    by_key: BTreeMap<String, u16>,
    /// Addresses of a coordinator, or of an etcd, that others run and this stack uses.
    elsewhere: Vec<String>,
    /// Where the services listen; the loopback unless given.
    host: Option<IpAddr>,
    /// The host that clients elsewhere are given; the one they came in on unless given.
    advertise: Option<String>,
}

/// What the command line asks for.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    pub any: bool,
    /// `log-broker=9093` or `log-broker.admin=9645`.
    pub overrides: Vec<String>,
    /// Addresses of a coordinator to use instead of an own one.
    pub coordinator: Vec<String>,
    /// A coordinator of its own, though one elsewhere was used before.
    pub own_coordinator: bool,
    pub host: Option<IpAddr>,
    pub advertise: Option<String>,
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
        if let Some(host) = self.host {
            let _ = writeln!(text, "{HOST}={host}");
        }
        if let Some(advertise) = &self.advertise {
            let _ = writeln!(text, "{ADVERTISE}={advertise}");
        }
        super::board::write_atomically(&directory.join(FILE), text.as_bytes())
    }

    fn parse(text: &str) -> Option<Self> {
        let mut ports = Self::default();
        for line in text.lines() {
            match line.split_once('=')? {
                (ELSEWHERE, addresses) => ports.elsewhere = addresses.split(',').map(str::to_owned).collect(),
                (HOST, host) => ports.host = Some(host.parse().ok()?),
                (ADVERTISE, host) => ports.advertise = Some(host.to_owned()),
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

    /// Where this machine reaches a service: `127.0.0.1:9092`.
    pub fn address(&self, service: &str, port: &str) -> String {
        let host = match self.host_of(service, port) {
            IpAddr::V4(host) if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(host) if host.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            host => host,
        };
        SocketAddr::new(host, self.number(service, port)).to_string()
    }

    /// Where a service listens: `0.0.0.0:9092`.
    pub fn listen(&self, service: &str, port: &str) -> String {
        SocketAddr::new(self.host_of(service, port), self.number(service, port)).to_string()
    }

    /// The host that clients are given, where it was given.
    pub fn advertise(&self) -> Option<&str> {
        self.advertise.as_deref()
    }

    /// Where other machines reach a service: under the advertised host, or else at this machine's own address.
    pub fn advertised(&self, service: &str, port: &str) -> String {
        match (&self.advertise, self.host_of(service, port)) {
            (Some(host), _) => format!("{host}:{}", self.number(service, port)),
            (None, host) if host.is_unspecified() => SocketAddr::new(
                coordinator_client::registry::outer_address(),
                self.number(service, port),
            )
            .to_string(),
            (None, _) => self.listen(service, port),
        }
    }

    /// Whether other machines can reach the services.
    pub fn is_open(&self) -> bool {
        self.host.is_some_and(|host| !host.is_loopback())
    }

    fn number(&self, service: &str, port: &str) -> u16 {
        self.by_key.get(&key(service, port)).copied().unwrap_or(0)
    }

    fn host_of(&self, service: &str, port: &str) -> IpAddr {
        let is_internal = find(service)
            .and_then(|row| row.ports.iter().find(|candidate| candidate.name == port))
            .is_some_and(|port| port.is_internal);
        self.host.filter(|_| !is_internal).unwrap_or(Ipv4Addr::LOCALHOST.into())
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
        if !wishes.coordinator.is_empty() || wishes.own_coordinator {
            planned.elsewhere = wishes.coordinator.clone();
        }
        if let Some(host) = wishes.host {
            planned.host = Some(host);
        }
        if let Some(host) = &wishes.advertise {
            planned.advertise = (!host.is_empty()).then(|| host.clone());
        }
        let wanted: Vec<Wanted<'_>> = pairs(instances)
            .map(|(instance, port)| {
                let key = key(&instance.name, port.name);
                let wished = overrides.get(&key).copied();
                let number = match wished.or_else(|| recorded.by_key.get(&key).copied()) {
                    Some(number) => number,
                    None if wishes.any => 0,
                    None => instance.default_port(port),
                };
                Wanted {
                    instance,
                    port,
                    number,
                    is_fixed: wished.is_some() || !wishes.any,
                }
            })
            .collect();
        let mut plan = Planning {
            // No port of the plan is proposed in the place of another.
            spoken_for: wanted.iter().map(|wanted| wanted.number).collect(),
            held: Vec::new(),
            complaints: Vec::new(),
        };
        for (place, wanted_port) in wanted.iter().enumerate() {
            let earlier = wanted[..place]
                .iter()
                .find(|other| other.number != 0 && other.number == wanted_port.number);
            let host = planned.host_of(&wanted_port.instance.name, wanted_port.port.name);
            if let Some(number) = plan.take(wanted_port, earlier, host)? {
                let key = key(&wanted_port.instance.name, wanted_port.port.name);
                planned.by_key.insert(key, number);
            }
        }
        if plan.complaints.is_empty() {
            Ok(planned)
        } else {
            Err(Error::Taken(plan.complaints.join("\n       ")))
        }
    }
}

/// A port that is to be listened on.
struct Wanted<'a> {
    instance: &'a Instance,
    port: &'static Port,
    /// 0: any that is free.
    number: u16,
    /// No other one will do.
    is_fixed: bool,
}

/// A plan being made.
struct Planning {
    spoken_for: BTreeSet<u16>,
    /// Held until all are chosen, so that none is chosen twice.
    held: Vec<TcpListener>,
    complaints: Vec<String>,
}

impl Planning {
    fn take(&mut self, wanted: &Wanted<'_>, earlier: Option<&Wanted<'_>>, host: IpAddr) -> Result<Option<u16>, Error> {
        let taken = match (wanted.number, earlier) {
            (0, _) => None,
            (_, Some(_)) if !wanted.is_fixed => None,
            (_, Some(earlier)) => Some(format!(
                "is that of {}, {} too: give another",
                earlier.instance.name, earlier.port.name
            )),
            (number, None) => match TcpListener::bind((host, number)) {
                Ok(listener) => {
                    self.held.push(listener);
                    return Ok(Some(number));
                }
                Err(_) if !wanted.is_fixed => None,
                Err(error) => Some(reason(number, &error)),
            },
        };
        match taken {
            None => {
                let listener = any_free(host)?;
                let address = listener.local_addr();
                self.held.push(listener);
                let address = address.map_err(|error| Error::io("cannot read a port", error))?;
                Ok(Some(address.port()))
            }
            Some(what) => {
                let (service, port) = (&wanted.instance.name, wanted.port.name);
                let flag = match find(service).and_then(|row| row.ports.first()) {
                    Some(first) if first.name == port => {
                        format!("--port {service}={}", self.propose(wanted.number, host))
                    }
                    _ => format!("--port {service}.{port}={}", self.propose(wanted.number, host)),
                };
                self.complaints.push(format!(
                    "port {} ({service}, {port}) {what} with {flag}, or take free ones with --any-port",
                    wanted.number
                ));
                Ok(None)
            }
        }
    }

    /// The next port that is free and that nothing else of the plan wants.
    fn propose(&mut self, taken: u16, host: IpAddr) -> u16 {
        let is_free = |number: &u16| !self.spoken_for.contains(number) && TcpListener::bind((host, *number)).is_ok();
        let proposed = (taken.saturating_add(1)..=u16::MAX).find(is_free).unwrap_or(taken);
        self.spoken_for.insert(proposed);
        proposed
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

/// A free port on `host`, from among those that stay free while nothing listens on them.
fn any_free(host: IpAddr) -> Result<TcpListener, Error> {
    const ATTEMPTS: u32 = 100;
    let cannot = |error| Error::io("cannot take a free port", error);
    for _ in 0..ATTEMPTS {
        let listener = host::free_port::listen().map_err(cannot)?;
        if host == IpAddr::from(Ipv4Addr::LOCALHOST) {
            return Ok(listener);
        }
        let port = listener.local_addr().map_err(cannot)?.port();
        drop(listener);
        if let Ok(listener) = TcpListener::bind((host, port)) {
            return Ok(listener);
        }
    }
    Err(cannot(io::ErrorKind::AddrInUse.into()))
}

fn reason(number: u16, error: &io::Error) -> String {
    if error.kind() != io::ErrorKind::AddrInUse {
        return format!("cannot be used: {error}; give another");
    }
    match holder::describe(number) {
        Some(holder) => format!("is taken by {holder}: stop it, or give another"),
        None => "is taken by another process: stop it, or give another".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::service::{Copies, instances};
    use crate::launch::shape::Shape;

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
        let held = any_free(Ipv4Addr::LOCALHOST.into()).unwrap();
        let number = held.local_addr().unwrap().port();
        let wish = format!("log-broker.admin={number}");
        let error = plan(&Ports::default(), true, &[&wish]).unwrap_err().to_string();
        assert!(
            error.contains(&format!("port {number} (log-broker, admin) is taken by")),
            "{error}"
        );
        assert!(error.contains("--port log-broker.admin="), "{error}");
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
    fn a_coordinator_elsewhere_is_remembered_until_one_of_its_own_is_wished_for() {
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
        let broker = all[0]
            .command_line(Path::new("d"), &recorded, &all, &Shape::default())
            .join(" ");
        assert!(
            broker.ends_with("--coordinator 10.0.0.1:2379,10.0.0.2:2379"),
            "{broker}"
        );
        assert_eq!(plan(&recorded, true, &[]).unwrap().coordinators(), etcd);
        let own = Wishes {
            any: true,
            own_coordinator: true,
            ..Wishes::default()
        };
        assert!(Ports::plan(&all, &recorded, &own).unwrap().coordinators().is_empty());
    }

    /// Every proposal must work: neither taken, nor wanted by the same start, nor proposed twice.
    #[test]
    fn what_is_proposed_instead_of_a_taken_port_can_be_used() {
        let all = instances(Some(&["log-broker", "batch"]), Copies::SINGLE);
        // A run of taken ports, the services' own ports among and right behind them.
        let (first, _held) = (20_000..31_900)
            .find_map(|first| {
                let held: Vec<TcpListener> = (first..first + 3)
                    .filter_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok())
                    .collect();
                (held.len() == 3).then_some((first, held))
            })
            .unwrap();
        let overrides: Vec<String> = [
            format!("log-broker={first}"),
            format!("log-broker.admin={}", first + 3),
            format!("batch={}", first + 1),
            format!("batch.admin={}", first + 3),
        ]
        .to_vec();
        let wishes = Wishes {
            overrides,
            ..Wishes::default()
        };
        let said = Ports::plan(&all, &Ports::default(), &wishes).unwrap_err().to_string();
        assert!(
            said.contains(&format!(
                "port {} (batch, admin) is that of log-broker, admin too",
                first + 3
            )),
            "{said}"
        );
        let proposed: Vec<String> = said
            .split("--port ")
            .skip(1)
            .map(|rest| rest.split(',').next().unwrap().to_owned())
            .collect();
        assert_eq!(proposed.len(), 3, "{said}");
        let mut overrides = proposed;
        overrides.push(format!("log-broker.admin={}", first + 3));
        let wishes = Wishes {
            overrides,
            ..Wishes::default()
        };
        Ports::plan(&all, &Ports::default(), &wishes).unwrap();
    }

    #[test]
    fn on_all_addresses_this_machine_uses_the_loopback_and_others_what_is_advertised() {
        let all = instances(Some(&["coordinator", "log-broker"]), Copies::SINGLE);
        let directory = tempfile::tempdir().unwrap();
        let wishes = Wishes {
            any: true,
            host: Some(Ipv4Addr::UNSPECIFIED.into()),
            advertise: Some("db.example".to_owned()),
            ..Wishes::default()
        };
        Ports::plan(&all, &Ports::default(), &wishes)
            .unwrap()
            .save(directory.path())
            .unwrap();
        let ports = Ports::load(directory.path()).unwrap();
        assert!(ports.is_open());
        assert!(ports.listen("log-broker", "listen").starts_with("0.0.0.0:"));
        assert!(ports.address("log-broker", "listen").starts_with("127.0.0.1:"));
        assert!(ports.advertised("log-broker", "listen").starts_with("db.example:"));
        assert!(
            ports.listen("coordinator", "peer").starts_with("127.0.0.1:"),
            "peers are internal"
        );
        let broker = all[1]
            .command_line(Path::new("d"), &ports, &all, &Shape::default())
            .join(" ");
        assert!(
            broker.contains("--listen 0.0.0.0:") && broker.contains("--advertise db.example:"),
            "{broker}"
        );
    }

    #[test]
    fn a_broken_ports_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(FILE), "log-broker.listen=abc\n").unwrap();
        assert!(matches!(Ports::load(directory.path()), Err(Error::BadPortsFile(_))));
    }
}
