//! Columns replaced by what they are computed from.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::{DataFusionError, Result};
use datafusion::physical_expr::expressions::Column;

use super::{Expr, is_deterministic, is_simple, size};

/// The largest expression that may come of putting one projection into another, in nodes. A column that is used often
/// is copied as often, so without a limit views over views would grow without one.
const NODES_MAX: usize = 1_000;

/// `outer`, expressions over the columns `inner`, as expressions over what `inner` is over; none if they had better stay
/// apart: the result would be too large, or a column whose every evaluation differs would be evaluated again.
pub fn inline(outer: &[&Expr], inner: &[Expr]) -> Option<Vec<Expr>> {
    let mut uses = vec![0_usize; inner.len()];
    outer.iter().for_each(|expr| count_uses(expr, &mut uses));
    let mut nodes: usize = outer.iter().map(|expr| size(expr)).sum();
    for (expr, uses) in inner.iter().zip(&uses) {
        if *uses == 0 || is_simple(expr) {
            continue;
        }
        if !is_deterministic(expr) {
            return None;
        }
        nodes = nodes.saturating_add(size(expr).saturating_mul(*uses));
        if nodes > NODES_MAX {
            return None;
        }
    }
    outer
        .iter()
        .map(|expr| replace(expr, &|index| inner.get(index).map(Arc::clone)).ok())
        .collect()
}

fn count_uses(expr: &Expr, uses: &mut [usize]) {
    if let Some(count) = expr
        .downcast_ref::<Column>()
        .and_then(|column| uses.get_mut(column.index()))
    {
        *count += 1;
    }
    expr.children().into_iter().for_each(|child| count_uses(child, uses));
}

/// The same expression where column `old` is now column `places[old]`.
pub fn remap(expr: &Expr, places: &BTreeMap<usize, usize>) -> Result<Expr> {
    replace(expr, &|index| {
        places
            .get(&index)
            .map(|place| Arc::new(Column::new(&format!("c{place}"), *place)) as Expr)
    })
}

fn replace(expr: &Expr, by: &dyn Fn(usize) -> Option<Expr>) -> Result<Expr> {
    if let Some(column) = expr.downcast_ref::<Column>() {
        return by(column.index())
            .ok_or_else(|| DataFusionError::Internal(format!("there is no column {}", column.index())));
    }
    let children = expr.children();
    if children.is_empty() {
        return Ok(Arc::clone(expr));
    }
    let children = children
        .into_iter()
        .map(|child| replace(child, by))
        .collect::<Result<Vec<_>>>()?;
    Arc::clone(expr).with_new_children(children)
}
