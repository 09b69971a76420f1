//! COALESCE.

use std::fmt::{self, Display, Formatter};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, Schema};
use datafusion::common::Result;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;

use super::Expr;

/// The first value that is not NULL, of values of one type. All of them are computed for all rows: COALESCE and IFNULL
/// are functions in Flink, and do not guard their arguments as CASE does.
#[derive(Debug)]
pub struct Coalesce {
    values: Vec<Expr>,
    data: DataType,
}

impl Coalesce {
    pub fn new(values: Vec<Expr>, data: DataType) -> Self {
        Self { values, data }
    }
}

impl PhysicalExpr for Coalesce {
    fn data_type(&self, _schema: &Schema) -> Result<DataType> {
        Ok(self.data.clone())
    }

    fn nullable(&self, _schema: &Schema) -> Result<bool> {
        Ok(true)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let rows = batch.num_rows();
        let arrays = self
            .values
            .iter()
            .map(|value| value.evaluate(batch)?.into_array(rows))
            .collect::<Result<Vec<ArrayRef>>>()?;
        let last = arrays.len().saturating_sub(1);
        let pick = |row: usize| {
            let found = arrays.iter().position(|array| array.is_valid(row));
            (found.unwrap_or(last), row)
        };
        let picks: Vec<(usize, usize)> = (0..rows).map(pick).collect();
        let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
        Ok(ColumnarValue::Array(interleave(&arrays, &picks)?))
    }

    fn children(&self) -> Vec<&Expr> {
        self.values.iter().collect()
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Expr>) -> Result<Expr> {
        Ok(Arc::new(Self::new(children, self.data.clone())))
    }

    fn fmt_sql(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

impl Display for Coalesce {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("COALESCE")?;
        for (number, value) in self.values.iter().enumerate() {
            write!(f, "{}{value}", if number == 0 { "(" } else { ", " })?;
        }
        f.write_str(")")
    }
}

impl PartialEq for Coalesce {
    fn eq(&self, other: &Self) -> bool {
        self.data == other.data && self.values == other.values
    }
}

impl Eq for Coalesce {}

impl Hash for Coalesce {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.values.hash(state);
    }
}
