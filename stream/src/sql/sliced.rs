//! Window aggregations that need no copies of their rows.
//!
//! `GROUP BY window_start, window_end` over HOP or CUMULATE is planned as a window function, which copies each row into its
//! windows, and an aggregation behind it. Where nothing between them looks at the windows, the function goes, and the
//! aggregation puts its windows together from slices.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::physical_expr::expressions::Column;

use super::relation::positional;
use crate::expression::{Expr, columns_of, remap};
use crate::graph::{Node, Step};
use crate::operator::accumulator::Function;
use crate::operator::aggregate::{Call, Part, Plan, Slices};
use crate::operator::calc::Calc;
use crate::time::window::Windows;

/// The aggregation over `node` by slices, or both as they are.
pub fn by_slices(node: Arc<Node>, plan: Plan) -> (Arc<Node>, Plan) {
    match fused(&node, &plan) {
        Some(fused) => fused,
        None => (node, plan),
    }
}

fn fused(node: &Arc<Node>, plan: &Plan) -> Option<(Arc<Node>, Plan)> {
    plan.window_end?;
    // What depends on the order of rows is not put together from slices.
    let in_order = |call: &Call| {
        matches!(
            call.function,
            Function::FirstValue | Function::LastValue | Function::ListAgg
        )
    };
    if plan.calls.iter().any(in_order) {
        return None;
    }
    let (below, calc) = match node.as_ref() {
        Node::Step(below, Step::Calc(calc)) => (below, Some(calc)),
        _ => (node, None),
    };
    let Node::Step(
        input,
        Step::Windows {
            column,
            windows,
            schema,
            ..
        },
    ) = below.as_ref()
    else {
        return None;
    };
    if matches!(windows, Windows::Tumble { .. }) {
        return None;
    }
    let plain = schema.fields().len() - 3;
    let columns: Vec<Expr> = match calc {
        Some(calc) => calc.columns.clone(),
        None => (0..schema.fields().len()).map(column_at).collect(),
    };
    let bound_of = |expr: &Expr| {
        let index = expr.downcast_ref::<Column>()?.index();
        [Part::Start, Part::End, Part::Time]
            .get(index.checked_sub(plain)?)
            .copied()
    };
    let looks_at_windows = |expr: &Expr| columns_of(expr).into_iter().any(|index| index >= plain);
    if calc.is_some_and(|calc| calc.filter.as_ref().is_some_and(looks_at_windows)) {
        return None;
    }
    // The columns that stay, and where they are then.
    let mut kept: Vec<Expr> = Vec::new();
    let mut places: BTreeMap<usize, usize> = BTreeMap::new();
    for (index, expr) in columns.iter().enumerate() {
        if bound_of(expr).is_some() {
            continue;
        }
        if looks_at_windows(expr) {
            return None;
        }
        places.insert(index, kept.len());
        kept.push(Arc::clone(expr));
    }
    let time = kept.len();
    kept.push(column_at(*column));
    let (mut layout, mut keys) = (Vec::new(), Vec::new());
    for key in &plan.keys {
        layout.push(match bound_of(&columns[*key]) {
            Some(part) => part,
            None => {
                keys.push(*places.get(key)?);
                Part::Key(keys.len() - 1)
            }
        });
    }
    let moved = |expr: &Expr| remap(expr, &places).ok();
    let calls = plan
        .calls
        .iter()
        .map(|call| {
            Some(Call {
                args: call.args.iter().map(moved).collect::<Option<_>>()?,
                filter: match &call.filter {
                    Some(filter) => Some(moved(filter)?),
                    None => None,
                },
                ..call.clone()
            })
        })
        .collect::<Option<Vec<_>>>()?;
    let input_schema = {
        let fields = schema.fields().iter().take(plain);
        positional(fields.map(|field| field.data_type().clone()))
    };
    let types = kept
        .iter()
        .map(|expr| expr.data_type(&input_schema).ok())
        .collect::<Option<Vec<_>>>()?;
    let calc = Calc {
        filter: calc.and_then(|calc| calc.filter.clone()),
        columns: kept,
        schema: positional(types.into_iter()),
    };
    let plan = Plan {
        keys,
        window_end: None,
        calls,
        slices: Some(Slices {
            time,
            windows: *windows,
            layout,
        }),
        ..plan.clone()
    };
    Some((Arc::new(Node::Step(Arc::clone(input), Step::Calc(calc))), plan))
}

fn column_at(index: usize) -> Expr {
    Arc::new(Column::new(&format!("c{index}"), index))
}
