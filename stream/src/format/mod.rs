//! Rows as bytes and back.
//!
//! A *decoder* takes messages (a Kafka value, a line of a file) and gives Arrow batches; an *encoder* takes batches and
//! gives the bytes row by row. Both work on columns: no row object is ever built. Parquet is not made of messages and has
//! its own reader and writer ([`parquet`]), as have the records of a CSV file, which may span lines ([`csv`]).
//!
//! Options and conversions are Flink's: what its `json`, `csv`, `raw` and `parquet` formats take and write is taken and
//! written here, down to which strings get quotes. Not here: Avro, Protobuf, ORC and the changelog formats
//! (debezium-json and its kin), which are refused by name.

pub mod column;
pub mod csv;
pub mod json;
pub mod number;
pub mod parquet;
pub mod raw;
pub mod temporal;
pub mod view;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::Error;
use crate::table::Options;

/// Messages into rows.
pub trait Decoder: Send {
    /// Appends the rows of one message: one, or none where it is left out, or many.
    fn decode(&mut self, message: &[u8]) -> Result<(), Error>;

    /// Rows since the last `finish`.
    fn len(&self) -> usize;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the rows so far.
    fn finish(&mut self) -> Result<RecordBatch, Error>;
}

/// Receives the bytes of a row and its number in the batch.
pub type RowText<'a> = dyn FnMut(usize, &[u8]) -> Result<(), Error> + 'a;

/// Rows into messages.
pub trait Encoder: Send + Sync {
    /// Calls `row_done` with the bytes of each row, without a line end.
    fn encode(&self, batch: &RecordBatch, row_done: &mut RowText<'_>) -> Result<(), Error>;
}

/// The formats whose rows are messages.
#[derive(Debug, Clone)]
pub enum MessageFormat {
    Json(json::JsonOptions),
    Csv(csv::CsvOptions),
    Raw(raw::RawOptions),
}

impl MessageFormat {
    /// Reads a format and its options; `prefix` is what stands before them (`json.` or `value.json.`).
    pub fn read(name: &str, options: &Options<'_>, prefix: &str) -> Result<Self, Error> {
        let options = FormatOptions {
            options,
            prefix: format!("{prefix}{name}."),
        };
        match name {
            "json" => Ok(Self::Json(json::JsonOptions::read(&options)?)),
            "csv" => Ok(Self::Csv(csv::CsvOptions::read(&options)?)),
            "raw" => Ok(Self::Raw(raw::RawOptions::read(&options)?)),
            other => Err(unknown_format(other)),
        }
    }

    pub fn decoder(&self, schema: SchemaRef) -> Result<Box<dyn Decoder>, Error> {
        Ok(match self {
            Self::Json(options) => Box::new(json::JsonDecoder::new(schema, options.clone())?),
            Self::Csv(options) => Box::new(csv::CsvDecoder::new(schema, options.clone())?),
            Self::Raw(options) => Box::new(raw::RawDecoder::new(schema, *options)?),
        })
    }

    pub fn encoder(&self, schema: &SchemaRef) -> Result<Box<dyn Encoder>, Error> {
        Ok(match self {
            Self::Json(options) => Box::new(json::JsonEncoder::new(options.clone())),
            Self::Csv(options) => Box::new(csv::CsvEncoder::new(options.clone())),
            Self::Raw(options) => Box::new(raw::RawEncoder::new(schema, *options)?),
        })
    }

    /// The ending of a file's name.
    pub fn extension(&self) -> &'static str {
        match self {
            Self::Json(_) => "json",
            Self::Csv(_) => "csv",
            Self::Raw(_) => "txt",
        }
    }
}

/// The error for a format that is not ours.
pub fn unknown_format(name: &str) -> Error {
    const FLINKS_OTHERS: [&str; 10] = [
        "avro",
        "avro-confluent",
        "canal-json",
        "debezium-avro-confluent",
        "debezium-json",
        "maxwell-json",
        "ogg-json",
        "orc",
        "protobuf",
        "upsert-json",
    ];
    if FLINKS_OTHERS.contains(&name) {
        return Error::unsupported(format!(
            "The format '{name}' is not supported. Use csv, json, parquet or raw."
        ));
    }
    Error::validate(format!(
        "Could not find any format factory for identifier '{name}' in the classpath. Use csv, json, parquet or raw."
    ))
}

/// The options of one format: those of the table that start with its prefix.
#[derive(Debug)]
pub struct FormatOptions<'a> {
    options: &'a Options<'a>,
    prefix: String,
}

impl<'a> FormatOptions<'a> {
    pub fn new(options: &'a Options<'a>, prefix: &str) -> Self {
        Self {
            options,
            prefix: prefix.to_owned(),
        }
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.options.text(&self.key(name))
    }

    pub fn boolean(&self, name: &str, default: bool) -> Result<bool, Error> {
        self.options.boolean(&self.key(name), default)
    }

    pub fn one_of<'n>(&self, name: &str, names: &[&'n str], default: &'n str) -> Result<&'n str, Error> {
        self.options.one_of(&self.key(name), names, default)
    }

    pub fn character(&self, name: &str) -> Result<Option<char>, Error> {
        self.options.character(&self.key(name))
    }

    pub fn refuse(&self, name: &str, unless: &str) -> Result<(), Error> {
        self.options.refuse(&self.key(name), unless)
    }
}

/// The beginning of a message, fit for an error text.
pub fn shortened(message: &[u8]) -> String {
    const CHARS_MAX: usize = 200;
    let text = String::from_utf8_lossy(&message[..message.len().min(4 * CHARS_MAX)]);
    let short: String = text.chars().take(CHARS_MAX).collect();
    if short.len() < message.len() {
        format!("{short}…")
    } else {
        short
    }
}
