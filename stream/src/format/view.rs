//! A read-only view of an Arrow array by SQL value: what encoders and printers read from.
//!
//! The type is resolved once an array, not once a value.

use std::ops::Range;

use arrow::array::{
    Array, AsArray, BinaryArray, BooleanArray, Decimal128Array, ListArray, MapArray, StringArray, StringViewArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, DurationMillisecondType, Fields, Float32Type,
    Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
    IntervalUnit, IntervalYearMonthType, Time32MillisecondType, Time32SecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};

use super::column::NULL_KEY;
use super::temporal::{Moment, WIDE_TIMESTAMP};
use crate::Error;

/// One value of a [`View`].
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    Null,
    Boolean(bool),
    Integer(i64),
    Float(f32),
    Double(f64),
    Decimal {
        unscaled: i128,
        scale: i8,
    },
    Text(&'a str),
    Bytes(&'a [u8]),
    /// Days since 1970.
    Date(i64),
    /// Second of the day and nanosecond.
    Time {
        second: u32,
        nano: u32,
        unit: TimeUnit,
    },
    Timestamp {
        moment: Moment,
        unit: TimeUnit,
        zoned: bool,
    },
    /// A day-time interval in milliseconds.
    Millis(i64),
    /// A year-month interval in months.
    Months(i64),
    List {
        items: &'a View<'a>,
        from: usize,
        to: usize,
    },
    Map {
        keys: &'a View<'a>,
        values: &'a View<'a>,
        from: usize,
        to: usize,
    },
    Row {
        fields: &'a Fields,
        children: &'a [View<'a>],
        row: usize,
    },
}

/// An array seen as SQL values.
#[derive(Debug)]
pub struct View<'a> {
    nulls: Option<&'a NullBuffer>,
    kind: Kind<'a>,
}

