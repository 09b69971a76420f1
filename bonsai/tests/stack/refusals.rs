//! What cannot work is refused with one sentence, before anything is started or deleted.

use std::net::TcpListener;
use std::process::Command;

use crate::harness::{Stack, refusal, text};

#[test]
fn wrong_words_are_usage_errors() {
    for words in [
        &["up", "--nope"][..],
        &["nope"],
        &[],
        &["demo"],
        &["demo", "flights", "--rate", "0"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_bonsai")).args(words).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{words:?}: {}", text(&output));
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn each_service_is_in_the_one_program() {
    for words in [&["coordinator"][..], &["log-broker"], &["dfs"], &["stream"], &["batch"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_bonsai"))
            .args(words)
            .arg("--help")
            .output()
            .unwrap();
        assert!(output.status.success(), "{words:?}: {}", text(&output));
        assert!(text(&output).contains("Usage:"), "{words:?}: {}", text(&output));
    }
}

#[test]
fn a_taken_port_is_named_with_its_flag_and_its_holder() {
    let stack = Stack::new();
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port();
    let said = refusal(&stack.bonsai(&["up", "--any-port", "--port", &format!("log-broker={port}")]));
    assert!(said.contains(&format!("port {port} (log-broker, listen)")), "{said}");
    assert!(
        said.contains("--port log-broker=") && said.contains("--any-port"),
        "{said}"
    );
    if cfg!(target_os = "linux") {
        assert!(said.contains(&format!("pid {}", std::process::id())), "{said}");
    }
    assert!(!stack.data().join("state.json").exists(), "something was started");
}

#[test]
fn a_running_stack_is_not_reset() {
    let stack = Stack::up(&["--only", "coordinator"]);
    let said = refusal(&stack.bonsai(&["reset"]));
    assert!(said.contains("bonsai down"), "{said}");
    assert_eq!(stack.service("coordinator")["state"], "ready");
    assert!(stack.bonsai(&["down"]).status.success());
    assert!(stack.bonsai(&["reset", "coordinator"]).status.success());
    assert!(!stack.data().join("coordinator").exists());
    assert!(stack.data().join("ports").exists());
    assert!(stack.bonsai(&["reset"]).status.success());
    assert!(!stack.data().join("ports").exists());
}

#[test]
fn services_that_do_not_exist_or_lack_another_are_named() {
    let stack = Stack::new();
    let said = refusal(&stack.bonsai(&["up", "--only", "kafka"]));
    assert!(
        said.contains("no service kafka") && said.contains("log-broker"),
        "{said}"
    );
    let said = refusal(&stack.bonsai(&["up", "--only", "datanode"]));
    assert!(said.contains("datanode cannot run without namenode"), "{said}");
}

#[test]
fn a_directory_without_a_stack_says_so() {
    let stack = Stack::new();
    for words in [&["status"][..], &["down"], &["env"], &["logs"], &["reset"]] {
        let said = refusal(&stack.bonsai(words));
        assert!(said.contains("bonsai up"), "{words:?}: {said}");
    }
    assert!(!stack.data().exists());
}

#[test]
fn a_foreign_directory_is_left_alone() {
    let stack = Stack::new();
    std::fs::create_dir(stack.data()).unwrap();
    std::fs::write(stack.data().join("thesis.txt"), "precious").unwrap();
    for words in [&["up", "--any-port"][..], &["reset"]] {
        let said = refusal(&stack.bonsai(words));
        assert!(said.contains("not a data directory"), "{said}");
    }
    assert_eq!(std::fs::read_dir(stack.data()).unwrap().count(), 1);
}
