//! Conditions taken apart: the operands of AND, and which of them are equalities.

use std::ops::ControlFlow;

use arrow::datatypes::DataType;
use sqlparser::ast::{BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, visit_expressions};

use super::dialect::ALL_OF;

/// The operands of a chain of ANDs; a condition that is none is its only operand.
pub fn conjuncts(condition: &Expr) -> Vec<&Expr> {
    let mut found = Vec::new();
    let mut open = vec![condition];
    while let Some(expr) = open.pop() {
        match expr {
            Expr::Nested(inner) => open.push(inner),
            Expr::BinaryOp {
                left,
                op: BinaryOperator::And,
                right,
            } => open.extend([right.as_ref(), left.as_ref()]),
            Expr::Function(function) if function.name.to_string().trim_matches('`') == ALL_OF => {
                let FunctionArguments::List(list) = &function.args else {
                    continue;
                };
                let operands = list.args.iter().filter_map(|arg| match arg {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
                    _ => None,
                });
                open.extend(operands.rev());
            }
            other => found.push(other),
        }
    }
    found
}

/// The sides of `a = b` or `a IS NOT DISTINCT FROM b`, and whether NULL equals NULL.
pub fn equality(expr: &Expr) -> Option<(&Expr, &Expr, bool)> {
    match expr {
        Expr::Nested(inner) => equality(inner),
        Expr::BinaryOp {
            left,
            op: BinaryOperator::Eq,
            right,
        } => Some((left, right, false)),
        Expr::IsNotDistinctFrom(left, right) => Some((left, right, true)),
        _ => None,
    }
}

/// Whether there is a subquery in an expression.
pub fn has_subquery(expr: &Expr) -> bool {
    visit_expressions(expr, |expr| match expr {
        Expr::InSubquery { .. } | Expr::Exists { .. } | Expr::Subquery(_) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    })
    .is_break()
}

/// Whether equal values of a type are equal bytes, so that a key of it can be hashed. FLOAT and DOUBLE are not: 0.0 equals -0.0.
pub fn is_hashable(data: &DataType) -> bool {
    data.is_integer()
        || matches!(
            data,
            DataType::Utf8
                | DataType::Binary
                | DataType::Boolean
                | DataType::Date32
                | DataType::Time32(_)
                | DataType::Timestamp(..)
                | DataType::Decimal128(..)
        )
}
