//! The probe side of a spatial join: one batch of the right side against the whole left side.
//!
//! A batch is worked off in steps of about [`PAIRS_PER_STEP`] candidates, so that a batch with very many matches holds
//! neither the thread nor the memory.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::datatypes::SchemaRef;
use datafusion::common::{JoinSide, Result};
use datafusion::logical_expr::JoinType;
use datafusion::physical_plan::joins::utils::{ColumnIndex, JoinFilter};

use super::build::{BuildSide, bad, numbers, shapes};
use super::condition::{Condition, Test};
use super::pairs::Pairs;
use crate::spatial::geometry::{Bounds, GeometryError, Shape};
use crate::spatial::relation::distance;

/// Candidates that are decided at once.
const PAIRS_PER_STEP: usize = 65_536;

/// What all probes of one join share.
#[derive(Debug)]
pub struct Join {
    pub condition: Condition,
    pub rest: Option<JoinFilter>,
    pub join_type: JoinType,
    /// The output's columns, after the projection.
    pub columns: Vec<ColumnIndex>,
    pub schema: SchemaRef,
    pub batch_rows: usize,
}

impl Join {
    /// Pairs that match are output.
    fn gives_pairs(&self) -> bool {
        matches!(
            self.join_type,
            JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full
        )
    }

    /// Left rows are output at the end, or their matches decide about that.
    pub fn tracks_left(&self) -> bool {
        matches!(
            self.join_type,
            JoinType::Left | JoinType::Full | JoinType::LeftSemi | JoinType::LeftAnti
        )
    }

    /// Right rows that are output once their batch is through: the matched ones, or the others.
    fn right_rows_wanted(&self) -> Option<bool> {
        match self.join_type {
            JoinType::Right | JoinType::Full | JoinType::RightAnti => Some(false),
            JoinType::RightSemi => Some(true),
            _ => None,
        }
    }

    /// The left rows that come when all of the right side is through.
    pub fn left_rows(&self, build: &BuildSide) -> Result<Vec<RecordBatch>> {
        let rows = build.rows_where_matched(self.join_type == JoinType::LeftSemi);
        let right = UInt32Array::new_null(rows.len());
        let pairs = Pairs {
            left: UInt32Array::from(rows),
            right,
        };
        // No column of an absent right side is taken but as NULL, so an empty batch can stand for it.
        self.output(&pairs, build, None)
    }

    fn output(&self, pairs: &Pairs, build: &BuildSide, right: Option<&RecordBatch>) -> Result<Vec<RecordBatch>> {
        let starts = (0..pairs.len()).step_by(self.batch_rows.max(1));
        starts
            .map(|start| {
                let some = pairs.slice(start, self.batch_rows.min(pairs.len() - start));
                match right {
                    Some(right) => some.rows(&self.schema, &self.columns, &build.rows, right),
                    None => some.rows_of_left(&self.schema, &self.columns, &build.rows),
                }
            })
            .collect()
    }
}

/// One batch of the right side on its way.
pub struct Probe {
    rows: RecordBatch,
    shapes: Vec<Option<Shape>>,
    limits: Option<Vec<Option<f64>>>,
    next_row: usize,
    matched: Vec<bool>,
}

impl Probe {
    pub fn new(join: &Join, rows: RecordBatch) -> Result<Probe> {
        let geometries = join.condition.right.evaluate(&rows)?.into_array(rows.num_rows())?;
        let shapes = shapes(&geometries)?;
        let limits = match &join.condition.test {
            Test::Distance {
                limit,
                limit_side: JoinSide::Right | JoinSide::None,
                ..
            } => Some(numbers(limit, &rows)?),
            _ => None,
        };
        let matched = vec![false; rows.num_rows()];
        Ok(Probe {
            rows,
            shapes,
            limits,
            next_row: 0,
            matched,
        })
    }

    /// The next rows of the result; `None`: the batch is through.
    pub fn step(&mut self, join: &Join, build: &BuildSide) -> Result<Option<Vec<RecordBatch>>> {
        if self.next_row > self.shapes.len() {
            return Ok(None);
        }
        if self.next_row == self.shapes.len() {
            self.next_row += 1;
            return self.finish(join, build).map(Some);
        }
        let (mut pairs, rows) = self.candidates(build);
        self.next_row = rows.end;
        self.decide(join, build, &mut pairs).map_err(bad)?;
        let mut pairs = Pairs {
            left: pairs.iter().map(|(left, _)| *left).collect::<Vec<_>>().into(),
            right: pairs.iter().map(|(_, right)| *right).collect::<Vec<_>>().into(),
        };
        if let Some(rest) = &join.rest {
            pairs = pairs.filtered(rest, &build.rows, &self.rows)?;
        }
        if join.tracks_left() {
            pairs.left.values().iter().for_each(|row| build.mark(*row));
        }
        if join.right_rows_wanted().is_some() {
            pairs
                .right
                .values()
                .iter()
                .for_each(|row| self.matched[*row as usize] = true);
        }
        if join.gives_pairs() {
            join.output(&pairs, build, Some(&self.rows)).map(Some)
        } else {
            Ok(Some(Vec::new()))
        }
    }

