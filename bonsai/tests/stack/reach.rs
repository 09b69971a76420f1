//! The stack as another machine reaches it: two network namespaces with a cable between them. Needs a kernel that lets a
//! user make namespaces (or root), and `ip`; where it has not, the test says so and proves nothing.

use std::process::{Command, Stdio};

use hdfs_native::{ClientBuilder, WriteOptions};
use log_broker_client::{At, FetchOptions, ProducerOptions, Record};

use crate::harness::{Stack, http, text};

const INSIDE: &str = "10.77.0.1";
const OUTSIDE: &str = "10.77.0.2";
/// Set for the process that is the other machine: `NAME=VALUE` of `bonsai env`, of the stack's own machine.
const SEEN: &str = "REACH_FROM_OUTSIDE";

/// Runs in a user, mount and network namespace of its own: makes the other machine, starts the stack, and calls this test
/// program again on the other machine.
const SCRIPT: &str = r#"
set -e
mount -t tmpfs none /run
ip link set lo up
ip netns add outside
ip link add cable type veth peer name far
ip link set far netns outside
ip addr add 10.77.0.1/24 dev cable
ip link set cable up
ip netns exec outside ip addr add 10.77.0.2/24 dev far
ip netns exec outside ip link set far up
ip netns exec outside ip link set lo up
"$BONSAI" up --detach --any-port --host 0.0.0.0 --datanodes 2 --data "$DATA"
trap '"$BONSAI" down --data "$DATA"' EXIT
"$BONSAI" status --wait 60s --data "$DATA"
REACH_FROM_OUTSIDE="$("$BONSAI" env --data "$DATA")"
export REACH_FROM_OUTSIDE
ip netns exec outside "$TEST" --exact reach::from_outside --nocapture
"#;

#[test]
fn every_service_is_reached_from_another_machine_by_nothing_but_its_address() {
    let unshare = ["--user", "--map-root-user", "--mount", "--net"];
    let allowed = Command::new("unshare")
        .args(unshare)
        .args(["sh", "-c", "mount -t tmpfs none /run && ip netns add x"])
        .output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        println!("not tested: no network namespaces here, or no `ip`");
        return;
    }
    let stack = Stack::new();
    let output = Command::new("unshare")
        .args(unshare)
        .args(["sh", "-c", SCRIPT])
        .env("BONSAI", env!("CARGO_BIN_EXE_bonsai"))
        .env("DATA", stack.data())
        .env("TEST", std::env::current_exe().unwrap())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("reached all"), "{said}");
}

/// What the other machine does; elsewhere, nothing.
#[test]
fn from_outside() {
    let Ok(env) = std::env::var(SEEN) else { return };
    let address = |name: &str| {
        let line = env
            .lines()
            .find_map(|line| line.strip_prefix(&format!("export {name}=")));
        line.unwrap().trim_matches('\'').replace("127.0.0.1", INSIDE)
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = log_broker_client::Client::connect(&address("BOOTSTRAP_SERVERS"), "outside")
            .await
            .unwrap();
        client.create_topic("far", 1, 1, &[]).await.unwrap();
        let producer = client.producer(ProducerOptions::default()).await.unwrap();
        let record = Record {
            value: Some("hello".into()),
            ..Record::default()
        };
        producer.send("far", 0, vec![record]).await.unwrap();
        assert_eq!(client.offset("far", 0, At::Latest).await.unwrap(), 1);
        assert_eq!(
            client
                .fetch("far", 0, 0, &FetchOptions::default())
                .await
                .unwrap()
                .records
                .len(),
            1
        );
        for broker in client.metadata(None).await.unwrap().brokers {
            assert_eq!(broker.host, INSIDE);
        }

        // Through a pipeline of both data nodes.
        let files = ClientBuilder::new().with_url(address("HDFS_URL")).build().unwrap();
        let options = WriteOptions::default().replication(2);
        let mut file = files.create("/far", options).await.unwrap();
        file.write("hello".into()).await.unwrap();
        file.close().await.unwrap();
        let mut file = files.read("/far").await.unwrap();
        assert_eq!(file.read(5).await.unwrap(), "hello");

        let coordinator = coordinator_client::Client::connect(&address("ETCDCTL_ENDPOINTS"))
            .await
            .unwrap();
        coordinator.put("far", "hello").await.unwrap();
        let registered = coordinator_client::registry::all(&coordinator).await.unwrap();
        assert_eq!(registered.len(), 6, "{registered:?}");
        // What is registered is reached from here too.
        for address in registered
            .iter()
            .flat_map(|registration| registration.addresses.values())
        {
            assert!(address.starts_with(INSIDE), "{registered:?}");
            std::net::TcpStream::connect(address).unwrap();
        }
    });
    let webhdfs = address("WEBHDFS_URL");
    let (host, path) = webhdfs.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let redirect = http(host, "GET", &format!("/{path}/far?op=OPEN"));
    let location = redirect
        .lines()
        .find_map(|line| {
            line.strip_prefix("location: ")
                .or_else(|| line.strip_prefix("Location: "))
        })
        .unwrap_or_else(|| panic!("{redirect}"));
    let (host, path) = location.strip_prefix("http://").unwrap().split_once('/').unwrap();
    assert!(host.starts_with(INSIDE), "{location}");
    assert!(
        location.contains(&format!("namenoderpcaddress={INSIDE}:")),
        "{location}"
    );
    assert!(http(host, "GET", &format!("/{path}")).ends_with("hello"));
    for (name, page) in [("SQL_GATEWAY_URL", "/v1/info"), ("SQL_GATEWAY_URL", "/healthz")] {
        let url = address(name);
        let answer = http(url.strip_prefix("http://").unwrap(), "GET", page);
        assert!(answer.starts_with("HTTP/1.1 200"), "{url}{page}: {answer}");
    }
    let flight = address("FLIGHT_SQL_URI");
    std::net::TcpStream::connect(flight.strip_prefix("grpc://").unwrap()).unwrap();
    println!("{OUTSIDE} reached all");
}
