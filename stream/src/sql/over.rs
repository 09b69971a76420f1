//! Aggregates OVER a window of rows.
//!
//! `SUM(v) OVER (PARTITION BY k ORDER BY ts ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)`: the order is that of the time attribute, ascending,
//! or PROCTIME(). All OVER windows of a SELECT are the same, as Flink wants it. Each call becomes a column behind those of FROM, and the
//! SELECT is bound over them.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::common::ScalarValue;
use sqlparser::ast::{
    self, Expr, Function, Ident, NamedWindowExpr, Select, SelectItem, WindowFrameBound, WindowFrameUnits, WindowSpec,
    WindowType, visit_expressions, visit_expressions_mut,
};

use super::expr::{Grouped, aggregate_call, at, interval_millis};
use super::parse::place;
use super::planner::{Planner, output_name};
use super::rank::{is_processing_time, options, place_of};
use super::relation::{Relation, column, positional};
use super::scope::Role;
use crate::Error;
use crate::graph::{Node, Step};
use crate::operator::accumulator;
use crate::operator::over::{Plan, Start};

/// Whether a call is an aggregate OVER a window.
fn is_over(function: &Function) -> bool {
    function.over.is_some() && accumulator::Function::by_name(&function.name.to_string().to_ascii_uppercase()).is_some()
}

/// Whether a SELECT has aggregates OVER a window.
pub fn is_windowed(select: &Select) -> bool {
    let windowed = |expr: &Expr| {
        visit_expressions(expr, |expr| match expr {
            Expr::Function(function) if is_over(function) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        })
        .is_break()
    };
    select.projection.iter().any(|item| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => windowed(expr),
        _ => false,
    })
}

/// The relation with a column for each aggregate, and the items with the columns in the place of the calls.
pub fn plan(
    planner: &mut Planner<'_>,
    relation: Relation,
    select: &Select,
) -> Result<(Relation, Vec<SelectItem>), Error> {
    let mut items = select.projection.clone();
    let mut windows: Vec<WindowSpec> = Vec::new();
    let mut grouped = Grouped {
        keys: Vec::new(),
        calls: Vec::new(),
        scope: relation.scope.clone(),
        schema: Arc::clone(&relation.schema),
        sets: None,
    };
    let mut failure = None;
    for (number, item) in items.iter_mut().enumerate() {
        // The name is that of the item as it was written.
        if let SelectItem::UnnamedExpr(expr) = item {
            let alias = Ident::new(output_name(expr, number));
            *item = SelectItem::ExprWithAlias {
                expr: expr.clone(),
                alias,
            };
        }
        let SelectItem::ExprWithAlias { expr, .. } = item else {
            continue;
        };
        let _ = visit_expressions_mut(expr, |part| {
            let Expr::Function(function) = part else {
                return ControlFlow::Continue(());
            };
            if !is_over(function) {
                return ControlFlow::Continue(());
            }
            match call(planner, select, &mut grouped, function, &mut windows) {
                Ok(name) => {
                    *part = Expr::Identifier(Ident::new(name));
                    ControlFlow::Continue(())
                }
                Err(error) => {
                    failure = Some(error);
                    ControlFlow::Break(())
                }
            }
        });
    }
    if let Some(error) = failure {
        return Err(error);
    }
    let Some(window) = windows.pop() else {
        return Err(Error::validate("a SELECT without OVER"));
    };
    let relation = over(planner, relation, &window, grouped)?;
    Ok((relation, items))
}

/// Notes a call; the name of its column.
fn call(
    planner: &Planner<'_>,
    select: &Select,
    grouped: &mut Grouped,
    function: &Function,
    windows: &mut Vec<WindowSpec>,
) -> Result<String, Error> {
    let whole = Expr::Function(function.clone());
    let spec = match &function.over {
        Some(WindowType::WindowSpec(spec)) => spec.clone(),
        Some(WindowType::NamedWindow(name)) => {
            let found = select.named_window.iter().find(|window| window.0.value == name.value);
            match found.map(|window| &window.1) {
                Some(NamedWindowExpr::WindowSpec(spec)) => spec.clone(),
                _ => {
                    return Err(Error::validate(format!(
                        "Window '{}' not found{}",
                        name.value,
                        place(name.span.start)
                    )));
                }
            }
        }
        None => return Err(Error::validate(format!("a call without OVER{}", at(&whole)))),
    };
    if windows.iter().any(|known| *known != spec) {
        return Err(Error::unsupported(format!(
            "Over Agg: Unsupported use of OVER windows. All aggregates must be computed on the same window{}",
            at(&whole)
        )));
    }
    windows.push(spec);
    let mut plain = function.clone();
    plain.over = None;
    let number = grouped.calls.len();
    aggregate_call(grouped, &plain, planner.session, &whole)?;
    Ok(format!("over call {number}"))
}

