//! Up, seen, down, and up again.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::{Stack, is_alive, refusal, signal, soon, text};

const ALL: [&str; 6] = ["coordinator", "log-broker", "namenode", "datanode", "stream", "batch"];

#[test]
fn everything_starts_is_shown_and_ends() {
    let stack = Stack::up(&[]);
    let status = stack.status();
    let names: Vec<&str> = status
        .iter()
        .map(|service| service["service"].as_str().unwrap())
        .collect();
    assert_eq!(names, ALL);
    for service in &status {
        assert_eq!(service["state"], "ready");
        assert!(
            service["address"].as_str().unwrap().starts_with("127.0.0.1:"),
            "{service}"
        );
        assert!(is_alive(service["pid"].as_u64().unwrap()));
        assert!(
            service["ready_ms"].is_u64() && service["rss_bytes"].as_u64().unwrap() > 1_000_000,
            "{service}"
        );
    }

    let again = refusal(&stack.bonsai(&["up"]));
    assert!(again.contains("already up") && again.contains("bonsai down"), "{again}");

    let env = text(&stack.bonsai(&["env"]));
    let broker = status[1]["address"].as_str().unwrap();
    assert!(env.contains(&format!("export BOOTSTRAP_SERVERS={broker}\n")), "{env}");
    let core_site = std::fs::read_to_string(stack.data().join("conf/core-site.xml")).unwrap();
    assert!(
        core_site.contains(&format!("hdfs://{}", status[2]["address"].as_str().unwrap())),
        "{core_site}"
    );

    let logs = text(&stack.bonsai(&["logs", "coordinator"]));
    assert!(logs.contains("Z coordinator ready client="), "{logs}");

    assert!(stack.bonsai(&["down"]).status.success());
    for service in &status {
        assert!(!is_alive(service["pid"].as_u64().unwrap()));
    }
    let after = stack.status();
    assert!(
        after
            .iter()
            .all(|service| service["state"] == "stopped" && service["pid"].is_null()),
        "{after:?}"
    );

    stack.start(&[]);
    let addresses = |list: &[serde_json::Value]| -> Vec<String> {
        list.iter()
            .map(|service| service["address"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(addresses(&stack.status()), addresses(&status));
}

#[test]
fn two_stacks_live_side_by_side() {
    let (one, two) = (Stack::up(&[]), Stack::up(&["--datanodes", "2"]));
    assert_eq!(one.status().len(), 6);
    assert_eq!(two.status().len(), 7);
    assert_eq!(two.service("datanode-2")["state"], "ready");
    assert!(one.bonsai(&["down"]).status.success());
    assert!(two.status().iter().all(|service| service["state"] == "ready"));
}

#[test]
fn ctrl_c_drains_in_reverse_order() {
    let stack = Stack::new();
    let mut up = stack.spawn(&["up", "--any-port"]);
    stack.wait_until_ready();
    signal(u64::from(up.id()), Signal::INT);
    assert!(up.wait().unwrap().success());
    let mut said = String::new();
    up.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    let stopped: Vec<&str> = said
        .lines()
        .filter_map(|line| line.strip_prefix("bonsai      | ")?.strip_suffix(" stopped"))
        .collect();
    let mut reversed = ALL;
    reversed.reverse();
    assert_eq!(stopped, reversed, "{said}");
    assert!(said.contains("all ready in") && said.contains("together"), "{said}");
}

#[test]
fn a_second_ctrl_c_forces() {
    let stack = Stack::new();
    let mut up = stack.spawn(&["up", "--any-port", "--only", "coordinator"]);
    stack.wait_until_ready();
    let coordinator = stack.pid("coordinator").unwrap();
    // It cannot drain now: the launcher lets it go on (SIGCONT) once, and it is stopped again at once.
    let keeps_stopping = Arc::new(AtomicBool::new(true));
    let stopper = std::thread::spawn({
        let keeps_stopping = Arc::clone(&keeps_stopping);
        move || {
            while keeps_stopping.load(Ordering::Relaxed) {
                signal(coordinator, Signal::STOP);
            }
        }
    });
    signal(u64::from(up.id()), Signal::INT);
    let state = stack.data().join("state.json");
    soon("it is draining", || {
        std::fs::read_to_string(&state).is_ok_and(|text| text.contains("\"stopping\""))
    });
    std::thread::sleep(Duration::from_millis(200));
    keeps_stopping.store(false, Ordering::Relaxed);
    stopper.join().unwrap();
    assert!(is_alive(coordinator));
    signal(u64::from(up.id()), Signal::INT);
    up.wait().unwrap();
    assert!(!is_alive(coordinator));
}

#[test]
fn an_ephemeral_stack_leaves_nothing() {
    let stack = Stack::new();
    let scratch = stack.path().join("scratch");
    std::fs::create_dir(&scratch).unwrap();
    let mut up = std::process::Command::new(env!("CARGO_BIN_EXE_bonsai"))
        .args(["up", "--ephemeral", "--any-port", "--only", "coordinator"])
        .env("TMPDIR", &scratch)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let entries = || std::fs::read_dir(&scratch).unwrap().count();
    soon("its directory is there", || entries() == 1);
    let state = std::fs::read_dir(&scratch)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path()
        .join("state.json");
    soon("it is ready", || {
        std::fs::read_to_string(&state).is_ok_and(|text| text.contains("\"ready\""))
    });
    signal(u64::from(up.id()), Signal::TERM);
    assert!(up.wait().unwrap().success());
    assert_eq!(entries(), 0);
}
