//! `bonsai env`: the addresses for other people's clients, as shell variables and as the files that they read.
//!
//! `eval "$(bonsai env)"`, and `kcat`, `hdfs dfs` and `etcdctl` find the stack without another word.

use std::fs;
use std::path::Path;

use super::Error;
use super::ports::Ports;
use super::stack::Stack;

/// Prints the variables and writes `DIR/conf`.
pub fn env(stack: &Stack) -> Result<(), Error> {
    let ports = stack.ports()?;
    if ports == Ports::default() {
        return Err(Error::NoState(stack.directory().to_owned()));
    }
    let conf = stack.conf();
    let variables = write(&ports, &conf)?;
    for (name, value) in variables {
        outln!("export {name}={}", quoted(&value));
    }
    Ok(())
}

fn write(ports: &Ports, conf: &Path) -> Result<Vec<(&'static str, String)>, Error> {
    let io_error = |error| Error::io(format!("cannot write to {}", conf.display()), error);
    fs::create_dir_all(conf).map_err(io_error)?;
    let mut variables = Vec::new();
    let coordinators = ports.coordinators();
    if !coordinators.is_empty() {
        variables.push(("ETCDCTL_ENDPOINTS", coordinators.join(",")));
    }
    if ports.contains("log-broker") {
        let broker = ports.address("log-broker", "listen");
        let properties = conf.join("client.properties");
        fs::write(&properties, format!("bootstrap.servers={broker}\n")).map_err(io_error)?;
        variables.push(("BOOTSTRAP_SERVERS", broker));
        // kcat reads its settings from there.
        variables.push(("KCAT_CONFIG", properties.to_string_lossy().into_owned()));
    }
    if ports.contains("namenode") {
        let namenode = format!("hdfs://{}", ports.address("namenode", "rpc"));
        fs::write(conf.join("core-site.xml"), site(&[("fs.defaultFS", &namenode)])).map_err(io_error)?;
        let replication = ports.addresses("datanode", "transfer").len().clamp(1, 3);
        fs::write(
            conf.join("hdfs-site.xml"),
            site(&[("dfs.replication", &replication.to_string())]),
        )
        .map_err(io_error)?;
        variables.push(("HADOOP_CONF_DIR", conf.to_string_lossy().into_owned()));
        variables.push(("HDFS_URL", namenode));
        variables.push((
            "WEBHDFS_URL",
            format!("http://{}/webhdfs/v1", ports.address("namenode", "http")),
        ));
    }
    if ports.contains("stream") {
        variables.push(("SQL_GATEWAY_URL", format!("http://{}", ports.address("stream", "sql"))));
    }
    if ports.contains("batch") {
        variables.push(("FLIGHT_SQL_URI", format!("grpc://{}", ports.address("batch", "flight"))));
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
        let variables = write(&ports, directory.path()).unwrap();
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
    fn a_shell_reads_back_what_was_quoted() {
        assert_eq!(quoted("/a/b-1.c:2"), "/a/b-1.c:2");
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
    }
}
