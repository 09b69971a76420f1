//! Law: messages and help texts are in the field's words.
//!
//! Error messages, log lines and help texts are read by people who know Kafka, HDFS, Flink, Spark or etcd, often in their second
//! language, and searched for by the terms of those systems. A short list of words marks a private language; none of them may
//! stand in a string of a program, or in what `--help` prints. The question that decides: would the original's documentation
//! use this word?

use crate::source::strings_of;
use crate::tree::{Role, Tree};

/// A word that is not to be used, and what to say instead.
const PRIVATE: [(&str, &str); 14] = [
    ("whoever", "name the role: the client, the caller, the writer"),
    ("nobody", "say what is absent: no client, no leader, no reader"),
    ("somebody", "name the role"),
    ("anybody", "name the role"),
    ("anew", "again, new, from the start"),
    ("so many", "give the number or name the limit"),
    ("is told", "receives, is notified"),
    ("are told", "receive, are notified"),
    ("was told", "received, was notified"),
    ("is said", "is logged, is reported"),
    ("are said", "are logged, are reported"),
    ("says that it is there", "sends a heartbeat"),
    ("not good any more", "revoked, expired"),
    ("goes the long way", "falls back to"),
];

pub fn broken(tree: &Tree) -> Vec<String> {
    let mut broken = Vec::new();
    for file in &tree.files {
        let Some((krate, inside)) = tree.home(file) else {
            continue;
        };
        // What the simulated world and the tests say is for the developers of this tree.
        if matches!(krate.role, Role::Simulation | Role::Testing | Role::Unknown) || !inside.starts_with("src/") {
            continue;
        }
        if is_test_file(inside) {
            continue;
        }
        for (line, text) in strings_of(&file.text) {
            for (word, instead) in private_words(&text) {
                broken.push(format!("{}:{line}: a message has \"{word}\"; {instead}", file.path));
            }
        }
    }
    broken
}

/// A file that holds nothing but tests, by its name.
fn is_test_file(inside: &str) -> bool {
    let stem = inside.trim_end_matches(".rs");
    stem.split('/')
        .any(|part| matches!(part, "tests" | "scripts" | "oracle"))
        || stem.ends_with("_test")
        || stem.ends_with("_tests")
}

/// The words of the list that `text` has, as whole words.
pub fn private_words(text: &str) -> Vec<(&'static str, &'static str)> {
    let text = text.to_lowercase();
    let is_letter = |c: char| c.is_alphanumeric();
    PRIVATE
        .into_iter()
        .filter(|(word, _)| {
            text.match_indices(word).any(|(at, _)| {
                let before = text[..at].chars().next_back();
                let behind = text[at + word.len()..].chars().next();
                !before.is_some_and(is_letter) && !behind.is_some_and(is_letter)
            })
        })
        .collect()
}

/// The names of the subcommands in a help text.
fn subcommands(help: &str) -> Vec<String> {
    let mut lines = help.lines().skip_while(|line| line.trim() != "Commands:").skip(1);
    let mut names = Vec::new();
    for line in lines.by_ref().take_while(|line| !line.trim().is_empty()) {
        let is_entry = line.starts_with("  ") && !line.starts_with("   ");
        if let Some(name) = line
            .split_whitespace()
            .next()
            .filter(|name| is_entry && *name != "help")
        {
            names.push(name.to_owned());
        }
    }
    names
}

/// The help of a command and of all below it, as (command, help).
fn helps(command: &[String], found: &mut Vec<(String, String)>) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_bonsai"))
        .args(command)
        .arg("--help")
        .output()
        .unwrap();
    let name = format!("bonsai {}", command.join(" "));
    assert!(output.status.success(), "{name} --help: {output:?}");
    let help = String::from_utf8(output.stdout).unwrap();
    for subcommand in subcommands(&help) {
        helps(&[command, &[subcommand]].concat(), found);
    }
    found.push((name, help));
}

#[test]
fn every_help_text_is_in_the_fields_words() {
    let mut found = Vec::new();
    helps(&[], &mut found);
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    for service in [
        "coordinator",
        "log-broker",
        "dfs namenode",
        "dfs datanode",
        "stream run",
        "batch sql",
    ] {
        let name = format!("bonsai {service}");
        assert!(names.contains(&name.as_str()), "no help of {name}: {names:?}");
    }
    let mut broken = Vec::new();
    for (name, help) in &found {
        for line in help.lines() {
            for (word, instead) in private_words(line) {
                broken.push(format!("{name} --help: \"{word}\" in {:?}; {instead}", line.trim()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn only_whole_words_count() {
    assert_eq!(private_words("Leases where nobody leads.").len(), 1);
    assert_eq!(private_words("begin Anew").len(), 1);
    assert!(private_words("a renewal of manewfold leases").is_empty());
    assert_eq!(
        subcommands("Usage: x\n\nCommands:\n  up    Starts\n        more\n  help  Print\n\nOptions:\n  -h  no\n"),
        ["up"]
    );
}
