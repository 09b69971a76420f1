//! The build side of a spatial join: collected, parsed, put into cells.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Float64Type, Schema};
use datafusion::common::{DataFusionError, JoinSide, Result, exec_err};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::physical_plan::{PhysicalExpr, SpillManager};
use futures::TryStreamExt;

use super::condition::{Condition, Test};
use super::out_of_core::{Outside, Spilled, is_out_of_memory};
use super::probe::Join;
use crate::spatial::functions::crs::geometry_crs;
use crate::spatial::functions::geometry_column;
use crate::spatial::geometry::{GeometryError, Shape};
use crate::spatial::index::Candidates;
use crate::spatial::relation::Prepared;

/// A parsed geometry takes about this much around its coordinates.
const SHAPE_OVERHEAD_BYTES: usize = 160;
/// What a geometry that is no point takes for each byte of its WKB: the shape, its segments, their index and their slabs.
const PREPARED_BYTES_PER_BYTE: usize = 8;
/// The WKB of a point, with an SRID and all ordinates.
const POINT_BYTES_MAX: usize = 41;

/// What rows take as a build side.
pub struct Cost {
    rows: usize,
    batches: usize,
    geometries: usize,
}

impl Cost {
    pub fn of(rows: &RecordBatch, condition: &Condition) -> Result<Cost> {
        let geometries = condition.left.evaluate(rows)?.into_array(rows.num_rows())?;
        let bytes = geometry_column(&geometries)?;
        let lengths = (0..rows.num_rows()).filter_map(bytes).map(|bytes| bytes.len());
        let of_geometry = |length: usize| {
            if length <= POINT_BYTES_MAX {
                length
            } else {
                length * PREPARED_BYTES_PER_BYTE
            }
        };
        Ok(Cost {
            rows: rows.num_rows(),
            batches: rows.get_array_memory_size(),
            geometries: lengths.map(of_geometry).sum(),
        })
    }

    /// Rows twice: the batches and the one batch made of them are there together.
    pub fn bytes(&self) -> usize {
        2 * self.batches + self.geometries + self.rows * (SHAPE_OVERHEAD_BYTES + Candidates::BYTES_PER_ROW)
    }
}

/// The left side, in memory or on disk.
#[derive(Debug)]
pub enum Loaded {
    Inside(BuildSide),
    Outside(Arc<Outside>),
}

/// Rows of the left side, all of them or one part. Shared by the streams of all partitions of the right side.
#[derive(Debug)]
pub struct BuildSide {
    pub rows: RecordBatch,
    /// By row; `None`: NULL, empty or not finite, which matches nothing.
    pub shapes: Vec<Option<Prepared>>,
    /// Each row's limit, where the limit of a distance is the left side's.
    pub limits: Option<Vec<Option<f64>>>,
    pub candidates: Candidates,
    /// Which rows of the whole left side found a partner, where the kind of join asks.
    matched: Option<Arc<Vec<AtomicBool>>>,
    /// The place of the first row in the whole left side.
    first_row: usize,
    /// Streams of the right side that are still running.
    running: AtomicUsize,
    _reservation: MemoryReservation,
}

impl BuildSide {
    /// Collects the left side; onto the disk when memory does not suffice and there is a disk.
    pub async fn load(
        mut stream: SendableRecordBatchStream,
        join: &Join,
        cells: usize,
        streams: usize,
        manager: SpillManager,
        reservation: MemoryReservation,
    ) -> Result<Loaded> {
        let schema = stream.schema();
        let mut batches = Vec::new();
        let mut rows = 0;
        while let Some(batch) = stream.try_next().await? {
            join.interrupt.check()?;
            rows += batch.num_rows();
            let fits = reservation.try_grow(Cost::of(&batch, &join.condition)?.bytes());
            batches.push(batch);
            let Err(error) = fits else { continue };
            if !is_out_of_memory(&error) || !manager_has_disk(&manager) {
                return Err(error);
            }
            let spilled = Spilled::write(manager, std::mem::take(&mut batches), stream, &join.interrupt).await?;
            let outside = Outside::new(spilled, join.tracks_left(), streams, reservation)?;
            return Ok(Loaded::Outside(Arc::new(outside)));
        }
        if u32::try_from(rows).is_err() {
            return exec_err!(
                "the smaller side of a spatial join has {rows} rows, more than {}",
                u32::MAX
            );
        }
        let rows = concat_batches(&schema, &batches)?;
        let count = rows.num_rows();
        let matched = join
            .tracks_left()
            .then(|| Arc::new((0..count).map(|_| AtomicBool::new(false)).collect::<Vec<_>>()));
        let mut build = BuildSide::of(rows, &join.condition, cells, matched, 0, reservation)?;
        build.running = AtomicUsize::new(streams);
        Ok(Loaded::Inside(build))
    }

    /// Of rows for which the memory is reserved.
    pub fn of(
        rows: RecordBatch,
        condition: &Condition,
        cells: usize,
        matched: Option<Arc<Vec<AtomicBool>>>,
        first_row: usize,
        reservation: MemoryReservation,
    ) -> Result<BuildSide> {
        let limits = match &condition.test {
            Test::Distance {
                limit,
                limit_side: JoinSide::Left,
                ..
            } => Some(numbers(limit, &rows)?),
            _ => None,
        };
        let geometries = condition.left.evaluate(&rows)?.into_array(rows.num_rows())?;
        let shapes = shapes(&geometries, srid_of(&condition.left, &rows.schema())?)?;
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
        let shapes = shapes.into_iter().map(|shape| shape.map(Prepared::new)).collect();
        Ok(BuildSide {
            rows,
            shapes,
            limits,
            candidates,
            matched,
            first_row,
            running: AtomicUsize::new(1),
            _reservation: reservation,
        })
    }

    pub fn mark(&self, row: u32) {
        if let Some(matched) = &self.matched {
            matched[self.first_row + row as usize].store(true, Ordering::Relaxed);
        }
    }

    /// A stream of the right side has ended: `true` for the last one.
    pub fn stream_ended(&self) -> bool {
        self.running.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// The rows that found a partner, or those that did not.
    pub fn rows_where_matched(&self, wanted: bool) -> Vec<u32> {
        let matched = self.matched.iter().flat_map(|matched| matched.iter());
        let matched = matched
            .enumerate()
            .filter(|(_, matched)| matched.load(Ordering::Acquire) == wanted);
        matched.filter_map(|(row, _)| u32::try_from(row).ok()).collect()
    }
}

/// A server may be set up without spilling.
fn manager_has_disk(manager: &SpillManager) -> bool {
    manager.create_in_progress_file("spatial join").is_ok()
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

/// The SRID of an expression's reference system; 0: it has none.
pub fn srid_of(geometry: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Result<u32> {
    let crs = geometry_crs(geometry.return_field(schema)?.as_ref()).flatten();
    Ok(crs.map_or(0, |crs| crs.srid()))
}

/// The parsed geometries of a column; `None` for what matches nothing. `srid` is for those that carry none.
pub fn shapes(geometries: &Arc<dyn Array>, srid: u32) -> Result<Vec<Option<Shape>>> {
    let bytes = geometry_column(geometries)?;
    let shape = |row| match bytes(row) {
        None => Ok(None),
        Some(bytes) => {
            let mut shape = Shape::decode(&bytes).map_err(bad)?;
            if shape.srid == 0 {
                shape.srid = srid;
            }
            Ok(Some(shape).filter(Shape::matchable))
        }
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
