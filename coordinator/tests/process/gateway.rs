//! The gateway and the pages, spoken to as curl does.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::program::Coordinator;

/// The address that the ready line names.
fn named(line: &str, name: &str) -> std::net::SocketAddr {
    let mut words = line.split_whitespace();
    let address = words.find_map(|word| word.strip_prefix(name)).expect("it is named");
    address.parse().expect("an address")
}

#[tokio::test]
async fn the_pages_are_served_elsewhere_too_and_nothing_else_is() {
    let data = tempfile::tempdir().expect("a directory");
    let mut child = crate::program::program(data.path(), "http://127.0.0.1:0")
        .command()
        .arg("--listen-metrics-urls=http://127.0.0.1:0")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the program is there");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("piped");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).expect("it says something");
    let address = named(&line, "metrics=");
    let (health, metrics) = (
        send_to(address, "GET", "/health", "").await.0,
        send_to(address, "GET", "/metrics", "").await.0,
    );
    let call = send_to(address, "POST", "/v3/kv/range", "{}").await.0;
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    assert_eq!((health, metrics, call), (200, 200, 404));
}

/// Sends a request and returns the connection behind the head of the answer, and the status.
async fn send(coordinator: &Coordinator, method: &str, path: &str, body: &str) -> (u16, BufReader<TcpStream>) {
    send_to(coordinator.address, method, path, body).await
}

async fn send_to(address: std::net::SocketAddr, method: &str, path: &str, body: &str) -> (u16, BufReader<TcpStream>) {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let length = body.len();
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await.expect("answered");
    let status = line
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .expect("a status");
    while line.trim() != "" {
        line.clear();
        stream.read_line(&mut line).await.expect("a head");
    }
    (status, stream)
}

/// What `/metrics` says.
pub async fn figures(address: &str) -> String {
    let address = address.parse().expect("an address");
    let (status, mut page) = send_to(address, "GET", "/metrics", "").await;
    assert_eq!(status, 200);
    let mut text = String::new();
    page.read_to_string(&mut text).await.expect("a page");
    text
}

async fn call(coordinator: &Coordinator, path: &str, body: Value) -> (u16, Value) {
    let (status, mut stream) = send(coordinator, "POST", path, &body.to_string()).await;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("the end");
    let answer = answer
        .lines()
        .find(|line| line.starts_with('{'))
        .expect("an object")
        .to_owned();
    (status, serde_json::from_str(&answer).expect("JSON"))
}

/// The next line with an object; chunks' lengths are passed over.
async fn next_object(stream: &mut BufReader<TcpStream>) -> Value {
    loop {
        let mut line = String::new();
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read_line(&mut line)).await;
        assert!(read.expect("in time").expect("readable") > 0, "the stream has ended");
        if line.starts_with('{') {
            return serde_json::from_str(&line).expect("JSON");
        }
    }
}

#[tokio::test]
async fn calls_and_refusals_are_json() {
    let data = tempfile::tempdir().expect("a directory");
    let coordinator = Coordinator::start(data.path());
    let (status, put) = call(&coordinator, "/v3/kv/put", json!({"key": "Zm9v", "value": "YmFy"})).await;
    assert_eq!((status, &put["header"]["revision"]), (200, &json!("2")));
    let (_, found) = call(&coordinator, "/v3/kv/range", json!({"key": "Zm9v", "rangeEnd": "AA=="})).await;
    let expected = json!([{"key":"Zm9v","create_revision":"2","mod_revision":"2","version":"1","value":"YmFy"}]);
    assert_eq!((&found["kvs"], &found["count"]), (&expected, &json!("1")));
    for (path, body, status, code, message) in [
        ("/v3/kv/range", json!({}), 400, 3, "etcdserver: key is not provided"),
        (
            "/v3/lease/revoke",
            json!({"ID": 5}),
            404,
            5,
            "etcdserver: requested lease not found",
        ),
        ("/v3/kv/nothing", json!({}), 404, 5, "Not Found"),
    ] {
        let refused = call(&coordinator, path, body).await;
        assert_eq!(refused, (status, json!({"code": code, "message": message})), "{path}");
    }
}

