//! Small things, as people type them.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::harness::{Stack, is_alive, refusal, signal, soon, text};

fn bonsai(words: &[&str], stdin: &str) -> std::process::Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_bonsai"))
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn help_and_statements_come_in_the_usual_ways() {
    let help = bonsai(&["help"], "");
    assert!(
        help.status.success() && text(&help).contains("Usage:"),
        "{}",
        text(&help)
    );
    let up = text(&bonsai(&["up", "--help"], ""));
    assert!(up.contains("stream, batch"), "{up}");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("one.sql");
    std::fs::write(&file, "SELECT 40 + 2 AS answer;").unwrap();
    let file = file.to_str().unwrap();
    for (words, stdin) in [
        (&["batch", "sql", file][..], ""),
        (&["batch", "sql", "-f", file], ""),
        (&["batch", "sql", "-f", "-"], "SELECT 40 + 2 AS answer;"),
        (&["batch", "sql"], "SELECT 40 + 2 AS answer;"),
        (&["stream", "run", file], ""),
        (&["stream", "run", "-f", file], ""),
        (&["stream", "run", "-f", "-"], "SELECT 40 + 2 AS answer;"),
    ] {
        let output = bonsai(words, stdin);
        assert!(
            output.status.success() && text(&output).contains("42"),
            "{words:?}: {}",
            text(&output)
        );
    }
}

#[test]
fn completions_know_the_services() {
    let script = text(&bonsai(&["completions", "bash"], ""));
    for name in ["log-broker", "datanode", "batch"] {
        assert!(script.contains(name), "{name}");
    }
    assert!(
        script.contains("coordinator log-broker namenode datanode stream batch"),
        "{script}"
    );
}

#[test]
fn only_what_runs_is_in_the_environment() {
    let stack = Stack::up(&["--only", "coordinator,log-broker"]);
    let env = text(&stack.bonsai(&["env"]));
    assert!(
        env.contains("BOOTSTRAP_SERVERS") && env.contains("ETCDCTL_ENDPOINTS"),
        "{env}"
    );
    assert!(stack.bonsai(&["down"]).status.success());
    let said = refusal(&stack.bonsai(&["env"]));
    assert!(said.contains("nothing is up") && said.contains("bonsai up"), "{said}");
    assert_eq!(stack.bonsai(&["status"]).status.code(), Some(1));
    stack.start(&["--only", "coordinator"]);
    let env = text(&stack.bonsai(&["env"]));
    assert!(
        env.contains("ETCDCTL_ENDPOINTS") && !env.contains("BOOTSTRAP_SERVERS"),
        "{env}"
    );
}

/// The services' lines are in their own logs, once; the launcher's are in its own.
#[test]
fn no_line_is_kept_twice() {
    let stack = Stack::up(&["--only", "coordinator"]);
    let pid = stack.pid("coordinator").unwrap();
    signal(pid, Signal::KILL);
    soon("it is back", || {
        let coordinator = stack.service("coordinator");
        coordinator["state"] == "ready" && coordinator["pid"].as_u64() != Some(pid)
    });
    let own = text(&stack.bonsai(&["logs", "bonsai"]));
    assert!(
        own.contains("coordinator was killed (SIGKILL); starting it again"),
        "{own}"
    );
    assert!(!own.contains("coordinator ready client="), "{own}");
    let service = text(&stack.bonsai(&["logs", "coordinator"]));
    assert!(service.contains("coordinator ready client="), "{service}");
    let status = text(&stack.bonsai(&["status"]));
    assert!(
        status.contains("coordinator: restarted once; it was killed (SIGKILL)"),
        "{status}"
    );
}

#[test]
fn a_closed_terminal_drains() {
    let stack = Stack::new();
    let mut up = stack.spawn(&["up", "--any-port", "--only", "coordinator,log-broker"]);
    stack.wait_until_ready();
    let pids: Vec<u64> = ["coordinator", "log-broker"]
        .iter()
        .map(|name| stack.pid(name).unwrap())
        .collect();
    signal(u64::from(up.id()), Signal::HUP);
    signal(u64::from(up.id()), Signal::HUP);
    assert!(up.wait().unwrap().success());
    assert!(pids.iter().all(|pid| !is_alive(*pid)));
    let log = std::fs::read_to_string(stack.data().join("logs/bonsai.log")).unwrap();
    assert!(log.contains("log-broker stopped") && !log.contains("forced"), "{log}");
}

