//! Law: pure rooms name no runtime, no clock, no randomness, no files, no sockets, and nothing from a room at the edge.
//!
//! What decides takes time and chance as arguments, so that a test can be any clock and any die, and one seed replays one
//! world. Only the rooms at the edge, listed here, meet the outside.

use crate::source::{code_of, test_modules};
use crate::tree::{Role, Tree};

/// The rooms of each service that meet sockets, disks, clocks and tasks. A new one is an architecture change.
const EDGE_ROOMS: [(&str, &[&str]); 5] = [
    ("coordinator", &["server"]),
    ("log-broker", &["server"]),
    ("dfs", &["ipc", "namenode", "datanode", "webhdfs"]),
    ("stream", &["connector", "runtime", "gateway"]),
    ("batch", &["cli", "engine", "cluster", "connect", "flight"]),
];

/// What a pure room may not name, and what it has instead.
const FORBIDDEN: [(&str, &str); 12] = [
    ("tokio", "the edge runs tasks"),
    ("std::net", "the edge has the sockets"),
    (FILES, "files are behind `Disk`"),
    ("Instant::now", "time is an argument"),
    ("SystemTime", "time is an argument"),
    ("Utc::now", "time is an argument"),
    ("Local::now", "time is an argument"),
    ("thread::sleep", "time is an argument"),
    ("rand::", "randomness is an argument"),
    ("fastrand", "randomness is an argument"),
    ("getrandom", "randomness is an argument"),
    ("new_v4", "randomness is an argument"),
];

/// What only the crate that holds the real disk may name below the edge.
const FILES: &str = "std::fs";

pub fn broken(tree: &Tree) -> Vec<String> {
    let tests: Vec<String> = tree
        .files
        .iter()
        .flat_map(|file| test_modules(&file.path, &file.text))
        .collect();
    let is_test = |path: &str| {
        tests
            .iter()
            .any(|module| path.strip_prefix(module.as_str()).is_some_and(begins_a_name))
    };
    let mut broken = Vec::new();
    for file in tree.files.iter().filter(|file| !is_test(&file.path)) {
        let Some((krate, inside)) = tree.home(file) else {
            continue;
        };
        if !is_pure(&krate.role, &krate.folder, inside) {
            continue;
        }
        let edges = edge_rooms(&krate.folder);
        for (number, line) in code_of(&file.text).lines().enumerate() {
            for edge in edges.iter().filter(|edge| names(line, &format!("crate::{edge}"))) {
                let (path, line) = (&file.path, number + 1);
                broken.push(format!(
                    "{path}:{line}: a pure room imports from {edge}, a room at the edge; move what it needs to a room of its own"
                ));
            }
            for (word, instead) in FORBIDDEN {
                if names(line, word) && !(word == FILES && krate.role == Role::Disk) {
                    let (path, line) = (&file.path, number + 1);
                    broken.push(format!("{path}:{line}: a pure room names {word}; {instead}"));
                }
            }
        }
    }
    broken
}

fn edge_rooms(folder: &str) -> &'static [&'static str] {
    EDGE_ROOMS
        .iter()
        .find(|(service, _)| *service == folder)
        .map_or(&[], |(_, rooms)| rooms)
}

/// Whether a path goes on as `.rs` or `/…`, so that what was in front of it is a whole module's name.
fn begins_a_name(rest: &str) -> bool {
    rest == ".rs" || rest.starts_with('/')
}

fn is_pure(role: &Role, folder: &str, inside: &str) -> bool {
    let Some(inside) = inside.strip_prefix("src/") else {
        return false;
    };
    let parts: Vec<&str> = inside.split('/').collect();
    match role {
        Role::Wire(_) | Role::Disk => true,
        Role::Raft => parts[0] != "node",
        Role::Cluster => parts[0] != "udp.rs",
        Role::Service(_) => {
            // The crate's root starts the edge, so it may name it.
            let root = parts.len() == 1 && matches!(parts[0], "lib.rs" | "main.rs");
            let room = parts[0].trim_end_matches(".rs");
            !root && !edge_rooms(folder).contains(&room)
        }
        Role::Host | Role::Launcher | Role::Simulation | Role::Testing | Role::Client(_) | Role::Unknown => false,
    }
}

/// Whether `line` has `word` with no letter, digit or underscore before or behind it.
fn names(line: &str, word: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let behind = line[at + word.len()..].chars().next();
        let open_ended = word.ends_with(':');
        !before.is_some_and(is_word) && (open_ended || !behind.is_some_and(is_word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_words_count() {
        assert!(names("use rand::Rng;", "rand::"));
        assert!(names("tokio::spawn(x)", "tokio"));
        assert!(!names("operand::new()", "rand::"));
        assert!(!names("let tokio_like = 1;", "tokio"));
        assert!(!names("MyInstant::nowhere()", "Instant::now"));
    }
}
