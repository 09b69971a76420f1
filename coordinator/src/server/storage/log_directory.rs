//! `--wal-dir`: the log in a directory of its own, on a disk of its own mostly.
//!
//! A log that is not found would be begun again, and with the old one acknowledged writes would be gone. So the data
//! directory says where its log is: the file [`NOTE`] holds the other directory's path, and is durable before the log is
//! begun. A start that looks elsewhere ends with a sentence that says where the log is. A log that was moved is taken where
//! it is now.

use std::path::{Path, PathBuf};

use disk::{Disk, Mode};
use host::DataDir;
use raft::log::ENTRIES_DIRECTORY;

use crate::server::settings::data_directory::FORMAT_VERSION;
use crate::server::settings::flags::Settings;

/// In the data directory; holds the path of the log's directory.
const NOTE: &str = "wal-dir";
/// What marks the log's directory.
const OWNER: &str = "coordinator-log";
/// Far more than any path.
const NOTE_BYTES_MAX: usize = 64 << 10;

/// The directory of the log, held while it is used.
#[derive(Debug)]
pub(in crate::server) struct LogDirectory {
    path: PathBuf,
    _held: Option<DataDir>,
}

impl LogDirectory {
    /// Finds the log of the member whose data is in `data`.
    ///
    /// # Errors
    /// One sentence: it is elsewhere, or its directory cannot be used.
    pub(in crate::server) fn open(settings: &Settings, disk: &dyn Disk, data: &Path) -> Result<Self, String> {
        let io = |error: std::io::Error| format!("--wal-dir: {error}");
        let noted = read_note(disk, data).map_err(io)?;
        let Some(wanted) = &settings.wal_dir else {
            return match noted {
                Some(path) => Err(format!(
                    "the log of {} is in {path}: start with --wal-dir={path}",
                    data.display()
                )),
                None => Ok(Self {
                    path: data.to_owned(),
                    _held: None,
                }),
            };
        };
        let held = DataDir::open(wanted, OWNER, FORMAT_VERSION).map_err(|error| format!("--wal-dir: {error}"))?;
        let path = held.path().to_owned();
        let has_log = disk.exists(&path.join(ENTRIES_DIRECTORY)).map_err(io)?;
        let here = path.display().to_string();
        if noted.as_ref() != Some(&here) {
            let elsewhere = match &noted {
                Some(noted) => Some(noted.clone()),
                None if disk.exists(&data.join(ENTRIES_DIRECTORY)).map_err(io)? => Some(data.display().to_string()),
                None => None,
            };
            if let Some(elsewhere) = elsewhere.filter(|_| !has_log) {
                return Err(format!(
                    "--wal-dir={here}: the log of {} is in {elsewhere}; name that, or move `log`, `hard-state` and `commit` from there",
                    data.display()
                ));
            }
            // In this order: where there is a note, there is a log, or it is lost.
            disk.create_dir_all(&path.join(ENTRIES_DIRECTORY)).map_err(io)?;
            disk.sync_dir(&path).map_err(io)?;
            write_note(disk, data, &here).map_err(io)?;
        } else if !has_log {
            return Err(format!(
                "--wal-dir={here}: the log of {} is not there any more; is its disk mounted?",
                data.display()
            ));
        }
        Ok(Self {
            path,
            _held: Some(held),
        })
    }

    pub(in crate::server) fn path(&self) -> &Path {
        &self.path
    }
}

fn read_note(disk: &dyn Disk, data: &Path) -> std::io::Result<Option<String>> {
    let path = data.join(NOTE);
    if !disk.exists(&path)? {
        return Ok(None);
    }
    let file = disk.open(&path, Mode::Read)?;
    let length = usize::try_from(file.len()?).unwrap_or(usize::MAX).min(NOTE_BYTES_MAX);
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, 0)?;
    String::from_utf8(bytes)
        .map(Some)
        .map_err(|_| std::io::Error::other(format!("{} is unreadable", path.display())))
}

fn write_note(disk: &dyn Disk, data: &Path, text: &str) -> std::io::Result<()> {
    let (path, unfinished) = (data.join(NOTE), data.join("wal-dir.new"));
    if disk.exists(&unfinished)? {
        disk.remove_file(&unfinished)?;
    }
    let file = disk.open(&unfinished, Mode::CreateNew)?;
    file.write_at(text.as_bytes(), 0)?;
    file.sync_data()?;
    disk.rename(&unfinished, &path)?;
    disk.sync_dir(data)
}
