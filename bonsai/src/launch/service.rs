//! The services, one row each: what is started, where it listens, what must be ready before.
//!
//! The launcher knows nothing else of a service. A row says how the program is called, which ports it has (the names
//! are those of its ready line), which other services it needs first, and how its arguments are put together. A service
//! is ready when it prints its ready line, `NAME ready k=v …`, on stdout.

use std::path::Path;

use super::ports::Ports;

/// A port of a service.
#[derive(Debug)]
pub struct Port {
    /// As in the ready line: `listen` in `log-broker ready listen=…`.
    pub name: &'static str,
    /// That of the original.
    pub default: u16,
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
    arguments: fn(&Wiring<'_>) -> Vec<String>,
}

/// In the order of starting; stopped in reverse.
pub const SERVICES: &[Service] = &[
    Service {
        name: "coordinator",
        command: &["coordinator"],
        ports: &[
            Port {
                name: "client",
                default: 2379,
            },
            Port {
                name: "peer",
                default: 2380,
            },
        ],
        after: &[],
        requires: &[],
        reset_too: &[],
        several: true,
        arguments: coordinator,
    },
    Service {
        name: "log-broker",
        command: &["log-broker"],
        ports: &[
            Port {
                name: "listen",
                default: 9092,
            },
            Port {
                name: "admin",
                default: 9644,
            },
        ],
        after: &["coordinator"],
        requires: &[],
        reset_too: &[],
        several: false,
        arguments: log_broker,
    },
    Service {
        name: "namenode",
        command: &["dfs", "namenode"],
        ports: &[
            Port {
                name: "rpc",
                default: 8020,
            },
            Port {
                name: "http",
                default: 9870,
            },
        ],
        after: &[],
        requires: &[],
        reset_too: &["datanode"],
        several: false,
        arguments: namenode,
    },
    Service {
        name: "datanode",
        command: &["dfs", "datanode"],
        ports: &[
            Port {
                name: "transfer",
                default: 9866,
            },
            Port {
                name: "ipc",
                default: 9867,
            },
            Port {
                name: "http",
                default: 9864,
            },
        ],
        after: &["namenode"],
        requires: &["namenode"],
        reset_too: &[],
        several: true,
        arguments: datanode,
    },
    Service {
        name: "stream",
        command: &["stream", "serve"],
        ports: &[Port {
            name: "sql",
            default: 8083,
        }],
        after: &[],
        requires: &[],
        reset_too: &[],
        several: false,
        arguments: stream,
    },
    Service {
        name: "batch",
        command: &["batch", "serve"],
        ports: &[
            Port {
                name: "flight",
                default: 32010,
            },
            Port {
                name: "admin",
                default: 32011,
            },
        ],
        after: &[],
        requires: &[],
        reset_too: &[],
        several: false,
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
    pub fn command_line(&self, data: &Path, ports: &Ports, all: &[Instance]) -> Vec<String> {
        let wiring = Wiring {
            instance: self,
            data,
            ports,
            all,
        };
        let mut words: Vec<String> = self.service.command.iter().map(|word| (*word).to_owned()).collect();
        words.extend((self.service.arguments)(&wiring));
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
}

impl Wiring<'_> {
    fn own(&self, port: &str) -> String {
        self.ports.address(&self.instance.name, port)
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
    let peer = format!("http://{}", wiring.own("peer"));
    let cluster: Vec<String> = wiring
        .members("coordinator")
        .map(|other| format!("{}=http://{}", member(other), wiring.ports.address(&other.name, "peer")))
        .collect();
    flags([
        ("--log-format", "text".to_owned()),
        ("--name", member(wiring.instance)),
        ("--data-dir", wiring.data()),
        ("--listen-client-urls", client.clone()),
        ("--advertise-client-urls", client),
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
    let elsewhere = || {
        let is_elsewhere = wiring.ports.is_coordinator_elsewhere();
        is_elsewhere.then(|| wiring.ports.coordinators().join(","))
    };
    if let Some(coordinator) = wiring.of("coordinator").or_else(elsewhere) {
        arguments.extend(flags([("--coordinator", coordinator)]));
    }
    arguments
}

fn namenode(wiring: &Wiring<'_>) -> Vec<String> {
    flags([
        ("--data", wiring.data()),
        ("--rpc", wiring.own("rpc")),
        ("--http", wiring.own("http")),
    ])
}

fn datanode(wiring: &Wiring<'_>) -> Vec<String> {
    flags([
        ("--data", wiring.data()),
        ("--namenode", wiring.of("namenode").unwrap_or_default()),
        ("--transfer", wiring.own("transfer")),
        ("--ipc", wiring.own("ipc")),
        ("--http", wiring.own("http")),
    ])
}

fn stream(wiring: &Wiring<'_>) -> Vec<String> {
    flags([("--listen", wiring.own("sql"))])
}

fn batch(wiring: &Wiring<'_>) -> Vec<String> {
    flags([("--listen", wiring.own("flight")), ("--admin", wiring.own("admin"))])
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
            broker.command_line(Path::new("d"), &ports, &all).join(" ")
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
            instance.command_line(Path::new("d"), &ports, &all).join(" ")
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