fn over(
    planner: &mut Planner<'_>,
    relation: Relation,
    window: &WindowSpec,
    grouped: Grouped,
) -> Result<Relation, Error> {
    let whole = window.order_by.first().map_or_else(String::new, |item| at(&item.expr));
    if window.window_name.is_some() {
        return Err(Error::unsupported(format!("a window that begins with another{whole}")));
    }
    if relation.retracts || relation.updating {
        return Err(Error::unsupported(format!("OVER a result that is updated{whole}")));
    }
    let [order] = window.order_by.as_slice() else {
        return Err(Error::unsupported(format!(
            "OVER windows that are not ordered by one column{whole}"
        )));
    };
    let mut columns = relation.columns();
    let width = columns.len();
    let mut partition = Vec::new();
    for expr in &window.partition_by {
        let bound = planner.binder(&relation).bind(expr)?;
        partition.push(place_of(&mut columns, bound));
    }
    let bound = planner.binder(&relation).bind(&order.expr)?;
    let options = options(order);
    let time = match bound.column_index() {
        _ if is_processing_time(&relation, &bound) => None,
        Some(index) if relation.scope.columns[index].role.is_time() => Some(index),
        _ => {
            return Err(Error::unsupported(format!(
                "OVER windows' ordering in stream mode must be defined on a time attribute{whole}"
            )));
        }
    };
    if options.descending {
        return Err(Error::unsupported(format!(
            "OVER windows' ordering in stream mode must be ascending{whole}"
        )));
    }
    let (start, is_range) = frame(planner, &relation, window, &whole)?;
    if time.is_none() && is_range && start != Start::Partition {
        return Err(Error::unsupported(format!("RANGE over processing time{whole}")));
    }
    let relation = if columns.len() > width {
        relation.project(None, columns)
    } else {
        relation
    };
    let relation = match time {
        Some(index) => {
            let schema = Arc::clone(&relation.schema);
            relation.step(Step::Sort {
                columns: vec![(index, options)],
                schema,
            })
        }
        None => relation,
    };
    let mut scope = relation.scope.clone();
    let mut calls = Vec::new();
    for (number, (call, data, facts)) in grouped.calls.into_iter().enumerate() {
        scope
            .columns
            .push(column(None, &format!("over call {number}"), &data, Role::Plain).with(facts));
        calls.push(call);
    }
    let schema = positional(scope.columns.iter().map(|column| column.data.clone()));
    let plan = Plan {
        partition,
        time,
        start,
        peers: is_range && time.is_some(),
        calls,
        input: Arc::clone(&relation.schema),
        schema: Arc::clone(&schema),
    };
    Ok(Relation {
        node: Arc::new(Node::Over(Arc::clone(&relation.node), plan)),
        scope,
        schema,
        pending: None,
        ..relation
    })
}

/// Where the frame begins, and whether it is a RANGE.
fn frame(
    planner: &Planner<'_>,
    relation: &Relation,
    window: &WindowSpec,
    at_window: &str,
) -> Result<(Start, bool), Error> {
    let Some(frame) = &window.window_frame else {
        return Ok((Start::Partition, true));
    };
    let is_range = match frame.units {
        WindowFrameUnits::Rows => false,
        WindowFrameUnits::Range => true,
        WindowFrameUnits::Groups => return Err(Error::unsupported(format!("GROUPS in a frame{at_window}"))),
    };
    if !matches!(frame.end_bound, None | Some(WindowFrameBound::CurrentRow)) {
        return Err(Error::unsupported(format!(
            "a frame of an OVER window that does not end with CURRENT ROW{at_window}"
        )));
    }
    let start = match &frame.start_bound {
        WindowFrameBound::Preceding(None) => Start::Partition,
        WindowFrameBound::CurrentRow if is_range => Start::Millis(0),
        WindowFrameBound::CurrentRow => Start::Rows(0),
        WindowFrameBound::Preceding(Some(expr)) => {
            let bound = planner.binder(relation).bind(expr)?;
            let rows = match bound.constant() {
                Some(ScalarValue::Int32(Some(rows))) => u64::try_from(*rows).ok(),
                Some(ScalarValue::Int64(Some(rows))) => u64::try_from(*rows).ok(),
                _ => None,
            };
            match (is_range, rows, interval_millis(&bound)) {
                (false, Some(rows), _) => Start::Rows(rows),
                (true, _, Some(millis)) if millis >= 0 => Start::Millis(millis),
                _ => return Err(Error::validate(format!("this frame of an OVER window{}", at(expr)))),
            }
        }
        WindowFrameBound::Following(_) => {
            return Err(Error::unsupported(format!(
                "a frame that begins with FOLLOWING{at_window}"
            )));
        }
    };
    Ok((start, is_range))
}

/// What `*` stands for: the columns of FROM, without those of the calls and their keys.
pub fn starred(items: Vec<SelectItem>, relation: &Relation, width: usize) -> Result<Vec<SelectItem>, Error> {
    let mut result = Vec::new();
    for item in items {
        match item {
            SelectItem::Wildcard(_) => {
                for column in relation.scope.columns.iter().take(width) {
                    let mut parts: Vec<Ident> = column.qualifier.iter().map(Ident::new).collect();
                    parts.push(Ident::new(&column.name));
                    result.push(SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)));
                }
            }
            ast::SelectItem::QualifiedWildcard(..) => return Err(Error::unsupported("t.* beside OVER")),
            other => result.push(other),
        }
    }
    Ok(result)
}
