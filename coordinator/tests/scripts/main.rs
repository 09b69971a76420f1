//! Golden scripts: stories of requests and what they are answered with, as text.
//!
//! A story in `stories/` is a sequence of blocks: commands, a line `---`, what they printed, an empty line. The runner
//! carries the commands out on a machine with one watch stream, a clock that stands still until it is told to move, and
//! an archive in memory, and compares. `UPDATE_STORIES=1 cargo test -p coordinator --test scripts` writes the outputs
//! again; then read the diff.

mod command;
mod print;
mod world;

use std::fmt::Write;
use std::path::Path;

use world::World;

#[test]
fn stories() {
    let directory = Path::new("tests/scripts/stories");
    let mut paths: Vec<_> = std::fs::read_dir(directory)
        .expect("the stories are there")
        .map(|entry| entry.expect("readable").path())
        .collect();
    paths.sort();
    assert!(paths.len() >= 5, "found only {} stories", paths.len());
    let mut wrong = Vec::new();
    for path in paths {
        let told = std::fs::read_to_string(&path).expect("a text file");
        let retold = retell(&told);
        if told == retold {
            continue;
        }
        if std::env::var_os("UPDATE_STORIES").is_some() {
            std::fs::write(&path, &retold).expect("can be written");
        } else {
            wrong.push(format!("{}:\n{}", path.display(), first_difference(&told, &retold)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Carries out a story and tells it as it happened.
fn retell(told: &str) -> String {
    let mut world = World::new();
    let mut retold = String::new();
    for block in told.split("\n\n").map(str::trim_end).filter(|block| !block.is_empty()) {
        if !retold.is_empty() {
            retold.push('\n');
        }
        let commands: Vec<&str> = block.lines().take_while(|line| *line != "---").collect();
        let is_comment = |line: &str| line.starts_with('#');
        for line in &commands {
            writeln!(retold, "{line}").expect("a string grows");
        }
        if commands.iter().all(|line| is_comment(line)) {
            continue;
        }
        retold.push_str("---\n");
        for line in commands.into_iter().filter(|line| !is_comment(line)) {
            retold.push_str(&world.run(line));
        }
    }
    retold
}

fn first_difference(expected: &str, got: &str) -> String {
    let (mut expected, mut got) = (expected.lines(), got.lines());
    let mut context: Vec<&str> = Vec::new();
    loop {
        match (expected.next(), got.next()) {
            (Some(e), Some(g)) if e == g => context.push(e),
            (e, g) => {
                let from = context.len().saturating_sub(8);
                let after = context[from..].join("\n");
                return format!("{after}\n- {}\n+ {}", e.unwrap_or("(end)"), g.unwrap_or("(end)"));
            }
        }
    }
}
