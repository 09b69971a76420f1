//! Epochs on disk.
//!
//! `DIR/incarnation` names the process that may publish. `DIR/epoch-00000007/` holds `manifest.json`, whose last line is
//! its checksum, and a file of Arrow IPC for each state table. An epoch is written as `….part`, every file of it synced,
//! and published by one rename; a `….part` that is found at the start is what a crash left and is removed.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use disk::{Disk, Mode};

use super::manifest::{Manifest, OperatorState, TaskEntry};
use super::{TaskId, TaskState};
use crate::Error;
use crate::graph::KEY_HASH;
use crate::operator::Snapshot;

/// 2: the hash of keys has a name.
const FORMAT: u32 = 2;
const MANIFEST: &str = "manifest.json";
const INCARNATION: &str = "incarnation";
const PART: &str = ".part";
/// Epochs that are kept: the newest, and one to fall back to.
const KEPT: usize = 2;
/// A state file larger than this is damaged.
const FILE_BYTES_MAX: u64 = 16 << 30;

/// The epochs of one job.
#[derive(Debug, Clone)]
pub struct Store {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    fingerprint: String,
    incarnation: u64,
}

/// An epoch read back.
#[derive(Debug)]
pub struct Restored {
    pub epoch: u64,
    pub finished: bool,
    pub tasks: BTreeMap<TaskId, TaskState>,
    /// Newer epochs that could not be read, and why.
    pub passed_over: Vec<String>,
}

impl Store {
    /// Takes the job's directory over: from now on no earlier process can publish in it.
    pub fn open(disk: Arc<dyn Disk>, directory: &Path, fingerprint: &str) -> Result<Self, Error> {
        let mut store = Self {
            disk: Arc::clone(&disk),
            directory: directory.to_owned(),
            fingerprint: fingerprint.to_owned(),
            incarnation: 0,
        };
        store.run(|| disk.create_dir_all(directory))?;
        store.incarnation = store.current_incarnation()? + 1;
        let part = directory.join(format!("{INCARNATION}{PART}"));
        store.run(|| {
            store.write(&part, store.incarnation.to_string().as_bytes())?;
            disk.rename(&part, &directory.join(INCARNATION))?;
            disk.sync_dir(directory)
        })?;
        for entry in store.run(|| disk.list(directory))? {
            if entry.is_dir && entry.name.ends_with(PART) {
                store.run(|| disk.remove_dir_all(&directory.join(&entry.name)))?;
            }
        }
        Ok(store)
    }

    /// Reads the job's directory and changes nothing in it: the process that runs the job goes on.
    pub fn inspect(disk: Arc<dyn Disk>, directory: &Path, fingerprint: &str) -> Result<Option<Restored>, Error> {
        let reader = Self {
            disk,
            directory: directory.to_owned(),
            fingerprint: fingerprint.to_owned(),
            incarnation: 0,
        };
        reader.newest()
    }

    /// Makes an epoch durable. When it returns, the epoch is what a restart goes on from.
    pub fn publish(&self, epoch: u64, states: &BTreeMap<TaskId, TaskState>, finished: bool) -> Result<(), Error> {
        if self.current_incarnation()? != self.incarnation {
            return Err(Error::runtime(format!(
                "another process has taken over the state in {}: this one must not go on",
                self.directory.display()
            )));
        }
        let name = epoch_name(epoch);
        let part = self.directory.join(format!("{name}{PART}"));
        self.run(|| self.disk.create_dir_all(&part))?;
        let mut tasks = BTreeMap::new();
        for (task, state) in states {
            tasks.insert(task.to_string(), self.write_task(&part, *task, state)?);
        }
        let manifest = Manifest {
            format: FORMAT,
            fingerprint: self.fingerprint.clone(),
            key_hash: Some(KEY_HASH.to_owned()),
            incarnation: self.incarnation,
            epoch,
            finished,
            tasks,
        };
        let mut text = serde_json::to_string(&manifest).map_err(Error::runtime)?;
        let checksum = crc32c::crc32c(text.as_bytes());
        text.push_str(&format!("\n{checksum:08x}\n"));
        self.run(|| {
            self.write(&part.join(MANIFEST), text.as_bytes())?;
            self.disk.sync_dir(&part)?;
            self.disk.rename(&part, &self.directory.join(&name))?;
            self.disk.sync_dir(&self.directory)
        })
    }

    fn write_task(&self, part: &Path, task: TaskId, state: &TaskState) -> Result<TaskEntry, Error> {
        let mut operators = Vec::new();
        for (number, snapshot) in state.operators.iter().enumerate() {
            let mut written = OperatorState {
                facts: snapshot.facts.clone(),
                counters: snapshot.counters,
                table: None,
            };
            if let Some(table) = &snapshot.table {
                let bytes = encode(table)?;
                let file = format!("{task}-{number}.arrow");
                self.run(|| self.write(&part.join(&file), &bytes))?;
                written.table = Some((file, crc32c::crc32c(&bytes)));
            }
            operators.push(written);
        }
        let (position, committable) = (state.position.clone(), state.committable.clone());
        Ok(TaskEntry {
            task,
            position,
            operators,
            committable,
        })
    }

