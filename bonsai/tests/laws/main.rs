//! The laws of the tree, kept by a test.
//!
//! ARCHITECTURE.md tells them and why; here a machine checks them, from `cargo metadata` and from the sources: each law is
//! one file with one function from a [`Tree`] to what breaks the law, a sentence each. That they can fail is shown by
//! `bad_trees`: a small tree that keeps all laws is broken in one place at a time.
#![allow(clippy::unwrap_used, reason = "a test")]

mod bad_trees;
mod circles;
mod edges;
mod folders;
mod guide;
mod imports;
mod manifests;
mod pages;
mod rooms;
mod sizes;
mod source;
mod tree;
mod words;

use std::path::Path;

use tree::Tree;

/// Everything that is wrong with a tree, law by law.
fn broken_laws(tree: &Tree) -> Vec<String> {
    let laws: [fn(&Tree) -> Vec<String>; 9] = [
        edges::broken,
        rooms::broken,
        circles::broken,
        folders::broken,
        sizes::broken,
        manifests::broken,
        pages::broken,
        guide::broken,
        words::broken,
    ];
    laws.iter().flat_map(|law| law(tree)).collect()
}

#[test]
fn this_tree_keeps_the_laws() {
    let root = Path::new("..");
    let tree = Tree::read(root);
    assert!(
        tree.crates.len() >= 14 && tree.files.len() > 100,
        "the tree was not found: {}",
        root.display()
    );
    let broken = broken_laws(&tree);
    assert!(
        broken.is_empty(),
        "{} laws are broken (see ARCHITECTURE.md):\n{}",
        broken.len(),
        broken.join("\n")
    );
}
