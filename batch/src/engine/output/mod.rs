//! How results leave: for eyes, for programs, for files.
//!
//! JSON is the contract that other programs build on: one object a row, keys in the order of the select list, NULL as
//! `null`, numbers with as many digits as it takes to read them back, NaN and the infinities as texts, times in ISO 8601,
//! binary as lower-case hex ([`json`]).

pub mod json;
mod table;

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::csv;
use arrow::datatypes::SchemaRef;
use clap::ValueEnum;
use parquet::arrow::ArrowWriter;

use super::geoparquet::Columns;
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
    file: Option<NewFile>,
}

enum Writer {
    None,
    Table(Vec<RecordBatch>, SchemaRef),
    Json(Out),
    Csv(Box<csv::Writer<Out>>),
    Parquet(Box<ArrowWriter<Out>>, Option<Columns>),
}

impl Sink {
    /// Into `path`, or to stdout.
    pub fn new(format: Format, path: Option<&Path>) -> Result<Sink, Error> {
        let (out, file): (Box<dyn Write + Send>, _) = match path {
            Some(path) => {
                let (out, file) = NewFile::create(path)?;
                (Box::new(out), file)
            }
            None if format == Format::Parquet && std::io::stdout().is_terminal() => {
                return Err(Error::Usage(
                    "a Parquet file is nothing for a terminal: name one with --out FILE".into(),
                ));
            }
            None => (Box::new(std::io::stdout()), None),
        };
        Ok(Sink {
            format,
            out: Some(BufWriter::new(out)),
            writer: Writer::None,
            file,
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
            Format::Parquet => {
                let columns = Columns::of(&schema);
                let schema = columns.as_ref().map_or(schema, Columns::schema);
                let writer = ArrowWriter::try_new(out, schema, None).map_err(parquet_error)?;
                Writer::Parquet(Box::new(writer), columns)
            }
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
            Writer::Parquet(writer, Some(columns)) => writer.write(&columns.convert(batch)?).map_err(parquet_error),
            Writer::Parquet(writer, None) => writer.write(batch).map_err(parquet_error),
        }
    }

    /// Ends the result. A file that it goes to appears now.
    pub fn finish(&mut self) -> Result<(), Error> {
        match std::mem::replace(&mut self.writer, Writer::None) {
            Writer::None => {}
            Writer::Table(batches, schema) => {
                let text = table::draw(&batches, schema).map_err(arrow_error)?;
                if let Some(out) = &mut self.out {
                    out.write_all(text.as_bytes()).map_err(Error::Output)?;
                }
            }
            Writer::Json(mut out) => out.flush().map_err(Error::Output)?,
            Writer::Csv(writer) => writer.into_inner().flush().map_err(Error::Output)?,
            Writer::Parquet(mut writer, columns) => {
                if let Some(columns) = columns {
                    writer.append_key_value_metadata(columns.text()?);
                }
                let mut out = writer.into_inner().map_err(parquet_error)?;
                out.flush().map_err(Error::Output)?;
            }
        }
        if let Some(mut out) = self.out.take() {
            out.flush().map_err(Error::Output)?;
        }
        self.file.take().map_or(Ok(()), NewFile::publish)
    }
}

/// A file that is written under a hidden name beside its own, and renamed when it is whole.
struct NewFile {
    hidden: PathBuf,
    path: PathBuf,
    published: bool,
}

impl NewFile {
    /// `None` for what is there and no plain file, as a pipe: that is written to as it is.
    fn create(path: &Path) -> Result<(File, Option<NewFile>), Error> {
        if std::fs::metadata(path).is_ok_and(|there| !there.is_file()) {
            let file = File::create(path).map_err(|error| Error::file("create", path, error))?;
            return Ok((file, None));
        }
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let hidden = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
        let file = File::create(&hidden).map_err(|error| Error::file("create", path, error))?;
        let new = NewFile {
            hidden,
            path: path.to_owned(),
            published: false,
        };
        Ok((file, Some(new)))
    }

    fn publish(mut self) -> Result<(), Error> {
        let synced = File::open(&self.hidden).and_then(|file| file.sync_all());
        synced
            .and_then(|()| std::fs::rename(&self.hidden, &self.path))
            .map_err(|error| Error::file("write", &self.path, error))?;
        self.published = true;
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.published {
            let _never_there = std::fs::remove_file(&self.hidden);
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
