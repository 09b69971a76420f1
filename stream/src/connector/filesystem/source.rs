//! Reads the files below a path, one after the other.
//!
//! The position holds each file with the length it had at the start and how far it has been returned: a byte offset in
//! files made of records, a row number in Parquet files. The offset stands behind the last record that `next` returned,
//! whatever has been read ahead.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, SchemaRef};
use bytes::{Buf, Bytes, BytesMut};
use disk::Disk;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::store::{FileInfo, Location, Reader, Store};
use super::{FileFormat, Settings, partition};
use crate::Error;
use crate::connector::{Source, SourceEvent};
use crate::format::column::Column;
use crate::format::parquet::{ParquetReader, Ranges};
use crate::format::{Decoder, MessageFormat, csv};
use crate::table::TableSpec;

/// Rows a batch.
const BATCH_ROWS: usize = 8192;
/// Bytes asked for at a time.
const CHUNK_BYTES: u64 = 1 << 20;
/// A record longer than this is taken for a broken file (an unclosed quote).
const RECORD_BYTES_MAX: usize = 64 << 20;

/// A file and how far it has been returned.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Split {
    path: String,
    len: u64,
    modified_ms: i64,
    /// Bytes or, in Parquet, rows.
    read: u64,
    finished: bool,
}

/// Where a column of the table comes from.
#[derive(Debug, Clone)]
enum Origin {
    /// A column of the file, by its place there.
    File(usize),
    /// A partition key, by its place among them.
    Partition(usize),
    FilePath,
    FileName,
    FileSize,
    FileModified,
}

pub struct FileSource {
    settings: Settings,
    disk: Arc<dyn Disk>,
    physical: SchemaRef,
    in_files: SchemaRef,
    origins: Vec<Origin>,
    partition_keys: Vec<String>,
    splits: Option<Vec<Split>>,
    location: Option<Location>,
    current: usize,
    open: Option<Open>,
}

/// The file being read.
enum Open {
    Records(Records),
    Parquet(Box<ParquetReader>),
}

struct Records {
    reader: Reader,
    /// Where `buffer` begins in the file.
    offset: u64,
    buffer: BytesMut,
    decoder: Box<dyn Decoder>,
}

