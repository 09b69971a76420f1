//! `bonsai doctor` finds what is broken, and nothing where nothing is.

use std::fs;
use std::path::{Path, PathBuf};

use hdfs_native::{ClientBuilder, WriteOptions};
use log_broker_client::Client;
use serde_json::Value;

use crate::harness::{Stack, gateway, soon, text};

/// The exit code and the findings.
fn examine(stack: &Stack, workload: &str) -> (Option<i32>, Vec<Value>) {
    let output = stack.bonsai(&["doctor", "--json", "--workload", workload]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output)));
    assert_eq!(report["healthy"], output.status.success());
    (output.status.code(), report["findings"].as_array().unwrap().clone())
}

fn of<'a>(findings: &'a [Value], check: &str) -> Vec<&'a Value> {
    findings.iter().filter(|finding| finding["check"] == check).collect()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

async fn put(url: &str, path: &str, replication: u32) {
    let client = ClientBuilder::new().with_url(url).build().unwrap();
    let options = WriteOptions::default().replication(replication);
    let mut file = client.create(path, options).await.unwrap();
    file.write(vec![7; 10_000].into()).await.unwrap();
    file.close().await.unwrap();
}

#[test]
fn a_healthy_stack_passes_every_check_and_nothing_is_left_behind() {
    let stack = Stack::up(&["--datanodes", "2", "--coordinators", "3"]);
    let url = stack.variable("HDFS_URL");
    runtime().block_on(put(&url, "/kept", 2));
    let (code, findings) = examine(&stack, "2s");
    assert_eq!(code, Some(0), "{findings:#?}");
    for (check, told) in [
        ("coordinator", "3 members, same hash"),
        ("registry", "each can be connected to"),
        ("offsets", "no offset is beyond"),
        ("replicas", "1 block in 2 replicas: checksums agree"),
        ("checkpoints", "0 jobs"),
        ("sync", "a sync takes"),
    ] {
        let found = of(&findings, check);
        assert!(
            found.len() == 1 && found[0]["what"].as_str().unwrap().contains(told),
            "{check}: {findings:#?}"
        );
    }
    let workload = of(&findings, "workload");
    assert_eq!(workload.len(), 5, "{workload:#?}");
    assert!(
        workload
            .iter()
            .all(|finding| finding["what"].as_str().unwrap().contains("all verified")),
        "{workload:#?}"
    );
    runtime().block_on(async {
        let files = ClientBuilder::new().with_url(&url).build().unwrap();
        let left = files.list_status("/", false).await.unwrap();
        assert_eq!(left.len(), 1, "{left:?}");
        let broker = Client::connect(&stack.variable("BOOTSTRAP_SERVERS"), "test")
            .await
            .unwrap();
        assert!(broker.metadata(None).await.unwrap().topics.is_empty());
    });
}

/// The first file of a block's checksums below a data node's directory.
fn checksums(directory: &Path) -> Option<PathBuf> {
    for entry in fs::read_dir(directory).ok()? {
        let path = entry.ok()?.path();
        if path.is_dir() {
            if let Some(found) = checksums(&path) {
                return Some(found);
            }
        } else if path.extension().is_some_and(|extension| extension == "meta") {
            return Some(path);
        }
    }
    None
}

#[test]
fn what_is_broken_is_found_with_what_to_do() {
    let stack = Stack::up(&["--datanodes", "2"]);
    let address = stack.variable("SQL_GATEWAY_URL").replace("http://", "");
    let job = gateway(
        &address,
        &[
            "SET 'execution.checkpointing.interval' = '100 ms'",
            "CREATE TABLE source (a INT) WITH ('connector'='datagen','rows-per-second'='10')",
            "CREATE TABLE sink (a INT) WITH ('connector'='blackhole')",
            "INSERT INTO sink SELECT a FROM source",
        ],
    );
    let checkpoints = stack.data().join("stream/jobs").join(&job).join("checkpoints");
    let epochs = || -> Vec<PathBuf> {
        let entries = fs::read_dir(&checkpoints).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path());
        paths.filter(|path| path.join("manifest.json").exists()).collect()
    };
    soon("a checkpoint is there", || !epochs().is_empty());
    assert!(stack.bonsai(&["jobs", "stop", &job]).status.success());
    runtime().block_on(put(&stack.variable("HDFS_URL"), "/file", 2));
    runtime().block_on(async {
        let client = Client::connect(&stack.variable("BOOTSTRAP_SERVERS"), "test")
            .await
            .unwrap();
        client.create_topic("short", 1, -1, &[]).await.unwrap();
        client.commit("readers", "short", &[(0, 5)]).await.unwrap();
    });
    assert_eq!(examine(&stack, "0").0, Some(1), "a group is ahead of its log");

    for epoch in epochs() {
        let manifest = epoch.join("manifest.json");
        let mut bytes = fs::read(&manifest).unwrap();
        bytes[10] ^= 1;
        fs::write(&manifest, bytes).unwrap();
    }
    let meta = checksums(&stack.data().join("datanode-2")).unwrap();
    let mut bytes = fs::read(&meta).unwrap();
    // Of a chunk that is whole: that of the last one is computed from the data.
    let place = bytes.len() - 8;
    bytes[place] ^= 1;
    fs::write(&meta, bytes).unwrap();

    let (code, findings) = examine(&stack, "0");
    assert_eq!(code, Some(1));
    for (check, told) in [
        ("offsets", "group readers has committed 5 of short-0, which ends at 0"),
        ("replicas", "blk_"),
        ("checkpoints", "no checkpoint in"),
    ] {
        let found = of(&findings, check);
        assert_eq!(found[0]["severity"], "error", "{check}: {findings:#?}");
        assert!(
            found[0]["what"].as_str().unwrap().contains(told),
            "{check}: {findings:#?}"
        );
        assert!(!found[0]["why"].as_str().unwrap().is_empty() && !found[0]["advice"].as_str().unwrap().is_empty());
    }
    assert!(of(&findings, "workload").is_empty(), "it was not asked for");
}

#[test]
fn a_stack_that_is_down_is_examined_as_far_as_it_can_be() {
    let stack = Stack::new();
    let output = stack.bonsai(&["doctor"]);
    let said = text(&output);
    assert!(
        said.contains("nothing is up") && said.contains("bonsai up --detach"),
        "{said}"
    );
    assert!(said.contains("open files:"), "{said}");
}
