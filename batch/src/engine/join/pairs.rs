//! Rows from pairs of row numbers: what both spatial joins and neighbour joins end with.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{filter, take};
use arrow::datatypes::SchemaRef;
use datafusion::common::{JoinSide, Result, exec_err};
use datafusion::physical_plan::joins::utils::{ColumnIndex, JoinFilter};

/// One row of the left with one of the right; NULL for the side that an outer join fills up.
#[derive(Debug)]
pub struct Pairs {
    pub left: UInt32Array,
    pub right: UInt32Array,
}

impl Pairs {
    pub fn slice(&self, offset: usize, length: usize) -> Pairs {
        Pairs {
            left: self.left.slice(offset, length),
            right: self.right.slice(offset, length),
        }
    }

    pub fn len(&self) -> usize {
        self.left.len()
    }

    /// The pairs' columns.
    pub fn rows(
        &self,
        schema: &SchemaRef,
        columns: &[ColumnIndex],
        left: &RecordBatch,
        right: &RecordBatch,
    ) -> Result<RecordBatch> {
        let column = |index: &ColumnIndex| -> Result<ArrayRef> {
            Ok(match index.side {
                JoinSide::Left => take(left.column(index.index), &self.left, None)?,
                JoinSide::Right => take(right.column(index.index), &self.right, None)?,
                JoinSide::None => return exec_err!("a column of a join is of neither side"),
            })
        };
        let columns = columns.iter().map(column).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.len()));
        Ok(RecordBatch::try_new_with_options(
            Arc::clone(schema),
            columns,
            &options,
        )?)
    }

    /// Those for which the rest of the join's condition is true.
    pub fn filtered(self, rest: &JoinFilter, left: &RecordBatch, right: &RecordBatch) -> Result<Pairs> {
        if self.len() == 0 {
            return Ok(self);
        }
        let rows = self.rows(rest.schema(), rest.column_indices(), left, right)?;
        let mask = rest.expression().evaluate(&rows)?.into_array(rows.num_rows())?;
        let Some(mask) = mask.as_any().downcast_ref::<BooleanArray>() else {
            return exec_err!("the rest of a join's condition is not true or false");
        };
        let keep = |rows: &UInt32Array| -> Result<UInt32Array> { Ok(filter(rows, mask)?.as_primitive().clone()) };
        Ok(Pairs {
            left: keep(&self.left)?,
            right: keep(&self.right)?,
        })
    }
}
