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

use super::build::{BuildSide, bad, numbers, shapes, srid_of};
use super::condition::{Condition, Test};
use super::pairs::Pairs;
use crate::engine::interrupt::Interrupt;
use crate::spatial::geometry::{Bounds, GeometryError, Shape};
use crate::spatial::relation::{Predicate, distance};

/// Candidates that are decided at once.
const PAIRS_PER_STEP: usize = 65_536;

/// What all probes of one join share.
#[derive(Debug, Clone)]
pub struct Join {
    pub condition: Condition,
    pub rest: Option<JoinFilter>,
    pub join_type: JoinType,
    /// The output's columns, after the projection.
    pub columns: Vec<ColumnIndex>,
    pub schema: SchemaRef,
    pub batch_rows: usize,
    /// The rest of the condition has an equality, which is cheaper to decide than the geometry.
    pub rest_first: bool,
    pub interrupt: Interrupt,
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

    pub fn wants_right_rows(&self) -> bool {
        self.right_rows_wanted().is_some()
    }

    /// The right rows of a batch that come by themselves, by whether they matched.
    pub fn right_rows(&self, rows: &RecordBatch, matched: &[bool]) -> Result<Vec<RecordBatch>> {
        let Some(wanted) = self.right_rows_wanted() else {
            return Ok(Vec::new());
        };
        let found = matched.iter().enumerate().filter(|(_, matched)| **matched == wanted);
        let right: Vec<u32> = found.filter_map(|(row, _)| u32::try_from(row).ok()).collect();
        let pairs = Pairs {
            left: UInt32Array::new_null(right.len()),
            right: UInt32Array::from(right),
        };
        self.output_of_right(&pairs, rows)
    }

    /// Left rows that are output at the end: those that matched, or the others.
    pub fn wanted_left(&self) -> bool {
        self.join_type == JoinType::LeftSemi
    }

    /// The left rows that come when all of the right side is through.
    pub fn left_rows(&self, build: &BuildSide) -> Result<Vec<RecordBatch>> {
        let rows = build.rows_where_matched(self.wanted_left());
        let right = UInt32Array::new_null(rows.len());
        let pairs = Pairs {
            left: UInt32Array::from(rows),
            right,
        };
        self.output(&pairs, &build.rows, None)
    }

    pub fn output(&self, pairs: &Pairs, left: &RecordBatch, right: Option<&RecordBatch>) -> Result<Vec<RecordBatch>> {
        self.pieces(pairs)
            .map(|some| match right {
                Some(right) => some.rows(&self.schema, &self.columns, left, right),
                None => some.rows_of_one(&self.schema, &self.columns, JoinSide::Left, left),
            })
            .collect()
    }

    fn output_of_right(&self, pairs: &Pairs, right: &RecordBatch) -> Result<Vec<RecordBatch>> {
        self.pieces(pairs)
            .map(|some| some.rows_of_one(&self.schema, &self.columns, JoinSide::Right, right))
            .collect()
    }

    fn pieces(&self, pairs: &Pairs) -> impl Iterator<Item = Pairs> {
        let starts = (0..pairs.len()).step_by(self.batch_rows.max(1));
        starts.map(|start| pairs.slice(start, self.batch_rows.min(pairs.len() - start)))
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
        Probe::resume(join, rows, Vec::new())
    }

    /// With what earlier parts of the left side have matched.
    pub fn resume(join: &Join, rows: RecordBatch, mut matched: Vec<bool>) -> Result<Probe> {
        let geometries = join.condition.right.evaluate(&rows)?.into_array(rows.num_rows())?;
        let shapes = shapes(&geometries, srid_of(&join.condition.right, &rows.schema())?)?;
        let limits = match &join.condition.test {
            Test::Distance {
                limit,
                limit_side: JoinSide::Right | JoinSide::None,
                ..
            } => Some(numbers(limit, &rows)?),
            _ => None,
        };
        matched.resize(rows.num_rows(), false);
        Ok(Probe {
            rows,
            shapes,
            limits,
            next_row: 0,
            matched,
        })
    }

    pub fn into_matched(self) -> Vec<bool> {
        self.matched
    }

    /// What the batch takes while it is here, about.
    pub fn bytes(&self) -> usize {
        /// A parsed geometry takes about as much as its bytes, and the candidates of a step come on top.
        const STEP_BYTES: usize = PAIRS_PER_STEP * size_of::<(u32, u32)>() * 2;
        2 * self.rows.get_array_memory_size() + self.shapes.len() * size_of::<Option<Shape>>() + STEP_BYTES
    }

