//! `/` and `%` of integers.

use std::fmt::{self, Display, Formatter};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, RecordBatch};
use arrow::datatypes::{DataType, Int8Type, Int16Type, Int32Type, Int64Type, Schema};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, Operator};
use datafusion::physical_expr::PhysicalExpr;

use super::Expr;

/// The quotient or the remainder of two integers of one type, as Java has them: the least value by -1 wraps to itself, a
/// division by zero fails. A NULL on either side is NULL, whatever the other is.
#[derive(Debug)]
pub struct Quotient {
    /// `/` or `%`.
    op: Operator,
    sides: [Expr; 2],
    data: DataType,
}

impl Quotient {
    pub fn new(left: Expr, op: Operator, right: Expr, data: DataType) -> Self {
        Self {
            op,
            sides: [left, right],
            data,
        }
    }

    fn compute<T: ArrowPrimitiveType>(
        &self,
        left: &ArrayRef,
        right: &ArrayRef,
        divide: fn(T::Native, T::Native) -> Option<T::Native>,
        rest: fn(T::Native, T::Native) -> Option<T::Native>,
    ) -> Result<ColumnarValue> {
        let (left, right) = (left.as_primitive::<T>(), right.as_primitive::<T>());
        let step = if self.op == Operator::Divide { divide } else { rest };
        let values = left.iter().zip(right).map(|pair| match pair {
            (Some(l), Some(r)) => step(l, r)
                .map(Some)
                .ok_or_else(|| DataFusionError::Execution("/ by zero".into())),
            _ => Ok(None),
        });
        let array = values.collect::<Result<PrimitiveArray<T>>>()?;
        Ok(ColumnarValue::Array(Arc::new(array)))
    }
}

/// Division and remainder that wrap, and are none where the divisor is zero.
macro_rules! steps {
    ($native:ty) => {
        (
            |l: $native, r: $native| (r != 0).then(|| l.wrapping_div(r)),
            |l: $native, r: $native| (r != 0).then(|| l.wrapping_rem(r)),
        )
    };
}

impl PhysicalExpr for Quotient {
    fn data_type(&self, _schema: &Schema) -> Result<DataType> {
        Ok(self.data.clone())
    }

    fn nullable(&self, _schema: &Schema) -> Result<bool> {
        Ok(true)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let rows = batch.num_rows();
        let left = self.sides[0].evaluate(batch)?.into_array(rows)?;
        let right = self.sides[1].evaluate(batch)?.into_array(rows)?;
        match self.data {
            DataType::Int8 => {
                let (divide, rest) = steps!(i8);
                self.compute::<Int8Type>(&left, &right, divide, rest)
            }
            DataType::Int16 => {
                let (divide, rest) = steps!(i16);
                self.compute::<Int16Type>(&left, &right, divide, rest)
            }
            DataType::Int32 => {
                let (divide, rest) = steps!(i32);
                self.compute::<Int32Type>(&left, &right, divide, rest)
            }
            _ => {
                let (divide, rest) = steps!(i64);
                self.compute::<Int64Type>(&left, &right, divide, rest)
            }
        }
    }

    fn children(&self) -> Vec<&Expr> {
        self.sides.iter().collect()
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Expr>) -> Result<Expr> {
        let [left, right] = <[Expr; 2]>::try_from(children)
            .map_err(|_| DataFusionError::Internal("a quotient has two sides".into()))?;
        Ok(Arc::new(Self::new(left, self.op, right, self.data.clone())))
    }

    fn fmt_sql(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

impl Display for Quotient {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "({} {} {})", self.sides[0], self.op, self.sides[1])
    }
}

impl PartialEq for Quotient {
    fn eq(&self, other: &Self) -> bool {
        self.op == other.op && self.data == other.data && self.sides == other.sides
    }
}

impl Eq for Quotient {}

impl Hash for Quotient {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.op.hash(state);
        self.sides.hash(state);
    }
}
