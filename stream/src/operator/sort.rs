//! ORDER BY a time attribute: rows wait until the watermark has passed their time.

use std::sync::Arc;

use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::compute::{self, SortColumn, SortOptions};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};

use super::assign::millis;
use super::{Counters, Event, Keep, Operator, Rows, Snapshot};
use crate::Error;
use crate::time::{END, NONE};

/// Emits rows in the order of `columns`, the first of which is the time attribute, ascending.
pub struct TimeSort {
    columns: Vec<(usize, SortOptions)>,
    schema: SchemaRef,
    waiting: Vec<RecordBatch>,
    watermark: i64,
    late: u64,
}

impl TimeSort {
    pub fn new(columns: Vec<(usize, SortOptions)>, schema: SchemaRef) -> Self {
        Self {
            columns,
            schema,
            waiting: Vec::new(),
            watermark: NONE,
            late: 0,
        }
    }

    fn rows(&mut self, rows: &Rows) -> Result<(), Error> {
        let times = millis(rows.batch.column(self.columns[0].0))?;
        let in_time: BooleanArray = (0..rows.len())
            .map(|row| Some(times.is_valid(row) && times.value(row) > rows.before.at(row).max(self.watermark)))
            .collect();
        self.late += (rows.len() - in_time.true_count()) as u64;
        let kept = compute::filter_record_batch(&rows.batch, &in_time)?;
        if kept.num_rows() > 0 {
            self.waiting.push(kept);
        }
        Ok(())
    }

    fn fire(&mut self, watermark: i64) -> Result<Option<Rows>, Error> {
        let all = compute::concat_batches(&self.schema, &self.waiting)?;
        let times = millis(all.column(self.columns[0].0))?;
        let due: BooleanArray = times.iter().map(|time| time.map(|time| time <= watermark)).collect();
        if due.true_count() == 0 {
            return Ok(None);
        }
        let rest = compute::filter_record_batch(&all, &compute::not(&due)?)?;
        self.waiting = if rest.num_rows() > 0 { vec![rest] } else { Vec::new() };
        let due = compute::filter_record_batch(&all, &due)?;
        let batch = compute::take_record_batch(&due, &self.order(&due)?)?;
        Ok(Some(Rows::fired(batch, self.watermark)))
    }

    /// Stable: rows that are equal in all columns keep the order of their arrival.
    fn order(&self, batch: &RecordBatch) -> Result<arrow::array::UInt32Array, Error> {
        let columns: Vec<SortColumn> = self
            .columns
            .iter()
            .map(|(index, options)| SortColumn {
                values: Arc::clone(batch.column(*index)),
                options: Some(*options),
            })
            .collect();
        let fields = columns
            .iter()
            .map(|c| SortField::new_with_options(c.values.data_type().clone(), c.options.unwrap_or_default()))
            .collect();
        let converter = RowConverter::new(fields)?;
        let values: Vec<_> = columns.iter().map(|c| Arc::clone(&c.values)).collect();
        let keys = converter.convert_columns(&values)?;
        let mut indices: Vec<u32> = (0..batch.num_rows() as u32).collect();
        indices.sort_by(|a, b| keys.row(*a as usize).cmp(&keys.row(*b as usize)));
        Ok(indices.into())
    }
}

impl Operator for TimeSort {
    fn on_event(&mut self, event: Event, out: &mut Vec<Event>) -> Result<(), Error> {
        let watermark = match event {
            Event::Rows(rows) => return self.rows(&rows),
            Event::Watermark(watermark) => watermark,
            Event::End => END,
            other => {
                out.push(other);
                return Ok(());
            }
        };
        out.extend(self.fire(watermark)?.map(Event::Rows));
        self.watermark = self.watermark.max(watermark);
        out.push(if matches!(event, Event::End) {
            Event::End
        } else {
            Event::Watermark(watermark)
        });
        Ok(())
    }

    fn snapshot(&self) -> Result<Snapshot, Error> {
        let table = Some(compute::concat_batches(&self.schema, &self.waiting)?);
        let mut snapshot = Snapshot {
            table,
            counters: self.counters(),
            ..Snapshot::default()
        };
        snapshot.facts.insert("watermark".into(), self.watermark.into());
        Ok(snapshot)
    }

    fn restore(&mut self, snapshots: &[Snapshot], _keep: &Keep<'_>, _first: bool) -> Result<(), Error> {
        for snapshot in snapshots {
            self.waiting.extend(snapshot.table.clone());
            self.late += snapshot.counters.late_rows;
            self.watermark = snapshot
                .facts
                .get("watermark")
                .and_then(serde_json::Value::as_i64)
                .unwrap_or(NONE);
        }
        Ok(())
    }

    fn counters(&self) -> Counters {
        Counters {
            late_rows: self.late,
            ..Counters::default()
        }
    }
}
