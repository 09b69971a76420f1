//! CASE.

use std::fmt::{self, Display, Formatter};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, Schema};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Literal;

use super::Expr;
use super::selection::Operand;

/// Conditions with results, and what holds where none is true; all results are of one type.
///
/// A condition is evaluated on the rows that no condition before it took, a result on the rows that its condition takes.
#[derive(Debug)]
pub struct Choice {
    branches: Vec<(Operand, Operand)>,
    otherwise: Option<Operand>,
    data: DataType,
}

impl Choice {
    pub fn new(branches: Vec<(Expr, Expr)>, otherwise: Option<Expr>, data: DataType) -> Self {
        let pair = |(condition, result)| (Operand::new(condition), Operand::new(result));
        Self {
            branches: branches.into_iter().map(pair).collect(),
            otherwise: otherwise.map(Operand::new),
            data,
        }
    }
}

/// Values found so far, and which of them each row has.
struct Picked {
    arrays: Vec<ArrayRef>,
    picks: Vec<(usize, usize)>,
}

impl Picked {
    fn take(&mut self, operand: &Operand, batch: &RecordBatch, rows: &[u32]) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let number = self.arrays.len();
        if let Some(literal) = operand.expr.downcast_ref::<Literal>() {
            self.arrays.push(literal.value().to_array()?);
            rows.iter().for_each(|row| self.picks[*row as usize] = (number, 0));
            return Ok(());
        }
        self.arrays.push(operand.on_rows(batch, rows)?);
        for (position, row) in rows.iter().enumerate() {
            self.picks[*row as usize] = (number, position);
        }
        Ok(())
    }
}

impl PhysicalExpr for Choice {
    fn data_type(&self, _schema: &Schema) -> Result<DataType> {
        Ok(self.data.clone())
    }

    fn nullable(&self, _schema: &Schema) -> Result<bool> {
        Ok(true)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let mut picked = Picked {
            arrays: vec![new_null_array(&self.data, 1)],
            picks: vec![(0, 0); batch.num_rows()],
        };
        let mut open: Vec<u32> = (0..batch.num_rows() as u32).collect();
        for (condition, result) in &self.branches {
            if open.is_empty() {
                break;
            }
            let truth = condition.truth_on_rows(batch, &open)?;
            let is_taken = |position: usize| truth.is_valid(position) && truth.value(position);
            let mut taken = Vec::new();
            let mut rest = Vec::new();
            for (position, row) in open.iter().enumerate() {
                if is_taken(position) {
                    taken.push(*row)
                } else {
                    rest.push(*row)
                }
            }
            picked.take(result, batch, &taken)?;
            open = rest;
        }
        if let Some(otherwise) = &self.otherwise {
            picked.take(otherwise, batch, &open)?;
        }
        let arrays: Vec<&dyn Array> = picked.arrays.iter().map(AsRef::as_ref).collect();
        Ok(ColumnarValue::Array(interleave(&arrays, &picked.picks)?))
    }

    fn children(&self) -> Vec<&Expr> {
        let pairs = self
            .branches
            .iter()
            .flat_map(|(condition, result)| [&condition.expr, &result.expr]);
        pairs
            .chain(self.otherwise.iter().map(|otherwise| &otherwise.expr))
            .collect()
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Expr>) -> Result<Expr> {
        if children.len() != self.children().len() {
            return Err(DataFusionError::Internal("a CASE has other parts than before".into()));
        }
        let mut children = children.into_iter();
        let mut branches = Vec::with_capacity(self.branches.len());
        for _ in &self.branches {
            if let (Some(condition), Some(result)) = (children.next(), children.next()) {
                branches.push((condition, result));
            }
        }
        Ok(Arc::new(Self::new(branches, children.next(), self.data.clone())))
    }

    fn fmt_sql(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

impl Display for Choice {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("CASE")?;
        for (condition, result) in &self.branches {
            write!(f, " WHEN {} THEN {}", condition.expr, result.expr)?;
        }
        if let Some(otherwise) = &self.otherwise {
            write!(f, " ELSE {}", otherwise.expr)?;
        }
        f.write_str(" END")
    }
}

impl PartialEq for Choice {
    fn eq(&self, other: &Self) -> bool {
        self.data == other.data && self.branches.len() == other.branches.len() && self.children() == other.children()
    }
}

impl Eq for Choice {}

impl Hash for Choice {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.children().hash(state);
    }
}
