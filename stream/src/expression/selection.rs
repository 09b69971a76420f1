//! Some rows of a batch.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, NullArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::{DataFusionError, Result};

use super::{Expr, columns_of, is_boolean};

/// An expression, the columns that it reads, and whether a row can fail in it.
#[derive(Debug, Clone)]
pub struct Operand {
    pub expr: Expr,
    columns: Vec<usize>,
    pub can_fail: bool,
}

impl Operand {
    pub fn new(expr: Expr) -> Self {
        Self {
            columns: columns_of(&expr).into_iter().collect(),
            can_fail: super::can_fail(&expr),
            expr,
        }
    }

    /// A value for each of the batch's rows `rows`, in their order; none of the others is looked at.
    pub fn on_rows(&self, batch: &RecordBatch, rows: &[u32]) -> Result<ArrayRef> {
        if rows.is_empty() {
            return Ok(arrow::array::new_empty_array(&self.expr.data_type(batch.schema_ref())?));
        }
        if rows.len() == batch.num_rows() {
            return self.expr.evaluate(batch)?.into_array(rows.len());
        }
        self.expr.evaluate(&self.gather(batch, rows)?)?.into_array(rows.len())
    }

    /// A condition on each of the rows.
    pub fn truth_on_rows(&self, batch: &RecordBatch, rows: &[u32]) -> Result<BooleanArray> {
        truth(&self.on_rows(batch, rows)?)
    }

    /// A condition on all rows.
    pub fn truth(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        truth(&self.expr.evaluate(batch)?.into_array(batch.num_rows())?)
    }

    /// The rows with the columns that are read; the others keep their place without values.
    fn gather(&self, batch: &RecordBatch, rows: &[u32]) -> Result<RecordBatch> {
        let indices = UInt32Array::from(rows.to_vec());
        let mut fields = Vec::with_capacity(batch.num_columns());
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(batch.num_columns());
        for (number, field) in batch.schema_ref().fields().iter().enumerate() {
            if self.columns.binary_search(&number).is_ok() {
                fields.push(Arc::clone(field));
                arrays.push(take(batch.column(number), &indices, None)?);
            } else {
                fields.push(Arc::new(Field::new(field.name(), DataType::Null, true)));
                arrays.push(Arc::new(NullArray::new(rows.len())));
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        Ok(RecordBatch::try_new_with_options(
            Arc::new(Schema::new(fields)),
            arrays,
            &options,
        )?)
    }
}

fn truth(array: &ArrayRef) -> Result<BooleanArray> {
    if is_boolean(array.data_type()) {
        return Ok(array.as_boolean().clone());
    }
    Err(DataFusionError::Internal(format!(
        "a condition is {} instead of BOOLEAN",
        array.data_type()
    )))
}
