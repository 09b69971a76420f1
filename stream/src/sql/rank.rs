//! ROW_NUMBER: Top-N and deduplication.
//!
//! `SELECT … FROM (SELECT …, ROW_NUMBER() OVER (PARTITION BY p ORDER BY o) AS n FROM t) WHERE n <= 5` is one operator. The inner
//! SELECT leaves a note of what it numbers ([`Pending`]); a WHERE that limits the number turns it into a [`rank::Plan`] with
//! that range. A number that nobody limits is a running number over all rows.

use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::physical_expr::ScalarFunctionExpr;
use sqlparser::ast::{self, BinaryOperator, Expr, Function, OrderByExpr, Select, SelectItem, Spanned};

use super::expr::{Bound, at};
use super::facts::Facts;
use super::parse::place;
use super::planner::{Planner, output_name};
use super::relation::{Relation, column, positional};
use super::scope::{Role, ScopeColumn};
use crate::Error;
use crate::graph::{Node, Step};
use crate::operator::rank::{self, Ties};

/// A numbered relation whose range is not known yet.
#[derive(Debug, Clone)]
pub struct Pending {
    /// What is numbered.
    input: Relation,
    plan: rank::Plan,
    /// The result over the columns of `input` and the number behind them.
    columns: Vec<(Bound, ScopeColumn)>,
    /// Which column of the result the number is.
    number: usize,
}

/// The call of ROW_NUMBER, if an item is one.
fn numbering(item: &SelectItem) -> Option<(&Function, &Expr)> {
    let expr = match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => expr,
        _ => return None,
    };
    match expr {
        Expr::Function(function)
            if function.over.is_some() && function.name.to_string().eq_ignore_ascii_case("ROW_NUMBER") =>
        {
            Some((function, expr))
        }
        _ => None,
    }
}

/// Whether a SELECT numbers its rows.
pub fn is_numbered(select: &Select) -> bool {
    select.projection.iter().any(|item| numbering(item).is_some())
}

/// Plans a SELECT that numbers its rows.
pub fn plan(planner: &mut Planner<'_>, relation: Relation, select: &Select) -> Result<Relation, Error> {
    let mut calls = select.projection.iter().filter_map(numbering);
    let Some((function, whole)) = calls.next() else {
        return Err(Error::validate("a SELECT without ROW_NUMBER"));
    };
    if let Some((_, other)) = calls.next() {
        return Err(Error::unsupported(format!("a second ROW_NUMBER{}", at(other))));
    }
    let Some(ast::WindowType::WindowSpec(spec)) = &function.over else {
        return Err(Error::unsupported(format!("a named window{}", at(whole))));
    };
    if spec.window_frame.is_some() || spec.window_name.is_some() {
        return Err(Error::validate(format!("ROW_NUMBER takes no frame{}", at(whole))));
    }
    let mut input = relation.columns();
    let width = input.len();
    let mut partition = Vec::new();
    for expr in &spec.partition_by {
        let bound = planner.binder(&relation).bind(expr)?;
        partition.push(place_of(&mut input, bound));
    }
    let mut order = Vec::new();
    let mut by_arrival = None;
    for item in &spec.order_by {
        let bound = planner.binder(&relation).bind(&item.expr)?;
        let options = options(item);
        if is_processing_time(&relation, &bound) {
            by_arrival = Some(options.descending);
            break;
        }
        order.push((place_of(&mut input, bound), options));
    }
    if spec.order_by.is_empty() {
        return Err(Error::unsupported(format!("ROW_NUMBER without ORDER BY{}", at(whole))));
    }
    let relation = if input.len() > width {
        relation.project(None, input)
    } else {
        relation
    };
    let role = |index: &usize| relation.scope.columns[*index].role;
    let is_window = !relation.updating && partition.iter().any(|index| role(index) == Role::WindowStart);
    let end = partition.iter().copied().find(|index| role(index) == Role::WindowEnd);
    let window = end.filter(|_| is_window).map(|end| (end, relation.window_zone));
    let by_time = match order.as_slice() {
        [(index, options)] if role(index).is_time() => Some(options.descending),
        _ => None,
    };
    let mut numbered = relation.clone();
    numbered
        .scope
        .columns
        .push(column(None, "", &DataType::Int64, Role::Plain).with(Facts::not_null()));
    numbered.schema = positional(numbered.scope.columns.iter().map(|column| column.data.clone()));
    let number = numbered.scope.columns.len() - 1;

    let mut columns: Vec<(Bound, ScopeColumn)> = Vec::new();
    let mut number_column = 0;
    for item in &select.projection {
        let (expr, name) = match item {
            SelectItem::Wildcard(_) => {
                columns.extend(relation.columns().into_iter().take(width));
                continue;
            }
            SelectItem::UnnamedExpr(expr) => (expr, output_name(expr, columns.len())),
            SelectItem::ExprWithAlias { expr, alias } => (expr, alias.value.clone()),
            other => return Err(Error::unsupported(format!("this item{}", place(other.span().start)))),
        };
        if numbering(item).is_some() {
            number_column = columns.len();
            let shown = column(None, &name, &DataType::Int64, Role::Plain).with(Facts::not_null());
            columns.push((Bound::column(number, DataType::Int64).with(Facts::not_null()), shown));
            continue;
        }
        let bound = planner.binder(&relation).bind(expr)?;
        let role = bound.column_index().map_or(Role::Plain, |index| role(&index));
        let shown = column(None, &name, &bound.data, role).with(bound.facts.clone());
        columns.push((bound, shown));
    }
    // Deduplication that keeps the last row by time lets the later of two equal ones win.
    let last_wins = by_arrival.or(by_time.filter(|_| !relation.retracts)) == Some(true);
    let plan = rank::Plan {
        partition,
        order,
        ties: if last_wins { Ties::LastFirst } else { Ties::FirstFirst },
        range: (1, u64::MAX),
        numbered: true,
        input: Arc::clone(&relation.schema),
        schema: Arc::clone(&numbered.schema),
        retracts: relation.retracts,
        window,
    };
    let pending = Pending {
        input: relation,
        plan,
        columns,
        number: number_column,
    };
    let running = pending.running(by_time == Some(false), by_arrival);
    Ok(Relation {
        pending: Some(Box::new(pending)),
        ..running
    })
}

