//! The build side of a spatial join: collected, parsed, put into cells.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::{DataFusionError, JoinSide, Result, exec_err};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::physical_plan::PhysicalExpr;
use futures::TryStreamExt;

use super::condition::{Condition, Test};
use crate::spatial::functions::geometry_column;
use crate::spatial::geometry::{GeometryError, Shape};
use crate::spatial::index::Candidates;
use crate::spatial::relation::Prepared;

/// A parsed geometry takes about its bytes once more, and this much around them.
const SHAPE_OVERHEAD_BYTES: usize = 160;

/// All rows of the left side. Shared by the streams of all partitions of the right side.
#[derive(Debug)]
pub struct BuildSide {
    pub rows: RecordBatch,
    /// By row; `None`: NULL, empty or not finite, which matches nothing.
    pub shapes: Vec<Option<Prepared>>,
    /// Each row's limit, where the limit of a distance is the left side's.
    pub limits: Option<Vec<Option<f64>>>,
    pub candidates: Candidates,
    /// Which rows found a partner, where the kind of join asks.
    matched: Option<Vec<AtomicBool>>,
    /// Streams of the right side that are still running.
    running: AtomicUsize,
    _reservation: MemoryReservation,
}

impl BuildSide {
    pub async fn load(
        stream: SendableRecordBatchStream,
        condition: &Condition,
        cells: usize,
        track_matches: bool,
        streams: usize,
        reservation: MemoryReservation,
    ) -> Result<BuildSide> {
        let rows = collect(stream, &reservation).await?;
        let limits = match &condition.test {
            Test::Distance {
                limit,
                limit_side: JoinSide::Left,
                ..
            } => Some(numbers(limit, &rows)?),
            _ => None,
        };
        let geometries = condition.left.evaluate(&rows)?.into_array(rows.num_rows())?;
        reservation.try_grow(
            geometries.get_array_memory_size() + rows.num_rows() * (SHAPE_OVERHEAD_BYTES + Candidates::BYTES_PER_ROW),
        )?;
        let shapes = shapes(&geometries)?;
        let bounds = |(row, shape): (usize, &Option<Shape>)| {
            let bounds = shape.as_ref()?.bounds?;
            match &limits {
                None => Some(bounds),
                // A row without a limit, or with a negative one, is near to nothing.
                Some(limits) => limits[row]
                    .filter(|limit| *limit >= 0.0)
                    .map(|limit| bounds.expand(limit)),
            }
        };
        let boxes: Vec<_> = shapes.iter().enumerate().map(bounds).collect();
        let candidates = Candidates::new(&boxes, cells);
        let matched = track_matches.then(|| (0..rows.num_rows()).map(|_| AtomicBool::new(false)).collect());
        let shapes = shapes.into_iter().map(|shape| shape.map(Prepared::new)).collect();
        let running = AtomicUsize::new(streams);
        Ok(BuildSide {
            rows,
            shapes,
            limits,
            candidates,
            matched,
            running,
            _reservation: reservation,
        })
    }

    pub fn mark(&self, row: u32) {
        if let Some(matched) = &self.matched {
            matched[row as usize].store(true, Ordering::Relaxed);
        }
    }

    /// A stream of the right side has ended: `true` for the last one.
    pub fn stream_ended(&self) -> bool {
        self.running.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// The rows that found a partner, or those that did not.
    pub fn rows_where_matched(&self, wanted: bool) -> Vec<u32> {
        let matched = self.matched.iter().flatten();
        let matched = matched
            .enumerate()
            .filter(|(_, matched)| matched.load(Ordering::Acquire) == wanted);
        matched.filter_map(|(row, _)| u32::try_from(row).ok()).collect()
    }
}

/// One side of a join as one batch, accounted for as it comes.
pub async fn collect(mut stream: SendableRecordBatchStream, reservation: &MemoryReservation) -> Result<RecordBatch> {
    let schema = stream.schema();
    let mut batches = Vec::new();
    let mut rows = 0;
    while let Some(batch) = stream.try_next().await? {
        // Twice: the batches and the one batch made of them are there together.
        reservation.try_grow(2 * batch.get_array_memory_size())?;
        rows += batch.num_rows();
        batches.push(batch);
    }
    if u32::try_from(rows).is_err() {
        return exec_err!(
            "the smaller side of a spatial join has {rows} rows, more than {}",
            u32::MAX
        );
    }
    Ok(concat_batches(&schema, &batches)?)
}

/// The parsed geometries of a column; `None` for what matches nothing.
pub fn shapes(geometries: &Arc<dyn Array>) -> Result<Vec<Option<Shape>>> {
    let bytes = geometry_column(geometries)?;
    let shape = |row| match bytes(row) {
        None => Ok(None),
        Some(bytes) => Ok(Some(Shape::decode(&bytes).map_err(bad)?).filter(Shape::matchable)),
    };
    (0..geometries.len()).map(shape).collect()
}

pub fn bad(error: GeometryError) -> DataFusionError {
    DataFusionError::Execution(format!("spatial join: {error}"))
}

/// A numeric expression by row; `None` for NULL and NaN.
pub fn numbers(expr: &Arc<dyn PhysicalExpr>, rows: &RecordBatch) -> Result<Vec<Option<f64>>> {
    let array = cast(&expr.evaluate(rows)?.into_array(rows.num_rows())?, &DataType::Float64)?;
    let array = array.as_primitive::<Float64Type>();
    Ok(array
        .iter()
        .map(|number| number.filter(|number| !number.is_nan()))
        .collect())
}
