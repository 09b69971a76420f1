//! Subqueries in WHERE: IN and EXISTS as semi and anti joins, scalar ones as joins with one row.
//!
//! A plain SELECT within IN or EXISTS may name columns of the outer query in its WHERE: those conditions become conditions of
//! the join. Any other query stands alone. `x NOT IN (…)` is true only where every comparison is false, so that one NULL on either
//! side keeps a row out, as the standard has it.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::BinaryExpr;
use sqlparser::ast::{Expr, GroupByExpr, Ident, Query, Select, SelectItem, SetExpr, visit_expressions_mut};

use super::condition::{conjuncts, has_subquery};
use super::expr::{Bound, at, contains_aggregate};
use super::group;
use super::join::{On, both, join_on};
use super::planner::Planner;
use super::relation::Relation;
use crate::Error;
use crate::operator::join::JoinKind;

/// Keeps the rows for which a condition with a subquery in it is true.
pub fn filter(planner: &mut Planner<'_>, relation: Relation, condition: &Expr) -> Result<Relation, Error> {
    match condition {
        Expr::Nested(inner) => filter(planner, relation, inner),
        Expr::Exists { subquery, negated } => related(planner, relation, None, subquery, *negated, &at(condition)),
        Expr::InSubquery {
            expr,
            subquery,
            negated,
        } if !has_subquery(expr) => related(planner, relation, Some(expr), subquery, *negated, &at(condition)),
        Expr::UnaryOp {
            op: sqlparser::ast::UnaryOperator::Not,
            expr,
        } => {
            let inner = match expr.as_ref() {
                Expr::Nested(inner) => inner.as_ref(),
                other => other,
            };
            match inner {
                Expr::Exists { subquery, negated } => {
                    related(planner, relation, None, subquery, !negated, &at(condition))
                }
                Expr::InSubquery {
                    expr,
                    subquery,
                    negated,
                } if !has_subquery(expr) => related(planner, relation, Some(expr), subquery, !negated, &at(condition)),
                _ => scalar_filter(planner, relation, condition),
            }
        }
        other => scalar_filter(planner, relation, other),
    }
}

/// `x IN (query)`, `EXISTS (query)`.
fn related(
    planner: &mut Planner<'_>,
    relation: Relation,
    value: Option<&Expr>,
    query: &Query,
    negated: bool,
    at: &str,
) -> Result<Relation, Error> {
    let kind = if negated { JoinKind::Anti } else { JoinKind::Semi };
    let mut on = On::default();
    let (inner, found) = match plain(query) {
        Some(select) => {
            let mut conditions: Vec<&Expr> = select.selection.as_ref().map(conjuncts).unwrap_or_default();
            let mut inner = super::join::from(planner, &select.from, &mut conditions)?;
            let mut outer = Vec::new();
            for condition in conditions {
                if has_subquery(condition) {
                    inner = filter(planner, inner, condition)?;
                    continue;
                }
                match planner.binder(&inner).bind_condition(condition, "WHERE") {
                    Ok(bound) => inner = inner.filter(bound),
                    Err(_) => outer.push(condition),
                }
            }
            for condition in outer {
                on.add(planner, &relation, &inner, condition)?;
            }
            let found = match (value, select.projection.as_slice()) {
                (None, _) => None,
                (Some(_), [SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }]) => {
                    Some(planner.binder(&inner).bind(expr)?)
                }
                (Some(_), [SelectItem::Wildcard(_)]) => only_column(&inner, at)?,
                _ => return Err(Error::validate(format!("IN wants a query of one column{at}"))),
            };
            (inner, found)
        }
        None => {
            let inner = planner.query(query)?;
            let found = match value {
                None => None,
                Some(_) => only_column(&inner, at)?,
            };
            (inner, found)
        }
    };
    if let (Some(value), Some(found)) = (value, found) {
        let width = relation.scope.columns.len();
        let value = planner.binder(&relation).bind(value)?;
        let places = (0..inner.scope.columns.len())
            .map(|index| (index, width + index))
            .collect();
        let expr = crate::expression::remap(&found.expr, &places).map_err(Error::validate)?;
        let found = Bound { expr, ..found };
        let known = value.facts.not_null && found.facts.not_null;
        let is_key =
            (!negated || known) && on.equal(planner, &relation, &inner, value.clone(), found.clone(), false, at)?;
        if !is_key {
            let joint = both(&relation, &inner);
            let equal = planner.binder(&joint).compare(value, Operator::Eq, found, at)?;
            on.condition(if negated { not_false(equal) } else { equal });
        }
    }
    join_on(relation, inner, kind, on, at)
}

