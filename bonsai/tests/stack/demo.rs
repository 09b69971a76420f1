//! `bonsai demo flights`, through all programs: its numbers, its files, and the same files again while each service and
//! each job is killed on the way.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use rustix::process::Signal;

use crate::harness::{Stack, is_alive, signal, soon, text};
use crate::reference::{self, County, Window};

const FILES: [&str; 3] = ["counties.csv", "map.svg", "map.png"];

#[test]
fn january_comes_out_right_and_the_same_again_while_everything_is_killed() {
    let stack = Stack::up(&[]);
    let calm = run(&stack, "calm", &[], |_line, _demo| {});
    for told in [
        "✓ 26,398 flights replayed",
        "✓ 62 came too late for their window",
        "✓ 1,763 windows of an hour and an airport",
        "✓ 26,336 flights in them",
        "✓ 94 served airports",
        "✓ 41,603 zip codes in a county",
        "✓ 3,217 counties",
    ] {
        assert!(
            calm.iter().any(|line| line.trim() == told),
            "{told} is not in:\n{}",
            calm.join("\n")
        );
    }
    assert_table_is_right(&stack.path().join("calm").join("counties.csv"));
    assert_windows_are_right(&stack);

    let mut script = Script::new(&stack);
    let wild = run(&stack, "wild", &["--rate", "4000"], |line, demo| {
        script.heard(line, demo)
    });
    assert!(script.is_over(), "not everything was killed:\n{}", wild.join("\n"));
    for told in [
        "stream was killed (SIGKILL); starting it again",
        "batch was killed (SIGKILL); starting it again",
    ] {
        assert!(
            wild.iter().any(|line| line.contains(told)),
            "{told} is not in:\n{}",
            wild.join("\n")
        );
    }
    assert!(
        wild.iter().any(|line| line.contains("went on from checkpoint")),
        "{}",
        wild.join("\n")
    );
    for service in stack.status() {
        // The demo's jobs are processes of its own, so nobody killed these two servers.
        let is_bystander = ["stream", "batch"].contains(&service["service"].as_str().unwrap());
        assert_eq!(service["restarts"], if is_bystander { 0 } else { 1 }, "{service}");
    }
    for name in FILES {
        let same = read(&stack, "calm", name) == read(&stack, "wild", name);
        assert!(same, "{name} is not the same after the kills");
    }
    assert_windows_are_right(&stack);
}

#[test]
fn a_demo_that_starts_the_stack_ends_it_and_is_killed_by_ctrl_c() {
    let stack = Stack::new();
    let mut demo = spawn(&stack, "out", &["--any-port", "--rate", "500"]);
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    assert!(
        lines
            .by_ref()
            .map_while(Result::ok)
            .any(|line| line.contains("/26,398 flights"))
    );
    let pids: Vec<u64> = stack
        .status()
        .iter()
        .map(|service| service["pid"].as_u64().unwrap())
        .collect();
    signal(u64::from(demo.id()), Signal::INT);
    let output = demo.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("error: interrupted"), "{}", text(&output));
    assert!(pids.iter().all(|pid| !is_alive(*pid)), "the stack was left behind");
}

/// Who is killed when: at these shares of the replay a service, in the middle the stream job, later the batch job.
struct Script<'a> {
    stack: &'a Stack,
    services: Vec<(u64, &'static str)>,
    stream_at: Option<u64>,
    batch: bool,
}

impl<'a> Script<'a> {
    fn new(stack: &'a Stack) -> Self {
        let services = vec![
            (5_000, "log-broker"),
            (8_000, "coordinator"),
            (16_000, "namenode"),
            (21_000, "datanode"),
        ];
        Self {
            stack,
            services,
            stream_at: Some(12_000),
            batch: true,
        }
    }

    fn heard(&mut self, line: &str, demo: &Child) {
        if let Some(replayed) = replayed(line) {
            if let Some(place) = self.services.iter().position(|(share, _)| replayed >= *share) {
                let (_, name) = self.services.remove(place);
                signal(self.stack.pid(name).unwrap(), Signal::KILL);
            }
            if self.stream_at.is_some_and(|share| replayed >= share) {
                self.stream_at = None;
                let state = self.stack.data().join("demo/flights/state");
                soon("there is a checkpoint", || {
                    fs::read_dir(&state).is_ok_and(|entries| entries.count() > 0)
                });
                kill_job(demo, "stream run");
            }
        }
        if line.starts_with("5/6") && self.batch {
            self.batch = false;
            kill_job(demo, "batch sql");
        }
    }

    fn is_over(&self) -> bool {
        self.services.is_empty() && self.stream_at.is_none() && !self.batch
    }
}

