//! Which file of a crate names which: the graph that the law against circles reads.
//!
//! A path is followed through `use` declarations to the file that has the item, so that a name which a folder's head
//! re-exports counts for the file it comes from. Not seen: calls of methods, and what a macro writes.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{code_of, test_modules};
use crate::tree::{Crate, Tree};

/// Aliases of aliases that are followed before a path is given up.
const ALIAS_DEPTH: usize = 8;

/// A module's path inside its crate; the crate's root is empty.
type Module = Vec<String>;

/// One name that a `use` declaration brings into a module.
#[derive(Debug, PartialEq, Eq)]
struct Import {
    is_public: bool,
    path: Vec<String>,
    name: String,
}

struct Source {
    /// The file, relative to the root of the tree.
    path: String,
    imports: Vec<Import>,
    /// The code without its `use` declarations.
    body: String,
}

/// The files that each file of a crate names, without a file's own folder heads: a part may know its head.
pub fn edges(tree: &Tree, krate: &Crate) -> BTreeMap<String, BTreeSet<String>> {
    let modules = modules(tree, krate);
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (module, source) in &modules {
        let named = edges.entry(source.path.clone()).or_default();
        for path in named_paths(&modules, module, source) {
            let Some(target) = resolve(&modules, &path, 0) else {
                continue;
            };
            if !module.starts_with(&target) {
                named.insert(modules[&target].path.clone());
            }
        }
    }
    edges
}

/// All modules in files of their own, but for tests and `main.rs`.
fn modules(tree: &Tree, krate: &Crate) -> BTreeMap<Module, Source> {
    let folder = format!("{}/src/", krate.folder);
    let files = || tree.files.iter().filter(|file| file.path.starts_with(&folder));
    let tests: Vec<String> = files().flat_map(|file| test_modules(&file.path, &file.text)).collect();
    let is_test = |path: &str| {
        let stem = path.trim_end_matches(".rs");
        let below = |module: &String| stem == module || stem.starts_with(&format!("{module}/"));
        tests.iter().any(below)
    };
    files()
        .filter(|file| !is_test(&file.path))
        .filter_map(|file| {
            let inside = file.path.strip_prefix(&folder)?.strip_suffix(".rs")?;
            let mut module: Module = inside.split('/').map(str::to_owned).collect();
            match inside {
                "main" => return None,
                "lib" => module.clear(),
                _ if inside.ends_with("/mod") => drop(module.pop()),
                _ => {}
            }
            let (imports, body) = split(&code_of(&file.text));
            let path = file.path.clone();
            Some((module, Source { path, imports, body }))
        })
        .collect()
}

/// The `use` declarations of `code`, and the rest.
fn split(code: &str) -> (Vec<Import>, String) {
    let (mut imports, mut body) = (Vec::new(), String::new());
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        let text = line.trim_start();
        let without_visibility = match text.strip_prefix("pub") {
            Some(rest) if rest.starts_with('(') => rest.split_once(')').map_or("", |(_, rest)| rest).trim_start(),
            Some(rest) => rest.trim_start(),
            None => text,
        };
        let Some(first) = without_visibility.strip_prefix("use ") else {
            body.push_str(line);
            body.push('\n');
            continue;
        };
        let mut declaration = first.to_owned();
        while !declaration.contains(';') {
            match lines.next() {
                Some(line) => declaration.push_str(line.trim()),
                None => break,
            }
        }
        let declaration = declaration.split(';').next().unwrap_or_default();
        for (path, name) in flatten(declaration) {
            let is_public = text.starts_with("pub");
            imports.push(Import { is_public, path, name });
        }
    }
    (imports, body)
}

/// The paths of a `use` tree, each with the name that it gets: `a::{b, c as d}` is `a::b` and `a::c` as `d`.
fn flatten(tree: &str) -> Vec<(Vec<String>, String)> {
    let mut found = Vec::new();
    for part in split_at_commas(tree) {
        if let Some((head, inner)) = part.split_once('{') {
            let head: Vec<String> = segments(head);
            let inner = inner.rsplit_once('}').map_or(inner, |(inner, _)| inner);
            for (path, name) in flatten(inner) {
                let (path, name) = if path == ["self"] {
                    let last = head.last().cloned().unwrap_or_default();
                    (head.clone(), if name == "self" { last } else { name })
                } else {
                    ([head.clone(), path].concat(), name)
                };
                found.push((path, name));
            }
            continue;
        }
        let (path, alias) = match part.split_once(" as ") {
            Some((path, alias)) => (path, Some(alias.trim().to_owned())),
            None => (part, None),
        };
        let path = segments(path);
        if let Some(last) = path.last().cloned() {
            found.push((path, alias.unwrap_or(last)));
        }
    }
    found
}

