//! Law: a folder is a noun of the domain. What has no noun has no home yet.

use std::collections::BTreeSet;

use crate::tree::Tree;

const NO_NOUNS: [&str; 12] = [
    "common", "core", "helper", "helpers", "manager", "managers", "misc", "shared", "types", "util", "utils", "lib",
];

pub fn broken(tree: &Tree) -> Vec<String> {
    let mut folders = BTreeSet::new();
    let mut broken = Vec::new();
    for file in &tree.files {
        let mut parts: Vec<&str> = file.path.split('/').collect();
        let name = parts.pop().unwrap_or_default();
        for depth in 1..=parts.len() {
            folders.insert(parts[..depth].join("/"));
        }
        let stem = name.trim_end_matches(".rs");
        if NO_NOUNS.contains(&stem) && stem != "lib" {
            broken.push(format!(
                "{}: a file named {stem} holds anything; name what it is",
                file.path
            ));
        }
    }
    for folder in folders {
        let name = folder.rsplit('/').next().unwrap_or_default();
        if NO_NOUNS.contains(&name) {
            broken.push(format!(
                "{folder}: a folder named {name} holds anything; name what it is"
            ));
        }
    }
    broken
}
