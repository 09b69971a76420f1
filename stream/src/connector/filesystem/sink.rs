//! Writes files that become visible with their checkpoint, each row once.
//!
//! A part's life: rows in memory → `.part-JOB-SUBTASK-N.EXT.inprogress.EPOCH`, written whole and durable → renamed to
//! `part-JOB-SUBTASK-N.EXT` by the commit. The committable lists every part that is written and not yet renamed, and the
//! next number, so the newest one is enough to recover from, whatever became of the commits before.
//!
//! Invariants:
//! - a visible part is complete, and in a committable that `commit` or `recover` was called with;
//! - a number is given once in the life of a job: a restart continues behind the number in its committable, after
//!   removing the hidden files of this job that are not in it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use disk::Disk;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::store::Location;
use super::{FileFormat, Settings, partition};
use crate::Error;
use crate::connector::{Context, Sink};
use crate::format::Encoder;
use crate::format::parquet::ParquetWriter;
use crate::format::view::View;
use crate::table::{RowKind, TableSpec};

/// What a checkpoint keeps of a file sink.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Committable {
    /// The number of the next part.
    next: u64,
    parts: Vec<WrittenPart>,
}

/// A part that is durable under its hidden name; both paths are below the table's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct WrittenPart {
    hidden: String,
    visible: String,
}

/// Rows of one partition that are not in a file yet.
enum OpenPart {
    Records(Vec<u8>),
    Parquet(Box<ParquetWriter>),
}

pub struct FileSink {
    table: String,
    settings: Settings,
    disk: Arc<dyn Disk>,
    context: Context,
    columns: SchemaRef,
    /// Where the columns of the files, and the partition keys, stand in the rows.
    column_indexes: Vec<usize>,
    partition_indexes: Vec<usize>,
    partition_keys: Vec<String>,
    encoder: Option<Box<dyn Encoder>>,
    location: Option<Location>,
    /// By the partition's directory, `""` where there is none.
    open: BTreeMap<String, OpenPart>,
    next: u64,
    epoch: u64,
    pending: Vec<WrittenPart>,
}

impl FileSink {
    pub fn new(table: &TableSpec, settings: Settings, context: &Context, disk: Arc<dyn Disk>) -> Result<Self, Error> {
        if let Some(column) = table.metadata.iter().find(|m| !m.virtual_) {
            return Err(Error::validate(format!(
                "Invalid metadata key '{}' in column '{}' of table '{}'. The connector 'filesystem' has no metadata to \
                 write. Declare the column VIRTUAL.",
                column.key, column.column, table.name
            )));
        }
        let columns = Settings::columns_in_files(table);
        let encoder = match &settings.format {
            FileFormat::Messages(format) => Some(format.encoder(&columns)?),
            FileFormat::Parquet(options) => ParquetWriter::new(&columns, *options).map(|_| None)?,
        };
        let written: Vec<&str> = table
            .physical
            .fields()
            .iter()
            .map(|f| f.name().as_str())
            .filter(|name| table.metadata_key(name).is_none())
            .collect();
        let place = |name: &str| written.iter().position(|w| *w == name).unwrap_or_default();
        Ok(Self {
            table: table.name.clone(),
            column_indexes: columns.fields().iter().map(|f| place(f.name())).collect(),
            partition_indexes: table.partition_keys.iter().map(|key| place(key)).collect(),
            partition_keys: table.partition_keys.clone(),
            settings,
            disk,
            context: context.clone(),
            columns,
            encoder,
            location: None,
            open: BTreeMap::new(),
            next: 0,
            epoch: 0,
            pending: Vec::new(),
        })
    }

    fn location(&self) -> Result<&Location, Error> {
        self.location
            .as_ref()
            .ok_or_else(|| Error::runtime("A sink was used before it was recovered."))
    }

    fn part_name(&self, number: u64) -> String {
        let Context { job, subtask, .. } = &self.context;
        format!("part-{job}-{subtask}-{number}.{}", self.settings.format.extension())
    }

    async fn write_rows(&mut self, rows: &RecordBatch, kinds: &[RowKind]) -> Result<(), Error> {
        if kinds.iter().any(|kind| *kind != RowKind::Insert) {
            return Err(Error::unsupported(format!(
                "Table sink '{}' doesn't support consuming update and delete changes.",
                self.table
            )));
        }
        if self.partition_indexes.is_empty() {
            return self.append(String::new(), rows).await;
        }
        for (directory, members) in self.partitions(rows)? {
            let members = take_record_batch(rows, &UInt32Array::from(members))?;
            self.append(directory, &members).await?;
        }
        Ok(())
    }

    /// The rows of each partition.
    fn partitions(&self, rows: &RecordBatch) -> Result<BTreeMap<String, Vec<u32>>, Error> {
        let views = self
            .partition_indexes
            .iter()
            .map(|i| View::new(rows.column(*i)))
            .collect::<Result<Vec<_>, Error>>()?;
        let mut partitions: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for row in 0..rows.num_rows() {
            let mut directory = String::new();
            for (key, view) in self.partition_keys.iter().zip(&views) {
                partition::push_segment(&mut directory, key, &view.value(row), &self.settings.default_partition);
            }
            partitions.entry(directory).or_default().push(row as u32);
        }
        Ok(partitions)
    }

