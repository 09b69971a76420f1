//! CSV records into columns.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};

use super::CsvOptions;
use super::split::fields;
use crate::Error;
use crate::format::column::{Column, Rows};
use crate::format::temporal;
use crate::format::{Decoder, shortened};

/// Reads CSV records into rows.
#[derive(Debug)]
pub struct CsvDecoder {
    rows: Rows,
    options: CsvOptions,
}

impl CsvDecoder {
    pub fn new(schema: SchemaRef, options: CsvOptions) -> Result<Self, Error> {
        for field in schema.fields() {
            if matches!(field.data_type(), DataType::Map(..) | DataType::Struct(_)) {
                return Err(Error::unsupported(format!(
                    "The 'csv' format reads no maps and rows: column '{}' is {}. Use json.",
                    field.name(),
                    field.data_type()
                )));
            }
        }
        Ok(Self {
            rows: Rows::new(schema)?,
            options,
        })
    }

    /// Appends a row, or says what is wrong and appends nothing.
    fn decode_record(&mut self, record: &str) -> Result<(), String> {
        let fields = fields(record, &self.options)?;
        let wanted = self.rows.columns.len();
        if fields.len() > wanted || (fields.len() < wanted && !self.options.ignore_parse_errors) {
            return Err(format!(
                "Row length mismatch. {wanted} fields expected but was {}",
                fields.len()
            ));
        }
        let mut texts = fields.into_iter();
        for (index, column) in self.rows.columns.iter_mut().enumerate() {
            let Some(text) = texts.next() else {
                column.append_null();
                continue;
            };
            if append(column, &text, &self.options) {
                continue;
            }
            if !self.options.ignore_parse_errors {
                let name = self.rows.schema().field(index).name();
                return Err(format!(
                    "'{}' does not fit the type of column '{name}'",
                    shortened(text.as_bytes())
                ));
            }
            column.append_null();
        }
        self.rows.close_row();
        Ok(())
    }
}

impl Decoder for CsvDecoder {
    fn decode(&mut self, message: &[u8]) -> Result<(), Error> {
        let message = message.strip_suffix(b"\n").unwrap_or(message);
        let message = message.strip_suffix(b"\r").unwrap_or(message);
        if self.options.allow_comments && message.first() == Some(&b'#') {
            return Ok(());
        }
        let result = match std::str::from_utf8(message) {
            Ok(record) => self.decode_record(record),
            Err(error) => Err(error.to_string()),
        };
        match result {
            Err(what) if !self.options.ignore_parse_errors => Err(Error::runtime(format!(
                "Failed to deserialize CSV row '{}': {what}. Correct the input, or set 'csv.ignore-parse-errors' = 'true'.",
                shortened(message)
            ))),
            _ => Ok(()),
        }
    }

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn finish(&mut self) -> Result<RecordBatch, Error> {
        self.rows.finish()
    }
}

/// Appends one field; `false`, and nothing appended, where it does not fit.
fn append(column: &mut Column, text: &str, options: &CsvOptions) -> bool {
    if options.null_literal.as_deref() == Some(text) {
        column.append_null();
        return true;
    }
    match column {
        Column::Timestamp { zone, .. } => {
            let trimmed = text.trim();
            let local = if zone.is_some() {
                trimmed.strip_suffix('Z')
            } else {
                Some(trimmed)
            };
            local
                .and_then(|text| temporal::parse_timestamp(text, b' '))
                .is_some_and(|moment| column.append_moment(moment))
        }
        Column::Bytes(values) => {
            use base64::Engine;
            base64::engine::general_purpose::STANDARD
                .decode(text)
                .map(|bytes| values.append_value(bytes))
                .is_ok()
        }
        Column::List { item, shape, .. } => {
            if !text.is_empty() {
                for part in text.split(options.array_delimiter.as_str()) {
                    if !append(item, part, options) {
                        item.append_null();
                    }
                }
            }
            shape.close(item.len(), true);
            true
        }
        _ => column.append_text(text),
    }
}
