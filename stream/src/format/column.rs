//! Columns that grow value by value: what decoders write into.
//!
//! Invariants of a [`Column`]:
//! - every append adds exactly one row, nested columns included;
//! - `finish` gives an array of exactly the type that `new` was given, and leaves the column empty for the next batch.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder, Float64Builder,
    Int8Builder, Int16Builder, Int32Builder, Int64Builder, IntervalMonthDayNanoArray, ListArray, MapArray, RecordBatch,
    RecordBatchOptions, StringBuilder, StructArray, make_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, FieldRef, Fields, Int32Type, Int64Type, SchemaRef, TimeUnit};

use super::number;
use super::temporal::{self, Moment, WIDE_TIMESTAMP};
use super::view::Value;
use crate::Error;

/// A growing column of one SQL type.
#[derive(Debug)]
pub enum Column {
    Boolean(BooleanBuilder),
    Int8(Int8Builder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Decimal {
        values: Decimal128Builder,
        precision: u8,
        scale: i8,
    },
    Text(StringBuilder),
    Bytes(BinaryBuilder),
    Date(Date32Builder),
    /// TIME; `unit` is seconds or milliseconds.
    Time {
        values: Int32Builder,
        unit: TimeUnit,
    },
    /// TIMESTAMP, or TIMESTAMP_LTZ where there is a zone.
    Timestamp {
        values: Int64Builder,
        unit: TimeUnit,
        zone: Option<Arc<str>>,
        /// Set for a [`WIDE_TIMESTAMP`]: then `values` are seconds, and these their nanoseconds.
        nanos: Option<Vec<u32>>,
    },
    List {
        item: Box<Column>,
        field: FieldRef,
        shape: Shape,
    },
    Map {
        /// Arrow has no null among keys; a null text is [`NULL_KEY`].
        keys: Box<Column>,
        values: Box<Column>,
        field: FieldRef,
        shape: Shape,
    },
    Row {
        children: Vec<Column>,
        fields: Fields,
        valid: Vec<bool>,
    },
}

/// What stands for a null key of a map of texts, since Arrow's maps have none: Flink's may have one. It is made of
/// characters that Unicode reserves for a program's own use.
pub const NULL_KEY: &str = "\u{10fffe}null\u{10ffff}";

/// Where the rows of a list or a map begin in their items, and which of them are null.
#[derive(Debug)]
pub struct Shape {
    offsets: Vec<i32>,
    valid: Vec<bool>,
}

impl Shape {
    fn new() -> Self {
        Self {
            offsets: vec![0],
            valid: Vec::new(),
        }
    }

    /// Ends a row behind the last item.
    pub fn close(&mut self, items: usize, valid: bool) {
        self.offsets
            .push(i32::try_from(items).expect("a batch holds fewer than 2^31 items"));
        self.valid.push(valid);
    }

    fn finish(&mut self) -> (OffsetBuffer<i32>, Option<NullBuffer>) {
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        (OffsetBuffer::new(offsets.into()), nulls(&mut self.valid))
    }
}

fn nulls(valid: &mut Vec<bool>) -> Option<NullBuffer> {
    let valid = std::mem::take(valid);
    valid.contains(&false).then(|| NullBuffer::from(valid))
}

impl Column {
    pub fn new(data_type: &DataType) -> Result<Self, Error> {
        Ok(match data_type {
            DataType::Boolean => Self::Boolean(BooleanBuilder::new()),
            DataType::Int8 => Self::Int8(Int8Builder::new()),
            DataType::Int16 => Self::Int16(Int16Builder::new()),
            DataType::Int32 => Self::Int32(Int32Builder::new()),
            DataType::Int64 => Self::Int64(Int64Builder::new()),
            DataType::Float32 => Self::Float32(Float32Builder::new()),
            DataType::Float64 => Self::Float64(Float64Builder::new()),
            DataType::Decimal128(precision, scale) => Self::Decimal {
                values: Decimal128Builder::new().with_precision_and_scale(*precision, *scale)?,
                precision: *precision,
                scale: *scale,
            },
            DataType::Utf8 => Self::Text(StringBuilder::new()),
            DataType::Binary => Self::Bytes(BinaryBuilder::new()),
            DataType::Date32 => Self::Date(Date32Builder::new()),
            DataType::Time32(unit) => Self::Time {
                values: Int32Builder::new(),
                unit: *unit,
            },
            DataType::Timestamp(unit, zone) => Self::Timestamp {
                values: Int64Builder::new(),
                unit: *unit,
                zone: zone.clone(),
                nanos: None,
            },
            wide if *wide == WIDE_TIMESTAMP => Self::Timestamp {
                values: Int64Builder::new(),
                unit: TimeUnit::Nanosecond,
                zone: None,
                nanos: Some(Vec::new()),
            },
            DataType::List(field) => Self::List {
                item: Box::new(Self::new(field.data_type())?),
                field: field.clone(),
                shape: Shape::new(),
            },
            DataType::Map(field, _) => {
                let DataType::Struct(entry) = field.data_type() else {
                    return Err(no_column(data_type));
                };
                Self::Map {
                    keys: Box::new(Self::new(entry[0].data_type())?),
                    values: Box::new(Self::new(entry[1].data_type())?),
                    field: field.clone(),
                    shape: Shape::new(),
                }
            }
            DataType::Struct(fields) => Self::Row {
                children: fields
                    .iter()
                    .map(|f| Self::new(f.data_type()))
                    .collect::<Result<_, _>>()?,
                fields: fields.clone(),
                valid: Vec::new(),
            },
            other => return Err(no_column(other)),
        })
    }

