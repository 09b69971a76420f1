//! What bad clients and bad starts get: a closed connection, one clear sentence, a process that goes on.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use testing::{Program, eventually, http};

use crate::cluster::Cluster;

/// Sends bytes and reads until the connection is closed or half a second passed.
fn send(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

fn garbage() -> Vec<Vec<u8>> {
    let hrpc = b"hrpc\x09\x00\x00".to_vec();
    let with = |prefix: &[u8], rest: &[u8]| [prefix, rest].concat();
    vec![
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"hr".to_vec(),
        b"hrpc\x08\x00\x00".to_vec(),
        hrpc.clone(),
        with(&hrpc, &[0x7f, 0xff, 0xff, 0xff]),
        with(&hrpc, &[0x07, 0xff, 0xff, 0xff, 1, 2, 3]),
        with(&hrpc, &[0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff]),
        with(&hrpc, &[0, 0, 0, 12, 10, 8, 2, 16, 0, 24, 1, 34, 0, 0, 0, 0]),
        with(b"hrpc\x09\x00\xdf", &[0, 0, 0, 3, 1, 2, 3]),
        vec![0, 28, 80, 0xff, 0xff, 0xff, 0xff, 0x07],
        vec![0, 28, 81, 0xff, 0xff, 0xff, 0xff, 0x7f],
        vec![0, 28, 81, 2, 8, 1],
        vec![0, 28, 99],
        vec![0, 28, 87, 0],
        (0..4096u32).map(|i| (i * 167 % 251) as u8).collect(),
        vec![0xff; 100_000],
    ]
}

#[test]
fn garbage_on_any_port_closes_the_connection_and_nothing_else() {
    let mut cluster = Cluster::start(1);
    let data_node = cluster.data_node(0);
    let mut ports: Vec<SocketAddr> = ["transfer", "ipc", "http"].map(|name| data_node.address(name)).into();
    ports.extend(["rpc", "http"].map(|name| cluster.name_node.address(name)));
    // Once, so that what is allocated only once does not count.
    for port in &ports {
        for bytes in garbage() {
            send(*port, &bytes);
        }
    }
    let before = (
        cluster.name_node.resident_bytes(),
        cluster.data_node(0).resident_bytes(),
    );
    let idle: Vec<TcpStream> = ports
        .iter()
        .flat_map(|port| (0..100).map(move |_| TcpStream::connect(port).unwrap()))
        .collect();
    for port in &ports {
        for bytes in garbage() {
            send(*port, &bytes);
        }
    }
    let after = (
        cluster.name_node.resident_bytes(),
        cluster.data_node(0).resident_bytes(),
    );
    assert!(cluster.name_node.is_running() && cluster.data_node(0).is_running());
    for (before, after) in [(before.0, after.0), (before.1, after.1)] {
        assert!(after < before + (16 << 20), "grew from {before} to {after} bytes");
    }
    assert_eq!(
        http::get(cluster.name_node.address("http"), "/healthz").unwrap(),
        "ok\n"
    );
    assert_eq!(
        http::get(cluster.data_node(0).address("http"), "/healthz").unwrap(),
        "ok\n"
    );
    drop(idle);
    let told = send(cluster.rpc(), b"GET / HTTP/1.1\r\n\r\n");
    assert!(String::from_utf8_lossy(&told).contains("Hadoop IPC port"));
}

#[test]
fn the_status_page_of_both_nodes_names_the_block_pool() {
    let mut cluster = Cluster::start(1);
    let name_node = cluster.name_node.status();
    let rpc = cluster.rpc().to_string();
    let data_node = cluster.data_node(0).status();
    assert_eq!(
        (&name_node["role"], &data_node["role"]),
        (&"namenode".into(), &"datanode".into())
    );
    assert_eq!(name_node["facts"]["block_pool_id"], data_node["facts"]["block_pool_id"]);
    assert_eq!(data_node["facts"]["name_node"], rpc);
    assert_eq!(data_node["ready"], true);
}

fn dfs(args: &[&str]) -> (i32, String) {
    let output = Program::new(env!("CARGO_BIN_EXE_dfs")).args(args).run();
    (
        output.status.code().unwrap(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn bad_starts_say_what_to_do() {
    let cluster = Cluster::start(1);
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("other").display().to_string();
    let taken = cluster.rpc().to_string();

    let (code, said) = dfs(&["namenode", "--data", &data, "--rpc", &taken, "--http", "127.0.0.1:0"]);
    assert_eq!(code, 1);
    assert!(said.contains(&taken) && said.contains("--rpc"), "{said}");
    let (code, said) = dfs(&["namenode", "--data", &data, "--set", "dfs.replikation=3"]);
    assert_eq!(code, 2);
    assert!(
        said.contains("dfs.replikation") && said.contains("dfs.replication,"),
        "{said}"
    );
    let (code, _) = dfs(&["namenode", "--nonsense"]);
    assert_eq!(code, 2);
    let (code, said) = dfs(&["secondary"]);
    assert_eq!(code, 2);
    assert!(said.contains("namenode"), "{said}");
    let held = cluster.data_directory(0).display().to_string();
    let any = "127.0.0.1:0";
    let ports = ["--transfer", any, "--ipc", any, "--http", any];
    let (code, said) = dfs(&[&["datanode", "--data", &held, "--namenode", &taken][..], &ports].concat());
    assert_eq!(code, 1);
    assert!(said.contains("held by another process"), "{said}");
}

#[test]
fn a_data_node_of_another_name_node_is_sent_away() {
    let mut first = Cluster::start(1);
    let second = Cluster::start(0);
    first.kill_data_node(0);
    let data = first.data_directory(0).display().to_string();
    let (rpc, any) = (second.rpc().to_string(), "127.0.0.1:0");
    let args = [
        "datanode",
        "--data",
        &data,
        "--namenode",
        &rpc,
        "--transfer",
        any,
        "--ipc",
        any,
        "--http",
        any,
    ];
    let (code, said) = dfs(&args);
    assert_eq!(code, 1);
    assert!(said.contains("belong to pool"), "{said}");
}

#[test]
fn an_orderly_end_is_quick_and_clean() {
    let mut cluster = Cluster::start(1);
    let began = std::time::Instant::now();
    assert!(cluster.data_node(0).terminate().success());
    assert!(cluster.name_node.terminate().success());
    assert!(began.elapsed() < Duration::from_secs(8));
}

#[test]
fn a_data_node_finds_its_name_node_again() {
    let mut cluster = Cluster::start(1);
    cluster.restart_name_node();
    eventually("registered again", || {
        cluster.metric("dfs_namenode_live_datanodes") == 1
    });
    let page = http::get(cluster.data_node(0).address("http"), "/metrics").unwrap();
    assert!(page.contains("dfs_datanode_registered"), "{page}");
}
