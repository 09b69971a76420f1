//! Columns into JSON text, as Jackson writes it.

use arrow::array::RecordBatch;
use base64::Engine;

use super::{JsonOptions, NullKeys};
use crate::Error;
use crate::format::number;
use crate::format::temporal::{self, Fraction};
use crate::format::view::{Value, View, views};
use crate::format::{Encoder, RowText};

/// Writes one JSON object a row.
#[derive(Debug)]
pub struct JsonEncoder {
    options: JsonOptions,
}

impl JsonEncoder {
    pub fn new(options: JsonOptions) -> Self {
        Self { options }
    }
}

impl Encoder for JsonEncoder {
    fn encode(&self, batch: &RecordBatch, row_done: &mut RowText<'_>) -> Result<(), Error> {
        let views = views(batch)?;
        let schema = batch.schema();
        let mut out = String::new();
        for row in 0..batch.num_rows() {
            out.clear();
            write_row(&mut out, schema.fields(), &views, row, &self.options)?;
            row_done(row, out.as_bytes())?;
        }
        Ok(())
    }
}

fn write_row(
    out: &mut String,
    fields: &arrow::datatypes::Fields,
    views: &[View<'_>],
    row: usize,
    options: &JsonOptions,
) -> Result<(), Error> {
    out.push('{');
    let mut first = true;
    for (field, view) in fields.iter().zip(views) {
        if options.ignore_null_fields && view.is_null(row) {
            continue;
        }
        if !std::mem::take(&mut first) {
            out.push(',');
        }
        write_string(out, field.name());
        out.push(':');
        write_value(out, view.value(row), options)?;
    }
    out.push('}');
    Ok(())
}

fn write_value(out: &mut String, value: Value<'_>, options: &JsonOptions) -> Result<(), Error> {
    let between = options.timestamps.between();
    match value {
        Value::Null => out.push_str("null"),
        Value::Boolean(value) => out.push_str(if value { "true" } else { "false" }),
        Value::Integer(value) | Value::Millis(value) | Value::Months(value) => out.push_str(&value.to_string()),
        Value::Float(value) if value.is_finite() => out.push_str(&number::java_float(value)),
        Value::Double(value) if value.is_finite() => out.push_str(&number::java_double(value)),
        Value::Float(value) => quoted(out, |out| out.push_str(&number::java_float(value))),
        Value::Double(value) => quoted(out, |out| out.push_str(&number::java_double(value))),
        Value::Decimal { unscaled, scale } if options.plain_decimals => {
            out.push_str(&number::plain_decimal(unscaled, scale));
        }
        Value::Decimal { unscaled, scale } => out.push_str(&number::stripped_decimal(unscaled, scale)),
        Value::Text(text) => write_string(out, text),
        Value::Bytes(bytes) => {
            quoted(out, |out| {
                base64::engine::general_purpose::STANDARD.encode_string(bytes, out)
            });
        }
        Value::Date(days) => quoted(out, |out| temporal::write_date(out, days)),
        Value::Time { second, nano, .. } => {
            quoted(out, |out| temporal::write_time(out, second, nano, Fraction::Shortest));
        }
        Value::Timestamp { moment, zoned, .. } => quoted(out, |out| {
            temporal::write_timestamp(out, moment, between, Fraction::Shortest);
            if zoned {
                out.push('Z');
            }
        }),
        Value::List { items, from, to } => {
            out.push('[');
            for row in from..to {
                if row > from {
                    out.push(',');
                }
                write_value(out, items.value(row), options)?;
            }
            out.push(']');
        }
        Value::Map { keys, values, from, to } => {
            out.push('{');
            let mut first = true;
            for row in from..to {
                let key = match (keys.value(row), &options.null_keys) {
                    (Value::Text(key), _) => key,
                    (Value::Null, NullKeys::Drop) => continue,
                    (Value::Null, NullKeys::Literal(text)) => text,
                    (Value::Null, NullKeys::Fail) => {
                        return Err(Error::runtime(
                            "JSON format doesn't support to serialize map data with null keys. You can drop null key \
                             entries or encode null in literals by specifying json.map-null-key.mode option.",
                        ));
                    }
                    _ => {
                        return Err(Error::runtime(
                            "JSON format doesn't support to serialize map data with keys that are no text.",
                        ));
                    }
                };
                if !std::mem::take(&mut first) {
                    out.push(',');
                }
                write_string(out, key);
                out.push(':');
                write_value(out, values.value(row), options)?;
            }
            out.push('}');
        }
        Value::Row { fields, children, row } => write_row(out, fields, children, row, options)?,
    }
    Ok(())
}

fn quoted(out: &mut String, write: impl FnOnce(&mut String)) {
    out.push('"');
    write(out);
    out.push('"');
}

/// A JSON string with its quotes: only what must be escaped is.
pub fn write_string(out: &mut String, text: &str) {
    out.push('"');
    let mut start = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x08 => "\\b",
            0x0c => "\\f",
            0..0x20 => "",
            _ => continue,
        };
        out.push_str(&text[start..at]);
        if escape.is_empty() {
            out.push_str(&format!("\\u{byte:04X}"));
        } else {
            out.push_str(escape);
        }
        start = at + 1;
    }
    out.push_str(&text[start..]);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

    use super::super::{JsonDecoder, JsonOptions, TimestampForm};
    use super::*;
    use crate::format::Decoder;

    const OPTIONS: JsonOptions = JsonOptions {
        fail_on_missing_field: false,
        ignore_parse_errors: false,
        timestamps: TimestampForm::Sql,
        plain_decimals: false,
        ignore_null_fields: false,
        null_keys: NullKeys::Fail,
    };

    fn schema() -> SchemaRef {
        let entry = Field::new(
            "entries",
            DataType::Struct(
                vec![
                    Field::new("key", DataType::Utf8, false),
                    Field::new("value", DataType::Int32, true),
                ]
                .into(),
            ),
            false,
        );
        Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int32, true),
            Field::new("big", DataType::Int64, true),
            Field::new("name", DataType::Utf8, true),
            Field::new("price", DataType::Decimal128(10, 2), true),
            Field::new("ok", DataType::Boolean, true),
            Field::new("d", DataType::Float64, true),
            Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), true),
            Field::new(
                "tags",
                DataType::List(Arc::new(Field::new("item", DataType::Utf8, true))),
                true,
            ),
            Field::new("attrs", DataType::Map(Arc::new(entry), false), true),
            Field::new(
                "r",
                DataType::Struct(vec![Field::new("x", DataType::Date32, true)].into()),
                true,
            ),
        ]))
    }

    fn read(lines: &[&str], options: JsonOptions) -> Result<RecordBatch, Error> {
        let mut decoder = JsonDecoder::new(schema(), options)?;
        lines.iter().try_for_each(|line| decoder.decode(line.as_bytes()))?;
        decoder.finish()
    }

    fn written(batch: &RecordBatch) -> Vec<String> {
        let mut lines = Vec::new();
        JsonEncoder::new(OPTIONS)
            .encode(batch, &mut |_, row| {
                lines.push(String::from_utf8(row.to_vec()).unwrap());
                Ok(())
            })
            .unwrap();
        lines
    }

    const NULLS: &str = r#"{"id":null,"big":null,"name":null,"price":null,"ok":null,"d":null,"ts":null,"tags":null,"attrs":null,"r":null}"#;

    #[test]
    fn what_is_read_is_written_again() {
        let line = r#"{"id":1,"big":9223372036854775807,"name":"ü\"\n","price":1.5,"ok":true,"d":2.0E-5,"ts":"2024-01-01 00:00:00.5","tags":["a",null],"attrs":{"k":1,"l":null},"r":{"x":"2024-02-29"}}"#;
        assert_eq!(written(&read(&[line, "{}"], OPTIONS).unwrap()), [line, NULLS]);
    }

    #[test]
    fn values_are_converted_as_flink_does() {
        let line = r#"{"unknown":[{"deep":1}],"name":{"a": 1},"id":" 12 ","big":1.9,"price":"1.005","ok":"TRUE","d":"1e3","id":13}"#;
        let batch = read(&[line], OPTIONS).unwrap();
        assert_eq!(
            written(&batch),
            [
                r#"{"id":13,"big":1,"name":"{\"a\": 1}","price":1.01,"ok":true,"d":1000.0,"ts":null,"tags":null,"attrs":null,"r":null}"#
            ]
        );
    }

    #[test]
    fn an_array_of_objects_is_many_rows() {
        let batch = read(&[r#"[{"id":1},{"id":2}]"#], OPTIONS).unwrap();
        assert_eq!(batch.num_rows(), 2);
    }

    #[test]
    fn bad_input_fails_or_is_ignored_by_option() {
        let ignoring = JsonOptions {
            ignore_parse_errors: true,
            ..OPTIONS
        };
        for bad in [
            r#"{"id":"x"}"#,
            r#"{"ts":"2024-01-01T00:00:00"}"#,
            r#"{"tags":1}"#,
            r#"{"r":{"x":"no"}}"#,
        ] {
            let error = read(&[bad], OPTIONS).unwrap_err();
            assert_eq!(error.kind(), "runtime");
            assert!(error.message().contains("Failed to deserialize JSON"), "{error}");
            assert_eq!(read(&[bad, "{}"], ignoring.clone()).unwrap().num_rows(), 2);
        }
        assert!(read(&["{broken"], OPTIONS).is_err());
        assert_eq!(written(&read(&["{broken", "{}"], ignoring.clone()).unwrap()), [NULLS]);
        let strict = JsonOptions {
            fail_on_missing_field: true,
            ..OPTIONS
        };
        assert!(
            read(&["{}"], strict)
                .unwrap_err()
                .message()
                .contains("Could not find field with name 'id'")
        );
    }
}
