//! A process's own directory: locked, and marked with what wrote it.
//!
//! Two files are the host's: `LOCK`, held with an advisory lock (which the kernel lets go of when the process ends,
//! however it ends) and naming the holder's process id for people, and `FORMAT`, one line such as `bonsai log-broker 1`.
//! All else in it is the service's, and goes through the `Disk` trait; locks do not, because only a real file has any.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const LOCK: &str = "LOCK";
const FORMAT: &str = "FORMAT";
const FORMAT_NEW: &str = "FORMAT.new";
/// What may be in a directory that is to become ours: a fresh file system's own, and what a start left that was killed.
const HARMLESS: [&str; 3] = ["lost+found", LOCK, FORMAT_NEW];

/// A data directory held by this process until dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// Why a data directory cannot be used. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Operator: stop the other process or name another directory.
    #[error("{} is held by another process ({holder}): stop it, or give another directory", path.display())]
    Held { path: PathBuf, holder: String },
    /// Operator: name the right directory.
    #[error("{} is not a data directory of {service} ({reason}): give an empty or new directory", path.display())]
    Foreign {
        path: PathBuf,
        service: String,
        reason: String,
    },
    /// Operator: upgrade the program.
    #[error("{} was written in format {written}, this program knows formats up to {known}: use a newer program", path.display())]
    Newer { path: PathBuf, written: u32, known: u32 },
    /// Operator: mend permissions, or the disk.
    #[error("cannot use {} as data directory: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
}

impl DataDir {
    /// Creates or opens `path` for `service`, whose newest known format is `version`.
    ///
    /// # Errors
    /// See [`DataDirError`]. Nothing is written into a directory that is refused.
    pub fn open(path: &Path, service: &str, version: u32) -> Result<Self, DataDirError> {
        Self::open_beside(path, service, version, &[])
    }

