//! Parquet files: columns in row groups, read by ranges and written whole.
//!
//! Reading takes what the Parquet world writes: `INT96` timestamps (Flink's and old Spark's), timestamps in any unit,
//! narrower integers, dictionaries. Columns are found by name; one that the file lacks is null. Writing gives what Flink,
//! Spark and DataFusion all read: timestamps as INT64 milliseconds, microseconds or nanoseconds (seconds become
//! milliseconds), `isAdjustedToUTC` for TIMESTAMP_LTZ only.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::file::properties::WriterProperties;

use super::FormatOptions;
use super::column::Column;
use super::temporal::WIDE_TIMESTAMP;
use super::view::{Value, View};
use crate::Error;

/// Rows a batch that is read.
const BATCH_ROWS: usize = 8192;

/// The `parquet.*` options.
#[derive(Debug, Clone, Copy)]
pub struct ParquetOptions {
    compression: Compression,
}

impl ParquetOptions {
    pub fn read(options: &FormatOptions<'_>) -> Result<Self, Error> {
        let names = ["SNAPPY", "UNCOMPRESSED", "GZIP", "ZSTD", "LZ4_RAW"];
        let compression = match options.one_of("compression", &names, "SNAPPY")? {
            "UNCOMPRESSED" => Compression::UNCOMPRESSED,
            "GZIP" => Compression::GZIP(Default::default()),
            "ZSTD" => Compression::ZSTD(Default::default()),
            "LZ4_RAW" => Compression::LZ4_RAW,
            _ => Compression::SNAPPY,
        };
        // INT96 in local time is Flink's way; ours is UTC always, which is the same in the zone UTC.
        options.boolean("utc-timezone", true)?;
        options.boolean("write.int64.timestamp", true)?;
        options.one_of("timestamp.time.unit", &["micros", "millis", "nanos"], "micros")?;
        Ok(Self { compression })
    }
}

impl Default for ParquetOptions {
    fn default() -> Self {
        Self {
            compression: Compression::SNAPPY,
        }
    }
}

fn failed(what: &str, error: &ParquetError) -> Error {
    Error::runtime(format!("{what}: {error}."))
}

/// Reads byte ranges of a file of known length.
pub trait Ranges: Send + Sync + 'static {
    fn range(&self, range: Range<u64>) -> BoxFuture<'static, Result<Bytes, Error>>;
}

struct FileRanges<R> {
    ranges: Arc<R>,
    len: u64,
}

impl<R: Ranges> AsyncFileReader for FileRanges<R> {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        self.ranges
            .range(range)
            .map(|read| read.map_err(|e| ParquetError::General(e.message().to_owned())))
            .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        async move {
            let len = self.len;
            let metadata = ParquetMetaDataReader::new().load_and_finish(self, len).await?;
            Ok(Arc::new(metadata))
        }
        .boxed()
    }
}

/// Reads one file batch by batch, in the columns of a schema.
pub struct ParquetReader {
    stream: ParquetRecordBatchStream<Box<dyn AsyncFileReader>>,
    schema: SchemaRef,
    name: String,
}

impl ParquetReader {
    /// Opens a file of `len` bytes and passes over its first `skip` rows.
    pub async fn open<R: Ranges>(name: &str, ranges: R, len: u64, schema: SchemaRef, skip: u64) -> Result<Self, Error> {
        let what = format!("Parquet file '{name}'");
        let file: Box<dyn AsyncFileReader> = Box::new(FileRanges {
            ranges: Arc::new(ranges),
            len,
        });
        let builder = ParquetRecordBatchStreamBuilder::new(file)
            .await
            .map_err(|e| failed(&what, &e))?;
        let wanted: Vec<usize> = builder
            .schema()
            .fields()
            .iter()
            .enumerate()
            .filter(|(_, field)| schema.column_with_name(field.name()).is_some())
            .map(|(index, _)| index)
            .collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
        let stream = builder
            .with_projection(mask)
            .with_offset(usize::try_from(skip).unwrap_or(usize::MAX))
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(|e| failed(&what, &e))?;
        Ok(Self {
            stream,
            schema,
            name: name.to_owned(),
        })
    }

