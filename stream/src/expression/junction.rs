//! AND and OR.

use std::fmt::{self, Display, Formatter};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::{and_kleene, or_kleene};
use arrow::datatypes::{DataType, Schema};
use datafusion::common::Result;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;

use super::Expr;
use super::selection::Operand;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    And,
    Or,
}

/// Operands joined by AND, or by OR, in three-valued logic.
///
/// From the left to the right, and for each row only as far as it is undecided: AND ends at the first false, OR at the
/// first true. A junction within a junction of its kind is part of it, so a long chain is flat.
#[derive(Debug)]
pub struct Junction {
    kind: Kind,
    operands: Vec<Operand>,
}

impl Junction {
    /// The junction of conditions; one alone is itself.
    pub fn of(kind: Kind, conditions: impl IntoIterator<Item = Expr>) -> Expr {
        let mut operands = Vec::new();
        for condition in conditions {
            match condition.downcast_ref::<Self>() {
                Some(inner) if inner.kind == kind => operands.extend(inner.operands.iter().cloned()),
                _ => operands.push(Operand::new(condition)),
            }
        }
        match operands.as_slice() {
            [one] => Arc::clone(&one.expr),
            _ => Arc::new(Self { kind, operands }),
        }
    }

    pub fn and(left: Expr, right: Expr) -> Expr {
        Self::of(Kind::And, [left, right])
    }

    /// The value that decides a row.
    fn decisive(&self) -> bool {
        self.kind == Kind::Or
    }

    fn join(&self, left: &BooleanArray, right: &BooleanArray) -> Result<BooleanArray> {
        Ok(match self.kind {
            Kind::And => and_kleene(left, right)?,
            Kind::Or => or_kleene(left, right)?,
        })
    }

    fn undecided(&self, known: &BooleanArray) -> Vec<u32> {
        let decisive = self.decisive();
        (0..known.len())
            .filter(|row| known.is_null(*row) || known.value(*row) != decisive)
            .map(|row| row as u32)
            .collect()
    }

    /// `known`, with the further values of the rows `open` joined to it.
    fn join_at(&self, known: &BooleanArray, open: &[u32], further: &BooleanArray) -> BooleanArray {
        let mut values: Vec<Option<bool>> = known.iter().collect();
        let decisive = self.decisive();
        for (position, row) in open.iter().enumerate() {
            let value = &mut values[*row as usize];
            let next = further.is_valid(position).then(|| further.value(position));
            // An undecided row is null or not decisive: what comes decides, and null stays unless it does.
            *value = match (*value, next) {
                (_, Some(next)) if next == decisive => Some(next),
                (None, _) | (_, None) => None,
                (Some(_), Some(next)) => Some(next),
            };
        }
        BooleanArray::from(values)
    }
}

impl PhysicalExpr for Junction {
    fn data_type(&self, _schema: &Schema) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, _schema: &Schema) -> Result<bool> {
        Ok(true)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let mut operands = self.operands.iter();
        let Some(first) = operands.next() else {
            return Ok(ColumnarValue::Scalar((self.kind == Kind::And).into()));
        };
        let mut known = first.truth(batch)?;
        for operand in operands {
            if !operand.can_fail {
                known = self.join(&known, &operand.truth(batch)?)?;
                continue;
            }
            let open = self.undecided(&known);
            if open.is_empty() {
                break;
            }
            let further = operand.truth_on_rows(batch, &open)?;
            known = if open.len() == batch.num_rows() {
                self.join(&known, &further)?
            } else {
                self.join_at(&known, &open, &further)
            };
        }
        Ok(ColumnarValue::Array(Arc::new(known) as ArrayRef))
    }

    fn children(&self) -> Vec<&Expr> {
        self.operands.iter().map(|operand| &operand.expr).collect()
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Expr>) -> Result<Expr> {
        Ok(Self::of(self.kind, children))
    }

    fn fmt_sql(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

impl Display for Junction {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let word = if self.kind == Kind::And { " AND " } else { " OR " };
        for (number, operand) in self.operands.iter().enumerate() {
            f.write_str(if number == 0 { "(" } else { word })?;
            write!(f, "{}", operand.expr)?;
        }
        f.write_str(")")
    }
}

impl PartialEq for Junction {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.children() == other.children()
    }
}

impl Eq for Junction {}

impl Hash for Junction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind.hash(state);
        self.children().hash(state);
    }
}
