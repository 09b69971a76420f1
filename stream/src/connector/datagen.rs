//! The `datagen` connector: rows made up, as sequences or at random.
//!
//! It ends with the first sequence that ends, or after `number-of-rows`. A restart goes on with the next number of each
//! sequence; random columns are new ones.

use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use futures::FutureExt;
use futures::future::BoxFuture;
use rand::distr::{Alphanumeric, SampleString};
use rand::{Rng, RngExt};

use super::{Source, SourceEvent};
use crate::Error;
use crate::format::column::{Column, Rows};
use crate::format::temporal::Moment;
use crate::format::view::Value;
use crate::table::{Options, TableSpec};

/// Rows a batch.
const BATCH_ROWS: i64 = 8192;
/// Flink's default of `fields.x.length`.
const TEXT_CHARS: i64 = 100;
/// The longest text of a random field; Flink allows more.
const TEXT_CHARS_MAX: i64 = 1 << 20;

/// How a column is made.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Sequence { start: i64 },
    Random { least: f64, most: f64, length: i64 },
}

struct Datagen {
    schema: SchemaRef,
    kinds: Vec<Kind>,
    rows: Option<i64>,
    rows_per_second: i64,
    /// Rows returned.
    made: i64,
    since: Option<(std::time::Instant, i64)>,
    finished: bool,
    drain: bool,
}

pub fn open(table: &TableSpec) -> Result<Box<dyn Source>, Error> {
    let options = Options::new("datagen", &table.options);
    let mut rows = options.integer("number-of-rows")?;
    let rows_per_second = options.integer("rows-per-second")?.unwrap_or(10_000);
    options.refuse("scan.parallelism", "1")?;
    options.watermarks()?;
    let mut kinds = Vec::new();
    for field in table.physical.fields() {
        let (kind, len) = read_field(&options, field.name(), field.data_type())?;
        kinds.push(kind);
        rows = match (rows, len) {
            (Some(rows), Some(len)) => Some(rows.min(len)),
            (rows, len) => rows.or(len),
        };
    }
    options.finish()?;
    Rows::new(table.physical.clone())?;
    Ok(Box::new(Datagen {
        schema: table.physical.clone(),
        kinds,
        rows,
        rows_per_second: rows_per_second.max(1),
        made: 0,
        since: None,
        finished: false,
        drain: false,
    }))
}

/// How a field is made, and how many values it has.
fn read_field(options: &Options<'_>, name: &str, data_type: &DataType) -> Result<(Kind, Option<i64>), Error> {
    let key = |part: &str| format!("fields.{name}.{part}");
    let kind = options.one_of(&key("kind"), &["random", "sequence"], "random")?;
    if kind == "sequence" {
        let needed = |part: &str| -> Result<i64, Error> {
            options.integer(&key(part))?.ok_or_else(|| {
                Error::validate(format!(
                    "Could not find required property '{}' for sequence generator. Add it to the WITH clause.",
                    key(part)
                ))
            })
        };
        if !data_type.is_integer() && !data_type.is_floating() && *data_type != DataType::Utf8 {
            return Err(Error::validate(format!(
                "Column '{name}' of type {data_type} cannot be a sequence."
            )));
        }
        let (start, end) = (needed("start")?, needed("end")?);
        return Ok((
            Kind::Sequence { start },
            Some(end.saturating_sub(start).saturating_add(1).max(0)),
        ));
    }
    let bound = |part: &str, default: f64| -> Result<f64, Error> {
        match options.text(&key(part)) {
            None => Ok(default),
            Some(text) => text
                .parse()
                .map_err(|_| options.invalid(&key(part), text, "Expected a number")),
        }
    };
    let (least, most) = match data_type {
        DataType::Int8 => (i8::MIN.into(), i8::MAX.into()),
        DataType::Int16 => (i16::MIN.into(), i16::MAX.into()),
        DataType::Int32 => (i32::MIN.into(), i32::MAX.into()),
        DataType::Int64 => (i64::MIN as f64, i64::MAX as f64),
        DataType::Float32 => (f32::MIN.into(), f32::MAX.into()),
        DataType::Decimal128(precision, scale) => {
            let most = 10f64.powi(i32::from(*precision) - i32::from(*scale));
            (-most, most)
        }
        DataType::Boolean
        | DataType::Utf8
        | DataType::Binary
        | DataType::Timestamp(..)
        | DataType::Interval(_)
        | DataType::Date32 => (0.0, 0.0),
        DataType::Float64 => (f64::MIN, f64::MAX),
        other => {
            return Err(Error::unsupported(format!(
                "datagen makes no column of type {other}. Leave '{name}' out."
            )));
        }
    };
    let length = options.integer(&key("length"))?.unwrap_or(TEXT_CHARS);
    if !(0..=TEXT_CHARS_MAX).contains(&length) {
        return Err(Error::validate(format!(
            "'{}' = {length} is not from 0 to {TEXT_CHARS_MAX}.",
            key("length")
        )));
    }
    Ok((
        Kind::Random {
            least: bound("min", least)?,
            most: bound("max", most)?,
            length,
        },
        None,
    ))
}

