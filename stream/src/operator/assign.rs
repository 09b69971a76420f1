//! Operators that give a row something: its watermark, its windows, the proof that it has no NULL where none may be.

use std::sync::Arc;

use crate::time::Zone;
use arrow::array::{Array, ArrayRef, AsArray, TimestampMillisecondArray, UInt32Array};
use arrow::compute;
use arrow::datatypes::{
    DataType, SchemaRef, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use datafusion::physical_expr::PhysicalExpr;

use super::calc::{evaluate, table};
use super::{Counters, Event, Keep, Operator, Rows, Snapshot};
use crate::Error;
use crate::functions::next_rows;
use crate::sql::data_type::UTC;
use crate::time::window::{Windows, to_instant, to_local};
use crate::time::{Before, END, SplitWatermarks};

/// Moves the watermark with every row: `WATERMARK FOR column AS candidate`.
pub struct WatermarkAssigner {
    /// The index of the rowtime column.
    column: usize,
    name: String,
    candidate: Arc<dyn PhysicalExpr>,
    /// Kafka has a watermark for each partition; Flink sets files' behind the source, all of them as one stream.
    by_split: bool,
    watermarks: SplitWatermarks,
    /// What downstream was last told: that the input is idle.
    idle: bool,
}

impl WatermarkAssigner {
    pub fn new(
        column: usize,
        name: String,
        candidate: Arc<dyn PhysicalExpr>,
        by_split: bool,
        interval_ms: i64,
    ) -> Self {
        let splits = if by_split { 0 } else { 1 };
        let watermarks = SplitWatermarks::new(splits, interval_ms);
        Self {
            column,
            name,
            candidate,
            by_split,
            watermarks,
            idle: false,
        }
    }

    fn rows(&mut self, mut rows: Rows, out: &mut Vec<Event>) -> Result<(), Error> {
        if rows.batch.column(self.column).null_count() > 0 {
            return Err(Error::runtime(format!(
                "RowTime field '{}' should not be null, please convert it to a non-null value (for example with \
                 COALESCE in a computed column)",
                self.name
            )));
        }
        next_rows();
        let candidates = millis(&evaluate(&self.candidate, &rows.batch)?)?;
        let told = self.watermarks.emitted();
        let split = if self.by_split { rows.split } else { 0 };
        let before = self.watermarks.rows(split, candidates.iter());
        let same = before.first() == before.last();
        rows.before = match before.first() {
            Some(first) if same => Before::Same(*first),
            _ => Before::Each(before.into()),
        };
        // An input that wakes up says so before its rows.
        self.tell_idle(out);
        out.push(Event::Rows(rows));
        self.tell(told, out);
        Ok(())
    }

    fn tell_idle(&mut self, out: &mut Vec<Event>) {
        let idle = self.watermarks.is_idle();
        if idle != self.idle {
            self.idle = idle;
            out.push(Event::Idle(idle));
        }
    }

    fn tell(&self, told: i64, out: &mut Vec<Event>) {
        let now = self.watermarks.emitted();
        if now > told {
            out.push(Event::Watermark(now));
        }
    }
}

impl Operator for WatermarkAssigner {
    fn on_event(&mut self, event: Event, out: &mut Vec<Event>) -> Result<(), Error> {
        let told = self.watermarks.emitted();
        match event {
            Event::Rows(rows) => return self.rows(rows, out),
            Event::Splits(count) if self.by_split => self.watermarks.expect_splits(count),
            Event::SplitFinished(split) if self.by_split => self.watermarks.finish(split),
            Event::SplitIdle(split) if self.by_split => self.watermarks.set_idle(split),
            Event::Quiet if self.by_split => self.watermarks.flush(),
            Event::Splits(_)
            | Event::SplitFinished(_)
            | Event::SplitIdle(_)
            | Event::Quiet
            | Event::Idle(_)
            | Event::Watermark(_) => {}
            Event::End => {
                out.extend([Event::Watermark(END), Event::End]);
                return Ok(());
            }
        }
        // The watermark first: what is behind it may fire before the input stops counting.
        self.tell(told, out);
        self.tell_idle(out);
        Ok(())
    }

    fn snapshot(&self) -> Result<Snapshot, Error> {
        let mut snapshot = Snapshot::default();
        let watermarks = serde_json::to_value(&self.watermarks).map_err(Error::runtime)?;
        snapshot.facts.insert("watermarks".into(), watermarks);
        Ok(snapshot)
    }

    fn restore(&mut self, snapshots: &[Snapshot], _keep: &Keep<'_>, _first: bool) -> Result<(), Error> {
        if let Some(watermarks) = snapshots.first().and_then(|snapshot| snapshot.facts.get("watermarks")) {
            self.watermarks = serde_json::from_value(watermarks.clone()).map_err(Error::runtime)?;
        }
        Ok(())
    }
}

/// A window table function: copies each row into its windows, adding window_start, window_end and window_time.
pub struct WindowAssigner {
    /// The index of the time column.
    pub column: usize,
    pub windows: Windows,
    /// The session's zone, for a TIMESTAMP_LTZ column.
    pub zone: Option<Zone>,
    pub schema: SchemaRef,
}

impl WindowAssigner {
    fn rows(&self, rows: &Rows) -> Result<Rows, Error> {
        let times = millis(rows.batch.column(self.column))?;
        let mut indices = Vec::with_capacity(rows.len());
        let (mut starts, mut ends) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
        for (row, time) in times.iter().enumerate() {
            // Flink's window functions drop rows without a time.
            let Some(time) = time else { continue };
            let time = self.zone.map_or(time, |zone| to_local(time, zone));
            self.windows.assign(time, |start, end| {
                indices.push(row as u32);
                starts.push(start);
                ends.push(end);
            });
        }
        let times: TimestampMillisecondArray = match self.zone {
            None => ends.iter().map(|end| end - 1).collect::<Vec<_>>().into(),
            Some(zone) => ends
                .iter()
                .map(|end| to_instant(end - 1, zone))
                .collect::<Vec<_>>()
                .into(),
        };
        let times = if self.zone.is_some() {
            times.with_timezone(UTC)
        } else {
            times
        };
        let rows = rows.take(&UInt32Array::from(indices))?;
        let mut columns = rows.batch.columns().to_vec();
        columns.push(Arc::new(TimestampMillisecondArray::from(starts)));
        columns.push(Arc::new(TimestampMillisecondArray::from(ends)));
        columns.push(Arc::new(times));
        let batch = table(&self.schema, columns, rows.len())?;
        Ok(Rows { batch, ..rows })
    }
}

impl Operator for WindowAssigner {
    fn on_event(&mut self, event: Event, out: &mut Vec<Event>) -> Result<(), Error> {
        match event {
            Event::Rows(rows) => {
                let rows = self.rows(&rows)?;
                if !rows.is_empty() {
                    out.push(Event::Rows(rows));
                }
            }
            other => out.push(other),
        }
        Ok(())
    }
}

/// Refuses a NULL in a column that its sink declares NOT NULL.
pub struct NotNull {
    /// Indices and names.
    pub columns: Vec<(usize, String)>,
}

impl Operator for NotNull {
    fn on_event(&mut self, event: Event, out: &mut Vec<Event>) -> Result<(), Error> {
        if let Event::Rows(rows) = &event {
            for (index, name) in &self.columns {
                if rows.batch.column(*index).null_count() > 0 {
                    return Err(Error::runtime(format!(
                        "Column '{name}' is NOT NULL, however, a null value is being written into it. You can filter \
                         it out in the query"
                    )));
                }
            }
        }
        out.push(event);
        Ok(())
    }
}

/// Counts the rows that a source brought.
#[derive(Debug, Default)]
pub struct ReadCounter {
    rows_read: u64,
}

impl Operator for ReadCounter {
    fn on_event(&mut self, event: Event, out: &mut Vec<Event>) -> Result<(), Error> {
        if let Event::Rows(rows) = &event {
            self.rows_read += rows.len() as u64;
        }
        out.push(event);
        Ok(())
    }

    fn snapshot(&self) -> Result<Snapshot, Error> {
        Ok(Snapshot {
            counters: self.counters(),
            ..Snapshot::default()
        })
    }

    fn restore(&mut self, snapshots: &[Snapshot], _keep: &Keep<'_>, first: bool) -> Result<(), Error> {
        if first {
            self.rows_read = snapshots.iter().map(|snapshot| snapshot.counters.rows_read).sum();
        }
        Ok(())
    }

    fn counters(&self) -> Counters {
        Counters {
            rows_read: self.rows_read,
            ..Counters::default()
        }
    }
}

/// A timestamp column as milliseconds since the epoch, rounded down.
pub fn millis(array: &ArrayRef) -> Result<TimestampMillisecondArray, Error> {
    let floor = |value: i64, by: i64| value.div_euclid(by);
    match array.data_type() {
        DataType::Timestamp(TimeUnit::Millisecond, _) => Ok(array.as_primitive::<TimestampMillisecondType>().clone()),
        DataType::Timestamp(TimeUnit::Second, _) => {
            Ok(compute::unary(array.as_primitive::<TimestampSecondType>(), |value| {
                value.saturating_mul(1000)
            }))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => Ok(compute::unary(
            array.as_primitive::<TimestampMicrosecondType>(),
            |value| floor(value, 1000),
        )),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => Ok(compute::unary(
            array.as_primitive::<TimestampNanosecondType>(),
            |value| floor(value, 1_000_000),
        )),
        other => Err(Error::runtime(format!(
            "a time attribute is {other} instead of a timestamp"
        ))),
    }
}
