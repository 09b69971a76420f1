//! The SQL gateway as its clients use it: plain HTTP to the real program.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(30);

struct Gateway {
    child: Child,
    address: String,
}

impl Gateway {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_stream"))
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env_remove("BONSAI_CONFIG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line
            .trim()
            .strip_prefix("stream ready sql=")
            .unwrap_or_else(|| panic!("{line}"))
            .to_owned();
        Self { child, address }
    }

    /// One call, as the stock clients make it: a connection of its own, a body with every method.
    fn call(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut connection = TcpStream::connect(&self.address).unwrap();
        write!(
            connection,
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {}\r\ncontent-type: application/json\r\n\r\n{body}",
            self.address,
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        (
            status,
            serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}")),
        )
    }

    fn session(&self, properties: &Value) -> String {
        let body = json!({ "properties": properties }).to_string();
        let (status, answer) = self.call("POST", "/v1/sessions", &body);
        assert_eq!(status, 200, "{answer}");
        answer["sessionHandle"].as_str().unwrap().to_owned()
    }

    /// Posts a statement and fetches to its end: the last answer, and the rows.
    fn run(&self, session: &str, statement: &str, format: &str) -> Result<(Value, Vec<Value>), Value> {
        let body = json!({ "statement": statement }).to_string();
        let (status, answer) = self.call("POST", &format!("/v4/sessions/{session}/statements"), &body);
        assert_eq!(status, 200, "{answer}");
        let operation = answer["operationHandle"].as_str().unwrap();
        let mut uri = format!("/v4/sessions/{session}/operations/{operation}/result/0?rowFormat={format}");
        let mut rows = Vec::new();
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < DEADLINE, "{statement} hangs");
            let (status, answer) = self.call("GET", &uri, "{}");
            if status != 200 {
                return Err(answer);
            }
            if let Some(data) = answer["results"]["data"].as_array() {
                rows.extend(data.iter().cloned());
            }
            match answer["resultType"].as_str().unwrap() {
                "EOS" => return Ok((answer, rows)),
                _ => uri = answer["nextResultUri"].as_str().unwrap().to_owned(),
            }
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn statements_run_in_a_session_and_answer_in_pages() {
    let gateway = Gateway::start();
    assert_eq!(
        gateway.call("GET", "/v1/api_versions", "{}").1,
        json!({ "versions": ["V1", "V2", "V3", "V4"] })
    );
    assert_eq!(gateway.call("GET", "/info", "").1["productName"], "Apache Flink");
    let session = gateway.session(&json!({ "some.key.of.the.client": "kept" }));
    let (_, answer) = gateway.call("GET", &format!("/v4/sessions/{session}"), "{}");
    assert_eq!(answer["properties"]["some.key.of.the.client"], "kept");

    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("in.csv"), "1,x\n2,y\n3,x\n").unwrap();
    let table = format!(
        "CREATE TABLE t (a INT, b STRING) WITH ('connector'='filesystem','path'='{}/in.csv','format'='csv');",
        folder.path().display()
    );
    let (last, rows) = gateway.run(&session, &table, "PLAIN_TEXT").unwrap();
    assert_eq!(
        (last["resultKind"].as_str(), rows[0]["fields"][0].as_str()),
        (Some("SUCCESS"), Some("OK"))
    );

    let (last, mut rows) = gateway
        .run(&session, "SELECT a, b, a > 1 AS big FROM t", "PLAIN_TEXT")
        .unwrap();
    rows.sort_by_key(|row| row["fields"][0].to_string());
    let fields: Vec<&Value> = rows.iter().map(|row| &row["fields"]).collect();
    assert_eq!(
        fields,
        [
            &json!(["1", "x", "FALSE"]),
            &json!(["2", "y", "TRUE"]),
            &json!(["3", "x", "TRUE"])
        ]
    );
    assert_eq!(last["isQueryResult"], true);
    assert_eq!(last["results"]["columns"][0]["logicalType"]["type"], "INTEGER");
    let (_, rows) = gateway.run(&session, "SELECT a FROM t WHERE b = 'y'", "JSON").unwrap();
    assert_eq!(rows[0]["fields"], json!([2]));

    let sink = format!(
        "CREATE TABLE s (a INT) WITH ('connector'='filesystem','path'='{}/out','format'='csv')",
        folder.path().display()
    );
    gateway.run(&session, &sink, "JSON").unwrap();
    gateway.run(&session, "SET 'table.dml-sync' = 'true'", "JSON").unwrap();
    let (last, rows) = gateway.run(&session, "INSERT INTO s SELECT a FROM t", "JSON").unwrap();
    assert_eq!(rows[0]["fields"][0], last["jobID"]);
    let (_, rows) = gateway.run(&session, "SELECT a FROM s", "JSON").unwrap();
    assert_eq!(rows.len(), 3);

    let (status, answer) = gateway.call("DELETE", &format!("/v4/sessions/{session}"), "{}");
    assert_eq!((status, &answer), (200, &json!({ "status": "CLOSED" })));
    assert_eq!(gateway.call("GET", &format!("/v4/sessions/{session}"), "{}").0, 500);
}

#[test]
fn what_is_wrong_is_told_the_way_the_clients_expect() {
    let gateway = Gateway::start();
    let session = gateway.session(&json!({}));
    let refused = gateway.run(&session, "SELECT nope FROM nowhere", "JSON").unwrap_err();
    let chain = refused["errors"][1].as_str().unwrap();
    assert!(
        chain.contains("\nCaused by: org.apache.flink.table.api.ValidationException: Object 'nowhere' not found"),
        "{chain}"
    );
    let refused = gateway.run(&session, "SELEC 1", "JSON").unwrap_err();
    assert!(
        refused["errors"][1].as_str().unwrap().contains("SqlParserException"),
        "{refused}"
    );
    assert_eq!(
        gateway.run(&session, "SELECT 1 AS one_row", "JSON").unwrap().1[0]["fields"],
        json!([1])
    );

    assert_eq!(gateway.call("GET", "/v4/nothing", "").0, 404);
    assert_eq!(gateway.call("GET", "/v4/sessions/x", "").0, 400);
    assert_eq!(gateway.call("POST", "/v4/sessions", "[1]").0, 400);
    assert_eq!(gateway.call("POST", "/v4/sessions", "{").0, 400);
    let nobody = "00000000-0000-4000-8000-000000000000";
    assert_eq!(gateway.call("GET", &format!("/v4/sessions/{nobody}"), "").0, 500);
    let body = json!({ "statement": "SELECT 1" }).to_string();
    let (_, answer) = gateway.call("POST", &format!("/v4/sessions/{session}/statements"), &body);
    let operation = format!(
        "/v4/sessions/{session}/operations/{}",
        answer["operationHandle"].as_str().unwrap()
    );
    assert_eq!(gateway.call("GET", &format!("{operation}/result/x"), "").0, 400);
    assert_eq!(gateway.call("GET", &format!("{operation}/result/9"), "").0, 500);
    assert_eq!(
        gateway
            .call("GET", &format!("{operation}/result/0?rowFormat=XML"), "")
            .0,
        400
    );
    assert_eq!(
        gateway.call("DELETE", &format!("{operation}/close"), "").1,
        json!({ "status": "CLOSED" })
    );
}
