//! Comparisons of floats and texts.

use std::cmp::Ordering;
use std::fmt::{self, Display, Formatter};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Float32Type, Float64Type, Schema};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, Operator};
use datafusion::physical_expr::PhysicalExpr;

use super::Expr;

/// `left op right`, for FLOAT, DOUBLE and STRING. Arrow orders floats totally, so that NaN is above all numbers and -0.0
/// below 0.0; in Java NaN is not even equal to itself, and both zeros are. Java orders texts by UTF-16 units.
#[derive(Debug)]
pub struct Comparison {
    op: Operator,
    sides: [Expr; 2],
}

impl Comparison {
    pub fn new(left: Expr, op: Operator, right: Expr) -> Self {
        Self {
            op,
            sides: [left, right],
        }
    }

    /// Whether values of this type compare otherwise than Arrow compares them.
    pub fn is_for(data: &DataType, op: Operator) -> bool {
        match data {
            DataType::Float32 | DataType::Float64 => true,
            DataType::Utf8 => matches!(op, Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq),
            _ => false,
        }
    }
}

/// One side of a comparison: an array, or one value for all rows.
struct Side {
    array: ArrayRef,
    constant: bool,
}

impl Side {
    fn of(value: ColumnarValue) -> Result<Self> {
        Ok(match value {
            ColumnarValue::Array(array) => Self { array, constant: false },
            ColumnarValue::Scalar(scalar) => Self {
                array: scalar.to_array()?,
                constant: true,
            },
        })
    }

    fn at(&self, row: usize) -> usize {
        if self.constant { 0 } else { row }
    }

    fn is_null(&self, row: usize) -> bool {
        self.array.is_null(self.at(row))
    }
}

/// The result for each row by `test` of the two values.
fn compared(left: &Side, right: &Side, op: Operator, rows: usize, test: impl Fn(usize, usize) -> bool) -> BooleanArray {
    let value = |row: usize| test(left.at(row), right.at(row));
    match op {
        Operator::IsDistinctFrom | Operator::IsNotDistinctFrom => {
            let distinct = op == Operator::IsDistinctFrom;
            let values = BooleanBuffer::collect_bool(rows, |row| match (left.is_null(row), right.is_null(row)) {
                (false, false) => value(row),
                (left, right) => (left != right) == distinct,
            });
            BooleanArray::new(values, None)
        }
        _ => {
            let values = BooleanBuffer::collect_bool(rows, value);
            let has_nulls = left.array.null_count() + right.array.null_count() > 0;
            let valid = has_nulls
                .then(|| BooleanBuffer::collect_bool(rows, |row| !left.is_null(row) && !right.is_null(row)).into());
            BooleanArray::new(values, valid)
        }
    }
}

fn holds<T: PartialOrd>(op: Operator, left: T, right: T) -> bool {
    match op {
        Operator::Eq | Operator::IsNotDistinctFrom => left == right,
        Operator::NotEq | Operator::IsDistinctFrom => left != right,
        Operator::Lt => left < right,
        Operator::LtEq => left <= right,
        Operator::Gt => left > right,
        _ => left >= right,
    }
}

/// The order of two texts by their UTF-16 units, as `java.lang.String.compareTo` has it. It differs from that of their
/// bytes where a character above U+FFFF, which begins with a surrogate, meets one from U+E000 to U+FFFF.
pub fn utf16_order(left: &str, right: &str) -> Ordering {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    match left.iter().zip(right).find(|(l, r)| l != r) {
        None => left.len().cmp(&right.len()),
        Some((l, r)) if (*l >= 0xf0) != (*r >= 0xf0) && *l >= 0xee && *r >= 0xee => r.cmp(l),
        Some((l, r)) => l.cmp(r),
    }
}

impl PhysicalExpr for Comparison {
    fn data_type(&self, _schema: &Schema) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, _schema: &Schema) -> Result<bool> {
        Ok(true)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let (left, right) = (
            Side::of(self.sides[0].evaluate(batch)?)?,
            Side::of(self.sides[1].evaluate(batch)?)?,
        );
        let (op, rows) = (self.op, batch.num_rows());
        let result = match (left.array.data_type(), right.array.data_type()) {
            (DataType::Float64, DataType::Float64) => {
                let (l, r) = (
                    left.array.as_primitive::<Float64Type>(),
                    right.array.as_primitive::<Float64Type>(),
                );
                compared(&left, &right, op, rows, |i, j| holds(op, l.values()[i], r.values()[j]))
            }
            (DataType::Float32, DataType::Float32) => {
                let (l, r) = (
                    left.array.as_primitive::<Float32Type>(),
                    right.array.as_primitive::<Float32Type>(),
                );
                compared(&left, &right, op, rows, |i, j| holds(op, l.values()[i], r.values()[j]))
            }
            (DataType::Utf8, DataType::Utf8) => {
                let (l, r) = (left.array.as_string::<i32>(), right.array.as_string::<i32>());
                compared(&left, &right, op, rows, |i, j| {
                    holds(op, utf16_order(l.value(i), r.value(j)), Ordering::Equal)
                })
            }
            (l, r) => {
                return Err(DataFusionError::Internal(format!("{l} is not compared with {r}")));
            }
        };
        Ok(ColumnarValue::Array(Arc::new(result)))
    }

    fn children(&self) -> Vec<&Expr> {
        self.sides.iter().collect()
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Expr>) -> Result<Expr> {
        let [left, right] = <[Expr; 2]>::try_from(children)
            .map_err(|_| DataFusionError::Internal("a comparison has two sides".into()))?;
        Ok(Arc::new(Self::new(left, self.op, right)))
    }

    fn fmt_sql(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

impl Display for Comparison {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "({} {} {})", self.sides[0], self.op, self.sides[1])
    }
}

impl PartialEq for Comparison {
    fn eq(&self, other: &Self) -> bool {
        self.op == other.op && self.sides == other.sides
    }
}

impl Eq for Comparison {}

impl Hash for Comparison {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.op.hash(state);
        self.sides.hash(state);
    }
}
