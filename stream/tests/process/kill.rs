//! The real program, killed in the middle: each window is in the output once.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Child, Output};
use std::time::{Duration, Instant};

use testing::process::send;
use testing::{Program, Signal, TestDir, eventually};

const ROWS: u64 = 120_000;
/// A run that takes longer than this hangs.
const DEADLINE: Duration = Duration::from_secs(120);

fn stream(arguments: &[&str]) -> Program {
    Program::new(env!("CARGO_BIN_EXE_stream")).arg("run").args(arguments)
}

/// Rows in the order of time but for a few, some of them late: the time goes up by a second, a key of 40.
fn input(path: &Path) {
    let mut text = String::new();
    let mut random = 7_u64;
    for number in 0..ROWS {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let behind = if random >> 60 == 0 {
            (random >> 40) % 7200
        } else {
            (random >> 40) % 60
        };
        let time = 1_704_067_200 + number.saturating_sub(behind);
        let stamp = chrono::DateTime::from_timestamp(time as i64, 0)
            .unwrap()
            .format("%Y-%m-%d %H:%M:%S");
        let key = (random >> 33) % 40;
        writeln!(text, r#"{{"k":"key-{key}","v":{},"ts":"{stamp}"}}"#, number % 1000).unwrap();
    }
    fs::write(path, text).unwrap();
}

fn program(directory: &Path, sink: &str) -> String {
    let directory = directory.display();
    format!(
        "SET 'execution.checkpointing.interval' = '30 ms';
CREATE TABLE events (k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '10' MINUTE)
  WITH ('connector' = 'filesystem', 'path' = '{directory}/in', 'format' = 'json');
CREATE TABLE windows (ws TIMESTAMP(3), k STRING, n BIGINT, total INT, hi INT)
  WITH ('connector' = 'filesystem', 'path' = '{directory}/{sink}', 'format' = 'parquet');
INSERT INTO windows SELECT window_start, k, COUNT(*), SUM(v), MAX(v)
  FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '5' MINUTE)) GROUP BY window_start, window_end, k;
"
    )
}

/// A directory with the input in `in`, and `program.sql` that writes to `out`.
fn prepared() -> TestDir {
    let place = TestDir::new();
    let directory = place.path();
    fs::create_dir(directory.join("in")).unwrap();
    input(&directory.join("in/events.json"));
    fs::write(directory.join("program.sql"), program(directory, "out")).unwrap();
    place
}

/// The rows that the sink shows, sorted.
fn shown(directory: &Path, sink: &str) -> Vec<String> {
    let reader = directory.join(format!("{sink}-reader.sql"));
    let text = format!(
        "CREATE TABLE windows (ws TIMESTAMP(3), k STRING, n BIGINT, total INT, hi INT)
           WITH ('connector' = 'filesystem', 'path' = '{}/{sink}', 'format' = 'parquet');
         SELECT * FROM windows;",
        directory.display()
    );
    fs::write(&reader, text).unwrap();
    let output = finish(stream(&["--output", "json", reader.to_str().unwrap()]));
    let mut rows: Vec<String> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    rows.sort();
    rows
}

fn finish(program: Program) -> Output {
    let output = program.run();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// None if it was killed before its end.
fn run_for(mut child: Child, life: Option<Duration>) -> Option<bool> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status.success());
        }
        if life.is_some_and(|life| started.elapsed() >= life) {
            child.kill().unwrap();
            child.wait().unwrap();
            return None;
        }
        assert!(started.elapsed() < DEADLINE, "the program hangs");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn summary(state: &Path) -> serde_json::Value {
    serde_json::from_str(&fs::read_to_string(state.join("summary.json")).unwrap()).unwrap()
}

/// Runs a program until it ends, killed up to `kills_max` times at moments of a whole run; how often it was.
fn killed_until_its_end(file: &Path, state: &Path, takes: Duration, kills_max: u32) -> u32 {
    let (mut kills, mut random) = (0_u32, 99_u64);
    loop {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        // Up to the time of a whole run, then let it come to its end.
        let life = takes.mul_f64(0.05 + (random >> 40) as f64 / (1_u64 << 24) as f64 * 0.7);
        let parallelism = if kills % 2 == 0 { "1" } else { "3" };
        let arguments = [
            "--parallelism",
            parallelism,
            "--state",
            state.to_str().unwrap(),
            file.to_str().unwrap(),
        ];
        let child = stream(&arguments).log_to(state.with_extension("log")).spawn();
        match run_for(child, (kills < kills_max).then_some(life)) {
            None => kills += 1,
            Some(success) => {
                assert!(success);
                return kills;
            }
        }
    }
}

