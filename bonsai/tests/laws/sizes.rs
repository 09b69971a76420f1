//! Law: a file is one idea, and its room begins by telling which.

use crate::tree::Tree;

/// Lines of any file that a person wrote. Most have 100 to 400.
const FILE_LINES_MAX: usize = 800;
/// Lines of a `main.rs`: arguments, configuration, run.
const MAIN_LINES_MAX: usize = 100;
/// In the first lines of what a program wrote.
const GENERATED: &str = "@generated";

pub fn broken(tree: &Tree) -> Vec<String> {
    let mut broken = Vec::new();
    for file in &tree.files {
        let path = &file.path;
        if file.text.lines().take(5).any(|line| line.contains(GENERATED)) {
            continue;
        }
        let lines = file.text.lines().count();
        let limit = if path.ends_with("src/main.rs") {
            MAIN_LINES_MAX
        } else {
            FILE_LINES_MAX
        };
        if lines > limit {
            broken.push(format!(
                "{path}: {lines} lines, {limit} are the most; it is more than one idea"
            ));
        }
        let opens_a_room = path.ends_with("/lib.rs") || path.ends_with("/mod.rs");
        if opens_a_room && path.contains("/src/") && !file.text.starts_with("//!") {
            broken.push(format!("{path}: it does not begin by telling what it is (`//!`)"));
        }
    }
    broken
}
