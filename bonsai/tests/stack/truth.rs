//! What `status`, `jobs` and `logs` tell is what clients meet.

use std::io::{BufRead, BufReader};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Stack, gateway, refusal, signal, soon, text};

fn probe(stack: &Stack, service: &str) -> Value {
    stack.service(service)["probe"].clone()
}

#[test]
fn each_service_is_asked_by_its_own_protocol() {
    let stack = Stack::up(&[]);
    let healthy = stack.bonsai(&["status", "--wait", "60s"]);
    assert!(healthy.status.success(), "{}", text(&healthy));
    assert!(text(&healthy).contains("leader, revision"), "{}", text(&healthy));
    for (service, call, fact) in [
        ("coordinator", "Status", "/facts/raft_term"),
        ("log-broker", "Metadata", "/facts/offline_partitions"),
        ("namenode", "getFsStats", "/facts/under_replicated_blocks"),
        ("datanode", "getDatanodeInfo", "/facts/uptime_s"),
        ("stream", "/jobs/overview", "/facts/jobs"),
        ("batch", "Flight SQL", "/call"),
    ] {
        let probe = probe(&stack, service);
        assert_eq!(probe["ok"], true, "{service}: {probe}");
        assert!(probe["call"].as_str().unwrap().contains(call), "{service}: {probe}");
        assert!(probe.pointer(fact).is_some(), "{service}: {probe}");
    }
    assert!(stack.service("namenode")["disk_available_bytes"].as_u64().unwrap() > 0);
    signal(stack.pid("batch").unwrap(), Signal::STOP);
    let status = stack.bonsai(&["status"]);
    assert_eq!(status.status.code(), Some(1));
    assert!(
        text(&status).contains("batch: its process is stopped"),
        "{}",
        text(&status)
    );
    signal(stack.pid("batch").unwrap(), Signal::CONT);
    soon("it is healthy again", || stack.bonsai(&["status"]).status.success());
}

#[test]
fn jobs_are_listed_and_stopped_and_one_that_fails_is_not_hidden() {
    let stack = Stack::up(&["--only", "stream,log-broker"]);
    let address = stack.variable("SQL_GATEWAY_URL").replace("http://", "");
    assert!(text(&stack.bonsai(&["jobs"])).contains("no jobs"));
    let sink = "CREATE TABLE sink (a INT) WITH ('connector'='blackhole')";
    let running = gateway(
        &address,
        &[
            "SET 'execution.checkpointing.interval' = '100 ms'",
            "CREATE TABLE source (a INT) WITH ('connector'='datagen','rows-per-second'='10')",
            sink,
            "INSERT INTO sink SELECT a FROM source",
        ],
    );
    let broker = stack.variable("BOOTSTRAP_SERVERS");
    let absent = format!(
        "CREATE TABLE absent (a INT) WITH ('connector'='kafka','topic'='absent','properties.bootstrap.servers'='{broker}',\
         'format'='json','scan.startup.mode'='earliest-offset')"
    );
    assert!(stack.bonsai(&["status", "--wait", "30s"]).status.success());
    let failing = gateway(&address, &[&absent, sink, "INSERT INTO sink SELECT a FROM absent"]);

    let mut said = String::new();
    soon("the failing job is seen", || {
        said = text(&stack.bonsai(&["status"]));
        said.contains("1 job failing and starting again")
    });
    assert!(
        said.contains("1 restarting, 1 running") && said.contains("unhealthy"),
        "{said}"
    );
    assert_eq!(stack.bonsai(&["status"]).status.code(), Some(1));
    let jobs = text(&stack.bonsai(&["jobs"]));
    assert!(
        jobs.contains(&format!("{failing} RESTARTING: ")) && jobs.contains("absent"),
        "{jobs}"
    );
    assert!(stack.bonsai(&["jobs", "cancel", &failing]).status.success());
    soon("the stack is healthy", || stack.bonsai(&["status"]).status.success());

    let stopped = stack.bonsai(&["jobs", "stop", &running]);
    assert!(
        stopped.status.success() && text(&stopped).contains("epoch-"),
        "{}",
        text(&stopped)
    );
    let list = stack.bonsai(&["jobs", "--json"]);
    let list: Vec<Value> = serde_json::from_slice(&list.stdout).unwrap();
    let state = |id: &str| list.iter().find(|job| job["jid"] == id).unwrap()["state"].clone();
    assert_eq!(
        (state(&running), state(&failing)),
        (json!("FINISHED"), json!("CANCELED"))
    );
    let again = refusal(&stack.bonsai(&["jobs", "stop", &running]));
    assert!(again.contains("not running"), "{again}");
    assert!(refusal(&stack.bonsai(&["jobs", "cancel", "../x"])).contains("no id of a job"));
}

#[test]
fn logs_of_all_services_are_one_by_time_and_follow_over_restarts() {
    let stack = Stack::up(&["--only", "coordinator,log-broker"]);
    let all = text(&stack.bonsai(&["logs", "--since", "1h"]));
    let times: Vec<&str> = all
        .lines()
        .filter(|line| !line.starts_with("bonsai"))
        .map(|line| line.split_once("| ").unwrap().1.split(' ').next().unwrap())
        .collect();
    assert!(
        times.len() >= 4 && times.iter().all(|time| time.ends_with('Z')),
        "{all}"
    );
    assert!(times.is_sorted(), "{all}");
    assert_eq!(
        text(&stack.bonsai(&["logs", "log-broker", "--since", "2999-01-01T00:00:00Z"])),
        ""
    );

    let mut follow = stack.spawn(&["logs", "-f", "-n", "1"]);
    let output = follow.stdout.take().unwrap();
    let mut lines = BufReader::new(output).lines().map_while(Result::ok);
    assert!(lines.next().is_some(), "it has begun to follow");
    assert!(stack.bonsai(&["down"]).status.success());
    stack.start(&["--only", "dfs,log-broker"]);
    let followed: Vec<String> = lines.take_while(|line| !line.contains("datanode ready")).collect();
    let followed = followed.join("\n");
    follow.kill().unwrap();
    follow.wait().unwrap();
    assert!(followed.contains("log-broker ready"), "{followed}");
    assert!(
        followed.contains("namenode ready"),
        "a service that was not there before: {followed}"
    );
}