    /// (left, right) whose boxes meet, for the next rows of the right.
    fn candidates(&self, build: &BuildSide) -> (Vec<(u32, u32)>, Range<usize>) {
        let mut pairs = Vec::new();
        let mut row = self.next_row;
        while row < self.shapes.len() && pairs.len() < PAIRS_PER_STEP {
            if let (Some(probe), Ok(right)) = (self.probe_box(row), u32::try_from(row)) {
                build.candidates.search(&probe, |left| pairs.push((left, right)));
            }
            row += 1;
        }
        (pairs, self.next_row..row)
    }

    fn probe_box(&self, row: usize) -> Option<Bounds> {
        let bounds = self.shapes[row].as_ref()?.bounds?;
        match &self.limits {
            None => Some(bounds),
            Some(limits) => limits[row]
                .filter(|limit| *limit >= 0.0)
                .map(|limit| bounds.expand(limit)),
        }
    }

    /// Keeps the pairs for which the condition holds, in the order of the right rows.
    fn decide(&self, join: &Join, build: &BuildSide, pairs: &mut Vec<(u32, u32)>) -> Result<(), GeometryError> {
        match &join.condition.test {
            Test::Distance { strict, .. } => {
                let mut failed = None;
                pairs.retain(|(left, right)| {
                    self.near(build, *left, *right, *strict).unwrap_or_else(|error| {
                        failed = Some(error);
                        false
                    })
                });
                failed.map_or(Ok(()), Err)
            }
            Test::Relation(predicate) => {
                let mut failed = None;
                pairs.retain(|(left, right)| {
                    let (Some(a), Some(b)) = (&build.shapes[*left as usize], &self.shapes[*right as usize]) else {
                        return false;
                    };
                    match a.shape.same_srid(b) {
                        Ok(_) => a.holds(*predicate, b),
                        Err(error) => {
                            failed = Some(error);
                            false
                        }
                    }
                });
                failed.map_or(Ok(()), Err)
            }
        }
    }

    fn near(&self, build: &BuildSide, left: u32, right: u32, strict: bool) -> Result<bool, GeometryError> {
        let (Some(a), Some(b)) = (&build.shapes[left as usize], &self.shapes[right as usize]) else {
            return Ok(false);
        };
        a.shape.same_srid(b)?;
        let limit = match (&build.limits, &self.limits) {
            (Some(limits), _) => limits[left as usize],
            (None, Some(limits)) => limits[right as usize],
            (None, None) => None,
        };
        let (Some(far), Some(limit)) = (distance(&a.shape, b), limit) else {
            return Ok(false);
        };
        Ok(if strict { far < limit } else { far <= limit })
    }

    /// The right rows that come by themselves.
    fn finish(&self, join: &Join, build: &BuildSide) -> Result<Vec<RecordBatch>> {
        let Some(wanted) = join.right_rows_wanted() else {
            return Ok(Vec::new());
        };
        let rows = self
            .matched
            .iter()
            .enumerate()
            .filter(|(_, matched)| **matched == wanted);
        let right: Vec<u32> = rows.filter_map(|(row, _)| u32::try_from(row).ok()).collect();
        let pairs = Pairs {
            left: UInt32Array::new_null(right.len()),
            right: UInt32Array::from(right),
        };
        join.output(&pairs, build, Some(&self.rows))
    }
}

impl Pairs {
    /// The pairs' columns when there is no right side any more: its columns are NULL.
    fn rows_of_left(&self, schema: &SchemaRef, columns: &[ColumnIndex], left: &RecordBatch) -> Result<RecordBatch> {
        use arrow::array::{RecordBatchOptions, new_null_array};
        let column = |(at, index): (usize, &ColumnIndex)| match index.side {
            JoinSide::Left => Ok(arrow::compute::take(left.column(index.index), &self.left, None)?),
            _ => Ok(new_null_array(schema.field(at).data_type(), self.len())),
        };
        let columns = columns.iter().enumerate().map(column).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.len()));
        Ok(RecordBatch::try_new_with_options(
            Arc::clone(schema),
            columns,
            &options,
        )?)
    }
}
