//! Golden stories: a scenario as a text file that reads as a story.
//!
//! A story is a sequence of blocks, separated by an empty line. A block is commands, one a line, then a line `---`, then
//! their output. Lines that begin with `#` are comments; a block of comments only has no output. The runner executes the
//! commands in order on a fresh world and compares what they print with what the file says.
//!
//! `UPDATE_STORIES=1 cargo test` rewrites the output of every story that differs; then read the diff.

use std::fs;
use std::path::Path;

/// The variable that rewrites stories instead of comparing them.
pub const UPDATE_VARIABLE: &str = "UPDATE_STORIES";

/// How many lines before the first difference are shown.
const CONTEXT_LINES: usize = 8;

/// What a story is told in: it executes one command and returns what it prints, each line ended.
pub trait World {
    fn run(&mut self, command: &str) -> String;
}

impl<F: FnMut(&str) -> String> World for F {
    fn run(&mut self, command: &str) -> String {
        self(command)
    }
}

/// Runs every story of a folder, each in a world of its own.
///
/// # Panics
/// When a story's output differs, with the first difference of each; or when fewer than `at_least` stories are there,
/// so that a moved folder does not pass as an empty one.
#[track_caller]
pub fn run<W: World>(folder: impl AsRef<Path>, at_least: usize, mut world: impl FnMut() -> W) {
    let folder = folder.as_ref();
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", folder.display()))
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", folder.display()));
    paths.sort();
    assert!(
        paths.len() >= at_least,
        "only {} stories in {}",
        paths.len(),
        folder.display()
    );
    let updates = std::env::var_os(UPDATE_VARIABLE).is_some();
    let mut differences = Vec::new();
    for path in paths {
        let expected =
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        let got = execute(&expected, &mut world());
        if expected == got {
            continue;
        }
        if updates {
            fs::write(&path, &got).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
        } else {
            differences.push(format!("{}:\n{}", path.display(), first_difference(&expected, &got)));
        }
    }
    assert!(
        differences.is_empty(),
        "{} stories differ ({UPDATE_VARIABLE}=1 rewrites them):\n\n{}",
        differences.len(),
        differences.join("\n\n")
    );
}

/// Executes a story's commands; the story with the output that they printed now.
pub fn execute(story: &str, world: &mut impl World) -> String {
    let is_comment = |line: &str| line.starts_with('#');
    let mut text = String::new();
    for block in story.split("\n\n").map(str::trim_end).filter(|block| !block.is_empty()) {
        if !text.is_empty() {
            text.push('\n');
        }
        let commands: Vec<&str> = block.lines().take_while(|line| *line != "---").collect();
        for line in &commands {
            text.push_str(line);
            text.push('\n');
        }
        if commands.iter().all(|line| is_comment(line)) {
            continue;
        }
        text.push_str("---\n");
        for command in commands.into_iter().filter(|line| !is_comment(line)) {
            text.push_str(&world.run(command));
        }
    }
    text
}

fn first_difference(expected: &str, got: &str) -> String {
    let (mut expected, mut got) = (expected.lines(), got.lines());
    let mut same: Vec<&str> = Vec::new();
    loop {
        match (expected.next(), got.next()) {
            (Some(e), Some(g)) if e == g => same.push(e),
            (e, g) => {
                let context = same[same.len().saturating_sub(CONTEXT_LINES)..].join("\n");
                return format!("{context}\n- {}\n+ {}", e.unwrap_or("(end)"), g.unwrap_or("(end)"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter() -> impl World {
        let mut count = 0;
        move |command: &str| {
            count += command.parse::<i32>().unwrap();
            format!("{count}\n")
        }
    }

    #[test]
    fn each_block_prints_what_its_commands_print() {
        let story = "# A comment alone.\n\n# Adds.\n1\n2\n---\n1\n3\n\n-3\n---\n0\n";
        assert_eq!(execute(story, &mut counter()), story);
        let stale = story.replace("3\n\n", "4\n\n");
        assert_eq!(execute(&stale, &mut counter()), story);
    }

    #[test]
    fn the_first_difference_is_shown_with_what_is_before_it() {
        assert_eq!(first_difference("a\nb\nc", "a\nx\nc"), "a\n- b\n+ x");
        assert_eq!(first_difference("a", "a\nb"), "a\n- (end)\n+ b");
    }

    #[test]
    #[should_panic(expected = "1 stories differ")]
    fn a_story_that_differs_fails() {
        let folder = crate::TestDir::new();
        fs::write(folder.join("wrong"), "1\n---\n2\n").unwrap();
        run(folder.path(), 1, counter);
    }

    #[test]
    #[should_panic(expected = "only 0 stories")]
    fn an_empty_folder_fails() {
        run(crate::TestDir::new().path(), 1, counter);
    }
}
