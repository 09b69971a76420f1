//! Starting: what it says, and what it refuses in one clear sentence.

use std::fs;

use coordinator_client::{Keys, RangeOptions};

use testing::Signal;

use crate::program::{Coordinator, run};

/// The one line of an error.
fn error_line(output: &std::process::Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let errors: Vec<&str> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "one line says it: {stderr}");
    errors[0].to_owned()
}

#[tokio::test]
async fn the_status_page_names_member_and_leader() {
    let data = testing::TestDir::new();
    let status = Coordinator::start(data.path()).status();
    assert_eq!(status["facts"]["leader"], status["facts"]["member_id"]);
    assert_eq!(
        (status["program"].as_str(), status["ready"].as_bool()),
        (Some("coordinator"), Some(true))
    );
}

#[test]
fn a_data_directory_of_etcd_is_told_from_others_with_the_way_out() {
    let data = tempfile::tempdir().expect("a directory");
    std::fs::create_dir_all(data.path().join("member/snap")).expect("a directory");
    std::fs::write(data.path().join("member/snap/db"), "bbolt").expect("a file");
    let output = run(data.path(), "http://127.0.0.1:0", &[]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        told.contains("is a data directory of etcd") && told.contains("coordinator restore"),
        "{told}"
    );
}

#[test]
fn a_taken_port_a_held_directory_and_a_newer_one_are_told() {
    let (first, second) = (
        tempfile::tempdir().expect("a directory"),
        tempfile::tempdir().expect("a directory"),
    );
    let running = Coordinator::start(first.path());

    let output = run(second.path(), &running.listen_url(), &[]);
    assert_eq!(output.status.code(), Some(1));
    let error = error_line(&output);
    assert!(
        error.contains(&running.address.to_string()) && error.contains("--listen-client-urls"),
        "{error}"
    );

    let output = run(first.path(), "http://127.0.0.1:0", &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        error_line(&output).contains("held by another process"),
        "{}",
        error_line(&output)
    );

    assert_eq!(running.terminate(), Some(0));
    fs::write(first.path().join("FORMAT"), "bonsai coordinator 99\n").expect("written");
    let output = run(first.path(), "http://127.0.0.1:0", &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(error_line(&output).contains("format 99"), "{}", error_line(&output));
}

/// `timeout` signals a process and then its group; that is no second thought. Both wait for a process that stands still.
#[test]
fn signals_that_come_at_once_are_one() {
    let data = tempfile::tempdir().expect("a directory");
    let running = Coordinator::start(data.path());
    assert_eq!(
        running.end_by(&[Signal::STOP, Signal::TERM, Signal::INT, Signal::CONT]),
        Some(0)
    );
}

#[test]
fn what_it_cannot_obey_is_a_usage_error_that_names_the_flag() {
    let data = tempfile::tempdir().expect("a directory");
    for (flags, named) in [
        (
            ["--initial-cluster=one=http://h:1,other=http://h:2"],
            "--initial-cluster",
        ),
        (["--cert-file=server.crt"], "--key-file"),
        (["--no-such-flag"], "--no-such-flag"),
    ] {
        let output = run(data.path(), "http://127.0.0.1:0", &flags);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(named), "{stderr}");
    }
}

#[test]
fn a_corrupt_log_is_refused_with_its_place() {
    let data = tempfile::tempdir().expect("a directory");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let coordinator = Coordinator::start(data.path());
    runtime.block_on(async {
        let client = coordinator.client().await;
        for number in 0..20 {
            client.put("key", vec![number; 100]).await.expect("acknowledged");
        }
    });
    coordinator.kill();
    let segment = fs::read_dir(data.path().join("log"))
        .expect("a log")
        .next()
        .expect("a segment")
        .expect("readable");
    let mut bytes = fs::read(segment.path()).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(segment.path(), bytes).expect("written");
    let output = run(data.path(), "http://127.0.0.1:0", &[]);
    assert_eq!(output.status.code(), Some(1));
    let error = error_line(&output);
    assert!(error.contains("corrupt at byte") && error.contains("log"), "{error}");
}

