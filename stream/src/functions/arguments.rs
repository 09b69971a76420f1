//! Kinds of arguments, and the types of results that many functions share.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};

use super::Failure;
use crate::format::view::Value;

/// Checks the types of a call. A letter of `kinds` is an argument: `s` text, `i` whole number, `n` number, `b` boolean,
/// `x` bytes, `t` date, time or timestamp, `l` array, `m` map, `a` anything; behind `?` they may be missing, and `*`
/// repeats the last one. An untyped NULL fits everywhere.
pub fn check(name: &str, kinds: &str, types: &[DataType]) -> Result<(), Failure> {
    let required = kinds.find(['?', '*']).unwrap_or(kinds.len());
    let letters: Vec<char> = kinds.chars().filter(|c| c.is_ascii_lowercase()).collect();
    let repeats = kinds.ends_with('*');
    let required = if repeats { required.min(letters.len()) } else { required };
    if types.len() < required || (types.len() > letters.len() && !repeats) {
        return Err(format!(
            "Invalid number of arguments to function '{name}': {}. {}",
            types.len(),
            wanted(&letters, kinds)
        ));
    }
    for (index, data_type) in types.iter().enumerate() {
        let Some(kind) = letters.get(index).or(letters.last()) else {
            continue;
        };
        if !fits(*kind, data_type) {
            return Err(format!(
                "Cannot apply '{name}' to arguments of type '{name}({})'. {}",
                types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
                wanted(&letters, kinds)
            ));
        }
    }
    Ok(())
}

fn fits(kind: char, data_type: &DataType) -> bool {
    matches!(
        (kind, data_type),
        ('a', _)
            | (_, DataType::Null)
            | ('s', DataType::Utf8)
            | ('b', DataType::Boolean)
            | ('x', DataType::Binary)
            | ('l', DataType::List(_))
            | ('m', DataType::Map(..))
            | (
                't',
                DataType::Date32
                    | DataType::Time32(_)
                    | DataType::Timestamp(..)
                    | DataType::Interval(IntervalUnit::MonthDayNano)
            )
            | (
                'i' | 'n',
                DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64
            )
            | ('n', DataType::Float32 | DataType::Float64 | DataType::Decimal128(..))
    )
}

fn wanted(letters: &[char], kinds: &str) -> String {
    let names: Vec<&str> = letters
        .iter()
        .map(|kind| match kind {
            's' => "STRING",
            'i' => "INTEGER",
            'n' => "NUMERIC",
            'b' => "BOOLEAN",
            'x' => "BYTES",
            't' => "TIMESTAMP",
            'l' => "ARRAY",
            'm' => "MAP",
            _ => "ANY",
        })
        .collect();
    let more = if kinds.ends_with('*') { ", ..." } else { "" };
    format!("Expected arguments: ({}{more}).", names.join(", "))
}

pub fn text(_: &[DataType]) -> Result<DataType, Failure> {
    Ok(DataType::Utf8)
}

pub fn int(_: &[DataType]) -> Result<DataType, Failure> {
    Ok(DataType::Int32)
}

pub fn bigint(_: &[DataType]) -> Result<DataType, Failure> {
    Ok(DataType::Int64)
}

pub fn double(_: &[DataType]) -> Result<DataType, Failure> {
    Ok(DataType::Float64)
}

pub fn boolean(_: &[DataType]) -> Result<DataType, Failure> {
    Ok(DataType::Boolean)
}

pub fn bytes(_: &[DataType]) -> Result<DataType, Failure> {
    Ok(DataType::Binary)
}

pub fn date(_: &[DataType]) -> Result<DataType, Failure> {
    Ok(DataType::Date32)
}

/// TIMESTAMP(3).
pub fn timestamp(_: &[DataType]) -> Result<DataType, Failure> {
    Ok(DataType::Timestamp(TimeUnit::Millisecond, None))
}

/// TIMESTAMP_LTZ(3).
pub fn timestamp_ltz(_: &[DataType]) -> Result<DataType, Failure> {
    Ok(DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())))
}

/// The type of the first argument.
pub fn first(types: &[DataType]) -> Result<DataType, Failure> {
    Ok(types.first().cloned().unwrap_or(DataType::Null))
}

/// ARRAY of a type.
pub fn array_of(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", item, true)))
}

/// MAP from a type to another.
pub fn map_of(key: DataType, value: DataType) -> DataType {
    let entry = vec![Field::new("key", key, false), Field::new("value", value, true)];
    DataType::Map(
        Arc::new(Field::new("entries", DataType::Struct(entry.into()), false)),
        false,
    )
}

/// The common type of several: equal ones, or the wider of two numbers.
pub fn common(types: &[DataType]) -> Result<DataType, Failure> {
    let mut found = DataType::Null;
    for data_type in types {
        found = wider(&found, data_type)
            .ok_or_else(|| format!("The arguments have no common type: {found} and {data_type}. Cast one of them."))?;
    }
    Ok(found)
}

fn wider(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType::{Decimal128, Float32, Float64, Int8, Int16, Int32, Int64, Null};
    let digits = |t: &DataType| match t {
        Int8 => Some((3u8, 0i8)),
        Int16 => Some((5, 0)),
        Int32 => Some((10, 0)),
        Int64 => Some((19, 0)),
        Decimal128(p, s) => Some((*p, *s)),
        _ => None,
    };
    match (a, b) {
        _ if a == b => Some(a.clone()),
        (Null, other) | (other, Null) => Some(other.clone()),
        (Float64 | Float32, n) | (n, Float64 | Float32) if digits(n).is_some() || matches!(n, Float32 | Float64) => {
            Some(Float64)
        }
        (Decimal128(..), _) | (_, Decimal128(..)) => {
            let ((p1, s1), (p2, s2)) = (digits(a)?, digits(b)?);
            let scale = s1.max(s2);
            let whole = (p1 as i8 - s1).max(p2 as i8 - s2);
            Some(Decimal128((whole + scale).clamp(1, 38) as u8, scale))
        }
        _ => match digits(a)?.0.max(digits(b)?.0) {
            0..=3 => Some(Int8),
            4..=5 => Some(Int16),
            6..=10 => Some(Int32),
            _ => Some(Int64),
        },
    }
}

/// A text argument.
pub fn as_text<'a>(value: &Value<'a>) -> &'a str {
    match value {
        Value::Text(text) => text,
        _ => "",
    }
}

/// A whole number argument.
pub fn as_int(value: &Value<'_>) -> i64 {
    match value {
        Value::Integer(value) => *value,
        _ => 0,
    }
}

/// A number argument as a double.
pub fn as_double(value: &Value<'_>) -> f64 {
    match value {
        Value::Integer(value) => *value as f64,
        Value::Float(value) => f64::from(*value),
        Value::Double(value) => *value,
        // By way of the text, which gives the nearest double.
        Value::Decimal { unscaled, scale } => crate::format::number::plain_decimal(*unscaled, *scale)
            .parse()
            .unwrap_or(f64::NAN),
        _ => f64::NAN,
    }
}
