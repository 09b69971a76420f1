//! The `filesystem` connector: files of one format below a path, here or in HDFS.
//!
//! As a source it is bounded: the files that are there when the job starts, in the order of their paths, each to the
//! length that it had then. As a sink it collects a *part* per subtask and partition in memory, and writes it in one go
//! under a hidden name when it is large or a checkpoint comes; the commit renames it. So a part can be written again if a
//! data node died meanwhile, and half of one is never visible.
//!
//! Not here: watching a directory for new files, compaction, and Flink's partition commit (success files, metastore):
//! refused by name.

mod partition;
mod sink;
mod source;
mod store;

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use disk::{Disk, RealDisk};

use super::{Context, Sink, Source};
use crate::Error;
use crate::format::parquet::ParquetOptions;
use crate::format::{FormatOptions, MessageFormat};
use crate::table::{Options, TableSpec};

/// What the options of a table say.
#[derive(Debug, Clone)]
struct Settings {
    path: String,
    format: FileFormat,
    default_partition: String,
    /// A part is written when it has about this number of bytes.
    part_bytes_max: usize,
}

#[derive(Debug, Clone)]
enum FileFormat {
    Messages(MessageFormat),
    Parquet(ParquetOptions),
}

impl FileFormat {
    fn extension(&self) -> &'static str {
        match self {
            Self::Messages(format) => format.extension(),
            Self::Parquet(_) => "parquet",
        }
    }
}

/// A part is held in memory until it is written, so this bounds memory too. Flink's default is 128 MB.
const PART_BYTES_MAX: u64 = 32 << 20;

impl Settings {
    fn read(table: &TableSpec) -> Result<Self, Error> {
        let options = Options::new("filesystem", &table.options);
        let path = options.required("path")?;
        store::check_path(path)?;
        let format = match options.required("format")? {
            "parquet" => FileFormat::Parquet(ParquetOptions::read(&FormatOptions::new(&options, "parquet."))?),
            name => FileFormat::Messages(MessageFormat::read(name, &options, "")?),
        };
        options.refuse("source.monitor-interval", "")?;
        options.watermarks()?;
        options.refuse("source.path.regex-pattern", "")?;
        options.refuse("auto-compaction", "false")?;
        options.refuse("sink.partition-commit.policy.kind", "")?;
        options.refuse("sink.shuffle-by-partition.enable", "false")?;
        options.refuse("sink.parallelism", "1")?;
        // Parts end at every checkpoint at the latest, which is sooner than any interval.
        options.duration("sink.rolling-policy.rollover-interval")?;
        options.duration("sink.rolling-policy.inactivity-interval")?;
        options.duration("sink.rolling-policy.check-interval")?;
        let part_bytes_max = options
            .bytes("sink.rolling-policy.file-size")?
            .unwrap_or(PART_BYTES_MAX);
        let settings = Self {
            path: path.to_owned(),
            format,
            default_partition: options
                .text("partition.default-name")
                .unwrap_or(partition::DEFAULT_NAME)
                .to_owned(),
            part_bytes_max: part_bytes_max.clamp(1, PART_BYTES_MAX) as usize,
        };
        options.finish()?;
        for key in &table.partition_keys {
            if table.physical.column_with_name(key).is_none() {
                return Err(Error::validate(format!(
                    "Partition column '{key}' not defined in the table schema."
                )));
            }
        }
        Ok(settings)
    }

    /// The columns that stand in the files: neither partition nor metadata columns.
    fn columns_in_files(table: &TableSpec) -> SchemaRef {
        let fields: Vec<_> = table
            .physical
            .fields()
            .iter()
            .filter(|f| !table.partition_keys.contains(f.name()) && table.metadata_key(f.name()).is_none())
            .cloned()
            .collect();
        Arc::new(Schema::new(fields))
    }
}

pub fn open_source(table: &TableSpec, _context: &Context) -> Result<Box<dyn Source>, Error> {
    let settings = Settings::read(table)?;
    Ok(Box::new(source::FileSource::new(table, settings, local_disk())?))
}

pub fn open_sink(table: &TableSpec, context: &Context) -> Result<Box<dyn Sink>, Error> {
    let settings = Settings::read(table)?;
    Ok(Box::new(sink::FileSink::new(table, settings, context, local_disk())?))
}

fn local_disk() -> Arc<dyn Disk> {
    Arc::new(RealDisk)
}
