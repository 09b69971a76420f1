//! Parquet files as plain columns, whatever variant of a type their writer chose.

use arrow::array::{Array, ArrayRef, BinaryArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use arrow::error::ArrowError;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// Why a file cannot be read as the table that it should be.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("not a readable parquet file: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
    #[error("not readable as columns: {0}")]
    Arrow(#[from] ArrowError),
    #[error("the table has no column {0}")]
    Missing(String),
    #[error("column {0} holds something else than it should")]
    WrongType(String),
}

/// A whole table.
#[derive(Debug)]
pub struct Columns {
    batch: RecordBatch,
}

impl Columns {
    pub fn read(parquet: Bytes) -> Result<Self, ReadError> {
        let reader = ParquetRecordBatchReaderBuilder::try_new(parquet)?.build()?;
        let schema = arrow::array::RecordBatchReader::schema(&reader);
        let batches = reader.collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            batch: arrow::compute::concat_batches(&schema, &batches)?,
        })
    }

    pub fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    pub fn texts(&self, name: &str) -> Result<StringArray, ReadError> {
        self.typed(name, &DataType::Utf8)
    }

    pub fn floats(&self, name: &str) -> Result<Float64Array, ReadError> {
        self.typed(name, &DataType::Float64)
    }

    pub fn integers(&self, name: &str) -> Result<Int64Array, ReadError> {
        self.typed(name, &DataType::Int64)
    }

    pub fn bytes(&self, name: &str) -> Result<BinaryArray, ReadError> {
        self.typed(name, &DataType::Binary)
    }

    /// Milliseconds since 1970.
    pub fn times(&self, name: &str) -> Result<Int64Array, ReadError> {
        let times = cast(self.column(name)?, &DataType::Timestamp(TimeUnit::Millisecond, None))?;
        let numbers = cast(&times, &DataType::Int64)?;
        numbers
            .as_any()
            .downcast_ref()
            .cloned()
            .ok_or_else(|| ReadError::WrongType(name.to_owned()))
    }

    fn column(&self, name: &str) -> Result<&ArrayRef, ReadError> {
        self.batch
            .column_by_name(name)
            .ok_or_else(|| ReadError::Missing(name.to_owned()))
    }

    fn typed<A: Array + Clone + 'static>(&self, name: &str, to: &DataType) -> Result<A, ReadError> {
        let column = cast(self.column(name)?, to)?;
        column
            .as_any()
            .downcast_ref::<A>()
            .cloned()
            .ok_or_else(|| ReadError::WrongType(name.to_owned()))
    }
}
