//! Partition directories, `key=value/…`, in Hive's escaped form, which Flink and Spark share.

use std::fmt::Write;

use crate::format::number;
use crate::format::temporal::{self, Fraction};
use crate::format::view::Value;

/// The directory of null, and of the empty text.
pub const DEFAULT_NAME: &str = "__DEFAULT_PARTITION__";

/// Appends `key=value/` to a directory.
pub fn push_segment(directory: &mut String, key: &str, value: &Value<'_>, default_name: &str) {
    let text = text_of(value);
    escape(directory, key);
    directory.push('=');
    match text {
        Some(text) if !text.is_empty() => escape(directory, &text),
        _ => directory.push_str(default_name),
    }
    directory.push('/');
}

/// The values of `keys` in the directories of a file's path below the table's root; `None` is the default partition.
pub fn values_of<'k>(
    relative_path: &str,
    keys: &'k [String],
    default_name: &str,
) -> Result<Vec<Option<String>>, &'k str> {
    let segments: Vec<&str> = relative_path.split('/').filter(|s| !s.is_empty()).collect();
    let directories = &segments[..segments.len().saturating_sub(1)];
    keys.iter()
        .map(|key| {
            directories
                .iter()
                .find_map(|segment| {
                    let (name, value) = segment.split_once('=')?;
                    (unescape(name) == *key).then(|| (value != default_name).then(|| unescape(value)))
                })
                .ok_or(key.as_str())
        })
        .collect()
}

fn text_of(value: &Value<'_>) -> Option<String> {
    let mut out = String::new();
    match value {
        Value::Text(text) => return Some((*text).to_owned()),
        Value::Boolean(value) => return Some(value.to_string()),
        Value::Integer(value) => return Some(value.to_string()),
        Value::Float(value) => return Some(number::java_float(*value)),
        Value::Double(value) => return Some(number::java_double(*value)),
        Value::Decimal { unscaled, scale } => return Some(number::plain_decimal(*unscaled, *scale)),
        Value::Date(days) => temporal::write_date(&mut out, *days),
        Value::Time { second, nano, .. } => temporal::write_time(&mut out, *second, *nano, Fraction::Shortest),
        Value::Timestamp { moment, .. } => temporal::write_timestamp(&mut out, *moment, ' ', Fraction::Shortest),
        _ => return None,
    }
    Some(out)
}

fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '\0'..='\x1f'
            | '\x7f'
            | '"'
            | '#'
            | '%'
            | '\''
            | '*'
            | '/'
            | ':'
            | '='
            | '?'
            | '\\'
            | '{'
            | '['
            | ']'
            | '^' => {
                write!(out, "%{:02X}", u32::from(c)).expect("a String takes all that is written to it");
            }
            c => out.push(c),
        }
    }
}

fn unescape(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.as_bytes();
    while let Some((&byte, rest)) = bytes.split_first() {
        let code = rest.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(code) if byte == b'%' => {
                out.push(code);
                bytes = &rest[2..];
            }
            _ => {
                out.push(byte);
                bytes = rest;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn null_has_a_directory_of_its_own() {
        let mut directory = String::new();
        push_segment(&mut directory, "s", &Value::Null, DEFAULT_NAME);
        assert_eq!(directory, "s=__DEFAULT_PARTITION__/");
        assert_eq!(
            values_of("s=__DEFAULT_PARTITION__/part-0", &["s".to_owned()], DEFAULT_NAME),
            Ok(vec![None])
        );
        assert_eq!(values_of("part-0", &["s".to_owned()], DEFAULT_NAME), Err("s"));
    }

    proptest! {
        #[test]
        fn values_survive_the_directory(a in ".+", b in any::<i64>()) {
            let mut path = String::new();
            push_segment(&mut path, "k=1", &Value::Text(&a), DEFAULT_NAME);
            push_segment(&mut path, "b", &Value::Integer(b), DEFAULT_NAME);
            path.push_str("part-0");
            let keys = ["b".to_owned(), "k=1".to_owned()];
            prop_assert_eq!(values_of(&path, &keys, DEFAULT_NAME), Ok(vec![Some(b.to_string()), Some(a)]));
        }
    }
}
