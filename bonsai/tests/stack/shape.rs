//! What a start decides, the next one keeps; and "ready" hides nothing.

use std::fs;
use std::time::{Duration, Instant};

use hdfs_native::{ClientBuilder, WriteOptions};
use log_broker_client::Client;
use rustix::process::Signal;
use tokio::runtime::Runtime;

use crate::harness::{Stack, refusal, signal, soon, text};

const FILES: u32 = 6;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// Files with one replica each, so that they are spread over the data nodes.
async fn put_files(url: &str) {
    let client = ClientBuilder::new().with_url(url).build().unwrap();
    for number in 0..FILES {
        let options = WriteOptions::default().replication(1).overwrite(true);
        let mut file = client.create(&format!("/file-{number}"), options).await.unwrap();
        file.write(format!("contents {number}").into()).await.unwrap();
        file.close().await.unwrap();
    }
}

async fn assert_files_are_there(url: &str) {
    let client = ClientBuilder::new().with_url(url).build().unwrap();
    for number in 0..FILES {
        let mut file = client.read(&format!("/file-{number}")).await.unwrap();
        let len = file.file_length();
        assert_eq!(file.read(len).await.unwrap(), format!("contents {number}"));
    }
}

#[test]
fn the_number_of_data_nodes_is_remembered_and_never_falls() {
    let stack = Stack::up(&["--only", "dfs", "--datanodes", "3"]);
    let runtime = runtime();
    runtime.block_on(put_files(&stack.variable("HDFS_URL")));
    assert!(stack.bonsai(&["down"]).status.success());

    stack.start(&["--only", "dfs"]);
    assert_eq!(stack.status().len(), 4, "a name node and three data nodes");
    let status = stack.bonsai(&["status", "--wait", "60s"]);
    assert!(status.status.success(), "{}", text(&status));
    runtime.block_on(assert_files_are_there(&stack.variable("HDFS_URL")));
    let site = fs::read_to_string(stack.data().join("conf/hdfs-site.xml")).unwrap();
    assert!(site.contains("<value>3</value>"), "{site}");
    assert!(stack.bonsai(&["down"]).status.success());

    let fewer = refusal(&stack.bonsai(&["up", "--any-port", "--detach", "--only", "dfs", "--datanodes", "1"]));
    assert!(fewer.contains("has 3 data nodes, not 1"), "{fewer}");
    let more = stack.bonsai(&["up", "--any-port", "--detach", "--only", "dfs", "--datanodes", "4"]);
    assert!(
        text(&more).contains("4 data nodes from now on; there were 3"),
        "{}",
        text(&more)
    );
}

/// A file that is written without a wish has as many replicas as there can be.
#[test]
fn no_file_wants_more_replicas_than_there_are_data_nodes() {
    let stack = Stack::up(&["--only", "dfs"]);
    let url = stack.variable("HDFS_URL");
    runtime().block_on(async {
        let client = ClientBuilder::new().with_url(&url).build().unwrap();
        let mut file = client.create("/file", WriteOptions::default()).await.unwrap();
        file.write("x".into()).await.unwrap();
        file.close().await.unwrap();
        assert_eq!(client.get_file_info("/file").await.unwrap().replication, Some(1));
    });
}

#[test]
fn a_name_node_that_misses_blocks_is_not_called_ready() {
    let stack = Stack::up(&["--only", "dfs", "--datanodes", "2"]);
    runtime().block_on(put_files(&stack.variable("HDFS_URL")));
    assert!(stack.bonsai(&["down"]).status.success());
    fs::remove_dir_all(stack.data().join("datanode/blocks")).unwrap();

    stack.start(&["--only", "dfs"]);
    let status = stack.bonsai(&["status"]);
    assert_eq!(status.status.code(), Some(1), "{}", text(&status));
    let said = text(&status);
    assert!(said.contains("namenode") && said.contains("unhealthy"), "{said}");
    assert!(said.contains("namenode: safe mode: The reported blocks"), "{said}");
    let namenode = stack.service("namenode");
    assert_eq!(namenode["healthy"], false);
    let waited = Instant::now();
    assert_eq!(stack.bonsai(&["status", "--wait", "1s"]).status.code(), Some(1));
    assert!(waited.elapsed() >= Duration::from_secs(1));
}

#[test]
fn a_stopped_process_is_unhealthy_and_down_does_not_wait_for_it() {
    let stack = Stack::up(&["--only", "coordinator,log-broker"]);
    assert!(stack.bonsai(&["status", "--wait", "60s"]).status.success());
    signal(stack.pid("log-broker").unwrap(), Signal::STOP);
    let mut said = String::new();
    soon("it is seen", || {
        said = text(&stack.bonsai(&["status"]));
        said.contains("log-broker: its process is stopped")
    });
    assert_eq!(stack.bonsai(&["status"]).status.code(), Some(1));
    let log = stack.data().join("logs/bonsai.log");
    assert!(stack.bonsai(&["down"]).status.success());
    let log = fs::read_to_string(log).unwrap();
    assert!(!log.contains("killing it"), "it was let go on, and drained:\n{log}");
}

#[test]
fn settings_reach_the_service_and_stay() {
    let stack = Stack::up(&["--only", "log-broker", "--set", "log-broker.num.partitions=3"]);
    let runtime = runtime();
    let partitions = |topic: &str| {
        let broker = stack.variable("BOOTSTRAP_SERVERS");
        runtime.block_on(async {
            let client = Client::connect(&broker, "test").await.unwrap();
            // As many partitions as the broker makes.
            client.create_topic(topic, -1, -1, &[]).await.unwrap();
            let metadata = client.metadata(Some(&[topic])).await.unwrap();
            metadata.topics[0].partitions.len()
        })
    };
    assert_eq!(partitions("before"), 3);
    assert!(stack.bonsai(&["down"]).status.success());
    stack.start(&["--only", "log-broker"]);
    assert_eq!(partitions("after"), 3);
    assert!(stack.bonsai(&["down"]).status.success());
    let said = refusal(&stack.bonsai(&["up", "--any-port", "--set", "kafka.x=1"]));
    assert!(said.contains("SERVICE.NAME=VALUE"), "{said}");
}