impl Pending {
    /// The number as it stands when its row comes: over rows in the order of their time they come by it.
    fn running(&self, by_time: bool, by_arrival: Option<bool>) -> Relation {
        let mut all = self.clone();
        all.plan.window = None;
        all.plan.ties = match by_arrival {
            Some(true) => Ties::LastFirst,
            _ => Ties::FirstFirst,
        };
        let appends = !all.input.retracts && (by_time || by_arrival == Some(false));
        if by_time && !all.input.retracts {
            let columns = all.plan.order.clone();
            let schema = Arc::clone(&all.input.schema);
            all.input = all.input.step(Step::Sort { columns, schema });
        }
        let updating = all.input.updating;
        let relation = all.ranked();
        Relation {
            updating: updating || !appends,
            retracts: !appends,
            ..relation
        }
    }

    fn ranked(self) -> Relation {
        let Self {
            input, plan, columns, ..
        } = self;
        let window = plan.window.is_some();
        let first_by_arrival = !plan.retracts && plan.order.is_empty() && plan.ties == Ties::FirstFirst;
        let changes = !window && !first_by_arrival;
        let mut scope = input.scope.clone();
        scope.columns.push(column(None, "", &DataType::Int64, Role::Plain));
        let relation = Relation {
            scope,
            schema: Arc::clone(&plan.schema),
            updating: input.updating || changes,
            retracts: input.retracts || changes,
            node: Arc::new(Node::Rank(Arc::clone(&input.node), plan)),
            pending: None,
            ..input
        };
        let mut columns = columns;
        if !window {
            columns.iter_mut().for_each(|(_, column)| column.role = Role::Plain);
        }
        relation.project(None, columns)
    }
}

