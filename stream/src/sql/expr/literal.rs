//! Literals: numbers, strings, dates and times, intervals.

use arrow::datatypes::{DataType, TimeUnit};
use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use datafusion::common::ScalarValue;
use sqlparser::ast::{self, DateTimeField, Expr, Value, ValueWithSpan};
use sqlparser::tokenizer::Span;

use super::{Binder, Bound};
use crate::Error;
use crate::format::temporal::Moment;
use crate::sql::data_type::Length;
use crate::sql::facts::Facts;
use crate::sql::parse::place;

/// Digits that an interval's first field may have unless it says more, as the SQL standard has it.
const INTERVAL_DIGITS: u64 = 2;
/// Days from the first day of the Gregorian calendar to 1970.
const DAYS_TO_EPOCH: i32 = 719_163;

pub fn value(value: &ValueWithSpan) -> Result<Bound, Error> {
    let at = place(value.span.start);
    match &value.value {
        Value::Number(text, false) => number(text, &at),
        Value::SingleQuotedString(text) | Value::UnicodeStringLiteral(text) => {
            let length = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
            Ok(Bound::literal(ScalarValue::Utf8(Some(text.clone()))).with(Facts {
                length: Some(Length::Char(length)),
                ..Facts::not_null()
            }))
        }
        Value::HexStringLiteral(text) => {
            let bytes = (0..text.len() / 2).map(|i| u8::from_str_radix(text.get(2 * i..2 * i + 2).unwrap_or(""), 16));
            let bytes = bytes
                .collect::<Result<Vec<u8>, _>>()
                .ok()
                .filter(|_| text.len().is_multiple_of(2));
            let bytes = bytes.ok_or_else(|| {
                Error::parse(format!(
                    "binary literal X'{text}' wants pairs of hexadecimal digits{at}"
                ))
            })?;
            let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            Ok(Bound::literal(ScalarValue::Binary(Some(bytes))).with(Facts {
                length: Some(Length::Binary(length)),
                ..Facts::not_null()
            }))
        }
        Value::Boolean(truth) => Ok(Bound::literal(ScalarValue::Boolean(Some(*truth)))),
        Value::Null => Ok(Bound::literal(ScalarValue::Null)),
        other => Err(Error::parse(format!(
            "Encountered \"{other}\"{at}: this literal is not Flink SQL"
        ))),
    }
}

/// INT or BIGINT if it has no point, DECIMAL if it has one, DOUBLE with an exponent.
pub fn number(text: &str, at: &str) -> Result<Bound, Error> {
    let refuse = || Error::validate(format!("Numeric literal '{text}' out of range{at}"));
    if text.contains(['e', 'E']) {
        let value: f64 = text.parse().map_err(|_| refuse())?;
        return Ok(Bound::literal(ScalarValue::Float64(Some(value))));
    }
    if !text.contains('.') {
        if let Ok(value) = text.parse::<i32>() {
            return Ok(Bound::literal(ScalarValue::Int32(Some(value))));
        }
        if let Ok(value) = text.parse::<i64>() {
            return Ok(Bound::literal(ScalarValue::Int64(Some(value))));
        }
    }
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('0');
    let precision = (whole.len() + fraction.len()).max(1);
    if precision > 38 {
        return Err(refuse());
    }
    let value: i128 = format!("0{whole}{fraction}").parse().map_err(|_| refuse())?;
    let value = if negative { -value } else { value };
    Ok(Bound::literal(ScalarValue::Decimal128(
        Some(value),
        precision as u8,
        fraction.len() as i8,
    )))
}

