//! A whole process's life: this test program starts itself again as a service.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use host::telemetry::{Format, Options};

const ROLE: &str = "HOST_TEST_ROLE";

fn main() -> ExitCode {
    match std::env::var(ROLE).as_deref() {
        Ok(role) => service(role.to_owned()),
        Err(_) => {
            drains_at_sigterm();
            a_second_signal_forces();
            an_error_is_one_line();
            println!("3 passed");
            ExitCode::SUCCESS
        }
    }
}

/// The service that is tested: it drains for as long as its role says.
fn service(role: String) -> ExitCode {
    let telemetry = Options {
        log_format: Format::Json,
        log_level: "info".to_owned(),
        outputs: Vec::new(),
    };
    host::run("test", &telemetry, |shutdown| async move {
        if role == "failing" {
            return Err("the disk is on fire: fetch water");
        }
        host::Status::new("test", "server")
            .address("listen", ([127, 0, 0, 1], 1234).into())
            .announce_ready();
        shutdown.requested().await;
        tokio::time::sleep(Duration::from_millis(if role == "stuck" { 60_000 } else { 50 })).await;
        Ok(())
    })
}

fn start(role: &str) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .env(ROLE, role)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    (child, stdout)
}

fn ready(stdout: &mut impl BufRead) {
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "test ready listen=127.0.0.1:1234\n");
}

fn terminate(child: &Child) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
}

fn end(mut child: Child) -> (Option<i32>, String, Duration) {
    let start = Instant::now();
    let status = child.wait().unwrap();
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    (status.code(), stderr, start.elapsed())
}

fn drains_at_sigterm() {
    let (child, mut stdout) = start("quick");
    ready(&mut stdout);
    terminate(&child);
    let (code, stderr, took) = end(child);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    let line = stderr.lines().next().unwrap();
    assert!(
        line.starts_with('{') && line.contains(r#""msg":"shutting down""#),
        "JSON logs: {line}"
    );
}

fn a_second_signal_forces() {
    let (mut child, mut stdout) = start("stuck");
    ready(&mut stdout);
    terminate(&child);
    // Signals of one kind merge: the second is sent when the first was seen.
    let mut logs = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    logs.read_line(&mut line).unwrap();
    assert!(line.contains("shutting down"), "{line}");
    // And one that comes at once is the same: so it is asked again until it ends.
    let status = loop {
        terminate(&child);
        std::thread::sleep(Duration::from_millis(30));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
    };
    assert_eq!(status.code(), Some(1));
    let mut rest = String::new();
    logs.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "error: ended by a second signal\n");
}

fn an_error_is_one_line() {
    let (child, _stdout) = start("failing");
    let (code, stderr, _) = end(child);
    assert_eq!(
        (code, stderr.as_str()),
        (Some(1), "error: the disk is on fire: fetch water\n")
    );
}
