//! A temporary directory that survives the failure of its test.

use std::path::{Path, PathBuf};

/// A temporary directory. It is removed when the test passes; when the test fails it is kept and its path printed, so that
/// logs and data files can be examined.
#[derive(Debug)]
pub struct TestDir {
    /// `None` only while it is dropped.
    directory: Option<tempfile::TempDir>,
}

impl TestDir {
    #[track_caller]
    pub fn new() -> Self {
        let directory =
            tempfile::tempdir().unwrap_or_else(|error| panic!("cannot create a temporary directory: {error}"));
        Self {
            directory: Some(directory),
        }
    }

    pub fn path(&self) -> &Path {
        match &self.directory {
            Some(directory) => directory.path(),
            None => unreachable!("it is only taken by drop"),
        }
    }

    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path().join(name)
    }
}

impl Default for TestDir {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        if let Some(directory) = self.directory.take()
            && std::thread::panicking()
        {
            eprintln!("the test's directory is kept: {}", directory.keep().display());
        }
    }
}