impl FileSource {
    pub fn new(table: &TableSpec, settings: Settings, disk: Arc<dyn Disk>) -> Result<Self, Error> {
        let in_files = Settings::columns_in_files(table);
        if let FileFormat::Messages(format) = &settings.format {
            // Refuses columns that the format cannot hold before anything runs.
            format.decoder(in_files.clone())?;
        }
        let origins = table
            .physical
            .fields()
            .iter()
            .map(|field| origin(table, &in_files, field.name()))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            settings,
            disk,
            physical: table.physical.clone(),
            in_files,
            origins,
            partition_keys: table.partition_keys.clone(),
            splits: None,
            location: None,
            current: 0,
            open: None,
        })
    }

    async fn find_files(&mut self) -> Result<(), Error> {
        let location = Location::open(&self.settings.path, &self.disk)?;
        if self.splits.is_none() {
            let files = location.store.files(&location.path, false).await?.ok_or_else(|| {
                Error::runtime(format!(
                    "File {} does not exist. Correct the table's 'path'.",
                    self.settings.path
                ))
            })?;
            let split = |FileInfo { path, len, modified_ms }| Split {
                path,
                len,
                modified_ms,
                read: 0,
                finished: false,
            };
            self.splits = Some(files.into_iter().map(split).collect());
        }
        self.location = Some(location);
        Ok(())
    }

    async fn next_event(&mut self) -> Result<SourceEvent, Error> {
        loop {
            let splits = self.splits.as_deref_mut().unwrap_or_default();
            let Some(split) = splits.get_mut(self.current) else {
                return Ok(SourceEvent::End);
            };
            if split.finished {
                self.current += 1;
                continue;
            }
            let store = match &self.location {
                Some(location) => location.store.clone(),
                None => return Err(Error::runtime("A source was asked for rows before it was started.")),
            };
            if self.open.is_none() {
                self.open = Some(open(&self.settings.format, &store, split, &self.in_files).await?);
            }
            let rows = match &mut self.open {
                Some(Open::Records(records)) => records.next(split, &self.settings.format).await?,
                Some(Open::Parquet(reader)) => {
                    let rows = reader.next().await?;
                    split.read += rows.as_ref().map_or(0, |rows| rows.num_rows() as u64);
                    rows
                }
                None => None,
            };
            let number = self.current as u32;
            match rows {
                Some(rows) if rows.num_rows() == 0 => {}
                Some(rows) => {
                    let file = split.clone();
                    return Ok(SourceEvent::Batch {
                        split: number,
                        rows: self.complete(&rows, &file)?,
                    });
                }
                None => {
                    split.finished = true;
                    self.open = None;
                    return Ok(SourceEvent::SplitFinished(number));
                }
            }
        }
    }

    /// Adds the columns that are not in the file.
    fn complete(&self, rows: &RecordBatch, file: &Split) -> Result<RecordBatch, Error> {
        let root = self.location.as_ref().map_or("", |location| location.path.as_str());
        let below = file.path.strip_prefix(root).unwrap_or(&file.path);
        let values = partition::values_of(below, &self.partition_keys, &self.settings.default_partition)
            .map_err(|key| Error::runtime(format!("File '{}' is in no partition of '{key}'. Move it.", file.path)))?;
        let len = rows.num_rows();
        let text = |text: &str| Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, len))) as ArrayRef;
        let columns = self
            .origins
            .iter()
            .zip(self.physical.fields())
            .map(|(origin, field)| match origin {
                Origin::File(index) => Ok(rows.column(*index).clone()),
                Origin::Partition(index) => repeated(values[*index].as_deref(), field.data_type(), len),
                Origin::FilePath => Ok(text(&file.path)),
                Origin::FileName => Ok(text(file.path.rsplit('/').next().unwrap_or(&file.path))),
                Origin::FileSize => Ok(Arc::new(Int64Array::from_value(file.len as i64, len)) as ArrayRef),
                Origin::FileModified => {
                    let array = TimestampMillisecondArray::from_value(file.modified_ms, len).with_timezone("UTC");
                    Ok(arrow::compute::cast(&array, field.data_type())?)
                }
            });
        let columns = columns.collect::<Result<Vec<_>, Error>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(len));
        Ok(RecordBatch::try_new_with_options(
            self.physical.clone(),
            columns,
            &options,
        )?)
    }
}

fn origin(table: &TableSpec, in_files: &SchemaRef, column: &str) -> Result<Origin, Error> {
    if let Some(index) = table.partition_keys.iter().position(|key| key == column) {
        return Ok(Origin::Partition(index));
    }
    match table.metadata_key(column) {
        None => in_files
            .index_of(column)
            .map(Origin::File)
            .map_err(|_| Error::validate(format!("Column '{column}' is not a column of the files."))),
        Some("file.path") => Ok(Origin::FilePath),
        Some("file.name") => Ok(Origin::FileName),
        Some("file.size") => Ok(Origin::FileSize),
        Some("file.modification-time") => Ok(Origin::FileModified),
        Some(key) => Err(Error::validate(format!(
            "Invalid metadata key '{key}' in column '{column}' of table '{}'. The connector 'filesystem' supports the \
             following metadata keys for reading: file.path, file.name, file.size, file.modification-time.",
            table.name
        ))),
    }
}

fn repeated(value: Option<&str>, data_type: &DataType, len: usize) -> Result<ArrayRef, Error> {
    let mut column = Column::new(data_type)?;
    // Flink writes the directories of timestamps with a `T`.
    let spaced = value.map(|text| text.replace('T', " "));
    let value = if matches!(data_type, DataType::Timestamp(..) | DataType::Interval(_)) {
        spaced.as_deref()
    } else {
        value
    };
    for _ in 0..len {
        match value {
            None => column.append_null(),
            Some(text) if column.append_text(text) => {}
            Some(text) => {
                return Err(Error::runtime(format!(
                    "The partition value '{text}' is no {data_type}. Rename its directory."
                )));
            }
        }
    }
    column.finish()
}

