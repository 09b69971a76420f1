//! Rows as JSON lines.

use std::io::Write;

use crate::time::Zone;
use arrow::array::RecordBatch;
use base64::Engine;

use super::local;
use crate::Error;
use crate::format::json::write_string;
use crate::format::number;
use crate::format::temporal::{self, Fraction};
use crate::format::view::{Value, views};

/// Writes `{"column":value,…}` lines.
pub fn write_json(out: &mut impl Write, batch: &RecordBatch, zone: Zone) -> Result<(), Error> {
    let views = views(batch)?;
    let schema = batch.schema();
    let mut text = String::new();
    for row in 0..batch.num_rows() {
        for (index, (field, view)) in schema.fields().iter().zip(&views).enumerate() {
            text.push(if index == 0 { '{' } else { ',' });
            write_string(&mut text, field.name());
            text.push(':');
            write_value(&mut text, view.value(row), zone);
        }
        text.push_str("}\n");
    }
    out.write_all(text.as_bytes())
        .map_err(|error| Error::runtime(format!("The result cannot be written: {error}.")))
}

/// Writes one value in the gateway's JSON form.
pub fn write_value(out: &mut String, value: Value<'_>, zone: Zone) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Boolean(value) => out.push_str(if value { "true" } else { "false" }),
        Value::Integer(value) | Value::Millis(value) | Value::Months(value) => out.push_str(&value.to_string()),
        Value::Float(value) => number_or_text(out, &number::java_float(value), value.is_finite()),
        Value::Double(value) => number_or_text(out, &number::java_double(value), value.is_finite()),
        Value::Decimal { unscaled, scale } => out.push_str(&number::plain_decimal(unscaled, scale)),
        Value::Text(text) => write_string(out, text),
        Value::Bytes(bytes) => {
            out.push('"');
            base64::engine::general_purpose::STANDARD.encode_string(bytes, out);
            out.push('"');
        }
        Value::Date(days) => {
            out.push('"');
            temporal::write_date(out, days);
            out.push('"');
        }
        Value::Time { second, nano, .. } => {
            out.push('"');
            temporal::write_time(out, second, nano, Fraction::Shortest);
            out.push('"');
        }
        Value::Timestamp { moment, zoned, .. } => {
            let moment = if zoned { local(moment, zone) } else { moment };
            out.push('"');
            temporal::write_timestamp(out, moment, 'T', Fraction::Shortest);
            out.push_str(if zoned { "Z\"" } else { "\"" });
        }
        Value::List { items, from, to } => {
            out.push('[');
            for row in from..to {
                if row > from {
                    out.push(',');
                }
                write_value(out, items.value(row), zone);
            }
            out.push(']');
        }
        Value::Map { keys, values, from, to } => {
            out.push('{');
            for row in from..to {
                if row > from {
                    out.push(',');
                }
                let mut key = String::new();
                write_value(&mut key, keys.value(row), zone);
                if key.starts_with('"') {
                    out.push_str(&key);
                } else {
                    write_string(out, &key);
                }
                out.push(':');
                write_value(out, values.value(row), zone);
            }
            out.push('}');
        }
        Value::Row { fields, children, row } => {
            out.push('{');
            for (index, (field, child)) in fields.iter().zip(children).enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_string(out, field.name());
                out.push(':');
                write_value(out, child.value(row), zone);
            }
            out.push('}');
        }
    }
}

fn number_or_text(out: &mut String, text: &str, is_number: bool) {
    if is_number {
        out.push_str(text);
    } else {
        write_string(out, text);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, BinaryArray, Date32Array, Decimal128Array, Float64Array, MapBuilder, StringBuilder,
        TimestampMillisecondArray, UInt32Array,
    };
    use arrow::array::{Int32Builder, RecordBatch};

    use super::*;

    fn line(columns: Vec<(&str, ArrayRef)>, zone: Zone) -> String {
        let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap();
        let mut out = Vec::new();
        write_json(&mut out, &batch, zone).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_have_the_gateways_forms() {
        let mut map = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
        map.keys().append_value("k");
        map.values().append_value(1);
        map.append(true).unwrap();
        let decimal = Decimal128Array::from(vec![1500])
            .with_precision_and_scale(10, 3)
            .unwrap();
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("d", Arc::new(Float64Array::from(vec![1e10]))),
            ("n", Arc::new(Float64Array::from(vec![f64::NAN]))),
            ("p", Arc::new(decimal)),
            ("b", Arc::new(BinaryArray::from(vec![&b"MyS"[..]]))),
            ("dt", Arc::new(Date32Array::from(vec![622_191_233]))),
            ("ts", Arc::new(TimestampMillisecondArray::from(vec![1_704_067_200_120]))),
            ("m", Arc::new(map.finish())),
        ];
        assert_eq!(
            line(columns, Zone::UTC),
            "{\"d\":1.0E10,\"n\":\"NaN\",\"p\":1.500,\"b\":\"TXlT\",\"dt\":\"+1705471-09-27\",\
             \"ts\":\"2024-01-01T00:00:00.12\",\"m\":{\"k\":1}}\n"
        );
    }

    #[test]
    fn moments_are_shown_in_the_sessions_zone() {
        let column = || -> ArrayRef { Arc::new(TimestampMillisecondArray::from(vec![1000]).with_timezone("UTC")) };
        assert_eq!(
            line(vec![("l", column())], Zone::UTC),
            "{\"l\":\"1970-01-01T00:00:01Z\"}\n"
        );
        assert_eq!(
            line(vec![("l", column())], Zone::Named(chrono_tz::Tz::Asia__Tokyo)),
            "{\"l\":\"1970-01-01T09:00:01Z\"}\n"
        );
    }

    #[test]
    fn a_type_without_a_form_is_an_error() {
        let batch = RecordBatch::try_from_iter([("u", Arc::new(UInt32Array::from(vec![1])) as ArrayRef)]).unwrap();
        assert_eq!(
            write_json(&mut Vec::new(), &batch, Zone::UTC).unwrap_err().kind(),
            "unsupported"
        );
    }
}
