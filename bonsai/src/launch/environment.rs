//! `bonsai env`: the addresses for other people's clients, as shell variables and as the files that they read.
//!
//! `eval "$(bonsai env)"`, and `kcat`, `hdfs dfs` and `etcdctl` find the stack without another word.

use std::fs;
use std::path::Path;

use coordinator_client::Options;
use coordinator_client::registry::Registration;

use super::Error;
use super::ports::Ports;
use super::stack::Stack;
use super::status::find_registered;

/// Where clients connect to; empty for what does not run.
#[derive(Debug, Default, PartialEq, Eq)]
struct Endpoints {
    coordinators: Vec<String>,
    brokers: Vec<String>,
    namenode: Option<String>,
    webhdfs: Option<String>,
    datanodes: usize,
    sql_gateway: Option<String>,
    flight: Option<String>,
}

impl Endpoints {
    /// Of the services that run, in `running`.
    fn of_stack(ports: &Ports, running: &[&str]) -> Self {
        let runs = |service: &str| running.contains(&service);
        let address = |service: &str, port: &str| runs(service).then(|| ports.address(service, port));
        Self {
            coordinators: if runs("coordinator") || ports.is_coordinator_elsewhere() {
                ports.coordinators()
            } else {
                Vec::new()
            },
            brokers: address("log-broker", "listen").into_iter().collect(),
            namenode: address("namenode", "rpc"),
            webhdfs: address("namenode", "http"),
            datanodes: running.iter().filter(|name| name.starts_with("datanode")).count(),
            sql_gateway: address("stream", "sql"),
            flight: address("batch", "flight"),
        }
    }

    /// Of what is registered in a coordinator.
    fn of_registry(coordinator: &str, registrations: &[Registration]) -> Self {
        let all = |program: &str, listener: &str| -> Vec<String> {
            registrations
                .iter()
                .filter(|registration| registration.program == program)
                .filter_map(|registration| registration.address(listener).map(str::to_owned))
                .collect()
        };
        let first = |program: &str, listener: &str| all(program, listener).into_iter().next();
        Self {
            coordinators: coordinator.split(',').map(str::to_owned).collect(),
            brokers: all("log-broker", "listen"),
            namenode: first("namenode", "rpc"),
            webhdfs: first("namenode", "http"),
            datanodes: all("datanode", "transfer").len(),
            sql_gateway: first("stream", "sql"),
            flight: first("batch", "flight"),
        }
    }
}

/// Prints the variables and writes `DIR/conf`: of the stack that is up, or of what is registered in a coordinator.
pub fn env(stack: &Stack, registry: &Options) -> Result<(), Error> {
    let endpoints = match &registry.coordinator {
        Some(coordinator) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| Error::io("cannot start the runtime", error))?;
            let found = runtime.block_on(find_registered(registry))?;
            Endpoints::of_registry(coordinator, &found)
        }
        None => of_running(stack)?,
    };
    for (name, value) in write(&endpoints, &stack.conf())? {
        outln!("export {name}={}", quoted(&value));
    }
    Ok(())
}

fn of_running(stack: &Stack) -> Result<Endpoints, Error> {
    stack.snapshot()?;
    let snapshot = stack
        .running()?
        .ok_or_else(|| Error::NotUp(stack.directory().to_owned()))?;
    let running: Vec<&str> = snapshot.services.iter().map(|status| status.service.as_str()).collect();
    Ok(Endpoints::of_stack(&stack.ports()?, &running))
}

/// The variables of a stack that is up; writes `DIR/conf` too.
pub fn variables(stack: &Stack) -> Result<Vec<(&'static str, String)>, Error> {
    write(&of_running(stack)?, &stack.conf())
}