impl Datagen {
    async fn next_event(&mut self) -> Result<SourceEvent, Error> {
        let left = self.rows.map_or(i64::MAX, |rows| rows - self.made);
        if left <= 0 || self.drain {
            if std::mem::replace(&mut self.finished, true) {
                return Ok(SourceEvent::End);
            }
            return Ok(SourceEvent::SplitFinished(0));
        }
        let (since, before) = *self.since.get_or_insert((std::time::Instant::now(), self.made));
        let count = left.min(BATCH_ROWS).min(self.rows_per_second);
        // The last row of the batch is due when its share of a second is over; the first second's rows are due at once.
        let due = (self.made - before + count - self.rows_per_second).max(0) as f64 / self.rows_per_second as f64;
        let wait = Duration::from_secs_f64(due).saturating_sub(since.elapsed());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        let rows = self.make(count)?;
        self.made += count;
        Ok(SourceEvent::Batch { split: 0, rows })
    }

    fn make(&self, count: i64) -> Result<RecordBatch, Error> {
        let mut rows = Rows::new(self.schema.clone())?;
        let mut rng = rand::rng();
        for row in self.made..self.made + count {
            for (column, kind) in rows.columns.iter_mut().zip(&self.kinds) {
                match *kind {
                    Kind::Sequence { start } => append_number(column, start + row),
                    Kind::Random { least, most, length } => {
                        append_random(column, &mut rng, least, most, length as usize)
                    }
                }
            }
            rows.close_row();
        }
        rows.finish()
    }
}

fn append_number(column: &mut Column, number: i64) {
    let fits = match column {
        Column::Float32(_) => column.append_value(Value::Float(number as f32)),
        Column::Float64(_) => column.append_value(Value::Double(number as f64)),
        Column::Text(_) => column.append_text(&number.to_string()),
        _ => column.append_value(Value::Integer(number)),
    };
    if !fits {
        column.append_null();
    }
}

fn append_random(column: &mut Column, rng: &mut impl Rng, least: f64, most: f64, length: usize) {
    // Scaled before it is summed, so that the whole range of doubles does not overflow.
    let share: f64 = rng.random();
    let number = least * (1.0 - share) + most * share;
    let fits = match column {
        Column::Boolean(_) => column.append_value(Value::Boolean(rng.random())),
        Column::Float32(_) => column.append_value(Value::Float(number as f32)),
        Column::Float64(_) => column.append_value(Value::Double(number)),
        Column::Decimal { .. } => column.append_number(&format!("{number:.6}")),
        Column::Text(_) => column.append_text(&Alphanumeric.sample_string(rng, length)),
        Column::Bytes(_) => {
            let mut bytes = vec![0; length];
            rng.fill_bytes(&mut bytes);
            column.append_value(Value::Bytes(&bytes))
        }
        Column::Date(_) => column.append_value(Value::Date(now().second / 86_400)),
        Column::Timestamp { .. } => column.append_value(Value::Timestamp {
            moment: now(),
            unit: TimeUnit::Millisecond,
            zoned: false,
        }),
        _ => column.append_value(Value::Integer(number as i64)),
    };
    if !fits {
        column.append_null();
    }
}

fn now() -> Moment {
    let (second, nano) = (super::outside::REAL.now)();
    Moment::new(second, nano)
}

impl Source for Datagen {
    fn start(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        futures::future::ready(Ok(())).boxed()
    }

    fn next(&mut self) -> BoxFuture<'_, Result<SourceEvent, Error>> {
        self.next_event().boxed()
    }

    fn position(&self) -> serde_json::Value {
        serde_json::json!({ "rows": self.made })
    }

    fn restore(&mut self, position: &serde_json::Value) -> Result<(), Error> {
        self.made = position
            .get("rows")
            .and_then(serde_json::Value::as_i64)
            .ok_or_else(|| {
                Error::runtime("The checkpoint holds no position of a datagen source. Start the job with an empty --state directory.")
            })?;
        Ok(())
    }

    fn drain(&mut self) {
        self.drain = true;
    }

    fn splits(&self) -> usize {
        1
    }

    fn is_bounded(&self) -> bool {
        self.rows.is_some()
    }
}