#[tokio::test]
async fn a_clean_end_keeps_everything_and_needs_no_replay() {
    let data = tempfile::tempdir().expect("a directory");
    let coordinator = Coordinator::start(data.path());
    let client = coordinator.client().await;
    for number in 0..50 {
        client
            .put(format!("k{number:02}"), number.to_string())
            .await
            .expect("acknowledged");
    }
    let before = client
        .range(Keys::prefix("k"), RangeOptions::default())
        .await
        .expect("read");
    assert_eq!(coordinator.terminate(), Some(0));
    let coordinator = Coordinator::start(data.path());
    let after = coordinator
        .client()
        .await
        .range(Keys::prefix("k"), RangeOptions::default())
        .await
        .expect("read");
    assert_eq!((after.kvs, after.revision), (before.kvs, before.revision));
}

#[test]
fn flags_that_ask_for_what_is_not_served_end_the_start() {
    let data = tempfile::tempdir().expect("a directory");
    for flag in [
        "--discovery=http://h/x",
        "--enable-pprof",
        "--grpc-keepalive-min-time=1s",
    ] {
        let output = run(&data.path().join("new"), "http://127.0.0.1:0", &[flag]);
        assert_eq!(output.status.code(), Some(2), "{flag}");
        let error = error_line(&output);
        assert!(error.contains(flag.split('=').next().expect("a flag")), "{error}");
    }
    assert!(!data.path().join("new").exists(), "nothing was founded");
}

#[tokio::test]
async fn the_log_is_where_wal_dir_says_and_never_begun_anew() {
    let data = tempfile::tempdir().expect("a directory");
    let (store, log, other) = (data.path().join("d"), data.path().join("w"), data.path().join("o"));
    let flag = |path: &std::path::Path| format!("--wal-dir={}", path.display());
    let coordinator = Coordinator::start_with(&store, "http://127.0.0.1:0", &[flag(&log)]);
    coordinator.client().await.put("a", "1").await.expect("acknowledged");
    coordinator.kill();
    assert!(log.join("log").exists() && !store.join("log").exists());
    for flags in [vec![], vec![flag(&other)]] {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let output = run(&store, "http://127.0.0.1:0", &flags);
        let error = error_line(&output);
        assert!(error.contains(&log.display().to_string()), "it says where: {error}");
    }
    // Its disk is not mounted.
    fs::rename(&log, data.path().join("away")).expect("moved");
    let output = run(&store, "http://127.0.0.1:0", &[&flag(&log)]);
    assert!(
        error_line(&output).contains("not there any more"),
        "{}",
        error_line(&output)
    );
    // It was moved.
    fs::remove_dir_all(&log).expect("removed");
    let moved = data.path().join("away");
    let coordinator = Coordinator::start_with(&store, "http://127.0.0.1:0", &[flag(&moved)]);
    let found = coordinator.client().await.get("a").await.expect("it serves");
    assert!(found.is_some(), "what was acknowledged is there");
}

#[test]
fn log_lines_go_where_log_outputs_says() {
    let data = tempfile::tempdir().expect("a directory");
    let log = data.path().join("lines");
    let flags = [
        format!("--log-outputs={},stderr", log.display()),
        "--log-level=info".to_owned(),
    ];
    let coordinator = Coordinator::start_with(&data.path().join("d"), "http://127.0.0.1:0", &flags);
    coordinator.terminate();
    let lines = fs::read_to_string(&log).expect("it is there");
    assert!(lines.contains("ready to serve client requests"), "{lines}");
    let output = run(
        &data.path().join("d"),
        "http://127.0.0.1:0",
        &["--log-outputs=/no/such/file"],
    );
    assert!(error_line(&output).contains("--log-outputs"), "{}", error_line(&output));
}

#[tokio::test]
async fn two_members_share_a_port_where_the_flag_says_so() {
    let data = tempfile::tempdir().expect("a directory");
    let flag = ["--socket-reuse-port".to_owned()];
    let first = Coordinator::start_with(&data.path().join("a"), "http://127.0.0.1:0", &flag);
    let second = Coordinator::start_with(&data.path().join("b"), &first.listen_url(), &flag);
    assert_eq!(first.address, second.address);
    assert!(run(&data.path().join("c"), &first.listen_url(), &[]).status.code() == Some(1));
}