#[tokio::test]
async fn a_watch_is_one_answer_a_line() {
    let data = tempfile::tempdir().expect("a directory");
    let coordinator = Coordinator::start(data.path());
    let create = json!({"create_request": {"key": "Zm9v"}}).to_string();
    let (status, mut stream) = send(&coordinator, "POST", "/v3/watch", &create).await;
    assert_eq!(status, 200);
    assert_eq!(next_object(&mut stream).await["result"]["created"], json!(true));
    for value in ["MQ==", "Mg=="] {
        call(&coordinator, "/v3/kv/put", json!({"key": "Zm9v", "value": value})).await;
        let told = next_object(&mut stream).await;
        assert_eq!(told["result"]["events"][0]["kv"]["value"], json!(value));
    }
}

/// As dashboards and alerts for etcd expect it.
#[tokio::test]
async fn figures_say_what_was_done() {
    let data = tempfile::tempdir().expect("a directory");
    let coordinator = Coordinator::start(data.path());
    let client = coordinator.client().await;
    client.put("kept", "1").await.expect("acknowledged");
    client.put("gone", "1").await.expect("acknowledged");
    client
        .delete(coordinator_client::Keys::one("gone"))
        .await
        .expect("acknowledged");
    drop(
        client
            .watch(coordinator_client::Keys::one("kept"), 0)
            .await
            .expect("watched"),
    );
    drop(client);
    let canceled = r#"grpc_server_handled_total{grpc_code="Canceled",grpc_method="Watch",grpc_service="etcdserverpb.Watch",grpc_type="bidi_stream"} 1"#;
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    let figures = loop {
        let (_, mut stream) = send(&coordinator, "GET", "/metrics", "").await;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("the end");
        if text.contains(canceled) || std::time::Instant::now() > deadline {
            break text;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    for line in [
        canceled,
        "etcd_mvcc_put_total 2",
        "etcd_mvcc_delete_total 1",
        "etcd_cluster_version{cluster_version=\"3.6\"} 1",
        "etcd_debugging_mvcc_keys_total 1",
        "etcd_server_slow_apply_total 0",
        "etcd_disk_backend_defrag_duration_seconds_count 0",
    ] {
        assert!(figures.lines().any(|found| found == line), "{line} is not in {figures}");
    }
}

/// What takes longer than the flags say is in the log, in etcd's words.
#[tokio::test]
async fn slow_requests_are_told() {
    let data = tempfile::tempdir().expect("a directory");
    let log = data.path().join("log");
    let address = host::free_port::address().expect("a port");
    let mut child = crate::program::program(&data.path().join("data"), &format!("http://{address}"))
        .command()
        .args(["--warning-apply-duration=1ns", "--warning-unary-request-duration=1ns"])
        .args(["--log-level=warn", "--log-format=json"])
        .stderr(std::fs::File::create(&log).expect("a file"))
        .spawn()
        .expect("the program is there");
    let client = coordinator_client::Client::connect(&address.to_string())
        .await
        .expect("it serves");
    client.put("k", "1").await.expect("acknowledged");
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    let told = std::fs::read_to_string(&log).expect("a file");
    let lines: Vec<Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).expect("an object"))
        .collect();
    let of = |text: &str| {
        lines
            .iter()
            .find(|line| line["msg"] == text)
            .unwrap_or_else(|| panic!("no {text}: {told}"))
    };
    assert_eq!(of("apply request took too long")["level"], "warn");
    let call = lines
        .iter()
        .find(|line| line["response type"] == "/etcdserverpb.KV/Put");
    assert_eq!(call.expect("the put is told")["msg"], "request stats");
}

