//! The directory that one process spills into.
//!
//! It is locked for as long as the process lives, so a process that starts can tell the directories of the living from what
//! the dead have left, and remove the latter. A process id alone would not do: ids come again, and containers share them.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::Error;

const PREFIX: &str = "batch-spill-";
/// Names tried for a directory of one's own.
const NAMES_MAX: u32 = 1_000;

/// Removed when it is dropped.
#[derive(Debug)]
pub struct SpillDirectory {
    path: PathBuf,
    /// Beside the directory and not in it, so that the directory can be removed as a whole before its lock goes.
    lock: PathBuf,
    _locked: File,
}

impl SpillDirectory {
    /// Makes a directory in `parent` (the system's temporary directory if there is none), after it has removed those of
    /// processes that are gone.
    pub fn create(parent: Option<PathBuf>) -> Result<SpillDirectory, Error> {
        let parent = parent.unwrap_or_else(std::env::temp_dir);
        std::fs::create_dir_all(&parent).map_err(|error| Error::file("create the spill directory", &parent, error))?;
        remove_left(&parent);
        for number in 0..NAMES_MAX {
            let path = parent.join(format!("{PREFIX}{}-{number}", std::process::id()));
            let lock = lock_of(&path);
            let fail = |error| Error::file("create the spill directory", &path, error);
            let locked = File::create(&lock).map_err(fail)?;
            // Held by a living process of the same id in another container.
            if locked.try_lock().is_err() || path.exists() {
                continue;
            }
            std::fs::create_dir(&path).map_err(fail)?;
            return Ok(SpillDirectory {
                path,
                lock,
                _locked: locked,
            });
        }
        Err(Error::Usage(format!(
            "there is no free name for a spill directory in {}: remove the directories {PREFIX}* that no process uses",
            parent.display()
        )))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SpillDirectory {
    fn drop(&mut self) {
        let _gone_or_never_used = std::fs::remove_dir_all(&self.path);
        let _gone = std::fs::remove_file(&self.lock);
    }
}

fn lock_of(directory: &Path) -> PathBuf {
    let mut name = directory.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

/// Removes the directories of processes that have ended: no process holds their lock. One that cannot be removed is left; it
/// only takes space.
fn remove_left(parent: &Path) {
    let Ok(entries) = std::fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        if !ours || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let lock = lock_of(&path);
        // The lock must be had before anything is removed, and the file must still be the one of that name.
        let held = match File::open(&lock) {
            Ok(file) => file.try_lock().is_err(),
            // Without a lock it is of a version that had none.
            Err(error) => error.kind() != std::io::ErrorKind::NotFound,
        };
        if !held {
            tracing::info!(path = %path.display(), "removing the spill directory of a process that is gone");
            let _may_fail = std::fs::remove_dir_all(&path);
            let _may_fail = std::fs::remove_file(&lock);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_dead_left_is_removed_and_the_living_keep_theirs() {
        let parent = tempfile::tempdir().unwrap();
        let dead = parent.path().join("batch-spill-1");
        std::fs::create_dir(&dead).unwrap();
        std::fs::write(dead.join("x"), "spilled").unwrap();
        let unlocked = parent.path().join("batch-spill-2-0");
        std::fs::create_dir(&unlocked).unwrap();
        std::fs::write(parent.path().join("batch-spill-2-0.lock"), "").unwrap();
        let other = parent.path().join("else");
        std::fs::create_dir(&other).unwrap();

        let first = SpillDirectory::create(Some(parent.path().to_owned())).unwrap();
        assert!(!dead.exists() && !unlocked.exists() && other.exists() && first.path().exists());
        let second = SpillDirectory::create(Some(parent.path().to_owned())).unwrap();
        assert!(first.path().exists() && first.path() != second.path());
        drop((first, second));
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1);
    }
}
