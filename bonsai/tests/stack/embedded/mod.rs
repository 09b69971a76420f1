//! The library's stack, `bonsai run`, and ephemeral stacks in the background.

include!("example.rs");

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::harness::{is_alive, refusal, signal, soon, text};

const PROGRAM: &str = env!("CARGO_BIN_EXE_bonsai");

fn pids(directory: &std::path::Path) -> Vec<u64> {
    let state: serde_json::Value = serde_json::from_slice(&fs::read(directory.join("state.json")).unwrap()).unwrap();
    let services = state["services"].as_array().unwrap().iter();
    services
        .map(|service| service["process"]["pid"].as_u64().unwrap())
        .collect()
}

/// Two at a time in one process, inside a runtime, ended by being dropped.
#[tokio::test]
async fn a_process_has_several_stacks_that_end_when_dropped() {
    let start = || Stack::builder().program(PROGRAM).only(["log-broker"]).start().unwrap();
    let (first, second) = (start(), start());
    assert_ne!(first.brokers(), second.brokers());
    assert_eq!(first.hdfs_url(), None, "it was not asked for");
    records_are_stored(&first).await;
    // The topic of the first is not in the second.
    records_are_stored(&second).await;
    let directory = first.directory().to_owned();
    let pids = pids(&directory);
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    drop(first);
    assert!(!pids.iter().any(|pid| is_alive(*pid)));
    assert!(!directory.exists());
    let client = Client::connect(second.brokers().unwrap(), "test").await.unwrap();
    assert_eq!(client.offset("orders", 0, At::Latest).await.unwrap(), 1);
}

#[test]
fn a_stack_outlives_the_thread_that_started_it() {
    let started = std::thread::spawn(|| Stack::builder().program(PROGRAM).only(["coordinator"]).start().unwrap());
    let stack = started.join().unwrap();
    let endpoint = stack.coordinators().unwrap();
    let health = crate::harness::http(endpoint, "GET", "/health");
    assert!(health.contains("\"health\":\"true\""), "{health}");
}

#[test]
fn a_stack_that_cannot_start_says_why_and_leaves_nothing() {
    let error = Stack::builder().program(PROGRAM).only(["kafka"]).start().unwrap_err();
    assert!(error.to_string().contains("there is no service kafka"), "{error}");
    let error = Stack::builder()
        .program(PROGRAM)
        .set("log-broker", "no.such", "1")
        .start()
        .unwrap_err();
    assert!(error.to_string().contains("no.such"), "{error}");
}

fn run(words: &[&str]) -> (tempfile::TempDir, std::process::Output) {
    let scratch = tempfile::tempdir().unwrap();
    let output = Command::new(PROGRAM)
        .args(["run", "--ephemeral", "--only", "coordinator,log-broker"])
        .args(words)
        .env("TMPDIR", scratch.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    (scratch, output)
}

#[test]
fn a_command_runs_with_a_stack_of_its_own_and_gives_its_exit_code() {
    let script =
        "bonsai status && echo brokers=$BOOTSTRAP_SERVERS, coordinators=$ETCDCTL_ENDPOINTS, hdfs=$HDFS_URL; exit 7";
    let path = PathBuf::from(PROGRAM).parent().unwrap().to_owned();
    let script = format!("PATH={}:$PATH; {script}", path.display());
    let (scratch, output) = run(&["--", "sh", "-c", &script]);
    assert_eq!(output.status.code(), Some(7), "{}", text(&output));
    let said = text(&output);
    assert!(
        said.contains("brokers=127.0.0.1:") && said.contains("coordinators=127.0.0.1:"),
        "{said}"
    );
    assert!(said.contains("hdfs=\n"), "{said}");
    assert!(!said.contains("the end of its log"), "no service failed: {said}");
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "nothing is left");

    let (_, killed) = run(&["--", "sh", "-c", "kill -9 $$"]);
    assert_eq!(killed.status.code(), Some(137));
    let (scratch, absent) = run(&["--", "no-such-command"]);
    assert!(refusal(&absent).contains("cannot run no-such-command"));
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "nothing is left");
}

#[test]
fn a_failure_shows_the_logs_of_the_services_that_failed() {
    let script = "kill -9 $(sed -n '/\"log-broker\"/,/pid/s/.*\"pid\": \\([0-9]*\\).*/\\1/p' $BONSAI_DATA/state.json); \
                  until grep -q '\"restarts\": 1' $BONSAI_DATA/state.json; do sleep 0.05; done; exit 1";
    let (_, output) = run(&["--", "sh", "-c", script]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("bonsai: log-broker: ") && said.contains("the end of its log"),
        "{said}"
    );
    assert!(
        said.contains("log-broker | ") && !said.contains("coordinator | "),
        "{said}"
    );
}

#[test]
fn an_ephemeral_stack_in_the_background_is_deleted_when_it_is_ended() {
    let scratch = tempfile::tempdir().unwrap();
    let command = |words: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.args(words).env("TMPDIR", scratch.path()).stdin(Stdio::null());
        command.output().unwrap()
    };
    let words = ["up", "--ephemeral", "--detach", "--any-port", "--only", "coordinator"];
    let up = command(&words);
    assert!(up.status.success(), "{}", text(&up));
    let said = text(&up);
    let (_, rest) = said.split_once("`bonsai down --data ").unwrap();
    let directory = PathBuf::from(rest.split_once('`').unwrap().0);
    let pids = pids(&directory);
    // Another one does not take the first for what a killed launcher left.
    let other = text(&command(&words));
    assert!(directory.exists() && pids.iter().all(|pid| is_alive(*pid)), "{other}");
    let place = directory.to_str().unwrap();
    assert!(command(&["status", "--wait", "30s", "--data", place]).status.success());
    assert!(command(&["down", "--data", place]).status.success());
    assert!(!directory.exists() && !pids.iter().any(|pid| is_alive(*pid)));
    let (_, rest) = other.split_once("`bonsai down --data ").unwrap();
    assert!(
        command(&["down", "--data", rest.split_once('`').unwrap().0])
            .status
            .success()
    );
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
}

/// A program that is killed takes its stack with it, though it could not say so.
#[test]
fn a_stack_ends_with_its_stdin() {
    let scratch = tempfile::tempdir().unwrap();
    let data = scratch.path().join("data");
    let mut up = Command::new(PROGRAM)
        .args(["up", "--until-eof", "--any-port", "--only", "coordinator", "--data"])
        .arg(&data)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    soon("it is ready", || {
        fs::read_to_string(data.join("state.json")).is_ok_and(|state| state.contains("\"ready\""))
    });
    let pids = pids(&data);
    drop(up.stdin.take());
    assert!(up.wait().unwrap().success());
    assert!(!pids.iter().any(|pid| is_alive(*pid)));

    let mut up = Command::new(PROGRAM)
        .args(["up", "--until-eof", "--any-port", "--only", "coordinator", "--data"])
        .arg(&data)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    soon("it is ready again", || {
        fs::read_to_string(data.join("state.json"))
            .is_ok_and(|state| state.contains(&format!("\"pid\": {}", up.id())) && state.contains("\"ready\""))
    });
    signal(u64::from(up.id()), Signal::TERM);
    assert!(up.wait().unwrap().success(), "an open stdin does not hold up the end");
}
