//! Each law is shown a tree that breaks it.

use std::fs;
use std::path::Path;

use crate::broken_laws;
use crate::tree::Tree;

/// A small tree that keeps all laws: two services, one with wire and client, on host, disk and raft.
struct SmallTree {
    root: tempfile::TempDir,
}

const CRATES: [(&str, &str, &[&str]); 8] = [
    ("host", "host", &[]),
    ("host/disk", "disk", &[]),
    ("raft", "raft", &["disk"]),
    ("log-broker", "log-broker", &["disk", "host", "log-broker-wire", "raft"]),
    ("log-broker/wire", "log-broker-wire", &[]),
    ("log-broker/client", "log-broker-client", &["log-broker-wire"]),
    ("stream", "stream", &["disk", "host", "log-broker-client"]),
    ("bonsai", "bonsai", &["host", "log-broker", "stream"]),
];

impl SmallTree {
    fn new() -> Self {
        let tree = Self {
            root: tempfile::tempdir().unwrap(),
        };
        let mut workspace = "[workspace]\nresolver = \"3\"\nmembers = [\n".to_owned();
        let mut versions = "[workspace.dependencies]\n".to_owned();
        for (folder, name, dependencies) in CRATES {
            workspace.push_str(&format!("    \"{folder}\",\n"));
            versions.push_str(&format!("{name} = {{ path = \"{folder}\" }}\n"));
            tree.write(&format!("{folder}/Cargo.toml"), &manifest(name, dependencies));
            tree.write(&format!("{folder}/src/lib.rs"), "//! What it is.\n");
        }
        tree.write(
            "Cargo.toml",
            &format!("{workspace}]\n{versions}[workspace.lints.rust]\n"),
        );
        tree.write("log-broker/README.md", "What it is.\n");
        tree.write("stream/README.md", "What it is.\n");
        tree.write("host/disk/src/real.rs", "use std::fs::File;\n");
        tree.write("log-broker/src/main.rs", "fn main() {}\n");
        tree.write(
            "log-broker/src/group/mod.rs",
            "//! Never names tokio.\npub fn decide(now: u64) -> u64 {\n    now\n}\n",
        );
        tree.write(
            "log-broker/src/server/mod.rs",
            "//! The edge.\nuse tokio::net::TcpListener;\n",
        );
        tree
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        fs::write(path, text).unwrap();
    }

    fn depend(&self, folder: &str, section: &str, on: &str) {
        let path = self.root.path().join(folder).join("Cargo.toml");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, format!("{text}\n[{section}]\n{on}\n")).unwrap();
    }

    fn broken(&self) -> Vec<String> {
        broken_laws(&Tree::read(self.root.path()))
    }

    /// Fails unless exactly one law is broken, in these words.
    fn is_refused(&self, words: &[&str]) {
        let broken = self.broken();
        assert_eq!(broken.len(), 1, "{broken:#?}");
        assert!(
            words.iter().all(|word| broken[0].contains(word)),
            "{broken:?} does not say {words:?}"
        );
    }
}

fn manifest(name: &str, dependencies: &[&str]) -> String {
    let dependencies: String = dependencies
        .iter()
        .map(|name| format!("{name}.workspace = true\n"))
        .collect();
    format!(
        "[package]\nname = \"{name}\"\nedition = \"2024\"\n[lints]\nworkspace = true\n[dependencies]\n{dependencies}"
    )
}

#[test]
fn a_good_tree_keeps_all_laws() {
    assert_eq!(SmallTree::new().broken(), Vec::<String>::new());
}

#[test]
fn a_service_may_not_depend_on_another() {
    let tree = SmallTree::new();
    tree.depend("stream", "build-dependencies", "log-broker.workspace = true");
    tree.is_refused(&["stream may not depend on log-broker"]);
    let tree = SmallTree::new();
    tree.depend("stream", "dev-dependencies", "log-broker.workspace = true");
    tree.is_refused(&["stream may not depend on log-broker"]);
}

#[test]
fn a_pure_room_may_not_import_from_the_edge() {
    let tree = SmallTree::new();
    tree.write("log-broker/src/group/offsets.rs", "use crate::server::Broker;\n");
    tree.is_refused(&["log-broker/src/group/offsets.rs:1", "imports from server"]);
}