#[tokio::test]
async fn pages_say_how_it_is() {
    let data = tempfile::tempdir().expect("a directory");
    let coordinator = Coordinator::start(data.path());
    let page = async |path: &str| {
        let (status, mut stream) = send(&coordinator, "GET", path, "").await;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("the end");
        (status, text)
    };
    assert_eq!(
        page("/health").await,
        (200, r#"{"health":"true","reason":""}"#.to_owned())
    );
    assert_eq!(
        page("/readyz/data_corruption?verbose").await,
        (200, "[+]data_corruption ok\nok\n".to_owned())
    );
    let alarm = json!({"action": "ACTIVATE", "alarm": "CORRUPT", "memberID": "5"});
    call(&coordinator, "/v3/maintenance/alarm", alarm).await;
    let unhealthy = "{\"health\":\"false\",\"reason\":\"ALARM CORRUPT\"}\n".to_owned();
    assert_eq!(page("/health").await, (503, unhealthy));
    assert_eq!(page("/health?exclude=CORRUPT").await.0, 200);
    let (status, text) = page("/readyz").await;
    assert!(
        status == 503 && text.contains("[-]data_corruption failed: alarm activated: CORRUPT\n"),
        "{text}"
    );
    assert_eq!(page("/readyz?exclude=data_corruption").await.0, 200);
    assert_eq!(page("/livez").await, (200, "ok\n".to_owned()));
    let (status, text) = page("/debug/vars").await;
    let variables: Value = serde_json::from_str(&text).expect("an object");
    assert_eq!(
        (status, &variables["raft.status"]["raftState"]),
        (200, &json!("StateLeader"))
    );
    assert_eq!(send(&coordinator, "POST", "/health", "").await.0, 405);
}

/// All lines of an answer that are objects, up to its end.
async fn objects(coordinator: &Coordinator, path: &str, body: &str) -> (u16, Vec<Value>) {
    let (status, mut stream) = send(coordinator, "POST", path, body).await;
    let mut answer = String::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_string(&mut answer)).await;
    read.expect("it ends").expect("readable");
    let lines = answer.lines().filter(|line| line.starts_with('{'));
    (
        status,
        lines.map(|line| serde_json::from_str(line).expect("JSON")).collect(),
    )
}

#[tokio::test]
async fn nonsense_on_a_stream_gets_its_error_behind_the_answers_to_what_was_right() {
    let data = tempfile::tempdir().expect("a directory");
    let coordinator = Coordinator::start(data.path());
    call(&coordinator, "/v3/lease/grant", json!({"ID": 9, "TTL": 600})).await;
    let watch = r#"{"create_request":{"key":"YQ=="}}"#;
    let keep = r#"{"ID":9}"#;
    for (path, right, answer) in [
        ("/v3/watch", watch, json!({"created": true})),
        ("/v3/lease/keepalive", keep, json!({"ID": "9", "TTL": "600"})),
    ] {
        for wrong in [
            "nonsense",
            "[]",
            r#"{"ID":"#,
            r#"{"ID":{}}{"#,
            r#"{"create_request":5}"#,
        ] {
            if path == "/v3/watch" && wrong.contains("{}") || path != "/v3/watch" && wrong.contains("create") {
                // An unknown field is ignored.
                continue;
            }
            let (status, alone) = objects(&coordinator, path, wrong).await;
            assert_eq!(status, 400, "{path} {wrong}: {alone:?}");
            assert_eq!(alone[0]["error"]["code"], json!(3), "{path} {wrong}: {alone:?}");
            let (status, both) = objects(&coordinator, path, &format!("{right} {wrong}")).await;
            assert_eq!((status, both.len()), (200, 2), "{path} {wrong}: {both:?}");
            let mut first = both[0]["result"].clone();
            first.as_object_mut().expect("an object").remove("header");
            assert_eq!(first, answer, "{path} {wrong}");
            assert_eq!(both[1]["error"]["code"], json!(3), "{path} {wrong}: {both:?}");
        }
    }
}

#[tokio::test]
async fn hosts_and_origins_are_those_that_the_flags_name() {
    let data = tempfile::tempdir().expect("a directory");
    let flags = ["--host-whitelist=known".to_owned(), "--cors=http://page".to_owned()];
    let coordinator = Coordinator::start_with(data.path(), "http://127.0.0.1:0", &flags);
    let ask = async |host: &str, origin: &str| {
        let mut stream = TcpStream::connect(coordinator.address).await.expect("it listens");
        let request = format!("GET /version HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        answer
    };
    let allowed = ask("known:2379", "http://page").await;
    assert!(allowed.starts_with("HTTP/1.1 200"), "{allowed}");
    assert!(
        allowed.contains("access-control-allow-origin: http://page"),
        "{allowed}"
    );
    let elsewhere = ask("known", "http://elsewhere").await;
    assert!(!elsewhere.contains("access-control-allow-origin"), "{elsewhere}");
    let rebound = ask("attacker.example", "http://page").await;
    assert!(rebound.starts_with("HTTP/1.1 421"), "{rebound}");
    // gRPC does not look at it.
    coordinator.client().await.put("a", "1").await.expect("served");
}
