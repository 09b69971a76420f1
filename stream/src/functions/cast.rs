//! CAST and TRY_CAST.
//!
//! Numbers narrow as Java's do (integers wrap, floats are cut), decimals that do not fit are null, and a text that is no
//! number, date or truth value fails the row, or is null under TRY_CAST. `CHAR(n)` pads, `VARCHAR(n)` cuts.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{DataFusionError, Result as PlanResult};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::arguments::as_double;
use super::{Failure, SessionFacts, evaluate, zone};
use crate::format::column::{Column, parse_double, parse_float};
use crate::format::number::{self, power_of_ten};
use crate::format::temporal::{self, Fraction, Moment, SECONDS_PER_DAY, digits_of};
use crate::format::view::Value;
use crate::output::local;

const MILLIS_PER_DAY: i64 = 86_400_000;

/// The length in a type's name, which Arrow's types do not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Length {
    Char(u32),
    VarChar(u32),
    Binary(u32),
    VarBinary(u32),
}

/// Whether Flink has a cast between two types.
pub fn can_cast(from: &DataType, to: &DataType) -> bool {
    use DataType::{Binary, Boolean, Date32, Duration, Interval, List, Map, Null, Struct, Time32, Timestamp, Utf8};
    match (from, to) {
        (Null, _) => true,
        (from, to) if from == to => true,
        // A TIMESTAMP of nanoseconds is cast as one of microseconds is.
        (wide, to) if *wide == temporal::WIDE_TIMESTAMP => can_cast(&Timestamp(TimeUnit::Microsecond, None), to),
        (from, wide) if *wide == temporal::WIDE_TIMESTAMP => can_cast(from, &Timestamp(TimeUnit::Microsecond, None)),
        (_, Utf8) | (Utf8, Binary | Boolean | Date32 | Time32(_) | Timestamp(..)) => true,
        (Utf8, number) => number.is_numeric(),
        (Boolean, number) | (number, Boolean) => number.is_numeric(),
        (Date32, Timestamp(..)) | (Timestamp(..), Date32 | Time32(_) | Timestamp(..)) => true,
        (Time32(_), Time32(_) | Timestamp(..)) => true,
        (Duration(_) | Interval(_), number) => number.is_integer(),
        (List(from), List(to)) => can_cast(from.data_type(), to.data_type()),
        (Map(from, _), Map(to, _)) => can_cast(from.data_type(), to.data_type()),
        (Struct(from), Struct(to)) => {
            from.len() == to.len() && from.iter().zip(to).all(|(f, t)| can_cast(f.data_type(), t.data_type()))
        }
        (from, to) => from.is_numeric() && to.is_numeric(),
    }
}

/// The cast to a type, as a function of one argument.
///
/// `precision` is that of a time, where the Arrow type holds more digits: of the target's, or of the value's where a text
/// is to be made of it.
pub fn cast(
    to: &DataType,
    length: Option<Length>,
    precision: Option<u8>,
    try_cast: bool,
    session: &SessionFacts,
) -> Arc<ScalarUDF> {
    let signature = Signature::any(1, Volatility::Immutable);
    Arc::new(ScalarUDF::from(Cast {
        to: to.clone(),
        length,
        precision,
        try_cast,
        session: session.clone(),
        signature,
    }))
}

#[derive(Debug)]
struct Cast {
    to: DataType,
    length: Option<Length>,
    precision: Option<u8>,
    try_cast: bool,
    session: SessionFacts,
    signature: Signature,
}

impl PartialEq for Cast {
    fn eq(&self, other: &Self) -> bool {
        (&self.to, self.length, self.precision, self.try_cast, &self.session)
            == (&other.to, other.length, other.precision, other.try_cast, &other.session)
    }
}

impl Eq for Cast {}

impl Hash for Cast {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.to, self.length, self.try_cast).hash(state);
    }
}