/// Turns limits of the number among the conditions of a WHERE into the range of a Top-N.
pub fn limited(planner: &Planner<'_>, relation: Relation, conditions: &mut Vec<&Expr>) -> Result<Relation, Error> {
    let Some(pending) = relation.pending.clone() else {
        return Ok(relation);
    };
    let mut range = (1_i64, i64::MAX);
    let mut limits = false;
    let mut rest = Vec::new();
    for condition in conditions.drain(..) {
        match limit(planner, &relation, pending.number, condition) {
            Some((from, to)) => {
                range = (range.0.max(from), range.1.min(to));
                limits |= to < i64::MAX;
            }
            None => rest.push(condition),
        }
    }
    *conditions = rest;
    if !limits {
        if range.0 > 1 {
            return Err(Error::unsupported(
                "a Top-N without an upper limit: rank end is not specified",
            ));
        }
        return Ok(relation);
    }
    if range.0 > range.1 {
        return Err(Error::unsupported("a Top-N whose range is empty"));
    }
    let mut pending = *pending;
    pending.plan.range = (range.0.unsigned_abs(), range.1.unsigned_abs());
    let dedup = pending.plan.range == (1, 1);
    if !dedup && !pending.plan.order.is_empty() {
        pending.plan.ties = Ties::FirstFirst;
    }
    let scope = relation.scope.clone();
    let ranked = pending.ranked();
    // The names are those that the outer query sees; the roles those of the operator.
    let mut columns = scope.columns;
    for (column, ranked) in columns.iter_mut().zip(&ranked.scope.columns) {
        column.role = ranked.role;
    }
    Ok(Relation {
        scope: super::scope::Scope { columns },
        ..ranked
    })
}

/// What a condition says about the number: its least and its greatest value.
fn limit(planner: &Planner<'_>, relation: &Relation, number: usize, condition: &Expr) -> Option<(i64, i64)> {
    let is_number = |expr: &Expr| {
        let bound = planner.binder(relation).bind(expr).ok()?;
        (bound.column_index() == Some(number)).then_some(())
    };
    let constant = |expr: &Expr| match planner.binder(relation).bind(expr).ok()?.constant()? {
        ScalarValue::Int8(Some(n)) => Some(i64::from(*n)),
        ScalarValue::Int16(Some(n)) => Some(i64::from(*n)),
        ScalarValue::Int32(Some(n)) => Some(i64::from(*n)),
        ScalarValue::Int64(Some(n)) => Some(*n),
        _ => None,
    };
    match condition {
        Expr::Nested(inner) => limit(planner, relation, number, inner),
        Expr::Between {
            expr,
            negated: false,
            low,
            high,
        } => {
            is_number(expr)?;
            Some((constant(low)?, constant(high)?))
        }
        Expr::BinaryOp { left, op, right } => {
            let (value, op) = if is_number(left).is_some() {
                (constant(right)?, op.clone())
            } else {
                is_number(right)?;
                let mirrored = match op {
                    BinaryOperator::Lt => BinaryOperator::Gt,
                    BinaryOperator::LtEq => BinaryOperator::GtEq,
                    BinaryOperator::Gt => BinaryOperator::Lt,
                    BinaryOperator::GtEq => BinaryOperator::LtEq,
                    other => other.clone(),
                };
                (constant(left)?, mirrored)
            };
            match op {
                BinaryOperator::Eq => Some((value, value)),
                BinaryOperator::LtEq => Some((1, value)),
                BinaryOperator::Lt => Some((1, value.checked_sub(1)?)),
                BinaryOperator::GtEq => Some((value, i64::MAX)),
                BinaryOperator::Gt => Some((value.checked_add(1)?, i64::MAX)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// How Flink sorts: NULL is the least value.
pub fn options(item: &OrderByExpr) -> SortOptions {
    let descending = item.options.asc == Some(false);
    SortOptions {
        descending,
        nulls_first: item.options.nulls_first.unwrap_or(!descending),
    }
}

/// Whether a value is the time at which its row is processed: the order of arrival.
pub fn is_processing_time(relation: &Relation, bound: &Bound) -> bool {
    let is_call = |expr: &crate::expression::Expr| {
        expr.downcast_ref::<ScalarFunctionExpr>()
            .is_some_and(|call| call.fun().name().eq_ignore_ascii_case("CURRENT_ROW_TIMESTAMP"))
    };
    match (bound.column_index(), relation.node.as_ref()) {
        (Some(index), Node::Step(_, Step::Calc(calc))) => calc.columns.get(index).is_some_and(is_call),
        (Some(_), _) => false,
        (None, _) => is_call(&bound.expr),
    }
}

/// The column that holds a value: its own, or a new one.
pub fn place_of(columns: &mut Vec<(Bound, ScopeColumn)>, bound: Bound) -> usize {
    if let Some(index) = bound.column_index() {
        return index;
    }
    let hidden = column(None, "", &bound.data, Role::Plain).with(bound.facts.clone());
    columns.push((bound, hidden));
    columns.len() - 1
}