impl Binder<'_> {
    /// `DATE '…'`, `TIME '…'`, `TIMESTAMP '…'`.
    pub(super) fn typed_string(&mut self, typed: &ast::TypedString) -> Result<Bound, Error> {
        let at = place(typed.value.span.start);
        let Value::SingleQuotedString(text) = &typed.value.value else {
            return Err(Error::parse(format!("Encountered \"{}\"{at}", typed.value.value)));
        };
        let refuse = |what: &str| Error::parse(format!("Illegal {what} literal '{text}'{at}"));
        match &typed.data_type {
            ast::DataType::Date => {
                let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| refuse("DATE"))?;
                Ok(Bound::literal(ScalarValue::Date32(Some(
                    date.num_days_from_ce() - DAYS_TO_EPOCH,
                ))))
            }
            ast::DataType::Time(None, _) => {
                let time = NaiveTime::parse_from_str(text, "%H:%M:%S%.f").map_err(|_| refuse("TIME"))?;
                let seconds = time.num_seconds_from_midnight() as i32;
                let millis = (time.nanosecond() / 1_000_000) as i32;
                Ok(Bound::literal(if text.contains('.') {
                    ScalarValue::Time32Millisecond(Some(seconds * 1000 + millis))
                } else {
                    ScalarValue::Time32Second(Some(seconds))
                }))
            }
            ast::DataType::Timestamp(None, _) => {
                let time =
                    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").map_err(|_| refuse("TIMESTAMP"))?;
                let utc = time.and_utc();
                let digits = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
                let precision = (digits % 3 != 0).then_some(digits as u8);
                Ok(Bound::literal(match digits {
                    0 => ScalarValue::TimestampSecond(Some(utc.timestamp()), None),
                    1..=3 => ScalarValue::TimestampMillisecond(Some(utc.timestamp_millis()), None),
                    4..=6 => ScalarValue::TimestampMicrosecond(Some(utc.timestamp_micros()), None),
                    _ => ScalarValue::IntervalMonthDayNano(
                        Moment::new(utc.timestamp(), utc.timestamp_subsec_nanos()).to_wide(),
                    ),
                })
                .with(Facts {
                    precision,
                    ..Facts::not_null()
                }))
            }
            other => Err(Error::parse(format!(
                "Encountered \"{other}\"{at}: no literal of this type in Flink SQL"
            ))),
        }
    }
}

/// `INTERVAL '…' UNIT [TO UNIT]`: a duration in milliseconds, or months.
pub fn interval(interval: &ast::Interval, span: Span) -> Result<Bound, Error> {
    let at = place(span.start);
    let Expr::Value(ValueWithSpan {
        value: Value::SingleQuotedString(text),
        ..
    }) = interval.value.as_ref()
    else {
        return Err(Error::parse(format!("an INTERVAL wants its value in quotes{at}")));
    };
    let Some(first) = interval.leading_field.as_ref().and_then(unit) else {
        return Err(Error::parse(format!(
            "an INTERVAL wants a unit from YEAR to SECOND behind its value{at}"
        )));
    };
    let last = match &interval.last_field {
        None => first,
        Some(field) => unit(field)
            .filter(|last| *last > first)
            .ok_or_else(|| Error::parse(format!("an INTERVAL cannot go from {} to {field}{at}", UNITS[first])))?,
    };
    let illegal = || {
        let to = if last == first {
            String::new()
        } else {
            format!(" TO {}", UNITS[last])
        };
        Error::validate(format!(
            "Illegal interval literal format '{text}' for INTERVAL {}{to}{at}",
            UNITS[first]
        ))
    };
    let fields = fields(text, first, last).ok_or_else(illegal)?;
    let digits = interval.leading_precision.unwrap_or(INTERVAL_DIGITS);
    if fields.first.len() as u64 > digits {
        return Err(Error::validate(format!(
            "Interval field value {} exceeds precision of {}({digits}) field{at}",
            fields.first, UNITS[first]
        )));
    }
    let total = fields.total().ok_or_else(illegal)?;
    if (first <= MONTH) != (last <= MONTH) {
        return Err(illegal());
    }
    if first <= MONTH {
        let months = i32::try_from(total).map_err(|_| illegal())?;
        return Ok(Bound::literal(ScalarValue::IntervalYearMonth(Some(months))));
    }
    Ok(Bound::literal(ScalarValue::DurationMillisecond(Some(total))))
}

