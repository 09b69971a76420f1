//! Finds the spatial predicate in a join's condition.

use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{JoinSide, Result};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr, conjunction_opt, split_conjunction};
use datafusion::physical_plan::expressions::{BinaryExpr, CastExpr, Column};
use datafusion::physical_plan::joins::utils::JoinFilter;

use crate::spatial::functions::predicate_of;
use crate::spatial::relation::Predicate;

/// What must hold between the geometry of a left and of a right row.
#[derive(Debug, Clone)]
pub struct Condition {
    pub left: Arc<dyn PhysicalExpr>,
    pub right: Arc<dyn PhysicalExpr>,
    pub test: Test,
}

#[derive(Debug, Clone)]
pub enum Test {
    /// predicate(left, right)
    Relation(Predicate),
    /// distance(left, right) <= limit, or < where `strict`.
    Distance {
        limit: Arc<dyn PhysicalExpr>,
        limit_side: JoinSide,
        strict: bool,
    },
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (left, right) = (&self.left, &self.right);
        match &self.test {
            Test::Relation(predicate) => write!(f, "{}({left}, {right})", predicate.name()),
            Test::Distance {
                limit, strict: false, ..
            } => write!(f, "st_dwithin({left}, {right}, {limit})"),
            Test::Distance {
                limit, strict: true, ..
            } => write!(f, "st_distance({left}, {right}) < {limit}"),
        }
    }
}

impl Condition {
    /// The first spatial conjunct of `filter` that an index can answer, and what is left of the filter.
    pub fn find(filter: &JoinFilter) -> Result<Option<(Condition, Option<JoinFilter>)>> {
        let conjuncts = split_conjunction(filter.expression());
        for (at, conjunct) in conjuncts.iter().enumerate() {
            let Some(condition) = Condition::of(conjunct, filter)? else {
                continue;
            };
            let others = conjuncts.iter().enumerate().filter(|(other, _)| *other != at);
            let rest = conjunction_opt(others.map(|(_, conjunct)| Arc::clone(conjunct)));
            let rest =
                rest.map(|rest| JoinFilter::new(rest, filter.column_indices().to_vec(), Arc::clone(filter.schema())));
            return Ok(Some((condition, rest)));
        }
        Ok(None)
    }

    fn of(conjunct: &Arc<dyn PhysicalExpr>, filter: &JoinFilter) -> Result<Option<Condition>> {
        if let Some((name, args)) = function(conjunct) {
            if let (Some(predicate), [a, b]) = (predicate_of(name), args) {
                // What is not near cannot be found by an index of what is near.
                if predicate == Predicate::Disjoint {
                    return Ok(None);
                }
                return sides(a, b, filter, |swapped| {
                    Some(Test::Relation(if swapped { predicate.swapped() } else { predicate }))
                });
            }
            if let ("st_dwithin", [a, b, limit]) = (name, args) {
                return distance(a, b, limit, false, filter);
            }
        }
        let Some(comparison) = conjunct.downcast_ref::<BinaryExpr>() else {
            return Ok(None);
        };
        let (far, limit, strict) = match comparison.op() {
            Operator::Lt => (comparison.left(), comparison.right(), true),
            Operator::LtEq => (comparison.left(), comparison.right(), false),
            Operator::Gt => (comparison.right(), comparison.left(), true),
            Operator::GtEq => (comparison.right(), comparison.left(), false),
            _ => return Ok(None),
        };
        match function(far) {
            Some(("st_distance", [a, b])) => distance(a, b, limit, strict, filter),
            _ => Ok(None),
        }
    }
}

fn function(expr: &Arc<dyn PhysicalExpr>) -> Option<(&str, &[Arc<dyn PhysicalExpr>])> {
    let function = expr.downcast_ref::<ScalarFunctionExpr>()?;
    Some((function.fun().name(), function.args()))
}

fn distance(
    a: &Arc<dyn PhysicalExpr>,
    b: &Arc<dyn PhysicalExpr>,
    limit: &Arc<dyn PhysicalExpr>,
    strict: bool,
    filter: &JoinFilter,
) -> Result<Option<Condition>> {
    // A cast of the limit to Float64 is made by the operator anyway.
    let limit = limit.downcast_ref::<CastExpr>().map_or(limit, |cast| cast.expr());
    let Some(limit_side) = side(limit, filter) else {
        return Ok(None);
    };
    let limit = for_side(limit, filter)?;
    sides(a, b, filter, |_| {
        Some(Test::Distance {
            limit,
            limit_side,
            strict,
        })
    })
}

/// The condition, when each of the two expressions is of one side and not both of the same.
fn sides(
    a: &Arc<dyn PhysicalExpr>,
    b: &Arc<dyn PhysicalExpr>,
    filter: &JoinFilter,
    test: impl FnOnce(bool) -> Option<Test>,
) -> Result<Option<Condition>> {
    let (left, right, swapped) = match (side(a, filter), side(b, filter)) {
        (Some(JoinSide::Left), Some(JoinSide::Right)) => (a, b, false),
        (Some(JoinSide::Right), Some(JoinSide::Left)) => (b, a, true),
        _ => return Ok(None),
    };
    let Some(test) = test(swapped) else { return Ok(None) };
    Ok(Some(Condition {
        left: for_side(left, filter)?,
        right: for_side(right, filter)?,
        test,
    }))
}

/// The side that all columns of an expression are of; `None`: of both. A constant is of `JoinSide::None`.
fn side(expr: &Arc<dyn PhysicalExpr>, filter: &JoinFilter) -> Option<JoinSide> {
    let mut sides = collect_columns(expr).into_iter().map(|column| {
        filter
            .column_indices()
            .get(column.index())
            .map_or(JoinSide::None, |index| index.side)
    });
    let Some(first) = sides.next() else {
        return Some(JoinSide::None);
    };
    sides.all(|other| other == first).then_some(first)
}

/// The expression over the columns of its side, instead of over those of the filter.
fn for_side(expr: &Arc<dyn PhysicalExpr>, filter: &JoinFilter) -> Result<Arc<dyn PhysicalExpr>> {
    Arc::clone(expr)
        .transform_up(|expr| {
            let Some(column) = expr.downcast_ref::<Column>() else {
                return Ok(Transformed::no(expr));
            };
            let Some(index) = filter.column_indices().get(column.index()) else {
                return Ok(Transformed::no(expr));
            };
            let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(column.name(), index.index));
            Ok(Transformed::yes(column))
        })
        .data()
}
