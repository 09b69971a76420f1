//! A real full disk: the broker's directory on a small tmpfs, in a mount namespace of its own.
//!
//! The seam test of each crate runs everywhere; this one needs a kernel that lets a user make namespaces (or root). Where
//! it does not, the test says so and proves nothing.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use log_broker_client::{At, Bytes, Client, Error, FetchOptions, ProducerOptions, Record};

use crate::harness::{Stack, refusal, soon};

const UNSHARE: [&str; 4] = ["unshare", "--user", "--map-root-user", "--mount"];
const TOPIC: &str = "ballast";
const RECORD_BYTES: usize = 100 << 10;
/// Fills the file system many times over.
const RECORDS_MAX: u64 = 2_000;

#[test]
fn a_full_disk_refuses_and_recovers_and_loses_nothing() {
    if !namespaces_are_allowed() {
        println!("not tested: this kernel gives no mount namespaces to its users");
        return;
    }
    let stack = Stack::up(&["--only", "log-broker"]);
    assert!(stack.bonsai(&["down"]).status.success());
    let broker_data = stack.data().join("log-broker");
    fs::remove_dir_all(&broker_data).unwrap();
    fs::create_dir(&broker_data).unwrap();
    let mut up = Command::new(UNSHARE[0])
        .args(&UNSHARE[1..])
        .args([
            "sh",
            "-c",
            r#"mount -t tmpfs -o size=24m none "$1" && exec "$2" up --only log-broker --data "$3""#,
            "sh",
        ])
        .arg(&broker_data)
        .arg(env!("CARGO_BIN_EXE_bonsai"))
        .arg(stack.data())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    soon("the broker is ready", || {
        stack.service("log-broker")["state"] == "ready"
    });
    let address = stack.service("log-broker")["address"].as_str().unwrap().to_owned();
    // The broker's own view of its directory, from outside of its namespace.
    let inside = PathBuf::from(format!(
        "/proc/{}/root{}",
        stack.pid("log-broker").unwrap(),
        broker_data.display()
    ));
    let ballast = inside.join("ballast");
    fs::write(&ballast, vec![0; 8 << 20]).unwrap();
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(fill_and_free(&address, || {
            fs::remove_file(&ballast).unwrap();
        }));
    assert_eq!(stack.service("log-broker")["restarts"], 0, "it died of the full disk");
    assert!(stack.bonsai(&["down"]).status.success());
    up.wait().unwrap();
}

#[test]
fn a_demo_without_room_says_so_before_it_starts_anything() {
    if !namespaces_are_allowed() {
        println!("not tested: this kernel gives no mount namespaces to its users");
        return;
    }
    let stack = Stack::new();
    let output = Command::new(UNSHARE[0])
        .args(&UNSHARE[1..])
        .args([
            "sh",
            "-c",
            r#"mount -t tmpfs -o size=8m none "$1" && exec "$2" demo flights --any-port --data "$1/data""#,
            "sh",
        ])
        .arg(stack.path())
        .arg(env!("CARGO_BIN_EXE_bonsai"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = refusal(&output);
    assert!(said.contains("needs 64 MB") && said.contains("--data DIR"), "{said}");
}

fn namespaces_are_allowed() -> bool {
    let tried = Command::new(UNSHARE[0])
        .args(&UNSHARE[1..])
        .args(["mount", "-t", "tmpfs", "none", "/mnt"])
        .output();
    tried.is_ok_and(|output| output.status.success())
}

async fn fill_and_free(address: &str, free: impl FnOnce()) {
    let client = Client::connect_within(address, "full-disk", Duration::from_secs(2))
        .await
        .unwrap();
    client.create_topic(TOPIC, 1, 1, &[]).await.unwrap();
    let producer = client.producer(ProducerOptions::default()).await.unwrap();
    let mut acknowledged = Vec::new();
    let mut refused = None;
    for number in 0..RECORDS_MAX {
        match producer.send(TOPIC, 0, vec![record(number)]).await {
            Ok(_) => acknowledged.push(number),
            Err(error) => {
                refused = Some((number, error));
                break;
            }
        }
    }
    let (number, error) = refused.expect("the disk never was full");
    assert!(
        matches!(error, Error::Deadline { .. } | Error::Broker { .. }),
        "{error}"
    );
    assert!(!acknowledged.is_empty());
    assert_eq!(
        read_all(&client).await,
        acknowledged,
        "what was acknowledged is not what is there"
    );

    free();
    let mut patience = 30;
    while let Err(error) = producer.send(TOPIC, 0, vec![record(number + 1)]).await {
        patience -= 1;
        assert!(patience > 0, "there is space again, but: {error}");
    }
    let after = read_all(&client).await;
    assert!(
        after.starts_with(&acknowledged) && after.ends_with(&[number + 1]),
        "{after:?}"
    );
}

fn record(number: u64) -> Record {
    let value = Bytes::from(vec![b'x'; RECORD_BYTES]);
    Record {
        key: Some(Bytes::from(number.to_string())),
        value: Some(value),
        ..Record::default()
    }
}

/// The numbers of all records, in their order.
async fn read_all(client: &Client) -> Vec<u64> {
    let end = client.offset(TOPIC, 0, At::Latest).await.unwrap();
    let mut numbers = Vec::new();
    let mut offset = 0;
    while offset < end {
        let fetched = client.fetch(TOPIC, 0, offset, &FetchOptions::default()).await.unwrap();
        for record in &fetched.records {
            numbers.push(String::from_utf8_lossy(record.key.as_ref().unwrap()).parse().unwrap());
        }
        offset = fetched.next_offset;
    }
    numbers
}
