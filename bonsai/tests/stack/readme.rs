//! The pages' commands, as they are written: taken out of the pages and run, with stand-ins for clients that are not
//! installed. What differs from a reader's machine is the ports (any that are free), so the SQL files' addresses differ too.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{Stack, text};
use crate::stand_in;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The code blocks of a page, by indentation; each is the lines of one block.
fn blocks(page: &str) -> Vec<String> {
    let text = fs::read_to_string(Path::new(ROOT).join(page)).unwrap();
    let mut blocks: Vec<String> = Vec::new();
    let (mut fenced, mut open) = (false, false);
    for line in text.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        }
        match line.strip_prefix("    ").filter(|_| !fenced) {
            Some(code) if open => {
                let block = blocks.last_mut().unwrap();
                block.push_str(code);
                block.push('\n');
            }
            Some(code) => {
                blocks.push(format!("{code}\n"));
                open = true;
            }
            None => open = false,
        }
    }
    blocks
}

/// A directory that looks like a clone, with SQL for this stack's ports.
struct Clone {
    stack: Stack,
    path: String,
}

impl Clone {
    fn new() -> Self {
        let stack = Stack::new();
        let stand_ins = stand_in::directory(stack.path());
        let programs = Path::new(env!("CARGO_BIN_EXE_bonsai")).parent().unwrap().to_owned();
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{path}:{}", programs.display(), stand_ins.display());
        for folder in ["examples/flights", "examples/data"] {
            let to = stack.path().join(folder);
            fs::create_dir_all(&to).unwrap();
            for entry in fs::read_dir(Path::new(ROOT).join(folder)).unwrap() {
                let entry = entry.unwrap();
                if entry.file_name().to_string_lossy() != "flights_2013.parquet" {
                    fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
                }
            }
        }
        fs::copy(Path::new(ROOT).join("README.md"), stack.path().join("README.md")).unwrap();
        Self { stack, path }
    }

    /// Runs a script as a person's shell would, from its first line to its last. Returns what it printed.
    fn run(&self, script: &str) -> String {
        // What the reader's shell knows from the block before.
        let known = "if [ -e .shell ]; then . ./.shell; fi\n";
        let kept = "\nexport -p | grep -E ' (BOOTSTRAP_SERVERS|KCAT_CONFIG|HADOOP_CONF_DIR|HDFS_URL|WEBHDFS_URL|ETCDCTL_\
                    ENDPOINTS|SQL_GATEWAY_URL|FLIGHT_SQL_URI|BONSAI_DATA)=' > .shell || true\n";
        let output = Command::new("sh")
            .arg("-ec")
            .arg(format!("{known}{script}{kept}"))
            .current_dir(self.stack.path())
            .env("PATH", &self.path)
            .env("BONSAI_DATA", self.stack.data())
            .env("BONSAI_UP_ANY_PORT", "true")
            .env("BONSAI_DEMO_FLIGHTS_ANY_PORT", "true")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{script}\n{}", text(&output));
        self.use_ports();
        text(&output)
    }

    /// Puts the stack's addresses into the SQL files, once they are known.
    fn use_ports(&self) {
        let Ok(known) = fs::read_to_string(self.stack.path().join(".shell")) else {
            return;
        };
        let address = |name: &str| {
            let line = known.lines().find_map(|line| line.split_once(&format!(" {name}=")));
            line.map(|(_, value)| value.trim_matches(['\'', '"']).trim_start_matches("hdfs://").to_owned())
        };
        let (Some(broker), Some(namenode)) = (address("BOOTSTRAP_SERVERS"), address("HDFS_URL")) else {
            return;
        };
        for entry in fs::read_dir(self.stack.path().join("examples/flights")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "sql") {
                let sql = fs::read_to_string(&path).unwrap();
                let sql = sql
                    .replace("127.0.0.1:9092", &broker)
                    .replace("127.0.0.1:8020", &namenode);
                fs::write(&path, sql).unwrap();
            }
        }
    }
}

/// The first page, from the top to the bottom and again from the bottom to the top: each block stands alone once the stack
/// is up, and none is spoiled by another one or by itself.
#[test]
fn every_command_of_the_first_page_runs_in_any_order() {
    let clone = Clone::new();
    let blocks = blocks("README.md");
    let install = |block: &&String| block.starts_with("cargo install ");
    assert!(
        blocks.iter().any(|block| install(&block)),
        "the page says how to get the program"
    );
    let blocks: Vec<&String> = blocks.iter().filter(|block| !install(block)).collect();
    assert!(blocks.len() >= 6, "{blocks:?}");
    let is_start = |block: &&&String| block.contains("up --detach");
    let again = blocks.iter().rev().filter(|block| !is_start(block));
    let printed: String = blocks.iter().chain(again).map(|block| clone.run(block)).collect();
    let right = printed.matches("26336").count();
    assert_eq!(right, 2, "the windows hold each flight once, each time:\n{printed}");
    assert!(
        printed.contains("greeting") && printed.contains("FileStatuses"),
        "{printed}"
    );
}

#[test]
fn every_command_of_the_flights_page_runs() {
    let clone = Clone::new();
    let blocks = blocks("examples/flights/README.md");
    assert!(blocks.len() >= 7, "{blocks:?}");
    let mut printed = String::new();
    for block in &blocks {
        printed.push_str(&clone.run(block));
    }
    for figure in ["1763", "26336", "3217", "41603"] {
        assert!(printed.contains(figure), "{figure} is not in\n{printed}");
    }
}

#[test]
fn every_command_of_the_launchers_page_runs() {
    let clone = Clone::new();
    let shown = blocks("bonsai/README.md");
    let commands: Vec<&String> = shown
        .iter()
        .filter(|block| ["bonsai ", "eval "].iter().any(|word| block.starts_with(word)))
        .collect();
    assert_eq!(commands.len(), 2, "{shown:?}");
    clone.run(commands[0]);
    clone.run("bonsai up --detach");
    clone.run(commands[1]);
    let config = shown.iter().find(|block| block.contains("[up]")).unwrap();
    clone.run("bonsai down");
    fs::write(
        clone.stack.path().join("bonsai.toml"),
        config.replace("/var/lib/bonsai", "from-the-file"),
    )
    .unwrap();
    let printed = clone.run("unset BONSAI_DATA; bonsai up --detach; bonsai status; bonsai down");
    assert!(
        printed.contains("datanode-3") && printed.contains("from-the-file"),
        "{printed}"
    );
}