    /// As [`DataDir::open`], where a directory that is not marked yet may hold what is named: something that the service
    /// takes over.
    ///
    /// # Errors
    /// See [`DataDirError`].
    pub fn open_beside(path: &Path, service: &str, version: u32, tolerated: &[&str]) -> Result<Self, DataDirError> {
        let io_error = |error| DataDirError::Io {
            path: path.to_owned(),
            error,
        };
        if path.is_file() {
            return Err(io_error(io::Error::other("it is a file")));
        }
        fs::create_dir_all(path).map_err(io_error)?;
        let path = path.canonicalize().map_err(io_error)?;
        // Before anything is written: a directory of another program must not even get a lock file.
        check_format(&path, service, version, tolerated)?;
        let lock = hold(&path)?;
        // And again: what held it until now may have been the first to mark it.
        if check_format(&path, service, version, tolerated)? == Marked::No {
            mark(&path, service, version).map_err(io_error)?;
        }
        Ok(Self { path, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Marked {
    Yes,
    No,
}

fn check_format(path: &Path, service: &str, version: u32, tolerated: &[&str]) -> Result<Marked, DataDirError> {
    let io_error = |error| DataDirError::Io {
        path: path.to_owned(),
        error,
    };
    let foreign = |reason| DataDirError::Foreign {
        path: path.to_owned(),
        service: service.to_owned(),
        reason,
    };
    let text = match fs::read_to_string(path.join(FORMAT)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            for entry in fs::read_dir(path).map_err(io_error)? {
                let name = entry.map_err(io_error)?.file_name();
                if !HARMLESS.iter().chain(tolerated).any(|harmless| name == *harmless) {
                    return Err(foreign(format!("there is {} in it", name.to_string_lossy())));
                }
            }
            return Ok(Marked::No);
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Err(foreign("its FORMAT file is unreadable".to_owned()));
        }
        Err(error) => return Err(io_error(error)),
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    match words[..] {
        ["bonsai", owner, written] => match written.parse::<u32>() {
            Ok(_) if owner != service => Err(foreign(format!("it belongs to {owner}"))),
            Ok(written) if written > version => Err(DataDirError::Newer {
                path: path.to_owned(),
                written,
                known: version,
            }),
            Ok(_) => Ok(Marked::Yes),
            Err(_) => Err(foreign("its FORMAT file is unreadable".to_owned())),
        },
        _ => Err(foreign("its FORMAT file is unreadable".to_owned())),
    }
}

fn hold(path: &Path) -> Result<File, DataDirError> {
    let io_error = |error| DataDirError::Io {
        path: path.to_owned(),
        error,
    };
    let lock_path = path.join(LOCK);
    let mut lock = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&lock_path)
        .map_err(io_error)?;
    match lock.try_lock() {
        Ok(()) => {
            // For people only, so a full disk is no reason to fail.
            let _ = lock
                .set_len(0)
                .and_then(|()| writeln!(lock, "pid {}", std::process::id()));
            Ok(lock)
        }
        Err(TryLockError::WouldBlock) => {
            let holder = fs::read_to_string(&lock_path).unwrap_or_default();
            let holder = holder
                .lines()
                .next()
                .filter(|line| !line.is_empty())
                .unwrap_or("unknown")
                .to_owned();
            Err(DataDirError::Held {
                path: path.to_owned(),
                holder,
            })
        }
        Err(TryLockError::Error(error)) => Err(io_error(error)),
    }
}

fn mark(path: &Path, service: &str, version: u32) -> io::Result<()> {
    let temporary = path.join(FORMAT_NEW);
    let mut file = File::create(&temporary)?;
    writeln!(file, "bonsai {service} {version}")?;
    file.sync_all()?;
    fs::rename(&temporary, path.join(FORMAT))?;
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path, service: &str, version: u32) -> Result<DataDir, DataDirError> {
        DataDir::open(path, service, version)
    }

    #[test]
    fn a_directory_is_made_marked_and_opened_again() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b");
        drop(open(&path, "log-broker", 1).unwrap());
        assert_eq!(fs::read_to_string(path.join(FORMAT)).unwrap(), "bonsai log-broker 1\n");
        drop(open(&path, "log-broker", 2).unwrap());
        assert_eq!(
            fs::read_to_string(path.join(FORMAT)).unwrap(),
            "bonsai log-broker 1\n",
            "upgrading is the service's"
        );
    }

    #[test]
    fn a_held_directory_is_refused_with_its_holder() {
        let root = tempfile::tempdir().unwrap();
        let held = open(root.path(), "log-broker", 1).unwrap();
        let error = open(root.path(), "log-broker", 1).unwrap_err();
        assert!(matches!(&error, DataDirError::Held { .. }), "{error}");
        assert!(
            error.to_string().contains(&format!("pid {}", std::process::id())),
            "{error}"
        );
        drop(held);
        open(root.path(), "log-broker", 1).unwrap();
    }

    #[test]
    fn a_foreign_directory_is_refused_untouched() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("thesis.tex"), "years").unwrap();
        let error = open(root.path(), "log-broker", 1).unwrap_err();
        assert!(error.to_string().contains("thesis.tex"), "{error}");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1, "nothing was written");
        let lock_of_another_program = tempfile::tempdir().unwrap();
        fs::write(lock_of_another_program.path().join(LOCK), "").unwrap();
        fs::write(lock_of_another_program.path().join("CURRENT"), "").unwrap();
        assert!(matches!(
            open(lock_of_another_program.path(), "log-broker", 1),
            Err(DataDirError::Foreign { .. })
        ));
    }

    #[test]
    fn another_services_directory_is_refused() {
        let root = tempfile::tempdir().unwrap();
        drop(open(root.path(), "coordinator", 1).unwrap());
        let error = open(root.path(), "log-broker", 1).unwrap_err();
        assert!(error.to_string().contains("it belongs to coordinator"), "{error}");
    }

    #[test]
    fn a_newer_directory_is_refused() {
        let root = tempfile::tempdir().unwrap();
        drop(open(root.path(), "log-broker", 3).unwrap());
        let error = open(root.path(), "log-broker", 2).unwrap_err();
        assert!(
            matches!(
                error,
                DataDirError::Newer {
                    written: 3,
                    known: 2,
                    ..
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn a_spoilt_mark_is_refused() {
        for text in [&b"nonsense"[..], b"", b"bonsai log-broker one", b"\xFF\xFE"] {
            let root = tempfile::tempdir().unwrap();
            fs::write(root.path().join(FORMAT), text).unwrap();
            assert!(
                matches!(open(root.path(), "log-broker", 1), Err(DataDirError::Foreign { .. })),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_start_that_was_killed_is_no_obstacle() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join(LOCK), "pid 1\n").unwrap();
        fs::write(root.path().join(FORMAT_NEW), "bon").unwrap();
        fs::create_dir(root.path().join("lost+found")).unwrap();
        open(root.path(), "log-broker", 1).unwrap();
    }

    #[test]
    fn a_file_is_no_directory() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        fs::write(&path, "").unwrap();
        assert!(
            open(&path, "log-broker", 1)
                .unwrap_err()
                .to_string()
                .contains("it is a file")
        );
    }
}