fn segments(path: &str) -> Vec<String> {
    let parts = path.split("::").map(str::trim).filter(|part| !part.is_empty());
    parts.map(str::to_owned).collect()
}

/// The parts of a list, at the commas outside of braces.
fn split_at_commas(list: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0, 0);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(list[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(list[from..].trim());
    parts
}

/// Every path into the crate that a file names, from the crate's root.
fn named_paths(modules: &BTreeMap<Module, Source>, module: &Module, source: &Source) -> Vec<Module> {
    let mut paths = Vec::new();
    let words: BTreeSet<&str> = source.body.split(|c: char| !is_word(c)).collect();
    for import in &source.imports {
        // A folder's head that only passes a name on does not use it.
        if import.is_public && !words.contains(import.name.as_str()) {
            continue;
        }
        let path = match import.path.split_last() {
            Some((last, head)) if last == "*" => head,
            _ => &import.path[..],
        };
        paths.extend(absolute(modules, module, path));
    }
    for path in source.body.split(|c: char| !is_word(c) && c != ':') {
        if path.contains("::") && !path.starts_with(':') {
            paths.extend(absolute(modules, module, &segments(path)));
        }
    }
    paths
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// A path as seen from `module`, from the crate's root; `None` if it leads out of the crate.
fn absolute(modules: &BTreeMap<Module, Source>, module: &Module, path: &[String]) -> Option<Module> {
    let first = path.first()?;
    match first.as_str() {
        "crate" => Some(path[1..].to_vec()),
        "self" => Some([module, &path[1..]].concat()),
        "super" => {
            let up = path.iter().take_while(|part| *part == "super").count();
            let kept = module.len().checked_sub(up)?;
            Some([&module[..kept], &path[up..]].concat())
        }
        _ => {
            let child = [&module[..], std::slice::from_ref(first)].concat();
            let is_child = modules.contains_key(&child);
            is_child.then(|| [&module[..], path].concat())
        }
    }
}

/// The module whose file has what `path` names.
fn resolve(modules: &BTreeMap<Module, Source>, path: &[String], depth: usize) -> Option<Module> {
    if depth > ALIAS_DEPTH {
        return None;
    }
    let mut at: Module = Vec::new();
    for (index, part) in path.iter().enumerate() {
        let child = [&at[..], std::slice::from_ref(part)].concat();
        if modules.contains_key(&child) {
            at = child;
            continue;
        }
        let source = modules.get(&at)?;
        for import in &source.imports {
            if import.path.last().is_some_and(|last| last == "*") {
                let glob = absolute(modules, &at, &import.path[..import.path.len() - 1]);
                let from = glob.and_then(|glob| resolve(modules, &glob, depth + 1));
                if let Some(from) = from.filter(|from| *from != at && defines(&modules[from].body, part)) {
                    return Some(from);
                }
            } else if import.name == *part {
                let target = absolute(modules, &at, &import.path)?;
                if target != path[..=index] {
                    return resolve(modules, &[&target[..], &path[index + 1..]].concat(), depth + 1);
                }
            }
        }
        return Some(at);
    }
    modules.contains_key(&at).then_some(at)
}

/// Whether code has an item of this name.
pub fn defines(body: &str, name: &str) -> bool {
    const KEYWORDS: [&str; 7] = ["fn", "struct", "enum", "trait", "type", "const", "static"];
    let mut before = "";
    for word in body.split(|c: char| !is_word(c)).filter(|word| !word.is_empty()) {
        if word == name && KEYWORDS.contains(&before) {
            return true;
        }
        before = word;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(tree: &str) -> Vec<String> {
        let paths = flatten(tree).into_iter();
        paths
            .map(|(path, name)| format!("{} {name}", path.join("::")))
            .collect()
    }

    #[test]
    fn a_use_tree_is_flattened() {
        assert_eq!(flat("a::b"), ["a::b b"]);
        assert_eq!(
            flat("a::{self, b, c::{d as e, f::*}}"),
            ["a a", "a::b b", "a::c::d e", "a::c::f::* *"]
        );
    }

    #[test]
    fn declarations_over_several_lines_are_found_and_taken_out() {
        let (imports, body) = split("pub(super) use a::{\n    b,\n    c,\n};\nfn d() {}\n    use e::f;\n");
        let names: Vec<_> = imports
            .iter()
            .map(|import| (&import.name[..], import.is_public))
            .collect();
        assert_eq!(names, [("b", true), ("c", true), ("f", false)]);
        assert_eq!(body, "fn d() {}\n");
    }
}
