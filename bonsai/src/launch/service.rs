//! The services, one row each: what is started, where it listens, what must be ready before.
//!
//! The launcher knows nothing else of a service. A row says how the program is called, which ports it has (the names
//! are those of its ready line), which other services it needs first, and how its arguments are put together. A service
//! is ready when it prints its ready line, `NAME ready k=v …`, on stdout.

use std::path::Path;

use super::ports::Ports;
use super::shape::Shape;

/// A port of a service.
#[derive(Debug)]
pub struct Port {
    /// As in the ready line: `listen` in `log-broker ready listen=…`.
    pub name: &'static str,
    /// That of the original.
    pub default: u16,
    /// Only other processes of this stack connect to it: it stays on the loopback whatever `--host` says.
    pub is_internal: bool,
}

const fn port(name: &'static str, default: u16) -> Port {
    Port {
        name,
        default,
        is_internal: false,
    }
}

/// One row of the table.
#[derive(Debug)]
pub struct Service {
    pub name: &'static str,
    /// The words behind `bonsai` that run it.
    pub command: &'static [&'static str],
    /// The first one is the service's address.
    pub ports: &'static [Port],
    /// Those that must be ready before it is started, where they are started at all.
    pub after: &'static [&'static str],
    /// Those without which it cannot be started.
    pub requires: &'static [&'static str],
    /// Whose state is worthless without this one's, and is reset with it.
    pub reset_too: &'static [&'static str],
    /// May there be several (`datanode`, `datanode-2`, …)?
    pub several: bool,
    /// Has it `--set NAME=VALUE`, so that `up --set SERVICE.NAME=VALUE` reaches it?
    pub takes_settings: bool,
    /// Where it says how it is: the port, by its name, and the page.
    pub health: (&'static str, &'static str),
    arguments: fn(&Wiring<'_>) -> Vec<String>,
}

impl Service {
    /// The path of its command, as the configuration file has it: `dfs namenode`.
    pub fn command_path(&self) -> String {
        self.command.join(" ")
    }
}

/// In the order of starting; stopped in reverse.
pub const SERVICES: &[Service] = &[
    Service {
        name: "coordinator",
        command: &["coordinator"],
        ports: &[
            port("client", 2379),
            Port {
                name: "peer",
                default: 2380,
                is_internal: true,
            },
        ],
        after: &[],
        requires: &[],
        reset_too: &[],
        several: true,
        takes_settings: false,
        health: ("client", "/health"),
        arguments: coordinator,
    },
    Service {
        name: "log-broker",
        command: &["log-broker"],
        ports: &[port("listen", 9092), port("admin", 9644)],
        after: &["coordinator"],
        requires: &[],
        reset_too: &[],
        several: false,
        takes_settings: true,
        health: ("admin", "/healthz"),
        arguments: log_broker,
    },
    Service {
        name: "namenode",
        command: &["dfs", "namenode"],
        ports: &[port("rpc", 8020), port("http", 9870)],
        after: &["coordinator"],
        requires: &[],
        reset_too: &["datanode"],
        several: false,
        takes_settings: true,
        health: ("http", "/healthz"),
        arguments: namenode,
    },
    Service {
        name: "datanode",
        command: &["dfs", "datanode"],
        ports: &[port("transfer", 9866), port("ipc", 9867), port("http", 9864)],
        after: &["namenode"],
        requires: &["namenode"],
        reset_too: &[],
        several: true,
        takes_settings: true,
        health: ("http", "/healthz"),
        arguments: datanode,
    },
    Service {
        name: "stream",
        command: &["stream", "serve"],
        ports: &[port("sql", 8083)],
        after: &["coordinator"],
        requires: &[],
        reset_too: &[],
        several: false,
        takes_settings: false,
        health: ("sql", "/healthz"),
        arguments: stream,
    },
    Service {
        name: "batch",
        command: &["batch", "serve"],
        ports: &[port("flight", 32010), port("admin", 32011)],
        after: &["coordinator"],
        requires: &[],
        reset_too: &[],
        several: false,
        takes_settings: false,
        health: ("admin", "/healthz"),
        arguments: batch,
    },
];

/// Ports of a second data node are this much higher than those of the first.
const PORT_STEP: u16 = 10;

/// One process to start: a row of the table, or one of its copies.
#[derive(Debug, Clone)]
pub struct Instance {
    pub name: String,
    pub service: &'static Service,
    ordinal: u16,
}

impl Instance {
    pub fn default_port(&self, port: &Port) -> u16 {
        port.default + self.ordinal * PORT_STEP
    }

    /// The service's address: `127.0.0.1:9092`.
    pub fn address(&self, ports: &Ports) -> String {
        self.service
            .ports
            .first()
            .map(|port| ports.address(&self.name, port.name))
            .unwrap_or_default()
    }

    /// Everything behind the program's name on the command line.
    pub fn command_line(&self, data: &Path, ports: &Ports, all: &[Instance], shape: &Shape) -> Vec<String> {
        let wiring = Wiring {
            instance: self,
            data,
            ports,
            all,
            shape,
        };
        let mut words: Vec<String> = self.service.command.iter().map(|word| (*word).to_owned()).collect();
        words.extend((self.service.arguments)(&wiring));
        if self.service.takes_settings {
            let settings = shape.settings_of(self.service.name);
            words.extend(settings.flat_map(|(name, value)| ["--set".to_owned(), format!("{name}={value}")]));
        }
        words
    }
}