#[test]
fn variables_and_the_file_are_obeyed_and_what_cannot_be_is_refused() {
    let stack = Stack::new();
    std::fs::write(
        stack.path().join("bonsai.toml"),
        "[up]\nany-port = true\nonly = [\"coordinator\"]\ndetach = true\n",
    )
    .unwrap();
    let command = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bonsai"));
        command
            .current_dir(stack.path())
            .args(words)
            .env("BONSAI_DATA", stack.data())
            .stdin(Stdio::null());
        command
    };
    let up = command(&["up"]).output().unwrap();
    assert!(
        up.status.success() && text(&up).contains("running in the background"),
        "{}",
        text(&up)
    );
    let status = command(&["status", "--json"]).output().unwrap();
    let list: Vec<serde_json::Value> = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(list.len(), 1, "{list:?}");
    assert!(command(&["down"]).status().unwrap().success());

    let mut overruled = command(&["up", "--only", "log-broker"]);
    let said = refusal(
        &overruled
            .env("BONSAI_LOG_BROKER_LISTEN", "127.0.0.1:1")
            .output()
            .unwrap(),
    );
    assert!(said.contains("listen") && said.contains("--port"), "{said}");
    let mut wrong = command(&["up"]);
    let wrong = wrong.env("BONSAI_UP_DATANODES", "many").output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong).contains("BONSAI_UP_DATANODES"), "{}", text(&wrong));
}

/// A process that takes a port between the launcher's choice and the service's start costs a moment, not the start.
#[test]
fn a_port_that_is_taken_at_the_last_moment_is_replaced() {
    const ROUNDS: u32 = 20;
    for _ in 0..ROUNDS {
        let stack = Stack::new();
        let mut up = stack.spawn(&["up", "--any-port", "--detach", "--only", "coordinator,log-broker"]);
        let ports = stack.data().join("ports");
        let thief = loop {
            let chosen = std::fs::read_to_string(&ports).ok();
            let port = chosen.and_then(|text| {
                let line = text.lines().find_map(|line| line.strip_prefix("log-broker.listen="))?;
                line.parse::<u16>().ok()
            });
            // The launcher holds the ports until all are chosen; then this test is as quick as a stranger could be.
            if let Some(port) = port
                && let Ok(thief) = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port)))
            {
                break Some(thief);
            }
            if up.try_wait().unwrap().is_some() {
                break None;
            }
        };
        let output = up.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        let Some(thief) = thief else { continue };
        let broker = stack.variable("BOOTSTRAP_SERVERS");
        assert_ne!(broker, thief.local_addr().unwrap().to_string());
        return;
    }
    panic!("the port was never taken in time");
}

/// `--ephemeral` after `kill -9` leaves a directory; the next one takes it away, and nothing else.
#[test]
fn what_a_killed_ephemeral_stack_left_is_removed_by_the_next() {
    let scratch = tempfile::tempdir().unwrap();
    let start = || {
        Command::new(env!("CARGO_BIN_EXE_bonsai"))
            .args(["up", "--ephemeral", "--any-port", "--only", "coordinator"])
            .env("TMPDIR", scratch.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    std::fs::create_dir(scratch.path().join("bonsai-1x")).unwrap();
    let place = |pid: u32| scratch.path().join(format!("bonsai-{pid}"));
    let ready = |pid: u32| {
        soon("it is ready", || {
            std::fs::read_to_string(place(pid).join("state.json")).is_ok_and(|text| text.contains("\"ready\""))
        });
    };
    let mut first = start();
    ready(first.id());
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(place(first.id()).exists());
    let mut second = start();
    ready(second.id());
    assert!(!place(first.id()).exists());
    signal(u64::from(second.id()), Signal::TERM);
    assert!(second.wait().unwrap().success());
    let left: Vec<_> = std::fs::read_dir(scratch.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["bonsai-1x"]);
}
