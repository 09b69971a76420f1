//! Law: every service has a page that tells how to use it, and what a page points at is there.

use crate::tree::{Role, Tree};

pub fn broken(tree: &Tree) -> Vec<String> {
    let mut broken = Vec::new();
    for krate in tree
        .crates
        .iter()
        .filter(|krate| matches!(krate.role, Role::Service(_)))
    {
        let page = format!("{}/README.md", krate.folder);
        if !tree.pages.iter().any(|found| found.path == page) {
            broken.push(format!("{}: it has no README.md", krate.folder));
        }
    }
    for page in &tree.pages {
        let folder = tree.root.join(&page.path);
        let folder = folder.parent().unwrap_or(&tree.root);
        for target in links(&page.text) {
            let path = target.split('#').next().unwrap_or_default();
            if !path.is_empty() && !target.contains(':') && !folder.join(path).exists() {
                broken.push(format!("{}: it points at {path}, which is not there", page.path));
            }
        }
    }
    broken
}

/// The targets of a page's links and pictures, `[text](target)`, outside of code blocks.
fn links(text: &str) -> Vec<&str> {
    let mut in_code = false;
    let mut targets = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code || line.starts_with("    ") {
            continue;
        }
        let after_brackets = line.split("](").skip(1);
        targets.extend(after_brackets.filter_map(|rest| rest.split([')', ' ']).next()));
    }
    targets
}
