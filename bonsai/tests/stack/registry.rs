//! How the services find each other: by what they have registered in the coordinator.

use std::process::Command;

use coordinator_client::registry::{self, Registration};
use coordinator_client::{Client, Keys};
use hdfs_native::{ClientBuilder, WriteOptions};
use log_broker_client::{ProducerOptions, Record};
use rustix::process::Signal;
use tokio::runtime::Runtime;

use crate::harness::{Stack, refusal, signal, soon, text};

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn registered(runtime: &Runtime, client: &Client, program: &str) -> Vec<Registration> {
    runtime.block_on(registry::find(client, program)).unwrap()
}

#[test]
fn every_service_is_registered_and_is_found_by_what_it_registered() {
    let stack = Stack::up(&[]);
    let coordinator = stack.variable("ETCDCTL_ENDPOINTS");
    let status = stack.bonsai(&["status", "--wait", "60s"]);
    assert!(status.status.success(), "{}", text(&status));
    let runtime = runtime();
    let client = runtime.block_on(Client::connect(&coordinator)).unwrap();
    for (program, listener, service) in [
        ("log-broker", "listen", "log-broker"),
        ("namenode", "rpc", "namenode"),
        ("datanode", "transfer", "datanode"),
        ("stream", "sql", "stream"),
        ("batch", "flight", "batch"),
    ] {
        let found = registered(&runtime, &client, program);
        assert_eq!(found.len(), 1, "{program}: {found:?}");
        let address = stack.service(service)["address"].as_str().unwrap().to_owned();
        assert_eq!(found[0].address(listener), Some(address.as_str()), "{program}");
        assert_eq!(found[0].version, env!("CARGO_PKG_VERSION"));
    }

    // From nothing but the coordinator's address, what `env` says of the stack's directory.
    let elsewhere = Stack::new();
    let told = text(&elsewhere.bonsai(&["env", "--coordinator", &coordinator]));
    for name in [
        "BOOTSTRAP_SERVERS",
        "HDFS_URL",
        "WEBHDFS_URL",
        "SQL_GATEWAY_URL",
        "FLIGHT_SQL_URI",
    ] {
        let line = format!("export {name}={}\n", stack.variable(name));
        assert!(told.contains(&line), "{line} is not in\n{told}");
    }

    // `kafka` without a bootstrap address, `hdfs://bonsai/` by name.
    runtime.block_on(async {
        let broker = log_broker_client::Client::connect(&stack.variable("BOOTSTRAP_SERVERS"), "test")
            .await
            .unwrap();
        broker.create_topic("numbers", 1, 1, &[]).await.unwrap();
        let producer = broker.producer(ProducerOptions::default()).await.unwrap();
        let record = |value: &'static str| Record {
            value: Some(value.into()),
            ..Record::default()
        };
        let records = vec![record("{\"n\":1}"), record("{\"n\":2}")];
        producer.send("numbers", 0, records).await.unwrap();
        let files = ClientBuilder::new()
            .with_url(stack.variable("HDFS_URL"))
            .build()
            .unwrap();
        let mut file = files.create("/in/numbers.csv", WriteOptions::default()).await.unwrap();
        file.write("n\n1\n2\n".into()).await.unwrap();
        file.close().await.unwrap();
    });
    let program = stack.path().join("copy.sql");
    std::fs::write(
        &program,
        "CREATE TABLE numbers (n INT) WITH ('connector' = 'kafka', 'topic' = 'numbers', 'format' = 'json',
             'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset');
         CREATE TABLE copied (n INT) WITH ('connector' = 'filesystem', 'path' = 'hdfs://bonsai/copied', 'format' = 'parquet');
         INSERT INTO copied SELECT n FROM numbers;",
    )
    .unwrap();
    let run = |words: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_bonsai"))
            .args(words)
            .args(["--coordinator", &coordinator])
            .output()
            .unwrap();
        assert!(output.status.success(), "{words:?}: {}", text(&output));
        text(&output)
    };
    run(&["stream", "run", program.to_str().unwrap()]);
    let sum = run(&[
        "batch",
        "sql",
        "-c",
        "SELECT SUM(n) AS total FROM 'hdfs://bonsai/copied/'",
    ]);
    assert!(sum.contains('3'), "{sum}");
    let sum = run(&[
        "batch",
        "sql",
        "-c",
        "SELECT SUM(n) AS total FROM 'hdfs://bonsai/in/numbers.csv'",
    ]);
    assert!(sum.contains('3'), "{sum}");
}