/// True also where a comparison is unknown.
fn not_false(condition: Bound) -> Bound {
    let no = Bound::literal(ScalarValue::Boolean(Some(false)));
    let expr = BinaryExpr::new(condition.expr, Operator::IsDistinctFrom, no.expr);
    Bound::new(Arc::new(expr), DataType::Boolean).not_null(true)
}

fn only_column(relation: &Relation, at: &str) -> Result<Option<Bound>, Error> {
    let mut columns = relation.columns();
    match (columns.pop(), columns.is_empty()) {
        (Some((bound, _)), true) => Ok(Some(bound)),
        _ => Err(Error::validate(format!("IN wants a query of one column{at}"))),
    }
}

/// The SELECT of a query that has nothing but FROM and WHERE.
fn plain(query: &Query) -> Option<&Select> {
    let SetExpr::Select(select) = query.body.as_ref() else {
        return None;
    };
    let ungrouped = matches!(&select.group_by, GroupByExpr::Expressions(keys, _) if keys.is_empty());
    let bare = query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && select.top.is_none()
        && select.having.is_none()
        && select.qualify.is_none()
        && select.named_window.is_empty()
        && !select.from.is_empty();
    let aggregates = select.projection.iter().any(|item| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            contains_aggregate(expr) || matches!(expr, Expr::Function(function) if function.over.is_some())
        }
        _ => false,
    });
    (ungrouped && bare && !aggregates).then_some(select)
}

fn scalar_filter(planner: &mut Planner<'_>, relation: Relation, condition: &Expr) -> Result<Relation, Error> {
    let width = relation.scope.columns.len();
    let (relation, condition) = scalars(planner, relation, condition)?;
    if contains_aggregate(&condition) {
        return Err(Error::validate(format!(
            "Aggregate function is not allowed in WHERE{}",
            at(&condition)
        )));
    }
    let bound = planner.binder(&relation).bind_condition(&condition, "WHERE")?;
    let kept: Vec<usize> = (0..width).collect();
    Ok(relation.filter(bound).keep(&kept))
}

/// Joins the one row of each scalar subquery to all rows, and puts its column in the place of the subquery.
pub fn scalars(planner: &mut Planner<'_>, relation: Relation, expr: &Expr) -> Result<(Relation, Expr), Error> {
    let mut relation = relation;
    let mut expr = expr.clone();
    let mut failure = None;
    let _ = visit_expressions_mut(&mut expr, |part| {
        let Expr::Subquery(query) = part else {
            return ControlFlow::Continue(());
        };
        match scalar(planner, relation.clone(), query) {
            Ok((joined, name)) => {
                relation = joined;
                let mut ident = Ident::new(name);
                ident.span = sqlparser::tokenizer::Span::empty();
                *part = Expr::Identifier(ident);
                ControlFlow::Continue(())
            }
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        }
    });
    match failure {
        Some(error) => Err(error),
        None => Ok((relation, expr)),
    }
}

fn scalar(planner: &mut Planner<'_>, relation: Relation, query: &Query) -> Result<(Relation, String), Error> {
    let whole = at(&Expr::Subquery(Box::new(query.clone())));
    let one_row = match query.body.as_ref() {
        SetExpr::Select(select) => {
            let keyless = matches!(&select.group_by, GroupByExpr::Expressions(keys, _) if keys.is_empty());
            group::is_grouped(select) && keyless && select.having.is_none() || select.from.is_empty()
        }
        _ => false,
    };
    if !one_row {
        return Err(Error::unsupported(format!(
            "a scalar subquery that may have several rows{whole}: aggregate it without GROUP BY"
        )));
    }
    let mut inner = planner.query(query)?;
    // A name that no identifier of the grammar can have by chance.
    let name = format!("scalar subquery {}", relation.scope.columns.len());
    let [column] = inner.scope.columns.as_mut_slice() else {
        return Err(Error::validate(format!("a scalar subquery wants one column{whole}")));
    };
    column.name.clone_from(&name);
    column.qualifier = None;
    let joined = join_on(relation, inner, JoinKind::Left, On::default(), &whole)?;
    Ok((joined, name))
}