async fn open(format: &FileFormat, store: &Store, split: &Split, in_files: &SchemaRef) -> Result<Open, Error> {
    let reader = store.open(&split.path).await?;
    Ok(match format {
        FileFormat::Messages(format) => Open::Records(Records {
            reader,
            offset: split.read,
            buffer: BytesMut::new(),
            decoder: format.decoder(in_files.clone())?,
        }),
        FileFormat::Parquet(_) => {
            let schema = in_files.clone();
            let parquet = ParquetReader::open(&split.path, FileRanges(reader), split.len, schema, split.read);
            Open::Parquet(Box::new(parquet.await?))
        }
    })
}

impl Records {
    /// The next rows; `None` at the end of the file. Cancel safe: nothing changes before the only await has passed.
    async fn next(&mut self, split: &mut Split, format: &FileFormat) -> Result<Option<RecordBatch>, Error> {
        loop {
            let at_end = self.offset + self.buffer.len() as u64 >= split.len;
            let used = self.decode(format, at_end)?;
            split.read += used;
            if !self.decoder.is_empty() {
                return self.decoder.finish().map(Some);
            }
            if at_end {
                return Ok(None);
            }
            if self.buffer.len() > RECORD_BYTES_MAX {
                return Err(Error::runtime(format!(
                    "File '{}' has a record of more than 64 MB at byte {}. Look for a quote that is not closed.",
                    split.path, self.offset
                )));
            }
            let from = self.offset + self.buffer.len() as u64;
            let chunk: Bytes = self
                .reader
                .read(from, CHUNK_BYTES.min(split.len - from) as usize)
                .await?;
            self.buffer.extend_from_slice(&chunk);
        }
    }

    /// Decodes whole records of the buffer, a batch at most; gives the bytes passed.
    fn decode(&mut self, format: &FileFormat, at_end: bool) -> Result<u64, Error> {
        let before = self.offset;
        while self.decoder.len() < BATCH_ROWS && !self.buffer.is_empty() {
            let end = match record_end(&self.buffer, format) {
                Some(end) => end,
                None if at_end => self.buffer.len(),
                None => break,
            };
            let record = &self.buffer[..end];
            let record = record.strip_suffix(b"\n").unwrap_or(record);
            self.decoder.decode(record.strip_suffix(b"\r").unwrap_or(record))?;
            self.buffer.advance(end);
            self.offset += end as u64;
        }
        Ok(self.offset - before)
    }
}

fn record_end(bytes: &[u8], format: &FileFormat) -> Option<usize> {
    match format {
        FileFormat::Messages(MessageFormat::Csv(options)) => csv::record_end(bytes, options),
        _ => bytes.iter().position(|b| *b == b'\n').map(|at| at + 1),
    }
}

struct FileRanges(Reader);

impl Ranges for FileRanges {
    fn range(&self, range: Range<u64>) -> BoxFuture<'static, Result<Bytes, Error>> {
        let reader = self.0.clone();
        async move { reader.read(range.start, (range.end - range.start) as usize).await }.boxed()
    }
}

impl Source for FileSource {
    fn start(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        self.find_files().boxed()
    }

    fn next(&mut self) -> BoxFuture<'_, Result<SourceEvent, Error>> {
        self.next_event().boxed()
    }

    fn position(&self) -> serde_json::Value {
        serde_json::json!({ "files": self.splits.as_deref().unwrap_or_default() })
    }

    fn restore(&mut self, position: &serde_json::Value) -> Result<(), Error> {
        let files = position.get("files").cloned().unwrap_or_default();
        let splits = serde_json::from_value(files).map_err(|error| {
            Error::runtime(format!(
                "The checkpoint holds no position of a file source: {error}. Start the job with an empty --state directory."
            ))
        })?;
        self.splits = Some(splits);
        Ok(())
    }

    fn drain(&mut self) {}

    fn splits(&self) -> usize {
        self.splits.as_ref().map_or(0, Vec::len)
    }

    fn is_bounded(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