impl ScalarUDFImpl for Cast {
    fn name(&self) -> &str {
        if self.try_cast { "TRY_CAST" } else { "CAST" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> PlanResult<DataType> {
        match types {
            [from] if can_cast(from, &self.to) => Ok(self.to.clone()),
            [from] => Err(DataFusionError::Plan(format!(
                "Cast function cannot convert value of type {from} to type {}",
                self.to
            ))),
            _ => Err(DataFusionError::Plan("CAST takes one value.".to_owned())),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        if args.args[0].data_type() == self.to && self.length.is_none() && self.precision.is_none() {
            return Ok(args.args[0].clone());
        }
        evaluate(&args, true, |values, column| {
            match convert(&self.session, column, values[0], self.length, self.precision) {
                Err(_) if self.try_cast => {
                    column.append_null();
                    Ok(())
                }
                result => result,
            }
        })
    }
}

/// Nanoseconds without the digits behind the first `precision` ones.
fn cut(nano: u32, precision: Option<u8>) -> u32 {
    let coarse = 10_u32.pow(9 - u32::from(precision.unwrap_or(9).min(9)));
    nano / coarse * coarse
}

/// Appends a value converted to the column's type.
pub fn append_converted(session: &SessionFacts, column: &mut Column, value: Value<'_>) -> Result<(), Failure> {
    convert(session, column, value, None, None)
}

/// Appends one converted value, or fails and appends nothing.
fn convert(
    session: &SessionFacts,
    column: &mut Column,
    value: Value<'_>,
    length: Option<Length>,
    precision: Option<u8>,
) -> Result<(), Failure> {
    match (column, value) {
        (column, Value::Null) => column.append_null(),
        (Column::Text(out), value) => match (&value, length) {
            (Value::Text(text), None) => out.append_value(text),
            _ => out.append_value(fitted(text_of(session, &value, precision), length)),
        },
        (Column::Bytes(out), value) => out.append_value(fitted_bytes(&value, length)),
        (Column::Boolean(out), value) => out.append_value(truth(&value)?),
        (Column::Date(out), value) => out.append_value(date(session, &value)? as i32),
        (column @ Column::Time { .. }, value) => {
            let (second, nano) = time(session, &value)?;
            column.append_time(second, cut(nano, precision));
        }
        (column @ Column::Timestamp { .. }, value) => {
            let zoned = matches!(column, Column::Timestamp { zone: Some(_), .. });
            let moment = timestamp(session, &value, zoned)?;
            column.append_moment(Moment::new(moment.second, cut(moment.nano, precision)));
        }
        (
            Column::Decimal {
                values,
                precision,
                scale,
            },
            value,
        ) => values.append_option(decimal(&value, *precision, *scale)?),
        (Column::Float32(out), Value::Text(text)) => {
            double_of(text)?;
            out.append_value(parse_float(text));
        }
        (Column::Float32(out), value) => out.append_value(match value {
            Value::Float(value) => value,
            Value::Integer(value) => value as f32,
            value => number_of(&value)? as f32,
        }),
        (Column::Float64(out), value) => out.append_value(number_of(&value)?),
        (Column::Int8(out), value) => out.append_value(narrowed(&value, i8::MIN.into(), i8::MAX.into())? as i8),
        (Column::Int16(out), value) => out.append_value(narrowed(&value, i16::MIN.into(), i16::MAX.into())? as i16),
        (Column::Int32(out), value) => out.append_value(narrowed(&value, i32::MIN.into(), i32::MAX.into())? as i32),
        (Column::Int64(out), value) => out.append_value(narrowed(&value, i64::MIN, i64::MAX)?),
        (column, value) => return convert_nested(session, column, value),
    }
    Ok(())
}

fn convert_nested(session: &SessionFacts, column: &mut Column, value: Value<'_>) -> Result<(), Failure> {
    match (column, value) {
        (Column::List { item, shape, .. }, Value::List { items, from, to }) => {
            for row in from..to {
                convert(session, item, items.value(row), None, None)?;
            }
            shape.close(item.len(), true);
        }
        (
            Column::Map {
                keys, values, shape, ..
            },
            Value::Map {
                keys: from_keys,
                values: from_values,
                from,
                to,
            },
        ) => {
            for row in from..to {
                match from_keys.value(row) {
                    Value::Null if keys.append_null_key() => {}
                    key => convert(session, keys, key, None, None)?,
                }
                convert(session, values, from_values.value(row), None, None)?;
            }
            shape.close(keys.len(), true);
        }
        (
            Column::Row { children, valid, .. },
            Value::Row {
                children: from, row, ..
            },
        ) => {
            for (child, from) in children.iter_mut().zip(from) {
                convert(session, child, from.value(row), None, None)?;
            }
            valid.push(true);
        }
        _ => return Err("This cast is not supported.".to_owned()),
    }
    Ok(())
}

fn fitted(text: String, length: Option<Length>) -> String {
    let (Some(Length::Char(most)) | Some(Length::VarChar(most))) = length else {
        return text;
    };
    let mut out: String = text.chars().take(most as usize).collect();
    if let Some(Length::Char(_)) = length {
        let missing = (most as usize).saturating_sub(out.chars().count());
        out.extend(std::iter::repeat_n(' ', missing));
    }
    out
}

fn fitted_bytes(value: &Value<'_>, length: Option<Length>) -> Vec<u8> {
    let mut bytes = match value {
        Value::Text(text) => text.as_bytes().to_vec(),
        Value::Bytes(bytes) => bytes.to_vec(),
        _ => Vec::new(),
    };
    match length {
        Some(Length::Binary(len)) => bytes.resize(len as usize, 0),
        Some(Length::VarBinary(most)) => bytes.truncate(most as usize),
        _ => {}
    }
    bytes
}

fn truth(value: &Value<'_>) -> Result<bool, Failure> {
    match value {
        Value::Boolean(value) => Ok(*value),
        Value::Text(text) => match text.to_ascii_lowercase().as_str() {
            "t" | "true" | "y" | "yes" | "1" => Ok(true),
            "f" | "false" | "n" | "no" | "0" => Ok(false),
            _ => Err(format!("Cannot parse '{text}' as BOOLEAN.")),
        },
        Value::Decimal { unscaled, .. } => Ok(*unscaled != 0),
        value => Ok(as_double(value) != 0.0),
    }
}

fn no_number(text: &str) -> Failure {
    format!("For input string: '{text}'. Invalid character found.")
}

fn double_of(text: &str) -> Result<f64, Failure> {
    parse_double(text).ok_or_else(|| no_number(text))
}

fn number_of(value: &Value<'_>) -> Result<f64, Failure> {
    match value {
        Value::Text(text) => double_of(text),
        Value::Boolean(value) => Ok(f64::from(u8::from(*value))),
        value => Ok(as_double(value)),
    }
}

/// A whole number for an integer type: from a wider one its low bits, from a float the nearest that an INT (or BIGINT)
/// holds and of that the low bits, as Java does both.
fn narrowed(value: &Value<'_>, least: i64, most: i64) -> Result<i64, Failure> {
    let of_float = |value: f64| {
        if most <= i64::from(i32::MAX) {
            i64::from(value as i32)
        } else {
            value as i64
        }
    };
    Ok(match value {
        Value::Integer(value) | Value::Millis(value) | Value::Months(value) => *value,
        Value::Float(value) => of_float(f64::from(*value)),
        Value::Double(value) => of_float(*value),
        Value::Boolean(value) => i64::from(*value),
        Value::Decimal { unscaled, scale } => {
            let power = power_of_ten((*scale).max(0) as u32).unwrap_or(i128::MAX);
            (unscaled / power) as i64
        }
        Value::Text(text) => {
            let whole = whole_of(text.trim()).ok_or_else(|| no_number(text))?;
            if !(i128::from(least)..=i128::from(most)).contains(&whole) {
                return Err(format!("For input string: '{text}'. Overflow."));
            }
            whole as i64
        }
        _ => return Err("This cast is not supported.".to_owned()),
    })
}

/// A whole number, with digits behind a point cut off.
fn whole_of(text: &str) -> Option<i128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = whole.trim_start_matches(['+', '-']);
    let sound = digits.len() + 1 >= whole.len()
        && digits.len() + fraction.len() > 0
        && digits.len() <= 38
        && digits.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit());
    if !sound {
        return None;
    }
    let value: i128 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    Some(if whole.starts_with('-') { -value } else { value })
}

/// A decimal; `None` where it does not fit.
fn decimal(value: &Value<'_>, precision: u8, scale: i8) -> Result<Option<i128>, Failure> {
    let by_text = |text: &str| number::parse_decimal(text, precision, scale);
    Ok(match value {
        Value::Integer(value) => number::rescale(i128::from(*value), 0, precision, scale),
        Value::Decimal { unscaled, scale: from } => number::rescale(*unscaled, *from, precision, scale),
        Value::Boolean(value) => number::rescale(i128::from(*value), 0, precision, scale),
        Value::Float(value) => by_text(&number::decimal_text(f64::from(*value))?).flatten(),
        Value::Double(value) => by_text(&number::decimal_text(*value)?).flatten(),
        Value::Text(text) => by_text(text.trim()).ok_or_else(|| no_number(text))?,
        _ => return Err("This cast is not supported.".to_owned()),
    })
}

fn date(session: &SessionFacts, value: &Value<'_>) -> Result<i64, Failure> {
    match value {
        Value::Date(days) => Ok(*days),
        Value::Timestamp { moment, zoned, .. } => {
            let moment = if *zoned { local(*moment, session.zone) } else { *moment };
            // Flink divides, which rounds towards 1970.
            Ok(moment.to_unit(TimeUnit::Millisecond).unwrap_or_default() / MILLIS_PER_DAY)
        }
        Value::Text(text) => {
            temporal::parse_date_leniently(text).ok_or_else(|| format!("Cannot parse '{text}' as DATE."))
        }
        _ => Err("This cast is not supported.".to_owned()),
    }
}

fn time(session: &SessionFacts, value: &Value<'_>) -> Result<(u32, u32), Failure> {
    match value {
        Value::Time { second, nano, .. } => Ok((*second, *nano)),
        Value::Timestamp { moment, zoned, .. } => {
            let moment = if *zoned { local(*moment, session.zone) } else { *moment };
            Ok((moment.day_and_second().1, moment.nano))
        }
        Value::Text(text) => {
            temporal::parse_time_leniently(text).ok_or_else(|| format!("Cannot parse '{text}' as TIME."))
        }
        _ => Err("This cast is not supported.".to_owned()),
    }
}

/// A TIMESTAMP, or a TIMESTAMP_LTZ where `to_zoned`.
fn timestamp(session: &SessionFacts, value: &Value<'_>, to_zoned: bool) -> Result<Moment, Failure> {
    let (moment, from_zoned) = match value {
        Value::Timestamp { moment, zoned, .. } => (*moment, *zoned),
        Value::Date(days) => (Moment::new(days * SECONDS_PER_DAY, 0), false),
        Value::Time { second, nano, .. } => (Moment::new(i64::from(*second), *nano), false),
        Value::Text(text) => (
            temporal::parse_timestamp_leniently(text).ok_or_else(|| format!("Cannot parse '{text}' as TIMESTAMP."))?,
            false,
        ),
        _ => return Err("This cast is not supported.".to_owned()),
    };
    Ok(match (from_zoned, to_zoned) {
        (true, false) => local(moment, session.zone),
        (false, true) => zone::to_moment(moment, session.zone),
        _ => moment,
    })
}

/// `CAST(value AS STRING)`.
fn text_of(session: &SessionFacts, value: &Value<'_>, precision: Option<u8>) -> String {
    let mut out = String::new();
    match (*value, precision) {
        (Value::Timestamp { moment, zoned, .. }, Some(digits)) => {
            let moment = if zoned { local(moment, session.zone) } else { moment };
            temporal::write_timestamp(&mut out, moment, ' ', Fraction::Fixed(digits));
        }
        (Value::Time { second, nano, .. }, Some(digits)) => {
            temporal::write_time(&mut out, second, nano, Fraction::Fixed(digits));
        }
        _ => write_text(session, &mut out, value),
    }
    out
}

fn write_text(session: &SessionFacts, out: &mut String, value: &Value<'_>) {
    match *value {
        Value::Null => out.push_str("NULL"),
        Value::Boolean(value) => out.push_str(if value { "TRUE" } else { "FALSE" }),
        Value::Integer(value) => out.push_str(&value.to_string()),
        Value::Float(value) => out.push_str(&number::java_float(value)),
        Value::Double(value) => out.push_str(&number::java_double(value)),
        Value::Decimal { unscaled, scale } => out.push_str(&number::plain_decimal(unscaled, scale)),
        Value::Text(text) => out.push_str(text),
        Value::Bytes(bytes) => out.push_str(&String::from_utf8_lossy(bytes)),
        Value::Date(days) => temporal::write_date(out, days),
        Value::Time { second, nano, unit } => {
            temporal::write_time(out, second, nano, Fraction::Fixed(digits_of(unit)));
        }
        Value::Timestamp { moment, unit, zoned } => {
            let moment = if zoned { local(moment, session.zone) } else { moment };
            temporal::write_timestamp(out, moment, ' ', Fraction::Fixed(digits_of(unit)));
        }
        Value::Millis(ms) => write_day_time(out, ms),
        Value::Months(months) => {
            let sign = if months < 0 { '-' } else { '+' };
            out.push_str(&format!(
                "{sign}{}-{:02}",
                months.unsigned_abs() / 12,
                months.unsigned_abs() % 12
            ));
        }
        Value::List { items, from, to } => {
            write_items(out, ('[', ']'), to - from, |out, i| {
                write_text(session, out, &items.value(from + i))
            });
        }
        Value::Map { keys, values, from, to } => write_items(out, ('{', '}'), to - from, |out, i| {
            write_text(session, out, &keys.value(from + i));
            out.push('=');
            write_text(session, out, &values.value(from + i));
        }),
        Value::Row { children, row, .. } => {
            write_items(out, ('(', ')'), children.len(), |out, i| {
                write_text(session, out, &children[i].value(row))
            });
        }
    }
}

/// `+1 00:00:00.000`
fn write_day_time(out: &mut String, ms: i64) {
    let all = ms.unsigned_abs();
    let second = u32::try_from(all / 1000 % 86_400).unwrap_or_default();
    out.push(if ms < 0 { '-' } else { '+' });
    out.push_str(&format!("{} ", all / 86_400_000));
    temporal::write_time(
        out,
        second,
        (all % 1000) as u32 * 1_000_000,
        Fraction::Fixed(digits_of(TimeUnit::Millisecond)),
    );
}

fn write_items(out: &mut String, brackets: (char, char), len: usize, mut item: impl FnMut(&mut String, usize)) {
    out.push(brackets.0);
    for index in 0..len {
        if index > 0 {
            out.push_str(", ");
        }
        item(out, index);
    }
    out.push(brackets.1);
}