    /// The next rows; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, Error> {
        match self.stream.next().await {
            None => Ok(None),
            Some(Ok(batch)) => conform(&batch, &self.schema, &self.name).map(Some),
            Some(Err(error)) => Err(failed(&format!("Parquet file '{}'", self.name), &error)),
        }
    }
}

/// Brings the columns of a file to the types of the table.
fn conform(batch: &RecordBatch, schema: &SchemaRef, name: &str) -> Result<RecordBatch, Error> {
    let rows = batch.num_rows();
    let strict = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    let columns = schema
        .fields()
        .iter()
        .map(|field| match batch.column_by_name(field.name()) {
            None => Ok(new_null_array(field.data_type(), rows)),
            Some(column) if column.data_type() == field.data_type() => Ok(column.clone()),
            Some(column) if *column.data_type() == WIDE_TIMESTAMP || *field.data_type() == WIDE_TIMESTAMP => {
                moments(column, field)
            }
            Some(column) => cast_with_options(column, field.data_type(), &strict).map_err(|error| {
                Error::runtime(format!(
                    "Parquet file '{name}': column '{}' is {} there and {} in the table: {error}. Declare the file's type.",
                    field.name(),
                    column.data_type(),
                    field.data_type()
                ))
            }),
        })
        .collect::<Result<Vec<ArrayRef>, Error>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
}

/// A timestamp in another of Arrow's forms. Parquet has nanoseconds from 1677 to 2262 only.
fn moments(column: &ArrayRef, field: &Field) -> Result<ArrayRef, Error> {
    let view = View::new(column)?;
    let mut out = Column::new(field.data_type())?;
    for row in 0..column.len() {
        let fits = match view.value(row) {
            Value::Timestamp { moment, .. } => {
                let in_range = *field.data_type() == WIDE_TIMESTAMP || moment.to_unit(TimeUnit::Nanosecond).is_some();
                in_range && out.append_moment(moment)
            }
            value => out.append_value(value),
        };
        if !fits {
            return Err(Error::runtime(format!(
                "Column '{}' has a timestamp that Parquet cannot hold in nanoseconds. Cast it to TIMESTAMP(6).",
                field.name()
            )));
        }
    }
    out.finish()
}

/// Collects rows into the bytes of one file.
pub struct ParquetWriter {
    writer: ArrowWriter<Vec<u8>>,
    written: SchemaRef,
}

impl ParquetWriter {
    pub fn new(schema: &SchemaRef, options: ParquetOptions) -> Result<Self, Error> {
        let fields: Vec<Field> = schema
            .fields()
            .iter()
            .map(|field| Ok(field.as_ref().clone().with_data_type(parquet_type(field.data_type())?)))
            .collect::<Result<_, Error>>()?;
        let written = Arc::new(Schema::new(fields));
        let properties = WriterProperties::builder().set_compression(options.compression).build();
        let writer = ArrowWriter::try_new(Vec::new(), written.clone(), Some(properties))
            .map_err(|e| failed("A Parquet file cannot hold these columns", &e))?;
        Ok(Self { writer, written })
    }

    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        let batch = conform(batch, &self.written, "being written")?;
        self.writer
            .write(&batch)
            .map_err(|e| failed("Rows cannot be written to Parquet", &e))
    }

    /// About how many bytes the file has so far.
    pub fn bytes_so_far(&self) -> usize {
        self.writer.bytes_written() + self.writer.in_progress_size()
    }

    /// The whole file.
    pub fn finish(self) -> Result<Bytes, Error> {
        let bytes = self
            .writer
            .into_inner()
            .map_err(|e| failed("A Parquet file cannot be finished", &e))?;
        Ok(bytes.into())
    }
}

