//! How results leave: for eyes, for programs, for files.
//!
//! JSON is the contract that other programs build on: one object a row, keys in the order of the select list, NULL as
//! `null`, numbers with as many digits as it takes to read them back, NaN and the infinities as texts, times in ISO 8601,
//! binary as lower-case hex ([`json`]).

pub mod json;
mod table;

use std::io::{BufWriter, IsTerminal, Write};
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::csv;
use arrow::datatypes::SchemaRef;
use clap::ValueEnum;
use parquet::arrow::ArrowWriter;

use crate::Error;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people; geometries as text.
    Table,
    /// One JSON object a row.
    Json,
    /// With a header line.
    Csv,
    /// A Parquet file.
    Parquet,
}

type Out = BufWriter<Box<dyn Write + Send>>;

/// Writes one result.
pub struct Sink {
    format: Format,
    out: Option<Out>,
    writer: Writer,
}

enum Writer {
    None,
    Table(Vec<RecordBatch>, SchemaRef),
    Json(Out),
    Csv(Box<csv::Writer<Out>>),
    Parquet(Box<ArrowWriter<Out>>),
}

impl Sink {
    /// Into `path`, or to stdout.
    pub fn new(format: Format, path: Option<&Path>) -> Result<Sink, Error> {
        let out: Box<dyn Write + Send> = match path {
            Some(path) => Box::new(std::fs::File::create(path).map_err(|error| Error::file("create", path, error))?),
            None if format == Format::Parquet && std::io::stdout().is_terminal() => {
                return Err(Error::Usage(
                    "a Parquet file is nothing for a terminal: name one with --out FILE".into(),
                ));
            }
            None => Box::new(std::io::stdout()),
        };
        Ok(Sink {
            format,
            out: Some(BufWriter::new(out)),
            writer: Writer::None,
        })
    }

    pub fn begin(&mut self, schema: SchemaRef) -> Result<(), Error> {
        // A statement without columns (CREATE, SET) has no result to show.
        let Some(out) = self.out.take().filter(|_| !schema.fields().is_empty()) else {
            return Ok(());
        };
        self.writer = match self.format {
            Format::Table => {
                self.out = Some(out);
                Writer::Table(Vec::new(), schema)
            }
            Format::Json => Writer::Json(out),
            Format::Csv => {
                let mut writer = csv::WriterBuilder::new().with_header(true).build(out);
                // The header is there for an empty result as well.
                writer.write(&RecordBatch::new_empty(schema)).map_err(arrow_error)?;
                Writer::Csv(Box::new(writer))
            }
            Format::Parquet => Writer::Parquet(Box::new(
                ArrowWriter::try_new(out, schema, None).map_err(parquet_error)?,
            )),
        };
        Ok(())
    }

    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        match &mut self.writer {
            Writer::None => Ok(()),
            Writer::Table(batches, _) => {
                batches.push(batch.clone());
                Ok(())
            }
            Writer::Json(out) => {
                let text = json::rows(batch).map_err(arrow_error)?;
                out.write_all(text.as_bytes()).map_err(Error::Output)
            }
            Writer::Csv(writer) => writer.write(batch).map_err(arrow_error),
            Writer::Parquet(writer) => writer.write(batch).map_err(parquet_error),
        }
    }

    pub fn finish(&mut self) -> Result<(), Error> {
        match std::mem::replace(&mut self.writer, Writer::None) {
            Writer::None => Ok(()),
            Writer::Table(batches, schema) => {
                let text = table::draw(&batches, schema).map_err(arrow_error)?;
                let Some(mut out) = self.out.take() else { return Ok(()) };
                out.write_all(text.as_bytes())
                    .and_then(|()| out.flush())
                    .map_err(Error::Output)
            }
            Writer::Json(mut out) => out.flush().map_err(Error::Output),
            Writer::Csv(writer) => writer.into_inner().flush().map_err(Error::Output),
            Writer::Parquet(writer) => {
                let mut out = writer.into_inner().map_err(parquet_error)?;
                out.flush().map_err(Error::Output)
            }
        }
    }
}

fn arrow_error(error: arrow::error::ArrowError) -> Error {
    match error {
        arrow::error::ArrowError::IoError(_, error) => Error::Output(error),
        error => Error::Query(error.into()),
    }
}

fn parquet_error(error: parquet::errors::ParquetError) -> Error {
    Error::Query(error.into())
}
