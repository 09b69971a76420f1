//! Evaluators of expressions, where Flink's results differ from those of DataFusion's own.
//!
//! Flink computes row by row: the right side of AND is reached only by rows whose left side is not false, a branch of CASE
//! only by rows that choose it. A batch must not compute more, because a row that is not reached must not fail the job. So
//! [`Junction`] and [`Choice`] keep the rows that are still open, and evaluate what can fail on those alone.
//!
//! - [`Junction`]: AND and OR of any number of operands. - [`Choice`]: CASE. - [`Comparison`]: floats as IEEE 754 and texts
//!   as UTF-16 compare them. - [`Quotient`]: `/` and `%` of integers, which wrap and fail as Java's do.
//! - [`inline`] puts one projection into another, as Flink merges its Calc nodes.
//!
//! Pure: an evaluator sees a batch and nothing else.

mod choice;
mod coalesce;
mod comparison;
mod inline;
mod junction;
mod quotient;
mod selection;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::logical_expr::{Operator, Volatility};
use datafusion::physical_expr::expressions::{
    BinaryExpr, CastExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, Literal, NotExpr,
};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};

pub use choice::Choice;
pub use coalesce::Coalesce;
pub use comparison::{Comparison, utf16_order};
pub use inline::{inline, remap};
pub use junction::{Junction, Kind};
pub use quotient::Quotient;

/// A shared expression.
pub type Expr = Arc<dyn PhysicalExpr>;

/// The columns that an expression reads.
pub fn columns_of(expr: &Expr) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    collect(expr, &mut found);
    found
}

fn collect(expr: &Expr, found: &mut BTreeSet<usize>) {
    if let Some(column) = expr.downcast_ref::<Column>() {
        found.insert(column.index());
    }
    expr.children().into_iter().for_each(|child| collect(child, found));
}

/// The number of nodes of an expression.
pub fn size(expr: &Expr) -> usize {
    1 + expr.children().into_iter().map(size).sum::<usize>()
}

/// Whether a row can make the evaluation fail. What is not known here may.
pub fn can_fail(expr: &Expr) -> bool {
    let this = if let Some(cast) = expr.downcast_ref::<CastExpr>() {
        // The binder casts to wider types only; decimals and times have limits.
        !matches!(cast.cast_type(), number if number.is_signed_integer() || number.is_floating())
    } else if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
        !(is_comparison(*binary.op()) || matches!(binary.op(), Operator::Plus | Operator::Minus | Operator::Multiply))
    } else {
        !(expr.is::<Column>()
            || expr.is::<Literal>()
            || expr.is::<IsNullExpr>()
            || expr.is::<IsNotNullExpr>()
            || expr.is::<NotExpr>()
            || expr.is::<InListExpr>()
            || expr.is::<Comparison>()
            || expr.is::<Junction>()
            || expr.is::<Choice>())
    };
    this || expr.children().into_iter().any(can_fail)
}

fn is_comparison(op: Operator) -> bool {
    matches!(
        op,
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom
    )
}

/// Whether two evaluations on one row give the same.
pub fn is_deterministic(expr: &Expr) -> bool {
    let volatile = expr
        .downcast_ref::<ScalarFunctionExpr>()
        .is_some_and(|call| call.fun().signature().volatility != Volatility::Immutable);
    !volatile && expr.children().into_iter().all(is_deterministic)
}

/// Whether an expression is a column or a constant: free to compute any number of times.
pub fn is_simple(expr: &Expr) -> bool {
    expr.is::<Column>() || expr.is::<Literal>()
}

/// NULL where the type of a condition is expected.
fn is_boolean(data: &DataType) -> bool {
    *data == DataType::Boolean
}
