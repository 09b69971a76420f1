//! A tree as the laws see it: its crates, its Rust files and its pages.

use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// What a crate is, by its place in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    Host,
    Disk,
    Raft,
    Cluster,
    Launcher,
    Simulation,
    Testing,
    Service(String),
    Wire(String),
    Client(String),
    Unknown,
}

#[derive(Debug)]
pub struct Crate {
    pub name: String,
    /// Its folder, relative to the root, with `/`.
    pub folder: String,
    pub role: Role,
    pub manifest: toml::Table,
    /// The crates of this tree that it depends on, and how.
    pub edges: Vec<(String, DependencyKind)>,
}

#[derive(Debug)]
pub struct TextFile {
    /// Relative to the root, with `/`.
    pub path: String,
    pub text: String,
}

#[derive(Debug)]
pub struct Tree {
    pub root: PathBuf,
    pub crates: Vec<Crate>,
    /// Its Rust files.
    pub files: Vec<TextFile>,
    /// What is written for people, in Markdown.
    pub pages: Vec<TextFile>,
}

impl Tree {
    pub fn read(root: &Path) -> Self {
        let root = root.canonicalize().unwrap();
        let metadata = MetadataCommand::new()
            .manifest_path(root.join("Cargo.toml"))
            .no_deps()
            .other_options(["--offline".to_owned()])
            .exec()
            .unwrap();
        let crates = metadata
            .packages
            .iter()
            .map(|package| {
                let manifest_path = package.manifest_path.as_std_path();
                let folder = relative(&root, manifest_path.parent().unwrap());
                let ours = package
                    .dependencies
                    .iter()
                    .filter(|dependency| dependency.path.is_some());
                Crate {
                    name: package.name.to_string(),
                    role: role(&folder),
                    folder,
                    manifest: fs::read_to_string(manifest_path).unwrap().parse().unwrap(),
                    edges: ours
                        .map(|dependency| (dependency.name.clone(), dependency.kind))
                        .collect(),
                }
            })
            .collect();
        let mut all = Vec::new();
        walk(&root, &root, &mut all);
        all.sort_by(|a, b| a.path.cmp(&b.path));
        let (files, pages) = all.into_iter().partition(|file| file.path.ends_with(".rs"));
        Self {
            root,
            crates,
            files,
            pages,
        }
    }

    pub fn krate(&self, name: &str) -> Option<&Crate> {
        self.crates.iter().find(|krate| krate.name == name)
    }

    /// The crate that a file belongs to, and the file's path inside it.
    pub fn home<'a>(&self, file: &'a TextFile) -> Option<(&Crate, &'a str)> {
        self.crates
            .iter()
            .filter_map(|krate| Some((krate, file.path.strip_prefix(&krate.folder)?.strip_prefix('/')?)))
            .min_by_key(|(_, inside)| inside.len())
    }
}

fn role(folder: &str) -> Role {
    let parts: Vec<&str> = folder.split('/').collect();
    match parts[..] {
        ["host"] => Role::Host,
        ["host", "disk"] => Role::Disk,
        ["raft"] => Role::Raft,
        ["cluster"] => Role::Cluster,
        ["bonsai"] => Role::Launcher,
        ["sim"] => Role::Simulation,
        ["testing"] => Role::Testing,
        [service] => Role::Service(service.to_owned()),
        [service, "wire"] => Role::Wire(service.to_owned()),
        [service, "client"] => Role::Client(service.to_owned()),
        _ => Role::Unknown,
    }
}

/// Every `.rs` and `.md` file, but for what is hidden or built.
fn walk(root: &Path, directory: &Path, files: &mut Vec<TextFile>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with('.') || name == "target" {
            continue;
        }
        if path.is_dir() {
            walk(root, &path, files);
        } else if name.ends_with(".rs") || name.ends_with(".md") {
            files.push(TextFile {
                path: relative(root, &path),
                text: fs::read_to_string(&path).unwrap(),
            });
        }
    }
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/")
}