/// The milliseconds of a constant interval.
pub fn interval_millis(bound: &Bound) -> Option<i64> {
    match bound.constant() {
        Some(ScalarValue::DurationMillisecond(Some(millis))) => Some(*millis),
        _ => None,
    }
}

const UNITS: [&str; 6] = ["YEAR", "MONTH", "DAY", "HOUR", "MINUTE", "SECOND"];
const MONTH: usize = 1;
/// What a field is worth: months, then milliseconds.
const WORTH: [i64; 6] = [12, 1, 86_400_000, 3_600_000, 60_000, 1000];
/// What stands in front of a field that is not the first, and how many of it make one of the field before.
const LINK: [(char, i64); 6] = [(' ', 0), ('-', 12), (' ', 0), (' ', 24), (':', 60), (':', 60)];

fn unit(field: &DateTimeField) -> Option<usize> {
    Some(match field {
        DateTimeField::Year | DateTimeField::Years => 0,
        DateTimeField::Month | DateTimeField::Months => 1,
        DateTimeField::Day | DateTimeField::Days => 2,
        DateTimeField::Hour | DateTimeField::Hours => 3,
        DateTimeField::Minute | DateTimeField::Minutes => 4,
        DateTimeField::Second | DateTimeField::Seconds => 5,
        _ => return None,
    })
}

struct Fields {
    negative: bool,
    /// The first field's digits.
    first: String,
    /// Each field's number and worth.
    parts: Vec<(i64, i64)>,
    millis: i64,
}

impl Fields {
    fn total(&self) -> Option<i64> {
        let mut total = self.millis;
        for (number, worth) in &self.parts {
            total = total.checked_add(number.checked_mul(*worth)?)?;
        }
        Some(if self.negative { -total } else { total })
    }
}

fn fields(text: &str, first: usize, last: usize) -> Option<Fields> {
    let text = text.trim();
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut fields = Fields {
        negative,
        first: String::new(),
        parts: Vec::new(),
        millis: 0,
    };
    for unit in first..=last {
        if unit > first {
            rest = rest.strip_prefix(LINK[unit].0)?;
        }
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, tail) = rest.split_at(digits);
        let value: i64 = number.parse().ok()?;
        if unit == first {
            fields.first = number.to_owned();
        } else if value >= LINK[unit].1 {
            return None;
        }
        fields.parts.push((value, WORTH[unit]));
        rest = tail;
    }
    if last == 5
        && let Some(fraction) = rest.strip_prefix('.')
    {
        if fraction.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        fields.millis = format!("{fraction:0<3}")[..3].parse().ok()?;
        rest = "";
    }
    rest.is_empty().then_some(fields)
}

/// Whether a type is an interval of days to seconds.
pub fn is_duration(data: &DataType) -> bool {
    matches!(data, DataType::Duration(TimeUnit::Millisecond))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals() {
        let millis = |text, first, last| fields(text, first, last).and_then(|f| f.total());
        assert_eq!(millis("10", 5, 5), Some(10_000));
        assert_eq!(millis("1.5", 5, 5), Some(1_500));
        assert_eq!(millis("1 02:03:04.005", 2, 5), Some(93_784_005));
        assert_eq!(millis("-2-03", 0, 1), Some(-27));
        for (text, first, last) in [("abc", 2, 2), ("1:60", 4, 5), ("1 2", 2, 2), ("", 5, 5), ("1.", 5, 5)] {
            assert_eq!(millis(text, first, last), None, "{text}");
        }
    }

    #[test]
    fn numbers_have_flinks_types() {
        let data = |text| number(text, "").unwrap().data;
        assert_eq!(data("2147483647"), DataType::Int32);
        assert_eq!(data("2147483648"), DataType::Int64);
        assert_eq!(data("-9223372036854775808"), DataType::Int64);
        assert_eq!(data("1.50"), DataType::Decimal128(3, 2));
        assert_eq!(data("0.5"), DataType::Decimal128(1, 1));
        assert_eq!(data("1e3"), DataType::Float64);
        assert!(number(&"9".repeat(39), "").is_err());
    }
}