    async fn append(&mut self, directory: String, rows: &RecordBatch) -> Result<(), Error> {
        let rows = rows.project(&self.column_indexes)?;
        let part = match self.open.entry(directory.clone()) {
            std::collections::btree_map::Entry::Occupied(part) => part.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => place.insert(match &self.settings.format {
                FileFormat::Messages(_) => OpenPart::Records(Vec::new()),
                FileFormat::Parquet(options) => {
                    OpenPart::Parquet(Box::new(ParquetWriter::new(&self.columns, *options)?))
                }
            }),
        };
        let len = match part {
            OpenPart::Records(bytes) => {
                if let Some(encoder) = &self.encoder {
                    encoder.encode(&rows, &mut |_, record| {
                        bytes.extend_from_slice(record);
                        bytes.push(b'\n');
                        Ok(())
                    })?;
                }
                bytes.len()
            }
            OpenPart::Parquet(writer) => {
                writer.write(&rows)?;
                writer.bytes_so_far()
            }
        };
        if len >= self.settings.part_bytes_max {
            self.finish_part(&directory).await?;
        }
        Ok(())
    }

    /// Makes a part durable under its hidden name.
    async fn finish_part(&mut self, directory: &str) -> Result<(), Error> {
        let Some(part) = self.open.remove(directory) else {
            return Ok(());
        };
        let content = match part {
            OpenPart::Records(bytes) => Bytes::from(bytes),
            OpenPart::Parquet(writer) => writer.finish()?,
        };
        let name = self.part_name(self.next);
        let hidden = format!("{directory}.{name}.inprogress.{}", self.epoch);
        let location = self.location()?;
        location
            .store
            .write_new(&format!("{}/{hidden}", location.path), content)
            .await?;
        self.next += 1;
        self.pending.push(WrittenPart {
            hidden,
            visible: format!("{directory}{name}"),
        });
        Ok(())
    }

    async fn prepare(&mut self, epoch: u64) -> Result<serde_json::Value, Error> {
        self.epoch = epoch;
        let directories: Vec<String> = self.open.keys().cloned().collect();
        for directory in directories {
            self.finish_part(&directory).await?;
        }
        let committable = Committable {
            next: self.next,
            parts: self.pending.clone(),
        };
        serde_json::to_value(committable).map_err(Error::runtime)
    }

    async fn publish(&mut self, committable: &serde_json::Value) -> Result<(), Error> {
        let committable = read_committable(committable)?;
        for part in &committable.parts {
            let location = self.location()?;
            let (from, to) = (
                format!("{}/{}", location.path, part.hidden),
                format!("{}/{}", location.path, part.visible),
            );
            location.store.rename_once(&from, &to).await?;
            self.pending.retain(|pending| pending != part);
        }
        Ok(())
    }

    async fn restart(&mut self, last: Option<&serde_json::Value>) -> Result<(), Error> {
        let location = Location::open(&self.settings.path, &self.disk)?;
        self.location = Some(location.clone());
        if let Some(last) = last {
            self.next = read_committable(last)?.next;
            self.publish(last).await?;
        }
        let leftovers = location.store.files(&location.path, true).await?.unwrap_or_default();
        let doomed: Vec<&str> = leftovers
            .iter()
            .map(|file| file.path.as_str())
            .filter(|path| self.is_ours_in_progress(path))
            .collect();
        for path in doomed {
            tracing::info!(path, "removing a part that no checkpoint holds");
            location.store.remove(path).await?;
        }
        // A job without a checkpoint may still find parts of its own name, from before its state was lost.
        let used: BTreeSet<u64> = leftovers
            .iter()
            .filter_map(|file| self.visible_number(&file.path))
            .collect();
        self.next = self.next.max(used.last().map_or(0, |last| last + 1));
        Ok(())
    }

    /// Whether a path is a hidden part of this job that this subtask is to clear away.
    fn is_ours_in_progress(&self, path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path);
        let prefix = format!(".part-{}-", self.context.job);
        let Some(rest) = name.strip_prefix(&prefix) else {
            return false;
        };
        let subtask = rest.split('-').next().and_then(|subtask| subtask.parse::<u32>().ok());
        // After a change of the parallelism the parts of subtasks that are gone have an heir too.
        name.contains(".inprogress.")
            && subtask.is_some_and(|s| s % self.context.parallelism.max(1) == self.context.subtask)
    }

    fn visible_number(&self, path: &str) -> Option<u64> {
        let name = path.rsplit('/').next()?;
        let prefix = format!("part-{}-{}-", self.context.job, self.context.subtask);
        name.strip_prefix(&prefix)?.split('.').next()?.parse().ok()
    }
}

/// One committable, or those of several subtasks in an array.
fn read_committable(value: &serde_json::Value) -> Result<Committable, Error> {
    let several = match value {
        serde_json::Value::Array(several) => several.as_slice(),
        one => std::slice::from_ref(one),
    };
    let mut whole = Committable::default();
    for one in several {
        let one: Committable = serde_json::from_value(one.clone()).map_err(|error| {
            Error::runtime(format!(
                "The checkpoint holds no committable of a file sink: {error}. Start the job with an empty --state directory."
            ))
        })?;
        whole.next = whole.next.max(one.next);
        whole.parts.extend(one.parts);
    }
    Ok(whole)
}

impl Sink for FileSink {
    fn recover<'a>(&'a mut self, last: Option<&'a serde_json::Value>) -> BoxFuture<'a, Result<(), Error>> {
        self.restart(last).boxed()
    }

    fn write<'a>(&'a mut self, rows: &'a RecordBatch, kinds: &'a [RowKind]) -> BoxFuture<'a, Result<(), Error>> {
        self.write_rows(rows, kinds).boxed()
    }

    fn pre_commit(&mut self, epoch: u64) -> BoxFuture<'_, Result<serde_json::Value, Error>> {
        self.prepare(epoch).boxed()
    }

    fn commit<'a>(&'a mut self, committable: &'a serde_json::Value) -> BoxFuture<'a, Result<(), Error>> {
        self.publish(committable).boxed()
    }
}

#[cfg(test)]
mod tests;
