//! Columns into CSV records.

use arrow::array::RecordBatch;
use base64::Engine;

use super::CsvOptions;
use crate::Error;
use crate::format::number;
use crate::format::temporal::{self, Fraction};
use crate::format::view::{Value, views};
use crate::format::{Encoder, RowText};

/// Texts longer than this are quoted unseen.
const UNQUOTED_CHARS_MAX: usize = 24;

/// Writes one record a row.
#[derive(Debug)]
pub struct CsvEncoder {
    options: CsvOptions,
    /// A character at or below this one makes a text quoted.
    special_max: char,
}

impl CsvEncoder {
    pub fn new(options: CsvOptions) -> Self {
        let special = [Some(options.delimiter), options.quote, options.escape, Some(b'\r')];
        let special_max = special.into_iter().flatten().max().map_or('\r', char::from);
        Self { options, special_max }
    }

    fn write_text(&self, out: &mut String, text: &str) {
        let Some(quote) = self.options.quote.map(char::from) else {
            out.push_str(text);
            return;
        };
        let units = text.chars().map(char::len_utf16).sum::<usize>();
        if units <= UNQUOTED_CHARS_MAX && !text.chars().any(|c| c <= self.special_max) {
            out.push_str(text);
            return;
        }
        out.push(quote);
        for c in text.chars() {
            match self.options.escape.map(char::from) {
                Some(escape) if c == quote || c == escape => out.push(escape),
                None if c == quote => out.push(quote),
                _ => {}
            }
            out.push(c);
        }
        out.push(quote);
    }

    fn write_value(&self, out: &mut String, value: Value<'_>) -> Result<(), Error> {
        let mut text = String::new();
        match value {
            Value::Null => {
                out.push_str(self.options.null_literal.as_deref().unwrap_or_default());
                return Ok(());
            }
            Value::Boolean(value) => {
                out.push_str(if value { "true" } else { "false" });
                return Ok(());
            }
            Value::Text(text) => {
                self.write_text(out, text);
                return Ok(());
            }
            Value::Integer(_) | Value::Float(_) | Value::Double(_) | Value::Decimal { .. } => {
                self.write_number(out, value);
                return Ok(());
            }
            Value::Bytes(bytes) => base64::engine::general_purpose::STANDARD.encode_string(bytes, &mut text),
            Value::Date(days) => temporal::write_date(&mut text, days),
            Value::Time { second, nano, .. } => temporal::write_time(&mut text, second, nano, Fraction::Shortest),
            Value::Timestamp { moment, zoned, .. } => {
                temporal::write_timestamp(&mut text, moment, ' ', Fraction::Shortest);
                if zoned {
                    text.push('Z');
                }
            }
            Value::List { items, from, to } => {
                for row in from..to {
                    if row > from {
                        text.push_str(&self.options.array_delimiter);
                    }
                    match items.value(row) {
                        Value::Text(item) => text.push_str(item),
                        item => self.write_value(&mut text, item)?,
                    }
                }
            }
            Value::Map { .. } | Value::Row { .. } | Value::Millis(_) | Value::Months(_) => {
                return Err(Error::unsupported(
                    "The 'csv' format writes no maps, rows and intervals. Use json, or cast to STRING.",
                ));
            }
        }
        self.write_text(out, &text);
        Ok(())
    }

    fn write_number(&self, out: &mut String, value: Value<'_>) {
        match value {
            Value::Integer(value) => out.push_str(&value.to_string()),
            Value::Float(value) => out.push_str(&number::java_float(value)),
            Value::Double(value) => out.push_str(&number::java_double(value)),
            Value::Decimal { unscaled, scale } if self.options.scientific_decimals => {
                out.push_str(&number::stripped_decimal(unscaled, scale));
            }
            Value::Decimal { unscaled, scale } => {
                let plain = number::plain_decimal(unscaled, scale);
                let stripped = if plain.contains('.') {
                    plain.trim_end_matches('0').trim_end_matches('.')
                } else {
                    &plain
                };
                out.push_str(stripped);
            }
            _ => {}
        }
    }
}

impl Encoder for CsvEncoder {
    fn encode(&self, batch: &RecordBatch, row_done: &mut RowText<'_>) -> Result<(), Error> {
        let views = views(batch)?;
        let mut out = String::new();
        for row in 0..batch.num_rows() {
            out.clear();
            for (index, view) in views.iter().enumerate() {
                if index > 0 {
                    out.push(char::from(self.options.delimiter));
                }
                self.write_value(&mut out, view.value(row))?;
            }
            row_done(row, out.as_bytes())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

    use super::super::CsvDecoder;
    use super::*;
    use crate::format::Decoder;

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("a", DataType::Int32, true),
            Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), true),
            Field::new(
                "l",
                DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
                true,
            ),
            Field::new("t", DataType::Time32(TimeUnit::Second), true),
            Field::new("d", DataType::Float64, true),
            Field::new("p", DataType::Decimal128(10, 3), true),
            Field::new("s", DataType::Utf8, true),
        ]))
    }

    fn read(records: &[&str], options: &CsvOptions) -> Result<RecordBatch, Error> {
        let mut decoder = CsvDecoder::new(schema(), options.clone())?;
        records
            .iter()
            .try_for_each(|record| decoder.decode(record.as_bytes()))?;
        decoder.finish()
    }

    fn written(batch: &RecordBatch, options: &CsvOptions) -> Vec<String> {
        let mut lines = Vec::new();
        CsvEncoder::new(options.clone())
            .encode(batch, &mut |_, row| {
                lines.push(String::from_utf8(row.to_vec()).unwrap());
                Ok(())
            })
            .unwrap();
        lines
    }

    #[test]
    fn what_is_read_is_written_again() {
        let options = CsvOptions {
            null_literal: Some(String::new()),
            ..CsvOptions::default()
        };
        let records = [
            "1,\"2024-02-29 23:59:59.999\",\"2024-02-29 23:59:59Z\",23:59:59,2.2790015986666667E8,0.333,\"q\"\"uo,te 2024\"",
            ",,,,,,",
            "2,\"1970-01-01 00:00:00\",,00:00:00,0.0,1,abc",
        ];
        assert_eq!(written(&read(&records, &options).unwrap(), &options), records);
    }

    #[test]
    fn bad_records_fail_or_are_ignored_by_option() {
        let options = CsvOptions {
            null_literal: Some(String::new()),
            ..CsvOptions::default()
        };
        for bad in ["x,,,,,,", "1,2", "1,,,,,,,8", "1,2024-01-01,,,,,", "\"1,,,,,,"] {
            assert_eq!(read(&[bad], &options).unwrap_err().kind(), "runtime", "{bad}");
        }
        let ignoring = CsvOptions {
            ignore_parse_errors: true,
            ..options
        };
        let batch = read(&["x,,,,,,k", "1,", "1,,,,,,,8", "\"1,,,,,,"], &ignoring).unwrap();
        assert_eq!(written(&batch, &ignoring), [",,,,,,k", "1,,,,,,"]);
    }
}