/// The row called `name`, also for a copy's name (`datanode-2`).
pub fn find(name: &str) -> Option<&'static Service> {
    SERVICES.iter().find(|service| {
        service.name == name
            || service.several
                && name
                    .strip_prefix(service.name)
                    .and_then(|rest| rest.strip_prefix('-'))
                    .is_some_and(|ordinal| ordinal.parse::<u16>().is_ok())
    })
}

/// What a word of `--only` or `reset` stands for: a service, or `dfs` for all of its programs.
pub fn expand(word: &str) -> Option<Vec<&'static str>> {
    let names: Vec<_> = SERVICES
        .iter()
        .filter(|service| service.name == word || service.command.len() > 1 && service.command.first() == Some(&word))
        .map(|service| service.name)
        .collect();
    if names.is_empty() { None } else { Some(names) }
}

/// How many processes of a service there are; one of what is not named here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copies {
    pub coordinators: u16,
    pub datanodes: u16,
}

impl Copies {
    #[cfg(test)]
    pub const SINGLE: Self = Self {
        coordinators: 1,
        datanodes: 1,
    };

    fn of(self, service: &Service) -> u16 {
        match service.name {
            "coordinator" => self.coordinators,
            "datanode" => self.datanodes,
            _ => 1,
        }
    }
}

/// The processes to start, in the order of starting.
pub fn instances(only: Option<&[&str]>, copies: Copies) -> Vec<Instance> {
    let wanted = |service: &&Service| only.is_none_or(|names| names.contains(&service.name));
    SERVICES
        .iter()
        .filter(wanted)
        .flat_map(|service| {
            (0..copies.of(service)).map(move |ordinal| Instance {
                name: if ordinal == 0 {
                    service.name.to_owned()
                } else {
                    format!("{}-{}", service.name, ordinal + 1)
                },
                service,
                ordinal,
            })
        })
        .collect()
}

/// What an argument builder may look at.
struct Wiring<'a> {
    instance: &'a Instance,
    data: &'a Path,
    ports: &'a Ports,
    all: &'a [Instance],
    shape: &'a Shape,
}

impl Wiring<'_> {
    /// Where a port of the process itself listens.
    fn own(&self, port: &str) -> String {
        self.ports.listen(&self.instance.name, port)
    }

    /// All processes of a service that are started too.
    fn members(&self, service: &str) -> impl Iterator<Item = &Instance> {
        self.all.iter().filter(move |instance| instance.service.name == service)
    }

    /// Another service's address, if it is started too; with commas between those of several processes.
    fn of(&self, service: &str) -> Option<String> {
        let addresses: Vec<String> = self
            .members(service)
            .map(|instance| instance.address(self.ports))
            .collect();
        (!addresses.is_empty()).then(|| addresses.join(","))
    }

    fn data(&self) -> String {
        self.data.to_string_lossy().into_owned()
    }

    /// The flags of a service that registers: the coordinator, where there is one, and the host to be known under.
    fn registered(&self) -> Vec<String> {
        let elsewhere = || {
            let is_elsewhere = self.ports.is_coordinator_elsewhere();
            is_elsewhere.then(|| self.ports.coordinators().join(","))
        };
        let coordinator = self.of("coordinator").or_else(elsewhere);
        coordinator.map_or(Vec::new(), |address| flags([("--coordinator", address)]))
    }

    fn advertised(&self) -> Vec<String> {
        let host = self.ports.advertise();
        host.map_or(Vec::new(), |host| flags([("--advertise", host.to_owned())]))
    }
}

fn flags<const N: usize>(pairs: [(&str, String); N]) -> Vec<String> {
    pairs
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .collect()
}

/// A member's name: the first has the stack's, the others are numbered.
fn member(instance: &Instance) -> String {
    instance.name.replacen("coordinator", "bonsai", 1)
}

fn coordinator(wiring: &Wiring<'_>) -> Vec<String> {
    let client = format!("http://{}", wiring.own("client"));
    let advertised = format!("http://{}", wiring.ports.advertised(&wiring.instance.name, "client"));
    let peer = format!("http://{}", wiring.own("peer"));
    let cluster: Vec<String> = wiring
        .members("coordinator")
        .map(|other| format!("{}=http://{}", member(other), wiring.ports.listen(&other.name, "peer")))
        .collect();
    flags([
        ("--log-format", "text".to_owned()),
        ("--name", member(wiring.instance)),
        ("--data-dir", wiring.data()),
        ("--listen-client-urls", client),
        ("--advertise-client-urls", advertised),
        ("--listen-peer-urls", peer.clone()),
        ("--initial-advertise-peer-urls", peer),
        ("--initial-cluster", cluster.join(",")),
    ])
}

