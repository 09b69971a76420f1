//! Filter and projection, vectorised.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::physical_expr::PhysicalExpr;

use super::{Event, Operator, Rows};
use crate::Error;
use crate::functions::next_rows;

/// Keeps the rows for which `filter` is true, and computes the columns of `schema` from them.
#[derive(Debug, Clone)]
pub struct Calc {
    pub filter: Option<Arc<dyn PhysicalExpr>>,
    pub columns: Vec<Arc<dyn PhysicalExpr>>,
    pub schema: SchemaRef,
}

impl Calc {
    pub fn apply(&self, rows: Rows) -> Result<Rows, Error> {
        next_rows();
        let rows = match &self.filter {
            None => rows,
            Some(filter) => {
                let mask = boolean(filter, &rows.batch)?;
                if mask.true_count() == rows.len() {
                    rows
                } else {
                    rows.filter(&mask)?
                }
            }
        };
        let columns = self
            .columns
            .iter()
            .map(|column| evaluate(column, &rows.batch))
            .collect::<Result<_, _>>()?;
        let batch = table(&self.schema, columns, rows.len())?;
        Ok(Rows { batch, ..rows })
    }
}

impl Operator for Calc {
    fn on_event(&mut self, event: Event, out: &mut Vec<Event>) -> Result<(), Error> {
        match event {
            Event::Rows(rows) => {
                let rows = self.apply(rows)?;
                if !rows.is_empty() {
                    out.push(Event::Rows(rows));
                }
            }
            other => out.push(other),
        }
        Ok(())
    }
}

/// A batch of `columns`, also if there are none.
pub fn table(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, Error> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        columns,
        &options,
    )?)
}

/// One value for each row.
pub fn evaluate(expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<ArrayRef, Error> {
    // Nothing is computed for no rows: a constant that fails must not fail an empty batch.
    if batch.num_rows() == 0 {
        let data_type = expr.data_type(batch.schema_ref()).map_err(row_error)?;
        return Ok(arrow::array::new_empty_array(&data_type));
    }
    expr.evaluate(batch)
        .and_then(|value| value.into_array(batch.num_rows()))
        .map_err(row_error)
}

/// A condition for each row.
pub fn boolean(expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<BooleanArray, Error> {
    let array = evaluate(expr, batch)?;
    let mask = array.as_any().downcast_ref::<BooleanArray>().cloned();
    mask.ok_or_else(|| Error::runtime(format!("a condition is {} instead of BOOLEAN", array.data_type())))
}

/// A failed row: the innermost message, without the layers it passed.
pub fn row_error(error: DataFusionError) -> Error {
    match error {
        DataFusionError::ArrowError(inner, _) => match *inner {
            arrow::error::ArrowError::DivideByZero => Error::runtime("/ by zero"),
            other => Error::runtime(other),
        },
        DataFusionError::Execution(text) | DataFusionError::Plan(text) => Error::runtime(text),
        DataFusionError::Context(_, inner) => row_error(*inner),
        other => Error::runtime(other.strip_backtrace()),
    }
}