#[test]
fn every_window_is_there_once_however_often_the_program_is_killed() {
    let directory = TestDir::new();
    let directory = directory.path();
    fs::create_dir(directory.join("in")).unwrap();
    input(&directory.join("in/events.json"));

    let calm = directory.join("calm.sql");
    fs::write(&calm, program(directory, "calm")).unwrap();
    let calm_state = directory.join("calm-state");
    let started = Instant::now();
    finish(stream(&[
        "--state",
        calm_state.to_str().unwrap(),
        calm.to_str().unwrap(),
    ]));
    let takes = started.elapsed();
    let wanted = shown(directory, "calm");
    assert!(wanted.len() > 10_000, "{}", wanted.len());

    let killed = directory.join("killed.sql");
    fs::write(&killed, program(directory, "killed")).unwrap();
    let state = directory.join("killed-state");
    let kills = killed_until_its_end(&killed, &state, takes, 12);
    assert!(kills >= 1, "the program was never killed");
    let got = shown(directory, "killed");
    assert_eq!(got.len(), wanted.len(), "after {kills} kills");
    assert_eq!(got, wanted, "after {kills} kills");
    let (calm, killed_summary) = (summary(&calm_state), summary(&state));
    for fact in ["rows_read", "late_rows", "windows"] {
        assert_eq!(calm[fact], killed_summary[fact], "{fact} after {kills} kills");
    }
    assert!(calm["late_rows"].as_u64().unwrap() > 0);

    // Finished is finished: nothing is written again.
    let again = finish(stream(&["--state", state.to_str().unwrap(), killed.to_str().unwrap()]));
    assert!(String::from_utf8_lossy(&again.stderr).contains("had finished before"));
    assert_eq!(shown(directory, "killed"), wanted);
}

/// A regular join, a window Top-N and a window join, each into a sink of its own.
fn joins(directory: &Path, prefix: &str) -> String {
    let (head, _) = program(directory, "unused")
        .split_once("CREATE TABLE windows")
        .map(|(head, tail)| (head.to_owned(), tail.to_owned()))
        .unwrap();
    let windows = |of: &str, filter: &str| {
        format!(
            "SELECT window_start, window_end, k, {of} FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '5' MINUTE))
               {filter} GROUP BY window_start, window_end, k"
        )
    };
    let sink = |name: &str| {
        format!(
            "CREATE TABLE {name} (ws TIMESTAMP(3), k STRING, n BIGINT, total INT, hi INT)
               WITH ('connector' = 'filesystem', 'path' = '{}/{prefix}-{name}', 'format' = 'parquet');",
            directory.display()
        )
    };
    format!(
        "{head}
CREATE TABLE names (k STRING, name STRING) WITH ('connector' = 'filesystem', 'path' = '{place}/names', 'format' = 'json');
{joined}{ranked}{both}
EXECUTE STATEMENT SET BEGIN
INSERT INTO joined SELECT e.ts, n.name, CAST(1 AS BIGINT), e.v, 0 FROM events AS e JOIN names AS n ON e.k = n.k;
INSERT INTO ranked SELECT window_start, k, n, total, CAST(rn AS INT) FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY total DESC, k) AS rn FROM ({counts})) WHERE rn <= 3;
INSERT INTO paired SELECT a.window_start, a.k, a.n, b.hi, 0 FROM ({counts}) AS a LEFT JOIN ({highs}) AS b
  ON a.window_start = b.window_start AND a.window_end = b.window_end AND a.k = b.k;
END;
",
        place = directory.display(),
        joined = sink("joined"),
        ranked = sink("ranked"),
        both = sink("paired"),
        counts = windows("COUNT(*) AS n, SUM(v) AS total", ""),
        highs = windows("MAX(v) AS hi", "WHERE v > 900"),
    )
}