    /// The newest epoch that can be read.
    pub fn newest(&self) -> Result<Option<Restored>, Error> {
        let mut passed_over = Vec::new();
        for epoch in self.epochs()?.into_iter().rev() {
            match self.read(epoch) {
                Ok((finished, tasks)) => {
                    return Ok(Some(Restored {
                        epoch,
                        finished,
                        tasks,
                        passed_over,
                    }));
                }
                // A wrong program is no damage: going back an epoch would not help.
                Err(error @ (Error::Validate(_) | Error::Unsupported(_))) => return Err(error),
                Err(error) => passed_over.push(format!("epoch {epoch}: {}", error.message())),
            }
        }
        if passed_over.is_empty() {
            return Ok(None);
        }
        Err(Error::runtime(format!(
            "no checkpoint in {} can be read ({}): give another --state directory to start from the beginning",
            self.directory.display(),
            passed_over.join("; ")
        )))
    }

    /// The largest epoch number there is, readable or not.
    pub fn last_epoch(&self) -> Result<u64, Error> {
        Ok(self.epochs()?.last().copied().unwrap_or(0))
    }

    /// Removes epochs before `before`, but for the newest of them.
    pub fn forget(&self, before: u64) -> Result<(), Error> {
        let older: Vec<u64> = self.epochs()?.into_iter().filter(|epoch| *epoch < before).collect();
        let spare = older.len().saturating_sub(KEPT - 1);
        for epoch in &older[..spare] {
            self.run(|| self.disk.remove_dir_all(&self.directory.join(epoch_name(*epoch))))?;
        }
        Ok(())
    }

    fn epochs(&self) -> Result<Vec<u64>, Error> {
        let entries = self.run(|| self.disk.list(&self.directory))?;
        let number = |name: &str| name.strip_prefix("epoch-")?.parse().ok();
        let mut epochs: Vec<u64> = entries
            .iter()
            .filter(|e| e.is_dir)
            .filter_map(|e| number(&e.name))
            .collect();
        epochs.sort_unstable();
        Ok(epochs)
    }

    fn read(&self, epoch: u64) -> Result<(bool, BTreeMap<TaskId, TaskState>), Error> {
        let directory = self.directory.join(epoch_name(epoch));
        let bytes = self.run(|| self.read_file(&directory.join(MANIFEST)))?;
        let text = String::from_utf8(bytes).map_err(|_| Error::runtime("its manifest is damaged"))?;
        let lines = text.strip_suffix('\n').and_then(|text| text.rsplit_once('\n'));
        let (body, checksum) = lines.ok_or_else(|| Error::runtime("its manifest is cut"))?;
        if u32::from_str_radix(checksum, 16).ok() != Some(crc32c::crc32c(body.as_bytes())) {
            return Err(Error::runtime("its manifest is damaged"));
        }
        let manifest: Manifest = serde_json::from_str(body).map_err(Error::runtime)?;
        if manifest.format > FORMAT {
            return Err(Error::unsupported(format!(
                "the state in {} was written in format {}, this program knows formats up to {FORMAT}: use a newer one",
                self.directory.display(),
                manifest.format
            )));
        }
        if manifest.fingerprint != self.fingerprint {
            return Err(Error::validate(format!(
                "the state in {} is of another program: give an empty --state directory, or the program that wrote it",
                self.directory.display()
            )));
        }
        if manifest.key_hash.as_deref() != Some(KEY_HASH) {
            let written = manifest.key_hash.as_deref().unwrap_or("a hash without a name");
            return Err(Error::unsupported(format!(
                "the state in {} was divided by {written}, this program divides by {KEY_HASH}: run the job to its end with \
                 the release that wrote the state, or start it again with an empty --state directory",
                self.directory.display()
            )));
        }
        let mut tasks = BTreeMap::new();
        for entry in manifest.tasks.into_values() {
            let mut operators = Vec::new();
            for operator in entry.operators {
                let table = operator
                    .table
                    .map(|(file, crc)| self.read_table(&directory.join(file), crc))
                    .transpose()?;
                operators.push(Snapshot {
                    facts: operator.facts,
                    table,
                    counters: operator.counters,
                });
            }
            let state = TaskState {
                position: entry.position,
                operators,
                committable: entry.committable,
            };
            tasks.insert(entry.task, state);
        }
        Ok((manifest.finished, tasks))
    }

    fn read_table(&self, path: &Path, checksum: u32) -> Result<RecordBatch, Error> {
        let bytes = self.run(|| self.read_file(path))?;
        if crc32c::crc32c(&bytes) != checksum {
            return Err(Error::runtime(format!("{} is damaged", path.display())));
        }
        let mut reader = StreamReader::try_new(bytes.as_slice(), None)?;
        let batch = reader
            .next()
            .ok_or_else(|| Error::runtime(format!("{} is empty", path.display())))?;
        Ok(batch?)
    }

