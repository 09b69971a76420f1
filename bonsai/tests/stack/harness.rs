//! `bonsai` as people run it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use testing::TestDir;
pub use testing::eventually as soon;

/// A stack in a temporary directory, ended with the test.
pub struct Stack {
    directory: TestDir,
}

impl Stack {
    pub fn new() -> Self {
        Self {
            directory: TestDir::new(),
        }
    }

    /// One that is up, in the background.
    pub fn up(words: &[&str]) -> Self {
        let stack = Self::new();
        stack.start(words);
        stack
    }

    pub fn start(&self, words: &[&str]) {
        let output = self.bonsai(&[&["up", "--any-port", "--detach"], words].concat());
        assert!(output.status.success(), "{}", text(&output));
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Everything is in a folder of the temporary one, so that the launcher creates it.
    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bonsai"));
        command
            .current_dir(self.path())
            .args(words)
            .arg("--data")
            .arg(self.data())
            .stdin(Stdio::null());
        command
    }

    pub fn bonsai(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// In the foreground, with its output piped.
    pub fn spawn(&self, words: &[&str]) -> Child {
        self.command(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// `status --json`, whatever its exit code says of the services' health.
    pub fn status(&self) -> Vec<Value> {
        let output = self.bonsai(&["status", "--json"]);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output)))
    }

    /// What `env` says of a variable.
    pub fn variable(&self, name: &str) -> String {
        let env = text(&self.bonsai(&["env"]));
        let line = env
            .lines()
            .find_map(|line| line.strip_prefix(&format!("export {name}=")));
        line.unwrap_or_else(|| panic!("{name} is not in\n{env}"))
            .trim_matches('\'')
            .to_owned()
    }

    pub fn service(&self, name: &str) -> Value {
        self.status()
            .into_iter()
            .find(|status| status["service"] == name)
            .unwrap()
    }

    pub fn pid(&self, name: &str) -> Option<u64> {
        self.service(name)["pid"].as_u64()
    }

    pub fn supervisor(&self) -> u64 {
        let state: Value = serde_json::from_slice(&fs::read(self.data().join("state.json")).unwrap()).unwrap();
        state["supervisor"]["pid"].as_u64().unwrap()
    }

    pub fn wait_until_ready(&self) {
        soon("all services are ready", || {
            self.data().join("state.json").exists() && self.status().iter().all(|status| status["state"] == "ready")
        });
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if self.data().join("state.json").exists() {
            let _ = self.bonsai(&["down"]);
        }
    }
}

pub fn signal(pid: u64, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

pub fn is_alive(pid: u64) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit_once(')')
            .is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
    })
}

/// What it said, for a message.
pub fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// It failed as a program should: exit code 1 and one line that says what to do.
pub fn refusal(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", text(output));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{said}");
    errors[0].to_owned()
}

/// The whole answer.
pub fn http(host: &str, method: &str, path: &str) -> String {
    exchange(host, method, path, "")
}

/// A JSON body sent, and the one that is answered.
pub fn post(host: &str, path: &str, body: &Value) -> Value {
    let answer = exchange(host, "POST", path, &body.to_string());
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"))
}

fn exchange(host: &str, method: &str, path: &str, body: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Runs statements in a session of the SQL gateway; gives the last one's first field.
pub fn gateway(address: &str, statements: &[&str]) -> String {
    let opened = post(address, "/v1/sessions", &json!({}));
    let session = opened["sessionHandle"].as_str().unwrap().to_owned();
    let mut first = String::new();
    for statement in statements {
        let path = format!("/v1/sessions/{session}/statements");
        let submitted = post(address, &path, &json!({ "statement": statement }));
        let operation = submitted["operationHandle"]
            .as_str()
            .unwrap_or_else(|| panic!("{statement}: {submitted}"))
            .to_owned();
        let page = format!("/v1/sessions/{session}/operations/{operation}/result/0?rowFormat=JSON");
        soon("the statement has a result", || {
            let answer = http(address, "GET", &page);
            let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
            assert!(body.get("errors").is_none(), "{statement}: {body}");
            let field = body.pointer("/results/data/0/fields/0").cloned();
            first = field.map_or_else(String::new, |field| field.as_str().unwrap_or_default().to_owned());
            body["resultType"] != "NOT_READY"
        });
    }
    first
}