/// The type that Parquet has for ours.
fn parquet_type(data_type: &DataType) -> Result<DataType, Error> {
    let nested = |field: &Arc<Field>| -> Result<Arc<Field>, Error> {
        Ok(Arc::new(
            field.as_ref().clone().with_data_type(parquet_type(field.data_type())?),
        ))
    };
    Ok(match data_type {
        DataType::Timestamp(TimeUnit::Second, zone) => DataType::Timestamp(TimeUnit::Millisecond, zone.clone()),
        DataType::Time32(TimeUnit::Second) => DataType::Time32(TimeUnit::Millisecond),
        wide if *wide == WIDE_TIMESTAMP => DataType::Timestamp(TimeUnit::Nanosecond, None),
        DataType::Duration(_) | DataType::Interval(_) | DataType::Null => {
            return Err(Error::unsupported(format!(
                "The 'parquet' format has no type for {data_type}. Cast the column to another type."
            )));
        }
        DataType::List(field) => DataType::List(nested(field)?),
        DataType::Map(field, sorted) => DataType::Map(nested(field)?, *sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(nested).collect::<Result<_, _>>()?),
        other => other.clone(),
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray, TimestampNanosecondArray, TimestampSecondArray};

    use super::*;

    struct Memory(Bytes);

    impl Ranges for Memory {
        fn range(&self, range: Range<u64>) -> BoxFuture<'static, Result<Bytes, Error>> {
            let bytes = self.0.slice(range.start as usize..range.end as usize);
            futures::future::ready(Ok(bytes)).boxed()
        }
    }

    fn written(batch: &RecordBatch) -> Bytes {
        let mut writer = ParquetWriter::new(&batch.schema(), ParquetOptions::default()).unwrap();
        writer.write(batch).unwrap();
        writer.finish().unwrap()
    }

    async fn read(file: Bytes, schema: SchemaRef, skip: u64) -> Result<Vec<RecordBatch>, Error> {
        let len = file.len() as u64;
        let mut reader = ParquetReader::open("f", Memory(file), len, schema, skip).await?;
        let mut batches = Vec::new();
        while let Some(batch) = reader.next().await? {
            batches.push(batch);
        }
        Ok(batches)
    }

    #[tokio::test]
    async fn rows_survive_a_file_and_can_be_passed_over() {
        let schema = Arc::new(Schema::new(vec![
            Field::new("n", DataType::Int64, true),
            Field::new("s", DataType::Utf8, true),
            Field::new("ts", DataType::Timestamp(TimeUnit::Second, None), true),
        ]));
        let rows = 20_000;
        let batch = RecordBatch::try_new(
            schema.clone(),
            vec![
                Arc::new(Int64Array::from_iter((0..rows).map(|n| (n % 7 != 0).then_some(n)))),
                Arc::new(StringArray::from_iter((0..rows).map(|n| Some(format!("r{n}"))))),
                Arc::new(TimestampSecondArray::from_iter((0..rows).map(|n| Some(n - 100)))),
            ],
        )
        .unwrap();
        let file = written(&batch);
        let back = read(file.clone(), schema.clone(), 0).await.unwrap();
        assert_eq!(arrow::compute::concat_batches(&schema, &back).unwrap(), batch);
        let back = read(file, schema.clone(), 12_345).await.unwrap();
        assert_eq!(
            arrow::compute::concat_batches(&schema, &back).unwrap(),
            batch.slice(12_345, 7_655)
        );
    }

    #[tokio::test]
    async fn columns_are_found_by_name_and_brought_to_the_tables_types() {
        let in_file = Arc::new(Schema::new(vec![
            Field::new("extra", DataType::Utf8, true),
            Field::new("ts", DataType::Timestamp(TimeUnit::Nanosecond, None), true),
        ]));
        let batch = RecordBatch::try_new(
            in_file,
            vec![
                Arc::new(StringArray::from(vec!["x"])),
                Arc::new(TimestampNanosecondArray::from(vec![1_500_000_000])),
            ],
        )
        .unwrap();
        let table = Arc::new(Schema::new(vec![
            Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), true),
            Field::new("missing", DataType::Int32, true),
        ]));
        let back = read(written(&batch), table, 0).await.unwrap();
        let shown = arrow::util::pretty::pretty_format_batches(&back).unwrap().to_string();
        assert!(shown.contains("| 1970-01-01T00:00:01.500 |         |"), "{shown}");
    }

    #[tokio::test]
    async fn no_parquet_is_an_error() {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
        for file in [&b""[..], b"PAR1", b"not parquet at all, but longer than a footer"] {
            assert_eq!(
                read(Bytes::from_static(file), schema.clone(), 0)
                    .await
                    .unwrap_err()
                    .kind(),
                "runtime"
            );
        }
    }
}