    /// The next rows of the result; `None`: the batch is through.
    pub fn step(&mut self, join: &Join, build: &BuildSide) -> Result<Option<Vec<RecordBatch>>> {
        if self.next_row > self.shapes.len() {
            return Ok(None);
        }
        if self.next_row == self.shapes.len() {
            self.next_row += 1;
            return join.right_rows(&self.rows, &self.matched).map(Some);
        }
        self.pairs_step(join, build)
    }

    /// The next pairs of the result; `None`: there are no more.
    pub fn pairs_step(&mut self, join: &Join, build: &BuildSide) -> Result<Option<Vec<RecordBatch>>> {
        if self.next_row >= self.shapes.len() {
            return Ok(None);
        }
        join.interrupt.check()?;
        let (mut candidates, rows) = self.candidates(build);
        self.next_row = rows.end;
        if !join.rest_first {
            self.decide(join, build, &mut candidates)?;
        }
        let mut pairs = pairs_of(&candidates);
        if let Some(rest) = &join.rest {
            pairs = self.rest_of(pairs, rest, join, build)?;
        }
        if join.rest_first {
            let rows = pairs.left.values().iter().zip(pairs.right.values());
            let mut candidates: Vec<(u32, u32)> = rows.map(|(left, right)| (*left, *right)).collect();
            self.decide(join, build, &mut candidates)?;
            pairs = pairs_of(&candidates);
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
            join.output(&pairs, &build.rows, Some(&self.rows)).map(Some)
        } else {
            Ok(Some(Vec::new()))
        }
    }

    /// The pairs for which the rest of the condition holds, some at a time: they are wide.
    fn rest_of(&self, pairs: Pairs, rest: &JoinFilter, join: &Join, build: &BuildSide) -> Result<Pairs> {
        let mut kept = (Vec::new(), Vec::new());
        for some in join.pieces(&pairs) {
            join.interrupt.check()?;
            let some = some.filtered(rest, &build.rows, &self.rows)?;
            kept.0.extend_from_slice(some.left.values());
            kept.1.extend_from_slice(some.right.values());
        }
        Ok(Pairs {
            left: kept.0.into(),
            right: kept.1.into(),
        })
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
    fn decide(&self, join: &Join, build: &BuildSide, pairs: &mut Vec<(u32, u32)>) -> Result<()> {
        /// One pair of large geometries may take long.
        const PAIRS_PER_CHECK: usize = 64;
        let mut failed = None;
        let mut count = 0usize;
        pairs.retain(|(left, right)| {
            if failed.is_some() {
                return false;
            }
            count += 1;
            if count.is_multiple_of(PAIRS_PER_CHECK)
                && let Err(error) = join.interrupt.check()
            {
                failed = Some(error);
                return false;
            }
            let holds = match &join.condition.test {
                Test::Distance { strict, .. } => self.near(build, *left, *right, *strict),
                Test::Relation(predicate) => self.related(build, *left, *right, *predicate),
            };
            holds.unwrap_or_else(|error| {
                failed = Some(bad(error));
                false
            })
        });
        failed.map_or(Ok(()), Err)
    }

    fn related(&self, build: &BuildSide, left: u32, right: u32, predicate: Predicate) -> Result<bool, GeometryError> {
        let (Some(a), Some(b)) = (&build.shapes[left as usize], &self.shapes[right as usize]) else {
            return Ok(false);
        };
        a.shape.same_srid(b)?;
        Ok(a.holds(predicate, b))
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
}

fn pairs_of(candidates: &[(u32, u32)]) -> Pairs {
    Pairs {
        left: candidates.iter().map(|(left, _)| *left).collect::<Vec<_>>().into(),
        right: candidates.iter().map(|(_, right)| *right).collect::<Vec<_>>().into(),
    }
}

impl Pairs {
    /// The pairs' columns when there are rows of one side only: those of the other are NULL.
    fn rows_of_one(
        &self,
        schema: &SchemaRef,
        columns: &[ColumnIndex],
        side: JoinSide,
        rows: &RecordBatch,
    ) -> Result<RecordBatch> {
        use arrow::array::{RecordBatchOptions, new_null_array};
        let own = if side == JoinSide::Left {
            &self.left
        } else {
            &self.right
        };
        let column = |(at, index): (usize, &ColumnIndex)| {
            if index.side == side {
                Ok(arrow::compute::take(rows.column(index.index), own, None)?)
            } else {
                Ok(new_null_array(schema.field(at).data_type(), self.len()))
            }
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