#[test]
fn files_do_not_name_each_other_in_a_circle() {
    let tree = SmallTree::new();
    tree.write("stream/src/lib.rs", "//! What it is.\nmod a;\nmod b;\nmod time;\n");
    tree.write("stream/src/a.rs", "use crate::b::B;\npub struct A(B);\n");
    tree.write("stream/src/b.rs", "pub struct B;\n");
    assert_eq!(tree.broken(), Vec::<String>::new());
    // Through a name that a folder's head passes on, and in a body instead of a declaration.
    tree.write(
        "stream/src/time/mod.rs",
        "//! A room.\nmod window;\npub use window::Window;\n",
    );
    tree.write("stream/src/time/window.rs", "pub struct Window(crate::a::A);\n");
    tree.write("stream/src/b.rs", "pub struct B;\nfn f(w: &crate::time::Window) {}\n");
    tree.is_refused(&["stream/src/a.rs, stream/src/b.rs, stream/src/time/window.rs", "circle"]);
    // Tests, comments and strings may name anything, and a part may name its folder's head.
    tree.write(
        "stream/src/b.rs",
        "pub struct B;\n// crate::time::Window\n#[cfg(test)]\nmod tests {\n    use crate::time::Window;\n}\n",
    );
    tree.write(
        "stream/src/time/mod.rs",
        "//! A room.\nmod window;\npub struct Time(window::Window);\n",
    );
    tree.write("stream/src/time/window.rs", "use super::Time;\npub struct Window;\n");
    assert_eq!(tree.broken(), Vec::<String>::new());
}

#[test]
fn a_message_is_in_the_words_of_the_field() {
    let tree = SmallTree::new();
    tree.write(
        "log-broker/src/server/mod.rs",
        "//! Nobody minds comments.\nconst A: &str = \"a leader is there\";\nconst B: &str = \"there is nobody\";\n",
    );
    tree.is_refused(&["log-broker/src/server/mod.rs:3", "nobody"]);
}

#[test]
fn the_crate_for_tests_is_in_no_program() {
    let tree = SmallTree::new();
    let workspace = fs::read_to_string(tree.root.path().join("Cargo.toml")).unwrap();
    let workspace = workspace
        .replace("members = [\n", "members = [\n    \"testing\",\n")
        .replace(
            "[workspace.dependencies]\n",
            "[workspace.dependencies]\ntesting = { path = \"testing\" }\n",
        );
    tree.write("Cargo.toml", &workspace);
    tree.write("testing/Cargo.toml", &manifest("testing", &["host"]));
    tree.write("testing/src/lib.rs", "//! For tests.\n");
    tree.depend("stream", "dev-dependencies", "testing.workspace = true");
    assert_eq!(tree.broken(), Vec::<String>::new());
    tree.depend("log-broker", "build-dependencies", "testing.workspace = true");
    tree.is_refused(&["log-broker may not depend on testing"]);
}

#[test]
fn what_lies_below_knows_nothing_of_what_stands_on_it() {
    for (below, above) in [
        ("host", "disk"),
        ("host/disk", "host"),
        ("raft", "host"),
        ("log-broker/wire", "disk"),
        ("log-broker/client", "host"),
        ("log-broker", "bonsai"),
    ] {
        let tree = SmallTree::new();
        tree.depend(below, "build-dependencies", &format!("{above}.workspace = true"));
        tree.is_refused(&["may not depend on", above]);
    }
}

#[test]
fn a_client_may_be_tried_against_its_own_server() {
    let tree = SmallTree::new();
    tree.depend("log-broker/client", "dev-dependencies", "log-broker.workspace = true");
    assert_eq!(tree.broken(), Vec::<String>::new());
    tree.depend("log-broker/client", "build-dependencies", "log-broker.workspace = true");
    tree.is_refused(&["log-broker-client may not depend on log-broker"]);
}

#[test]
fn a_crate_has_a_known_place() {
    let tree = SmallTree::new();
    tree.write("stream/extra/Cargo.toml", &manifest("extra", &[]));
    tree.write("stream/extra/src/lib.rs", "//! Something.\n");
    let path = tree.root.path().join("Cargo.toml");
    let text = fs::read_to_string(&path)
        .unwrap()
        .replace("members = [", "members = [\n\"stream/extra\",");
    fs::write(path, text).unwrap();
    tree.is_refused(&["stream/extra", "a crate is a service"]);
}

