//! The SQL gateway as its clients use it: plain HTTP to the real program.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use serde_json::{Value, json};
use testing::{DEADLINE, Process, Program, TestDir, eventually, http};

struct Gateway {
    process: Process,
}

impl Gateway {
    fn start() -> Self {
        Self::start_with(&[])
    }

    fn start_with(arguments: &[&str]) -> Self {
        let gateway = Program::new(env!("CARGO_BIN_EXE_stream"))
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(arguments);
        Self {
            process: gateway.start(),
        }
    }

    fn address(&self) -> SocketAddr {
        self.process.address("sql")
    }

    /// One call, as the stock clients make it: a connection of its own, a body with every method.
    fn call(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let answer = http::request(self.address(), method, path, body).unwrap();
        let body = serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"));
        (answer.status, body)
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

    let folder = TestDir::new();
    fs::write(folder.join("in.csv"), "1,x\n2,y\n3,x\n").unwrap();
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
fn the_status_page_has_the_address_of_the_gateway() {
    let status = Gateway::start().process.status();
    assert_eq!((&status["program"], &status["ready"]), (&json!("stream"), &json!(true)));
    assert_eq!(status["facts"]["sessions"], 0);
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
    let unknown = "00000000-0000-4000-8000-000000000000";
    assert_eq!(gateway.call("GET", &format!("/v4/sessions/{unknown}"), "").0, 500);
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

/// Lines of the visible files of a folder.
fn visible_rows(folder: &std::path::Path) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let visible = entries
        .filter_map(|entry| entry.ok())
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
    visible
        .map(|entry| fs::read_to_string(entry.path()).map_or(0, |text| text.lines().count()))
        .sum()
}

#[test]
fn a_job_shows_rows_at_each_checkpoint_outlives_a_killed_server_and_is_stopped() {
    let folder = TestDir::new();
    let (state, out) = (folder.join("state"), folder.join("out"));
    let arguments = ["--state", state.to_str().unwrap()];
    let mut gateway = Gateway::start_with(&arguments);
    let session = gateway.session(&json!({ "execution.checkpointing.interval": "100 ms" }));
    let sink = format!(
        "CREATE TABLE o (a INT) WITH ('connector'='filesystem','path'='{}','format'='csv')",
        out.display()
    );
    let source = "CREATE TABLE d (a INT) WITH ('connector'='datagen','rows-per-second'='100')";
    for statement in [source, &sink] {
        gateway.run(&session, statement, "JSON").unwrap();
    }
    let (_, rows) = gateway.run(&session, "INSERT INTO o SELECT a FROM d", "JSON").unwrap();
    let job = rows[0]["fields"][0].as_str().unwrap().to_owned();
    eventually("rows are visible at a checkpoint", || visible_rows(&out) > 0);
    let (_, rows) = gateway.run(&session, "SHOW JOBS", "JSON").unwrap();
    assert_eq!(
        rows[0]["fields"].as_array().unwrap()[..3],
        [
            json!(job),
            json!("insert-into_default_catalog.default_database.o"),
            json!("RUNNING")
        ]
    );

    gateway.process.kill();
    let before = visible_rows(&out);
    let gateway = Gateway::start_with(&arguments);
    assert_eq!(
        gateway.call("GET", "/jobs", "").1,
        json!({ "jobs": [{ "id": job, "status": "RUNNING" }] })
    );
    eventually("the job continues", || visible_rows(&out) > before);

    let session = gateway.session(&json!({}));
    let stop = format!("STOP JOB '{job}' WITH SAVEPOINT");
    let (last, rows) = gateway.run(&session, &stop, "JSON").unwrap();
    assert_eq!(last["results"]["columns"][0]["name"], "savepoint path");
    assert!(rows[0]["fields"][0].as_str().unwrap().contains("epoch-"), "{rows:?}");
    assert_eq!(gateway.call("GET", &format!("/jobs/{job}"), "").1["state"], "FINISHED");
    let (_, overview) = gateway.call("GET", "/jobs/overview", "{}");
    assert_eq!(overview["jobs"][0]["jid"], json!(job));

    for statement in [source, "CREATE TABLE b (a INT) WITH ('connector'='blackhole')"] {
        gateway.run(&session, statement, "JSON").unwrap();
    }
    let (_, rows) = gateway.run(&session, "INSERT INTO b SELECT a FROM d", "JSON").unwrap();
    let job = rows[0]["fields"][0].as_str().unwrap().to_owned();
    assert_eq!(gateway.call("PATCH", &format!("/jobs/{job}?mode=cancel"), "").0, 202);
    assert_eq!(gateway.call("PATCH", &format!("/jobs/{job}?mode=cancel"), "").0, 409);
    assert_eq!(
        gateway.call("GET", &format!("/v1/jobs/{job}"), "").1["state"],
        "CANCELED"
    );
    assert_eq!(gateway.call("GET", "/jobs/none", "").0, 404);
    let refused = gateway.run(&session, "STOP JOB 'none'", "JSON").unwrap_err();
    assert!(refused["errors"][1].as_str().unwrap().contains("Job none not found"));
}

#[test]
fn options_of_a_call_hold_for_it_alone_and_types_keep_what_they_say() {
    let gateway = Gateway::start();
    let session = gateway.session(&json!({}));
    let sql = "SELECT CAST(TO_TIMESTAMP_LTZ(0, 3) AS STRING) AS t";
    let body = json!({ "statement": sql, "executionConfig": { "table.local-time-zone": "GMT+08:00" } });
    let (_, answer) = gateway.call("POST", &format!("/v4/sessions/{session}/statements"), &body.to_string());
    let operation = answer["operationHandle"].as_str().unwrap();
    let shown = std::cell::RefCell::new(Value::Null);
    let token = std::cell::Cell::new(0);
    eventually("a row is fetched", || {
        let uri = format!("/v4/sessions/{session}/operations/{operation}/result/{}", token.get());
        let (_, page) = gateway.call("GET", &uri, "{}");
        token.set(token.get() + u32::from(page["resultType"] == "PAYLOAD"));
        *shown.borrow_mut() = page["results"]["data"][0]["fields"][0].clone();
        !shown.borrow().is_null()
    });
    assert_eq!(*shown.borrow(), "1970-01-01 08:00:00.000");
    let (_, rows) = gateway.run(&session, sql, "JSON").unwrap();
    assert_eq!(rows[0]["fields"][0], "1970-01-01 00:00:00.000");

    let sql = "SELECT 'abc' AS c, CAST('a' AS VARCHAR(5)) AS v, CAST('2024-01-01 00:00:00.12345' AS TIMESTAMP(5)) AS t, \
               CAST(NULL AS INT) AS n, ARRAY[1] AS l";
    let (last, rows) = gateway.run(&session, sql, "PLAIN_TEXT").unwrap();
    let types: Vec<&Value> = last["results"]["columns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| &column["logicalType"])
        .collect();
    assert_eq!(
        types,
        [
            &json!({ "type": "CHAR", "nullable": false, "length": 3 }),
            &json!({ "type": "VARCHAR", "nullable": false, "length": 5 }),
            &json!({ "type": "TIMESTAMP_WITHOUT_TIME_ZONE", "nullable": false, "precision": 5 }),
            &json!({ "type": "INTEGER", "nullable": true }),
            &json!({ "type": "ARRAY", "nullable": false, "elementType": { "type": "INTEGER", "nullable": false } }),
        ]
    );
    assert_eq!(rows[0]["fields"][2], "2024-01-01 00:00:00.12345");
}

#[test]
fn a_body_that_is_of_no_use_does_not_break_the_connection() {
    let gateway = Gateway::start();
    let mut connection = TcpStream::connect(gateway.address()).unwrap();
    connection.set_read_timeout(Some(DEADLINE)).unwrap();
    for _ in 0..3 {
        let body = "x".repeat(100_000);
        write!(
            connection,
            "GET /v1/info HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n\r\n{body}",
            gateway.address(),
            body.len()
        )
        .unwrap();
        let mut reader = BufReader::new(&mut connection);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = text.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut answer = vec![0; length];
        reader.read_exact(&mut answer).unwrap();
        assert!(String::from_utf8(answer).unwrap().contains("Apache Flink"));
    }
}