#[test]
fn a_second_broker_is_refused_and_the_first_stays_registered() {
    let first = Stack::up(&["--only", "coordinator,log-broker"]);
    let coordinator = first.variable("ETCDCTL_ENDPOINTS");
    let address = first.variable("BOOTSTRAP_SERVERS");
    let second = Stack::new();
    let words = [
        "up",
        "--any-port",
        "--detach",
        "--only",
        "log-broker",
        "--coordinator",
        &coordinator,
    ];
    let said = refusal(&second.bonsai(&words));
    assert!(
        said.contains("/bonsai/services/log-broker/0") && said.contains(&address),
        "{said}"
    );
    let runtime = runtime();
    let client = runtime.block_on(Client::connect(&coordinator)).unwrap();
    let found = registered(&runtime, &client, "log-broker");
    assert_eq!(found[0].address("listen"), Some(address.as_str()));
}

#[test]
fn a_lost_key_is_registered_again_with_another_create_revision() {
    let stack = Stack::up(&["--only", "coordinator,log-broker"]);
    let runtime = runtime();
    let client = runtime
        .block_on(Client::connect(&stack.variable("ETCDCTL_ENDPOINTS")))
        .unwrap();
    const KEY: &str = "/bonsai/services/log-broker/0";
    let revision = || {
        let pair = runtime.block_on(client.get(KEY)).unwrap();
        pair.map(|pair| pair.create_revision)
    };
    let mut last = revision().unwrap();
    let mut comes_back = |what: &str| {
        soon(what, || revision().is_some_and(|now| now > last));
        last = revision().unwrap();
    };
    runtime.block_on(client.delete(Keys::one(KEY))).unwrap();
    comes_back("the deleted key is there again");
    // Within the lease of the process before: its key is not taken for the new one's.
    signal(stack.pid("log-broker").unwrap(), Signal::KILL);
    comes_back("the restarted broker has registered itself");
    let lease = runtime.block_on(client.get(KEY)).unwrap().unwrap().lease;
    runtime.block_on(client.lease_revoke(lease)).unwrap();
    comes_back("the revoked lease is replaced");
    assert!(stack.bonsai(&["status", "--wait", "60s"]).status.success());
}

/// A data node needs no address but the coordinator's, and follows a name node that has moved.
#[test]
fn a_data_node_finds_its_name_node_through_the_coordinator() {
    let stack = Stack::up(&["--only", "coordinator,namenode"]);
    let coordinator = stack.variable("ETCDCTL_ENDPOINTS");
    let directory = stack.path().join("alone");
    let mut datanode = Command::new(env!("CARGO_BIN_EXE_bonsai"))
        .args(["dfs", "datanode", "--coordinator", &coordinator, "--data"])
        .arg(&directory)
        .args([
            "--transfer",
            "127.0.0.1:0",
            "--ipc",
            "127.0.0.1:0",
            "--http",
            "127.0.0.1:0",
        ])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let runtime = runtime();
    let put = |name: &str| {
        let url = stack.variable("HDFS_URL");
        runtime.block_on(async {
            let client = ClientBuilder::new().with_url(&url).build().unwrap();
            let mut file = client.create(name, WriteOptions::default().replication(1)).await.ok()?;
            file.write("x".into()).await.ok()?;
            file.close().await.ok()
        })
    };
    soon("a file is written", || put("/before").is_some());
    assert!(stack.bonsai(&["down"]).status.success());
    // The coordinator comes back where it was, the name node somewhere else.
    let elsewhere = host::free_port::address().unwrap().port();
    stack.start(&[
        "--only",
        "coordinator,namenode",
        "--port",
        &format!("namenode={elsewhere}"),
    ]);
    assert!(stack.variable("HDFS_URL").ends_with(&format!(":{elsewhere}")));
    soon("a file is written to the name node that has moved", || {
        put("/after").is_some()
    });
    signal(u64::from(datanode.id()), Signal::TERM);
    assert!(datanode.wait().unwrap().success());
}