/// `    5,280/26,398 flights`.
fn replayed(line: &str) -> Option<u64> {
    line.trim()
        .strip_suffix("/26,398 flights")?
        .replace(',', "")
        .parse()
        .ok()
}

fn kill_job(demo: &Child, words: &str) {
    let mut job = None;
    soon("the job runs", || {
        job = children(demo.id())
            .into_iter()
            .find(|pid| command_line(*pid).contains(words));
        job.is_some()
    });
    signal(job.unwrap(), Signal::KILL);
}

fn children(parent: u32) -> Vec<u64> {
    let pids = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u64| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields = stat
            .rsplit_once(')')
            .map(|(_, rest)| rest.split_whitespace().nth(1).unwrap_or_default());
        fields == Some(parent.to_string().as_str())
    })
    .collect()
}

fn command_line(pid: u64) -> String {
    String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()).replace('\0', " ")
}

fn spawn(stack: &Stack, out: &str, words: &[&str]) -> Child {
    stack
        .command(&[&["demo", "flights", "--out", out], words].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Runs the demo to its end, shows each line to `heard` as it comes, and returns them all.
fn run(stack: &Stack, out: &str, words: &[&str], mut heard: impl FnMut(&str, &Child)) -> Vec<String> {
    let mut demo = spawn(stack, out, words);
    let mut lines = Vec::new();
    for line in BufReader::new(demo.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        heard(&line, &demo);
        lines.push(line);
    }
    let output = demo.wait_with_output().unwrap();
    assert!(output.status.success(), "{}\n{}", lines.join("\n"), text(&output));
    lines
}

fn read(stack: &Stack, out: &str, name: &str) -> Vec<u8> {
    fs::read(stack.path().join(out).join(name)).unwrap()
}

/// Against the brute-force reference: the same counties and counts, means to the last printed digit.
fn assert_table_is_right(path: &Path) {
    const HALF_A_DIGIT: f64 = 0.000_05;
    const ROUNDING: f64 = 1e-9;
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("fips,name,zips,flights,mean_delay,mean_km"));
    let expected = reference::counties();
    assert_eq!(lines.clone().count(), expected.len());
    for (
        line,
        (
            fips,
            County {
                zips,
                flights,
                mean_delay,
                mean_km,
            },
        ),
    ) in lines.zip(expected)
    {
        let fields: Vec<&str> = line.rsplitn(5, ',').collect();
        let [km, delay, behind, count, place] = fields[..] else {
            panic!("{line}")
        };
        assert!(place.starts_with(&fips), "{line} in the place of {fips}");
        assert_eq!(count.parse::<u64>().unwrap(), zips, "{line}");
        assert_eq!(behind.parse::<u64>().unwrap(), flights, "{line}");
        for (text, exact) in [(delay, mean_delay), (km, mean_km)] {
            assert_eq!(text.split_once('.').unwrap().1.len(), 4, "{line}");
            let error = (text.parse::<f64>().unwrap() - exact).abs();
            assert!(error <= HALF_A_DIGIT + ROUNDING, "{line}: not {exact}");
        }
    }
}

/// Each window is in the file system once, with the reference's count, mean and maximum.
fn assert_windows_are_right(stack: &Stack) {
    let namenode = stack.service("namenode")["address"].as_str().unwrap().to_owned();
    let sql = stack.path().join("windows.sql");
    let statements = format!(
        "CREATE EXTERNAL TABLE windows STORED AS PARQUET LOCATION 'hdfs://{namenode}/flights/windows/';
         SELECT CAST(window_start AS VARCHAR) AS hour, origin, flights, mean_delay, max_delay FROM windows;"
    );
    fs::write(&sql, statements).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_bonsai"))
        .args(["batch", "sql", "--output", "json", "-f"])
        .arg(&sql)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let mut expected = reference::windows();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let row: BTreeMap<String, serde_json::Value> = serde_json::from_str(line).unwrap();
        let key = (
            row["hour"].as_str().unwrap().replace('T', " "),
            row["origin"].as_str().unwrap().to_owned(),
        );
        let Window { flights, sum, max } = expected
            .remove(&key)
            .unwrap_or_else(|| panic!("{line}: twice or wrong"));
        assert_eq!(row["flights"].as_u64(), Some(flights), "{line}");
        assert_eq!(row["max_delay"].as_i64(), Some(max), "{line}");
        let error = (row["mean_delay"].as_f64().unwrap() - sum as f64 / flights as f64).abs();
        assert!(error < 1e-9, "{line}");
    }
    assert!(expected.is_empty(), "missing: {:?}", expected.keys().next());
}
