//! Services that die, launchers that die, data that is damaged.

use std::fs;
use std::time::Duration;

use log_broker_client::{At, Client, ProducerOptions, Record};
use rustix::process::Signal;

use crate::harness::{Stack, http, is_alive, refusal, signal, soon, text};

#[test]
fn each_service_that_is_killed_comes_back() {
    let stack = Stack::up(&[]);
    for name in ["coordinator", "log-broker", "namenode", "datanode", "stream", "batch"] {
        let (pid, address) = (stack.pid(name).unwrap(), stack.service(name)["address"].clone());
        signal(pid, Signal::KILL);
        soon("it is ready again", || {
            let service = stack.service(name);
            service["state"] == "ready" && service["pid"].as_u64() != Some(pid)
        });
        assert_eq!(stack.service(name)["address"], address);
        assert_eq!(stack.service(name)["restarts"], 1);
        let log = fs::read_to_string(stack.data().join("logs/bonsai.log")).unwrap();
        assert!(
            log.contains(&format!("{name} was killed (SIGKILL); starting it again")),
            "{log}"
        );
    }
}

#[test]
fn a_launcher_that_is_killed_leaves_no_orphans() {
    let stack = Stack::up(&[]);
    let pids: Vec<u64> = stack
        .status()
        .iter()
        .map(|service| service["pid"].as_u64().unwrap())
        .collect();
    signal(stack.supervisor(), Signal::KILL);
    soon("no service is left", || pids.iter().all(|pid| !is_alive(*pid)));
    assert!(stack.status().iter().all(|service| service["state"] == "stopped"));
    stack.start(&[]);
    stack.wait_until_ready();
}

#[test]
fn a_newer_data_directory_is_refused_by_name() {
    let stack = Stack::up(&[]);
    assert!(stack.bonsai(&["down"]).status.success());
    let marker = stack.data().join("log-broker").join("FORMAT");
    let newer: String = fs::read_to_string(&marker).unwrap().lines().map(raised).collect();
    fs::write(&marker, newer).unwrap();
    let said = refusal(&stack.bonsai(&["up"]));
    assert!(
        said.contains("log-broker did not start") && said.contains("newer"),
        "{said}"
    );
    assert!(said.contains("logs/log-broker.log"), "{said}");
    let still_up = stack
        .status()
        .iter()
        .filter(|service| !service["pid"].is_null())
        .count();
    assert_eq!(still_up, 0);
}

/// `bonsai log-broker 1` → `bonsai log-broker 1001`.
fn raised(line: &str) -> String {
    let (words, version) = line.rsplit_once(' ').unwrap();
    format!("{words} {}\n", version.parse::<u32>().unwrap() + 1_000)
}

/// A flipped bit in what was acknowledged is an error with a place, not a service that starts with less.
#[test]
fn a_damaged_write_ahead_log_is_refused_with_its_place() {
    let stack = Stack::up(&["--only", "dfs"]);
    let webhdfs = text(&stack.bonsai(&["env"]));
    let address = webhdfs
        .lines()
        .find_map(|line| line.strip_prefix("export WEBHDFS_URL=http://"))
        .unwrap();
    let host = address.split('/').next().unwrap();
    // The account that runs the name node is its superuser.
    let user = std::env::var("HADOOP_USER_NAME").or_else(|_| std::env::var("USER"));
    let user = user.unwrap_or_else(|_| "root".to_owned());
    for number in 0..20 {
        let path = format!("/webhdfs/v1/folder-{number}?op=MKDIRS&user.name={user}");
        assert!(http(host, "PUT", &path).starts_with("HTTP/1.1 200"), "{path}");
    }
    // No orderly end: that would fold the log into an image.
    signal(stack.supervisor(), Signal::KILL);
    let namenode = stack.data().join("namenode");
    let segment = file_with(&namenode, "folder-9");
    let mut bytes = fs::read(&segment).unwrap();
    let place = bytes.windows(8).position(|window| window == b"folder-9").unwrap();
    bytes[place] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let said = refusal(&stack.bonsai(&["up", "--only", "dfs"]));
    assert!(said.contains("namenode did not start"), "{said}");
    assert!(said.contains(segment.file_name().unwrap().to_str().unwrap()), "{said}");
}

/// The same in the log of a topic: acknowledged records stand behind the place, so nothing may be cut off there. As in
/// Kafka it is the partition that is offline, not the broker.
#[test]
fn a_damaged_segment_takes_its_partition_offline_with_its_place() {
    let stack = Stack::up(&["--only", "log-broker"]);
    let broker = stack.service("log-broker")["address"].as_str().unwrap().to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(fill(&broker, &["letters", "others"]));
    signal(stack.supervisor(), Signal::KILL);
    let broker_data = stack.data().join("log-broker");
    let segment = file_with(&broker_data, "letters-9");
    let mut bytes = fs::read(&segment).unwrap();
    let place = bytes.windows(9).position(|window| window == b"letters-9").unwrap();
    bytes[place] ^= 1;
    fs::write(&segment, bytes).unwrap();

    stack.start(&["--only", "log-broker"]);
    stack.wait_until_ready();
    let broker = stack.service("log-broker")["address"].as_str().unwrap().to_owned();
    runtime.block_on(async {
        let client = Client::connect_within(&broker, "test", Duration::from_secs(2))
            .await
            .unwrap();
        let whole = client.offset("others", 0, At::Latest).await.unwrap();
        assert_eq!(whole, 20);
        let said = client.offset("letters", 0, At::Latest).await.unwrap_err().to_string();
        assert!(said.contains("KAFKA_STORAGE_ERROR"), "{said}");
    });
    let log = fs::read_to_string(stack.data().join("logs/log-broker.log")).unwrap();
    for part in [
        "letters-0/00000000000000000000.log is damaged at byte",
        "give up offset 9 and",
    ] {
        assert!(log.contains(part), "{part} is not in\n{log}");
    }
}

/// Puts twenty batches into each topic.
async fn fill(broker: &str, topics: &[&str]) {
    let client = Client::connect(broker, "test").await.unwrap();
    let producer = client.producer(ProducerOptions::default()).await.unwrap();
    for topic in topics {
        client.create_topic(topic, 1, 1, &[]).await.unwrap();
        for number in 0..20 {
            let record = Record {
                value: Some(format!("{topic}-{number}").into()),
                ..Record::default()
            };
            assert_eq!(producer.send(topic, 0, vec![record]).await.unwrap(), number);
        }
    }
}

/// The file below `directory` that holds `needle`.
fn file_with(directory: &std::path::Path, needle: &str) -> std::path::PathBuf {
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if fs::read(&entry)
                .unwrap()
                .windows(needle.len())
                .any(|window| window == needle.as_bytes())
            {
                return entry;
            }
        }
    }
    panic!("{needle} is in no file of {}", directory.display());
}