fn log_broker(wiring: &Wiring<'_>) -> Vec<String> {
    let mut arguments = flags([
        ("--data", wiring.data()),
        ("--listen", wiring.own("listen")),
        ("--admin", wiring.own("admin")),
    ]);
    if wiring.ports.advertise().is_some() {
        let address = wiring.ports.advertised(&wiring.instance.name, "listen");
        arguments.extend(flags([("--advertise", address)]));
    }
    arguments.extend(wiring.registered());
    arguments
}

fn namenode(wiring: &Wiring<'_>) -> Vec<String> {
    let mut arguments = flags([
        ("--data", wiring.data()),
        ("--rpc", wiring.own("rpc")),
        ("--http", wiring.own("http")),
    ]);
    arguments.extend(wiring.advertised());
    arguments.extend(wiring.registered());
    // As many replicas as HDFS makes, but no more than there can be: else every file would be under-replicated for good.
    if wiring.shape.setting("namenode", "dfs.replication").is_none() && !host::config::is_set("dfs namenode", "set") {
        let replicas = wiring.members("datanode").count().clamp(1, 3);
        arguments.extend(flags([("--set", format!("dfs.replication={replicas}"))]));
    }
    arguments
}

fn datanode(wiring: &Wiring<'_>) -> Vec<String> {
    let mut arguments = flags([
        ("--data", wiring.data()),
        ("--namenode", wiring.of("namenode").unwrap_or_default()),
        ("--transfer", wiring.own("transfer")),
        ("--ipc", wiring.own("ipc")),
        ("--http", wiring.own("http")),
    ]);
    arguments.extend(wiring.advertised());
    arguments.extend(wiring.registered());
    arguments
}

fn stream(wiring: &Wiring<'_>) -> Vec<String> {
    let mut arguments = flags([("--listen", wiring.own("sql")), ("--state", wiring.data())]);
    arguments.extend(wiring.advertised());
    arguments.extend(wiring.registered());
    arguments
}

fn batch(wiring: &Wiring<'_>) -> Vec<String> {
    let mut arguments = flags([("--listen", wiring.own("flight")), ("--admin", wiring.own("admin"))]);
    arguments.extend(wiring.advertised());
    arguments.extend(wiring.registered());
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_service_waits_for_stands_before_it() {
        for (row, service) in SERVICES.iter().enumerate() {
            for name in service.after.iter().chain(service.requires) {
                assert!(
                    SERVICES[..row].iter().any(|earlier| earlier.name == *name),
                    "{} after {name}",
                    service.name
                );
            }
        }
    }

    #[test]
    fn no_two_processes_share_a_default_port() {
        let mut seen = std::collections::BTreeSet::new();
        for instance in instances(
            None,
            Copies {
                coordinators: 7,
                datanodes: 5,
            },
        ) {
            for port in instance.service.ports {
                assert!(
                    seen.insert(instance.default_port(port)),
                    "{}.{}",
                    instance.name,
                    port.name
                );
            }
        }
    }

    #[test]
    fn names_are_found_and_expanded() {
        assert_eq!(find("datanode-2").unwrap().name, "datanode");
        assert!(find("log-broker-2").is_none());
        assert!(find("datanode-x").is_none());
        assert_eq!(expand("dfs").unwrap(), ["namenode", "datanode"]);
        assert_eq!(expand("log-broker").unwrap(), ["log-broker"]);
        assert!(expand("kafka").is_none());
    }

    #[test]
    fn the_broker_is_told_of_the_coordinator_only_where_there_is_one() {
        let arguments = |only: &[&str]| {
            let all = instances(Some(only), Copies::SINGLE);
            let ports = Ports::defaults(&all);
            let broker = all.iter().find(|instance| instance.name == "log-broker").unwrap();
            broker
                .command_line(Path::new("d"), &ports, &all, &Shape::default())
                .join(" ")
        };
        assert_eq!(
            arguments(&["coordinator", "log-broker"]),
            "log-broker --data d --listen 127.0.0.1:9092 --admin 127.0.0.1:9644 --coordinator 127.0.0.1:2379"
        );
        assert!(!arguments(&["log-broker"]).contains("--coordinator"));
    }

    #[test]
    fn three_coordinators_know_each_other_and_the_broker_all_of_them() {
        let copies = Copies {
            coordinators: 3,
            datanodes: 1,
        };
        let all = instances(Some(&["coordinator", "log-broker"]), copies);
        let ports = Ports::defaults(&all);
        let line = |name: &str| {
            let instance = all.iter().find(|instance| instance.name == name).unwrap();
            instance
                .command_line(Path::new("d"), &ports, &all, &Shape::default())
                .join(" ")
        };
        let second = line("coordinator-2");
        assert!(second.contains("--name bonsai-2 "), "{second}");
        assert!(
            second.contains("--listen-client-urls http://127.0.0.1:2389 "),
            "{second}"
        );
        let cluster = "--initial-cluster bonsai=http://127.0.0.1:2380,bonsai-2=http://127.0.0.1:2390,bonsai-3=http://127.0.0.1:2400";
        assert!(second.ends_with(cluster), "{second}");
        assert!(line("log-broker").ends_with("--coordinator 127.0.0.1:2379,127.0.0.1:2389,127.0.0.1:2399"));
    }
}
