//! Values as text the way `Row.toString` and the `print` connector show them.

use crate::format::number;
use crate::format::temporal::{self, Fraction};
use crate::format::view::Value;

/// Appends one value; null is `null`.
pub fn write_value(out: &mut String, value: Value<'_>) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Boolean(value) => out.push_str(if value { "true" } else { "false" }),
        Value::Integer(value) | Value::Millis(value) | Value::Months(value) => out.push_str(&value.to_string()),
        Value::Float(value) => out.push_str(&number::java_float(value)),
        Value::Double(value) => out.push_str(&number::java_double(value)),
        Value::Decimal { unscaled, scale } => out.push_str(&number::plain_decimal(unscaled, scale)),
        Value::Text(text) => out.push_str(text),
        Value::Bytes(bytes) => write_list(out, '[', ']', bytes.len(), |out, i| {
            out.push_str(&(bytes[i] as i8).to_string());
        }),
        Value::Date(days) => temporal::write_date(out, days),
        Value::Time { second, nano, .. } => temporal::write_time(out, second, nano, Fraction::Shortest),
        Value::Timestamp { moment, zoned, .. } => {
            temporal::write_timestamp(out, moment, 'T', Fraction::Shortest);
            if zoned {
                out.push('Z');
            }
        }
        Value::List { items, from, to } => {
            write_list(out, '[', ']', to - from, |out, i| {
                write_value(out, items.value(from + i))
            });
        }
        Value::Map { keys, values, from, to } => write_list(out, '{', '}', to - from, |out, i| {
            write_value(out, keys.value(from + i));
            out.push('=');
            write_value(out, values.value(from + i));
        }),
        Value::Row { children, row, .. } => {
            out.push_str("+I");
            write_list(out, '[', ']', children.len(), |out, i| {
                write_value(out, children[i].value(row))
            });
        }
    }
}

fn write_list(out: &mut String, open: char, close: char, len: usize, mut item: impl FnMut(&mut String, usize)) {
    out.push(open);
    for index in 0..len {
        if index > 0 {
            out.push_str(", ");
        }
        item(out, index);
    }
    out.push(close);
}