#[test]
fn a_pure_room_names_no_runtime_clock_or_chance() {
    for (code, word) in [
        ("use tokio::sync::mpsc;", "tokio"),
        ("fn now() { std::time::Instant::now(); }", "Instant::now"),
        ("use std::time::SystemTime;", "SystemTime"),
        ("fn now() { chrono::Utc::now(); }", "Utc::now"),
        ("use rand::Rng;", "rand::"),
        ("fn id() { uuid::Uuid::new_v4(); }", "new_v4"),
        ("use std::net::TcpStream;", "std::net"),
        ("fn read() { std::fs::read(\"a\"); }", "std::fs"),
    ] {
        for path in [
            "log-broker/src/group/mod.rs",
            "log-broker/wire/src/frame.rs",
            "raft/src/log/mod.rs",
        ] {
            let tree = SmallTree::new();
            tree.write(path, &format!("//! A room.\n\n{code}\n"));
            tree.is_refused(&[&format!("{path}:3:"), word]);
        }
        let tree = SmallTree::new();
        tree.write("log-broker/src/server/tasks.rs", code);
        tree.write("log-broker/src/group/tests.rs", code);
        tree.write("bonsai/src/launch.rs", code);
        let under_test = format!("//! A room.\n#[cfg(test)]\nmod tests;\n#[cfg(test)]\nmod more {{\n    {code}\n}}\n");
        tree.write("log-broker/src/group/mod.rs", &under_test);
        assert_eq!(tree.broken(), Vec::<String>::new(), "the edge and tests may: {code}");
    }
}

#[test]
fn a_folder_is_a_noun() {
    for name in [
        "common", "utils", "helpers", "core", "misc", "shared", "types", "manager",
    ] {
        let tree = SmallTree::new();
        tree.write(&format!("stream/src/{name}/thing.rs"), "");
        tree.is_refused(&[&format!("stream/src/{name}: a folder named {name}")]);
        let tree = SmallTree::new();
        tree.write(&format!("stream/src/{name}.rs"), "");
        tree.is_refused(&[&format!("stream/src/{name}.rs"), "a file named"]);
    }
}

#[test]
fn a_file_is_one_idea() {
    let tree = SmallTree::new();
    tree.write("stream/src/window.rs", &"// A line.\n".repeat(800));
    assert_eq!(tree.broken(), Vec::<String>::new());
    tree.write("stream/src/window.rs", &"// A line.\n".repeat(801));
    tree.is_refused(&["stream/src/window.rs: 801 lines"]);
    tree.write(
        "stream/src/window.rs",
        &format!("// @generated\n{}", "// A line.\n".repeat(801)),
    );
    assert_eq!(tree.broken(), Vec::<String>::new());
    tree.write("stream/src/main.rs", &"// A line.\n".repeat(101));
    tree.is_refused(&["stream/src/main.rs: 101 lines"]);
}

#[test]
fn a_room_tells_what_it_is() {
    let tree = SmallTree::new();
    tree.write("stream/src/time/mod.rs", "pub mod window;\n");
    tree.is_refused(&["stream/src/time/mod.rs", "what it is"]);
}

#[test]
fn a_crate_inherits_lints_and_versions() {
    let tree = SmallTree::new();
    tree.write("host/Cargo.toml", "[package]\nname = \"host\"\n");
    tree.is_refused(&["host/Cargo.toml", "lints"]);
    let tree = SmallTree::new();
    tree.depend("host", "build-dependencies", "cc = \"1\"");
    tree.is_refused(&["host/Cargo.toml", "cc has a version of its own"]);
}

#[test]
fn a_service_tells_how_to_use_it() {
    let tree = SmallTree::new();
    fs::remove_file(tree.root.path().join("stream/README.md")).unwrap();
    tree.is_refused(&["stream", "README.md"]);
}

#[test]
fn a_page_points_at_what_is_there() {
    let tree = SmallTree::new();
    tree.write(
        "stream/README.md",
        "See [the laws](../ARCHITECTURE.md#laws), [all](https://example.org/x), [here](#here).\n",
    );
    tree.is_refused(&["stream/README.md", "../ARCHITECTURE.md"]);
    tree.write("ARCHITECTURE.md", "```\n[not a link](nowhere)\n```\n");
    assert_eq!(tree.broken(), Vec::<String>::new());
}

#[test]
fn a_walk_of_the_guide_names_what_is_there() {
    let tree = SmallTree::new();
    tree.write("stream/src/time/mod.rs", "//! A room.\npub async fn wait() {}\n");
    tree.write("docs/guide/row.md", "| 1 | [`wait`](../../stream/src/time/mod.rs) |\n");
    assert_eq!(tree.broken(), Vec::<String>::new());
    tree.write("docs/guide/row.md", "| 1 | [`sleep`](../../stream/src/time/mod.rs) |\n");
    tree.is_refused(&["docs/guide/row.md", "stream/src/time/mod.rs has no item `sleep`"]);
}
