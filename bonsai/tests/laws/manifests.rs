//! Law: one version and one set of lints for all.

use toml::{Table, Value};

use crate::tree::Tree;

pub fn broken(tree: &Tree) -> Vec<String> {
    let mut broken = Vec::new();
    for krate in &tree.crates {
        let inherits =
            |table: Option<&Value>| table.and_then(|lints| lints.get("workspace")) == Some(&Value::Boolean(true));
        if !inherits(krate.manifest.get("lints")) {
            broken.push(format!(
                "{}/Cargo.toml: it does not inherit the lints of the workspace",
                krate.folder
            ));
        }
        for (name, dependency) in dependencies(&krate.manifest) {
            if !inherits(Some(dependency)) {
                broken.push(format!(
                    "{}/Cargo.toml: {name} has a version of its own; all versions are in the workspace's manifest",
                    krate.folder
                ));
            }
        }
    }
    broken
}

fn dependencies(manifest: &Table) -> Vec<(&String, &Value)> {
    let sections = ["dependencies", "dev-dependencies", "build-dependencies"];
    let here = sections.iter().filter_map(|section| manifest.get(*section)?.as_table());
    let per_target = manifest
        .get("target")
        .and_then(Value::as_table)
        .into_iter()
        .flat_map(|targets| targets.values());
    let there = per_target.filter_map(Value::as_table).flat_map(dependencies);
    here.flatten().chain(there).collect()
}