#[test]
fn joins_and_top_n_are_there_once_however_often_the_program_is_killed() {
    let place = prepared();
    let directory = place.path();
    fs::create_dir(directory.join("names")).unwrap();
    let names: String = (0..40)
        .map(|key| format!("{{\"k\":\"key-{key}\",\"name\":\"name {key}\"}}\n"))
        .collect();
    fs::write(directory.join("names/names.json"), names).unwrap();
    let (calm, killed) = (directory.join("calm.sql"), directory.join("killed.sql"));
    fs::write(&calm, joins(directory, "calm")).unwrap();
    fs::write(&killed, joins(directory, "killed")).unwrap();
    let started = Instant::now();
    let calm_state = directory.join("calm-state");
    finish(stream(&[
        "--state",
        calm_state.to_str().unwrap(),
        calm.to_str().unwrap(),
    ]));
    let takes = started.elapsed();
    let kills = killed_until_its_end(&killed, &directory.join("killed-state"), takes, 5);
    assert!(kills >= 1, "the program was never killed");
    for (sink, rows_min) in [("joined", ROWS as usize), ("ranked", 1000), ("paired", 10_000)] {
        let (wanted, got) = (
            shown(directory, &format!("calm-{sink}")),
            shown(directory, &format!("killed-{sink}")),
        );
        assert!(wanted.len() >= rows_min, "{sink}: {}", wanted.len());
        assert_eq!(got.len(), wanted.len(), "{sink} after {kills} kills");
        assert!(got == wanted, "{sink} after {kills} kills");
    }
}

/// Each place in a manifest where a sink promised parts: what they are called before and after the commit.
fn promised(manifest: &serde_json::Value) -> Vec<(String, String)> {
    let mut names = Vec::new();
    for task in manifest["tasks"].as_object().unwrap().values() {
        for part in task["committable"]["parts"].as_array().into_iter().flatten() {
            let name = |which: &str| part[which].as_str().unwrap().to_owned();
            names.push((name("hidden"), name("visible")));
        }
    }
    names
}

/// The last checkpoint is published, then its parts are renamed. A process that dies between the two leaves exactly this.
#[test]
fn a_program_killed_between_its_last_checkpoint_and_the_commit_commits_when_it_is_started_again() {
    let place = prepared();
    let directory = place.path();
    let (file, state) = (directory.join("program.sql"), directory.join("state"));
    let arguments = ["--state", state.to_str().unwrap(), file.to_str().unwrap()];
    finish(stream(&arguments));
    let wanted = shown(directory, "out");

    let mut epochs: Vec<_> = fs::read_dir(state.join("job-0"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("manifest.json").exists())
        .collect();
    epochs.sort();
    let manifest = fs::read_to_string(epochs.last().unwrap().join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(manifest.lines().next().unwrap()).unwrap();
    assert_eq!(manifest["finished"], true);
    let parts = promised(&manifest);
    assert!(!parts.is_empty(), "the last checkpoint promises nothing");
    for (hidden, visible) in &parts {
        let out = directory.join("out");
        fs::rename(out.join(visible), out.join(hidden)).unwrap();
    }
    assert!(shown(directory, "out").len() < wanted.len());

    let again = finish(stream(&arguments));
    assert!(String::from_utf8_lossy(&again.stderr).contains("had finished before"));
    assert_eq!(shown(directory, "out"), wanted);
}

#[test]
fn a_signal_stops_the_job_at_a_checkpoint_to_be_resumed() {
    let place = prepared();
    let directory = place.path();
    let (file, state) = (directory.join("program.sql"), directory.join("state"));
    let arguments = ["--state", state.to_str().unwrap(), file.to_str().unwrap()];
    let mut child = stream(&arguments).log_to(directory.join("log")).spawn();
    eventually("a checkpoint", || {
        let epochs = fs::read_dir(state.join("job-0")).into_iter().flatten().flatten();
        epochs
            .into_iter()
            .any(|epoch| epoch.path().join("manifest.json").exists())
    });
    send(&child, Signal::TERM);
    assert!(child.wait().unwrap().success());
    finish(stream(&arguments));
    let total: u64 = shown(directory, "out")
        .iter()
        .map(|row| {
            serde_json::from_str::<serde_json::Value>(row).unwrap()["n"]
                .as_u64()
                .unwrap()
        })
        .sum();
    assert_eq!(total + summary(&state)["late_rows"].as_u64().unwrap(), ROWS);
}

#[test]
fn a_program_that_is_refused_says_so_and_starts_nothing() {
    let directory = TestDir::new();
    let file = directory.join("bad.sql");
    fs::write(&file, "SELECT 1;\nSELECT k::INT FROM (VALUES (1)) AS t(k);\n").unwrap();
    let output = stream(&["--output", "json", file.to_str().unwrap()]).run();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.starts_with("error: parse: ") && stderr.contains("line 2, column 8"),
        "{stderr}"
    );
    assert_eq!(stderr.lines().count(), 1);
}
