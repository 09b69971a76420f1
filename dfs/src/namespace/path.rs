//! Paths: absolute, separated by `/`.

use crate::Error;

/// The longest path in bytes, as HDFS has it.
pub const PATH_BYTES_MAX: usize = 8000;
/// The deepest path, as HDFS has it.
pub const DEPTH_MAX: usize = 1000;
/// The longest name in bytes: `dfs.namenode.fs-limits.max-component-length`.
pub const NAME_BYTES_MAX: usize = 255;

/// A name in the root that cannot be created.
const RESERVED: &str = ".reserved";
/// Below it files and directories have their ids as names, as in HDFS: path handles use it.
pub const INODES: &str = "/.reserved/.inodes/";

/// Fails if something is to be created under a reserved name.
pub fn check_not_reserved(path: &str) -> Result<(), Error> {
    match path.split('/').nth(1) {
        Some(RESERVED) => Err(Error::IllegalArgument(format!(
            "File name \"{RESERVED}\" is reserved and cannot be created."
        ))),
        _ => Ok(()),
    }
}

/// The names of a path, from the root. One trailing slash is forgiven, as HDFS does.
pub fn components(path: &str) -> Result<Vec<&str>, Error> {
    let invalid = || Error::InvalidPath(path.chars().take(200).collect());
    let Some(rest) = path.strip_prefix('/') else {
        return Err(invalid());
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if path.len() > PATH_BYTES_MAX {
        return Err(invalid());
    }
    if rest.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<&str> = rest.split('/').collect();
    let bad = |name: &&str| matches!(*name, "" | "." | "..") || name.contains(['\0', ':']);
    if names.len() > DEPTH_MAX || names.iter().any(bad) {
        return Err(invalid());
    }
    if let Some(name) = names.iter().find(|name| name.len() > NAME_BYTES_MAX) {
        let message = format!(
            "The maximum path component name limit of {name} in directory is exceeded: limit={NAME_BYTES_MAX} \
             length={}",
            name.len()
        );
        return Err(Error::Io(message));
    }
    Ok(names)
}

/// A path's directory and last name; `None` for the root.
pub fn split(path: &str) -> Option<(&str, &str)> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let (parent, name) = path.rsplit_once('/')?;
    if name.is_empty() {
        None
    } else {
        Some((if parent.is_empty() { "/" } else { parent }, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_absolute_and_plain() {
        assert_eq!(components("/").unwrap(), Vec::<&str>::new());
        assert_eq!(components("/a/b/").unwrap(), ["a", "b"]);
        for bad in ["", "a", "/a//", "/a//b", "/a/../b", "/.", "/a:b"] {
            assert!(components(bad).is_err(), "{bad}");
        }
        assert!(components(&format!("/{}", "x".repeat(256))).is_err());
        assert!(components(&"/x".repeat(1001)).is_err());
        assert_eq!(split("/a/b"), Some(("/a", "b")));
        assert_eq!(split("/a"), Some(("/", "a")));
        assert_eq!(split("/"), None);
    }
}