#[derive(Debug)]
enum Kind<'a> {
    Null,
    Boolean(&'a BooleanArray),
    Int8(&'a [i8]),
    Int16(&'a [i16]),
    Int32(&'a [i32]),
    Int64(&'a [i64]),
    Float32(&'a [f32]),
    Float64(&'a [f64]),
    Decimal(&'a Decimal128Array, i8),
    Text(&'a StringArray),
    /// The keys of a map, of which one may stand for null.
    TextKeys(&'a StringArray),
    TextView(&'a StringViewArray),
    Bytes(&'a BinaryArray),
    Date(&'a [i32]),
    Time(&'a [i32], TimeUnit),
    Timestamp(&'a [i64], TimeUnit, bool),
    Wide(&'a [IntervalMonthDayNano]),
    Millis(&'a [i64]),
    Months(&'a [i32]),
    List(&'a ListArray, Box<View<'a>>),
    Map(&'a MapArray, Box<(View<'a>, View<'a>)>),
    Row(&'a Fields, Vec<View<'a>>),
}

fn values<T: ArrowPrimitiveType>(array: &dyn Array) -> &[T::Native] {
    array.as_primitive::<T>().values()
}

impl<'a> View<'a> {
    pub fn new(array: &'a dyn Array) -> Result<Self, Error> {
        let kind = match array.data_type() {
            DataType::Null => Kind::Null,
            DataType::Boolean => Kind::Boolean(array.as_boolean()),
            DataType::Int8 => Kind::Int8(values::<Int8Type>(array)),
            DataType::Int16 => Kind::Int16(values::<Int16Type>(array)),
            DataType::Int32 => Kind::Int32(values::<Int32Type>(array)),
            DataType::Int64 => Kind::Int64(values::<Int64Type>(array)),
            DataType::Float32 => Kind::Float32(values::<Float32Type>(array)),
            DataType::Float64 => Kind::Float64(values::<Float64Type>(array)),
            DataType::Decimal128(_, scale) => Kind::Decimal(array.as_primitive::<Decimal128Type>(), *scale),
            DataType::Utf8 => Kind::Text(array.as_string()),
            DataType::Utf8View => Kind::TextView(array.as_string_view()),
            DataType::Binary => Kind::Bytes(array.as_binary()),
            DataType::Date32 => Kind::Date(values::<Date32Type>(array)),
            DataType::Time32(TimeUnit::Second) => Kind::Time(values::<Time32SecondType>(array), TimeUnit::Second),
            DataType::Time32(unit) => Kind::Time(values::<Time32MillisecondType>(array), *unit),
            DataType::Timestamp(unit, zone) => {
                let values = match unit {
                    TimeUnit::Second => values::<TimestampSecondType>(array),
                    TimeUnit::Millisecond => values::<TimestampMillisecondType>(array),
                    TimeUnit::Microsecond => values::<TimestampMicrosecondType>(array),
                    TimeUnit::Nanosecond => values::<TimestampNanosecondType>(array),
                };
                Kind::Timestamp(values, *unit, zone.is_some())
            }
            DataType::Duration(TimeUnit::Millisecond) => Kind::Millis(values::<DurationMillisecondType>(array)),
            DataType::Interval(IntervalUnit::YearMonth) => Kind::Months(values::<IntervalYearMonthType>(array)),
            wide if *wide == WIDE_TIMESTAMP => Kind::Wide(values::<IntervalMonthDayNanoType>(array)),
            DataType::List(_) => {
                let list: &ListArray = array.as_list();
                Kind::List(list, Box::new(View::new(list.values())?))
            }
            DataType::Map(..) => {
                let map = array.as_map();
                let mut keys = View::new(map.keys())?;
                if let Kind::Text(texts) = keys.kind {
                    keys.kind = Kind::TextKeys(texts);
                }
                Kind::Map(map, Box::new((keys, View::new(map.values())?)))
            }
            DataType::Struct(fields) => {
                let children = array.as_struct().columns();
                Kind::Row(fields, children.iter().map(|c| View::new(c)).collect::<Result<_, _>>()?)
            }
            other => {
                return Err(Error::unsupported(format!(
                    "A value of type {other} cannot be written. Cast it first."
                )));
            }
        };
        Ok(Self {
            nulls: array.nulls(),
            kind,
        })
    }

    pub fn is_null(&self, row: usize) -> bool {
        matches!(self.kind, Kind::Null) || self.nulls.is_some_and(|nulls| nulls.is_null(row))
    }

    pub fn value(&'a self, row: usize) -> Value<'a> {
        if self.is_null(row) {
            return Value::Null;
        }
        match &self.kind {
            Kind::Null => Value::Null,
            Kind::Boolean(a) => Value::Boolean(a.value(row)),
            Kind::Int8(v) => Value::Integer(v[row].into()),
            Kind::Int16(v) => Value::Integer(v[row].into()),
            Kind::Int32(v) => Value::Integer(v[row].into()),
            Kind::Int64(v) => Value::Integer(v[row]),
            Kind::Float32(v) => Value::Float(v[row]),
            Kind::Float64(v) => Value::Double(v[row]),
            Kind::Decimal(a, scale) => Value::Decimal {
                unscaled: a.value(row),
                scale: *scale,
            },
            Kind::Text(a) => Value::Text(a.value(row)),
            Kind::TextKeys(a) => match a.value(row) {
                NULL_KEY => Value::Null,
                key => Value::Text(key),
            },
            Kind::TextView(a) => Value::Text(a.value(row)),
            Kind::Bytes(a) => Value::Bytes(a.value(row)),
            Kind::Date(v) => Value::Date(v[row].into()),
            Kind::Time(v, unit) => time(v[row], *unit),
            Kind::Timestamp(v, unit, zoned) => Value::Timestamp {
                moment: Moment::from_unit(v[row], *unit),
                unit: *unit,
                zoned: *zoned,
            },
            Kind::Wide(v) => Value::Timestamp {
                moment: Moment::from_wide(v[row]),
                unit: TimeUnit::Nanosecond,
                zoned: false,
            },
            Kind::Millis(v) => Value::Millis(v[row]),
            Kind::Months(v) => Value::Months(v[row].into()),
            Kind::List(a, items) => {
                let range = range(a.value_offsets(), row);
                Value::List {
                    items,
                    from: range.start,
                    to: range.end,
                }
            }
            Kind::Map(a, entries) => {
                let range = range(a.value_offsets(), row);
                Value::Map {
                    keys: &entries.0,
                    values: &entries.1,
                    from: range.start,
                    to: range.end,
                }
            }
            Kind::Row(fields, children) => Value::Row { fields, children, row },
        }
    }
}

fn range(offsets: &[i32], row: usize) -> Range<usize> {
    offsets[row] as usize..offsets[row + 1] as usize
}

fn time(value: i32, unit: TimeUnit) -> Value<'static> {
    let value = value.rem_euclid(if unit == TimeUnit::Second { 86_400 } else { 86_400_000 }) as u32;
    match unit {
        TimeUnit::Second => Value::Time {
            second: value,
            nano: 0,
            unit,
        },
        _ => Value::Time {
            second: value / 1000,
            nano: value % 1000 * 1_000_000,
            unit,
        },
    }
}

/// The views of all columns of a batch.
pub fn views(batch: &arrow::array::RecordBatch) -> Result<Vec<View<'_>>, Error> {
    batch.columns().iter().map(|column| View::new(column)).collect()
}