    pub fn len(&self) -> usize {
        use arrow::array::ArrayBuilder;
        match self {
            Self::Boolean(b) => b.len(),
            Self::Int8(b) => b.len(),
            Self::Int16(b) => b.len(),
            Self::Int32(b) => b.len(),
            Self::Int64(b) => b.len(),
            Self::Float32(b) => b.len(),
            Self::Float64(b) => b.len(),
            Self::Decimal { values, .. } => values.len(),
            Self::Text(b) => b.len(),
            Self::Bytes(b) => b.len(),
            Self::Date(b) => b.len(),
            Self::Time { values, .. } => values.len(),
            Self::Timestamp { values, .. } => values.len(),
            Self::List { shape, .. } | Self::Map { shape, .. } => shape.valid.len(),
            Self::Row { valid, .. } => valid.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends a null key of a map; `false`, and nothing appended, where the keys are no texts.
    pub fn append_null_key(&mut self) -> bool {
        match self {
            Self::Text(b) => {
                b.append_value(NULL_KEY);
                true
            }
            _ => false,
        }
    }

    pub fn append_null(&mut self) {
        match self {
            Self::Boolean(b) => b.append_null(),
            Self::Int8(b) => b.append_null(),
            Self::Int16(b) => b.append_null(),
            Self::Int32(b) => b.append_null(),
            Self::Int64(b) => b.append_null(),
            Self::Float32(b) => b.append_null(),
            Self::Float64(b) => b.append_null(),
            Self::Decimal { values, .. } => values.append_null(),
            Self::Text(b) => b.append_null(),
            Self::Bytes(b) => b.append_null(),
            Self::Date(b) => b.append_null(),
            Self::Time { values, .. } => values.append_null(),
            Self::Timestamp { values, nanos, .. } => {
                values.append_null();
                nanos.iter_mut().for_each(|nanos| nanos.push(0));
            }
            Self::List { item, shape, .. } => shape.close(item.len(), false),
            Self::Map { keys, shape, .. } => shape.close(keys.len(), false),
            Self::Row { children, valid, .. } => {
                children.iter_mut().for_each(Self::append_null);
                valid.push(false);
            }
        }
    }

    /// Appends the number in `text` by the rules of Java's `parseInt` and its kin; `false`, and nothing appended, where
    /// it is none or does not fit the type.
    pub fn append_number(&mut self, text: &str) -> bool {
        match self {
            Self::Int8(b) => append_parsed(text, |v| b.append_value(v)),
            Self::Int16(b) => append_parsed(text, |v| b.append_value(v)),
            Self::Int32(b) => append_parsed(text, |v| b.append_value(v)),
            Self::Int64(b) => append_parsed(text, |v| b.append_value(v)),
            Self::Float32(b) => parse_double(text).map(|_| b.append_value(parse_float(text))).is_some(),
            Self::Float64(b) => parse_double(text).map(|v| b.append_value(v)).is_some(),
            Self::Decimal {
                values,
                precision,
                scale,
            } => number::parse_decimal(text, *precision, *scale)
                .map(|value| values.append_option(value))
                .is_some(),
            _ => false,
        }
    }

    /// Appends a moment to a timestamp column; past the range of its unit it is null.
    pub fn append_moment(&mut self, moment: Moment) -> bool {
        match self {
            Self::Timestamp {
                values,
                nanos: Some(nanos),
                ..
            } => {
                values.append_value(moment.second);
                nanos.push(moment.nano);
                true
            }
            Self::Timestamp { values, unit, .. } => {
                values.append_option(moment.to_unit(*unit));
                true
            }
            _ => false,
        }
    }

    /// Appends a time of day.
    pub fn append_time(&mut self, second: u32, nano: u32) -> bool {
        match self {
            Self::Time {
                values,
                unit: TimeUnit::Second,
            } => values.append_value(second as i32),
            Self::Time { values, .. } => values.append_value((second * 1000 + nano / 1_000_000) as i32),
            _ => return false,
        }
        true
    }

    /// Appends a value written as text, as the partition directories and the keys of JSON maps have it.
    pub fn append_text(&mut self, text: &str) -> bool {
        match self {
            Self::Text(b) => b.append_value(text),
            Self::Bytes(b) => b.append_value(text.as_bytes()),
            Self::Boolean(b) => b.append_value(text.trim().eq_ignore_ascii_case("true")),
            Self::Date(b) => match temporal::parse_date_leniently(text) {
                Some(days) => b.append_value(days as i32),
                None => return false,
            },
            Self::Time { .. } => match temporal::parse_time_leniently(text) {
                Some((second, nano)) => return self.append_time(second, nano),
                None => return false,
            },
            Self::Timestamp { .. } => match temporal::parse_timestamp_leniently(text) {
                Some(moment) => return self.append_moment(moment),
                None => return false,
            },
            _ => return self.append_number(text.trim()),
        }
        true
    }

    pub fn finish(&mut self) -> Result<ArrayRef, Error> {
        Ok(match self {
            Self::Boolean(b) => Arc::new(b.finish()),
            Self::Int8(b) => Arc::new(b.finish()),
            Self::Int16(b) => Arc::new(b.finish()),
            Self::Int32(b) => Arc::new(b.finish()),
            Self::Int64(b) => Arc::new(b.finish()),
            Self::Float32(b) => Arc::new(b.finish()),
            Self::Float64(b) => Arc::new(b.finish()),
            Self::Decimal { values, .. } => Arc::new(values.finish()),
            Self::Text(b) => Arc::new(b.finish()),
            Self::Bytes(b) => Arc::new(b.finish()),
            Self::Date(b) => Arc::new(b.finish()),
            Self::Time { values, unit } => {
                let array: arrow::array::PrimitiveArray<Int32Type> = values.finish();
                retyped(&array, DataType::Time32(*unit))?
            }
            Self::Timestamp {
                values,
                nanos: Some(nanos),
                ..
            } => {
                let seconds = values.finish();
                let moments = seconds.iter().zip(std::mem::take(nanos));
                let wide = moments.map(|(second, nano)| Moment::new(second?, nano).to_wide());
                Arc::new(wide.collect::<IntervalMonthDayNanoArray>())
            }
            Self::Timestamp { values, unit, zone, .. } => {
                let array: arrow::array::PrimitiveArray<Int64Type> = values.finish();
                retyped(&array, DataType::Timestamp(*unit, zone.clone()))?
            }
            Self::List { item, field, shape } => {
                let (offsets, nulls) = shape.finish();
                Arc::new(ListArray::try_new(field.clone(), offsets, item.finish()?, nulls)?)
            }
            Self::Map {
                keys,
                values,
                field,
                shape,
            } => {
                let (offsets, nulls) = shape.finish();
                let DataType::Struct(entry) = field.data_type() else {
                    return Err(no_column(field.data_type()));
                };
                let entries = StructArray::try_new(entry.clone(), vec![keys.finish()?, values.finish()?], None)?;
                Arc::new(MapArray::try_new(field.clone(), offsets, entries, nulls, false)?)
            }
            Self::Row {
                children,
                fields,
                valid,
            } => {
                let length = valid.len();
                let arrays = children.iter_mut().map(Self::finish).collect::<Result<_, _>>()?;
                Arc::new(StructArray::try_new_with_length(
                    fields.clone(),
                    arrays,
                    nulls(valid),
                    length,
                )?)
            }
        })
    }
}

fn no_column(data_type: &DataType) -> Error {
    Error::unsupported(format!(
        "A column of type {data_type} cannot be read from a table. Choose another type."
    ))
}

fn append_parsed<T: std::str::FromStr>(text: &str, append: impl FnOnce(T)) -> bool {
    text.parse().map(append).is_ok()
}

/// Java's `Double.parseDouble`: a trailing `d` or `f` is allowed, `inf` is not.
pub fn parse_double(text: &str) -> Option<f64> {
    let text = text.trim();
    let signless = text.trim_start_matches(['+', '-']);
    match signless {
        "NaN" => return Some(f64::NAN),
        "Infinity" => {
            return Some(if text.starts_with('-') {
                f64::NEG_INFINITY
            } else {
                f64::INFINITY
            });
        }
        _ => {}
    }
    let text = text.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(text);
    let numeric = text
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E'));
    numeric.then(|| text.parse().ok())?
}

/// The float nearest to the text, which [`parse_double`] took.
pub fn parse_float(text: &str) -> f32 {
    let text = text.trim();
    text.parse()
        .unwrap_or_else(|_| parse_double(text).unwrap_or(f64::NAN) as f32)
}

/// The same values under a type of the same width.
pub fn retyped(array: &dyn Array, data_type: DataType) -> Result<ArrayRef, Error> {
    Ok(make_array(array.to_data().into_builder().data_type(data_type).build()?))
}

/// Growing rows: one [`Column`] a field.
#[derive(Debug)]
pub struct Rows {
    schema: SchemaRef,
    pub columns: Vec<Column>,
    len: usize,
}

impl Rows {
    pub fn new(schema: SchemaRef) -> Result<Self, Error> {
        let columns = schema
            .fields()
            .iter()
            .map(|f| Column::new(f.data_type()))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            schema,
            columns,
            len: 0,
        })
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Ends a row: every column has got one value more.
    pub fn close_row(&mut self) {
        self.len += 1;
        debug_assert!(
            self.columns.iter().all(|c| c.len() == self.len),
            "a row misses a column"
        );
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The rows so far; none are left.
    pub fn finish(&mut self) -> Result<RecordBatch, Error> {
        let arrays = self.columns.iter_mut().map(Column::finish).collect::<Result<_, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(std::mem::take(&mut self.len)));
        Ok(RecordBatch::try_new_with_options(
            self.schema.clone(),
            arrays,
            &options,
        )?)
    }
}

impl Column {
    /// Appends a copy of a value of this column's type; `false`, and nothing appended, where the types differ.
    pub fn append_value(&mut self, value: Value<'_>) -> bool {
        match (self, value) {
            (column, Value::Null) => column.append_null(),
            (Self::Boolean(b), Value::Boolean(v)) => b.append_value(v),
            (Self::Int8(b), Value::Integer(v)) => b.append_value(v as i8),
            (Self::Int16(b), Value::Integer(v)) => b.append_value(v as i16),
            (Self::Int32(b), Value::Integer(v)) => b.append_value(v as i32),
            (Self::Int64(b), Value::Integer(v)) => b.append_value(v),
            (Self::Float32(b), Value::Float(v)) => b.append_value(v),
            (Self::Float64(b), Value::Double(v)) => b.append_value(v),
            (Self::Float64(b), Value::Float(v)) => b.append_value(v.into()),
            (
                Self::Decimal {
                    values,
                    precision,
                    scale,
                },
                Value::Decimal { unscaled, scale: from },
            ) => {
                values.append_option(number::rescale(unscaled, from, *precision, *scale));
            }
            (Self::Text(b), Value::Text(v)) => b.append_value(v),
            (Self::Bytes(b), Value::Bytes(v)) => b.append_value(v),
            (Self::Date(b), Value::Date(v)) => b.append_value(v as i32),
            (column @ Self::Time { .. }, Value::Time { second, nano, .. }) => return column.append_time(second, nano),
            (column @ Self::Timestamp { .. }, Value::Timestamp { moment, .. }) => return column.append_moment(moment),
            (Self::List { item, shape, .. }, Value::List { items, from, to }) => {
                let fits = (from..to).all(|row| item.append_value(items.value(row)));
                shape.close(item.len(), fits);
                return fits;
            }
            (
                Self::Map {
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
                    let key = match from_keys.value(row) {
                        Value::Null => keys.append_null_key(),
                        key => keys.append_value(key),
                    };
                    if !key || !values.append_value(from_values.value(row)) {
                        return false;
                    }
                }
                shape.close(keys.len(), true);
            }
            (
                Self::Row { children, valid, .. },
                Value::Row {
                    children: from, row, ..
                },
            ) => {
                if children.len() != from.len() {
                    return false;
                }
                for (child, from) in children.iter_mut().zip(from) {
                    if !child.append_value(from.value(row)) {
                        child.append_null();
                    }
                }
                valid.push(true);
            }
            _ => return false,
        }
        true
    }
}