fn write(endpoints: &Endpoints, conf: &Path) -> Result<Vec<(&'static str, String)>, Error> {
    let io_error = |error| Error::io(format!("cannot write to {}", conf.display()), error);
    fs::create_dir_all(conf).map_err(io_error)?;
    let mut variables = Vec::new();
    if !endpoints.coordinators.is_empty() {
        variables.push(("ETCDCTL_ENDPOINTS", endpoints.coordinators.join(",")));
    }
    if !endpoints.brokers.is_empty() {
        let brokers = endpoints.brokers.join(",");
        let properties = conf.join("client.properties");
        fs::write(&properties, format!("bootstrap.servers={brokers}\n")).map_err(io_error)?;
        variables.push(("BOOTSTRAP_SERVERS", brokers));
        // kcat reads its settings from there.
        variables.push(("KCAT_CONFIG", properties.to_string_lossy().into_owned()));
    }
    if let Some(namenode) = &endpoints.namenode {
        let namenode = format!("hdfs://{namenode}");
        fs::write(conf.join("core-site.xml"), site(&[("fs.defaultFS", &namenode)])).map_err(io_error)?;
        let replication = endpoints.datanodes.clamp(1, 3);
        fs::write(
            conf.join("hdfs-site.xml"),
            site(&[("dfs.replication", &replication.to_string())]),
        )
        .map_err(io_error)?;
        variables.push(("HADOOP_CONF_DIR", conf.to_string_lossy().into_owned()));
        variables.push(("HDFS_URL", namenode));
    }
    if let Some(webhdfs) = &endpoints.webhdfs {
        variables.push(("WEBHDFS_URL", format!("http://{webhdfs}/webhdfs/v1")));
    }
    if let Some(gateway) = &endpoints.sql_gateway {
        variables.push(("SQL_GATEWAY_URL", format!("http://{gateway}")));
    }
    if let Some(flight) = &endpoints.flight {
        variables.push(("FLIGHT_SQL_URI", format!("grpc://{flight}")));
    }
    Ok(variables)
}

/// A Hadoop configuration file. Values are addresses and numbers: nothing in them needs escaping.
fn site(properties: &[(&str, &str)]) -> String {
    let mut text = String::from("<?xml version=\"1.0\"?>\n<configuration>\n");
    for (name, value) in properties {
        text.push_str(&format!(
            "  <property><name>{name}</name><value>{value}</value></property>\n"
        ));
    }
    text.push_str("</configuration>\n");
    text
}

/// For a POSIX shell.
fn quoted(value: &str) -> String {
    if value.chars().all(|c| c.is_ascii_alphanumeric() || "/.:_-".contains(c)) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::service::{Copies, instances};

    #[test]
    fn clients_find_the_stack() {
        let directory = tempfile::tempdir().unwrap();
        let ports = Ports::defaults(&instances(
            None,
            Copies {
                coordinators: 3,
                datanodes: 2,
            },
        ));
        let running = [
            "coordinator",
            "coordinator-2",
            "coordinator-3",
            "log-broker",
            "namenode",
            "datanode",
            "datanode-2",
            "stream",
            "batch",
        ];
        let variables = write(&Endpoints::of_stack(&ports, &running), directory.path()).unwrap();
        let value = |name: &str| variables.iter().find(|(other, _)| *other == name).unwrap().1.clone();
        assert_eq!(
            value("ETCDCTL_ENDPOINTS"),
            "127.0.0.1:2379,127.0.0.1:2389,127.0.0.1:2399"
        );
        assert_eq!(value("HDFS_URL"), "hdfs://127.0.0.1:8020");
        assert_eq!(value("SQL_GATEWAY_URL"), "http://127.0.0.1:8083");
        assert_eq!(value("FLIGHT_SQL_URI"), "grpc://127.0.0.1:32010");
        let core = fs::read_to_string(directory.path().join("core-site.xml")).unwrap();
        assert!(core.contains("<name>fs.defaultFS</name><value>hdfs://127.0.0.1:8020</value>"));
        let hdfs = fs::read_to_string(directory.path().join("hdfs-site.xml")).unwrap();
        assert!(hdfs.contains("<name>dfs.replication</name><value>2</value>"));
        let client = fs::read_to_string(directory.path().join("client.properties")).unwrap();
        assert_eq!(client, "bootstrap.servers=127.0.0.1:9092\n");
    }

    #[test]
    fn what_does_not_run_is_not_told() {
        let directory = tempfile::tempdir().unwrap();
        let ports = Ports::defaults(&instances(None, Copies::SINGLE));
        let endpoints = Endpoints::of_stack(&ports, &["namenode", "datanode"]);
        let names: Vec<_> = write(&endpoints, directory.path())
            .unwrap()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["HADOOP_CONF_DIR", "HDFS_URL", "WEBHDFS_URL"]);
    }

    #[test]
    fn what_is_registered_is_told_in_the_same_words() {
        let registrations = [
            Registration::new("log-broker", "1", "x").with_address("listen", "10.0.0.1:9092"),
            Registration::new("namenode", "1", "y").with_address("rpc", "10.0.0.1:8020"),
        ];
        let endpoints = Endpoints::of_registry("10.0.0.1:2379", &registrations);
        assert_eq!(endpoints.brokers, ["10.0.0.1:9092"]);
        assert_eq!(endpoints.namenode.as_deref(), Some("10.0.0.1:8020"));
        assert_eq!(endpoints.flight, None);
    }

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        assert_eq!(quoted("/a/b-1.c:2"), "/a/b-1.c:2");
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
    }
}