    fn current_incarnation(&self) -> Result<u64, Error> {
        let path = self.directory.join(INCARNATION);
        match self.read_file(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes)
                .trim()
                .parse()
                .map_err(|_| Error::runtime(format!("{} is damaged: give another --state directory", path.display()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let file = self.disk.open(path, Mode::Write)?;
        file.set_len(0)?;
        file.write_at(bytes, 0)?;
        file.sync_data()
    }

    fn read_file(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.disk.open(path, Mode::Read)?;
        let len = file.len()?;
        if len > FILE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "too long"));
        }
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    fn run<T>(&self, action: impl FnOnce() -> io::Result<T>) -> Result<T, Error> {
        action().map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &io::Error) -> Error {
        Error::runtime(format!(
            "cannot use the state directory {}: {error}",
            self.directory.display()
        ))
    }
}

fn epoch_name(epoch: u64) -> String {
    format!("epoch-{epoch:08}")
}

fn encode(table: &RecordBatch) -> Result<Vec<u8>, Error> {
    let mut writer = StreamWriter::try_new(Vec::new(), table.schema_ref())?;
    writer.write(table)?;
    Ok(writer.into_inner()?)
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field, Schema};
    use disk::RealDisk;

    use super::*;

    fn states(value: i64) -> BTreeMap<TaskId, TaskState> {
        let schema = Arc::new(Schema::new(vec![Field::new("c0", DataType::Int64, true)]));
        let table = RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(vec![value]))]).unwrap();
        let snapshot = Snapshot {
            table: Some(table),
            ..Snapshot::default()
        };
        let state = TaskState {
            position: Some(value.into()),
            operators: vec![snapshot],
            committable: None,
        };
        BTreeMap::from([(TaskId { vertex: 0, subtask: 1 }, state)])
    }

    fn open(directory: &Path) -> Store {
        Store::open(Arc::new(RealDisk), directory, "program").unwrap()
    }

    #[test]
    fn the_newest_epoch_comes_back_and_old_ones_go() {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        assert!(store.newest().unwrap().is_none());
        for epoch in 1..=4 {
            store.publish(epoch, &states(epoch as i64), epoch == 4).unwrap();
            store.forget(epoch).unwrap();
        }
        let restored = open(directory.path()).newest().unwrap().unwrap();
        assert_eq!((restored.epoch, restored.finished), (4, true));
        assert_eq!(restored.tasks, states(4));
        assert_eq!(store.epochs().unwrap(), [3, 4]);
    }

    #[test]
    fn a_damaged_newest_epoch_is_passed_over_wherever_it_is_damaged() {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        store.publish(1, &states(1), false).unwrap();
        store.publish(2, &states(2), false).unwrap();
        for file in ["manifest.json", "0-1-0.arrow"] {
            let path = directory.path().join("epoch-00000002").join(file);
            let whole = std::fs::read(&path).unwrap();
            for at in (0..whole.len()).step_by(3) {
                let mut bytes = whole.clone();
                bytes[at] ^= 0x10;
                std::fs::write(&path, &bytes).unwrap();
                let restored = store.newest().unwrap().unwrap();
                assert!(restored.epoch == 1 || restored.tasks == states(2), "{file} at {at}");
                std::fs::write(&path, &whole[..at]).unwrap();
                assert_eq!(store.newest().unwrap().unwrap().epoch, 1, "{file} cut at {at}");
            }
            std::fs::write(&path, &whole).unwrap();
        }
        assert_eq!(store.newest().unwrap().unwrap().epoch, 2);
    }

    #[test]
    fn a_replaced_process_cannot_publish() {
        let directory = tempfile::tempdir().unwrap();
        let old = open(directory.path());
        let new = open(directory.path());
        assert!(
            old.publish(1, &states(1), false)
                .unwrap_err()
                .message()
                .contains("taken over")
        );
        new.publish(1, &states(1), false).unwrap();
    }

    #[test]
    fn state_that_another_hash_divided_is_refused_and_says_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        open(directory.path()).publish(1, &states(1), false).unwrap();
        let path = directory.path().join("epoch-00000001/manifest.json");
        let text = std::fs::read_to_string(&path).unwrap();
        let body = text.lines().next().unwrap();
        let named = format!("\"key_hash\":\"{KEY_HASH}\"");
        assert!(body.contains(&named), "{body}");
        for other in ["\"key_hash\":\"other\"", "\"key_hash\":null"] {
            let body = body.replace(&named, other);
            std::fs::write(&path, format!("{body}\n{:08x}\n", crc32c::crc32c(body.as_bytes()))).unwrap();
            let error = open(directory.path()).newest().unwrap_err();
            assert_eq!(error.kind(), "unsupported");
            assert!(error.message().contains("empty --state directory"), "{error}");
        }
    }

    #[test]
    fn another_programs_state_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        open(directory.path()).publish(1, &states(1), false).unwrap();
        let other = Store::open(Arc::new(RealDisk), directory.path(), "another").unwrap();
        assert_eq!(other.newest().unwrap_err().kind(), "validate");
    }
}
