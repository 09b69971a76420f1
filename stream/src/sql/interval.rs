//! How far apart the times of the two sides of a join may be: `l.ts BETWEEN r.ts - INTERVAL '1' MINUTE AND r.ts` and its like.

use sqlparser::ast::{BinaryOperator, Expr};

use super::expr::{Bound, interval_millis};
use super::join::both;
use super::planner::Planner;
use super::relation::Relation;
use super::scope::Role;
use crate::Error;

/// What the conditions of a join say about the difference of its time attributes, left minus right, in milliseconds.
#[derive(Debug, Clone, Default)]
pub struct Interval {
    /// The columns of the time attributes, each in its own side.
    times: Option<[usize; 2]>,
    least: Option<i64>,
    greatest: Option<i64>,
    /// The same conditions over both sides, for a join that is no interval join.
    pub conditions: Vec<Bound>,
}

impl Interval {
    /// The time columns and both bounds, if both are known.
    pub fn complete(&self) -> Option<([usize; 2], (i64, i64))> {
        Some((self.times?, (self.least?, self.greatest?)))
    }

    /// Takes a condition, if it is about the times of both sides and nothing else.
    pub fn add(
        &mut self,
        planner: &Planner<'_>,
        left: &Relation,
        right: &Relation,
        condition: &Expr,
    ) -> Result<bool, Error> {
        let joint = both(left, right);
        let width = left.scope.columns.len();
        let mut parts: Vec<(&Expr, BinaryOperator, &Expr)> = Vec::new();
        match condition {
            Expr::Nested(inner) => return self.add(planner, left, right, inner),
            Expr::BinaryOp { left, op, right } => parts.push((left, op.clone(), right)),
            Expr::Between {
                expr,
                negated: false,
                low,
                high,
            } => {
                parts.push((expr, BinaryOperator::GtEq, low));
                parts.push((expr, BinaryOperator::LtEq, high));
            }
            _ => return Ok(false),
        }
        let mut found = self.clone();
        for (a, op, b) in parts {
            let (Some((a, a_plus)), Some((b, b_plus))) = (time(planner, &joint, a), time(planner, &joint, b)) else {
                return Ok(false);
            };
            // a + a_plus op b + b_plus, so a - b op b_plus - a_plus.
            let Some(apart) = b_plus.checked_sub(a_plus) else {
                return Ok(false);
            };
            let (times, op, apart) = match (a < width, b < width) {
                (true, false) => ([a, b - width], op, apart),
                (false, true) => ([b, a - width], mirrored(op), -apart),
                _ => return Ok(false),
            };
            if found.times.is_some_and(|known| known != times) {
                return Ok(false);
            }
            found.times = Some(times);
            let (least, greatest) = match op {
                BinaryOperator::Eq => (Some(apart), Some(apart)),
                BinaryOperator::LtEq => (None, Some(apart)),
                BinaryOperator::Lt => (None, Some(apart - 1)),
                BinaryOperator::GtEq => (Some(apart), None),
                BinaryOperator::Gt => (Some(apart + 1), None),
                _ => return Ok(false),
            };
            found.least = found.least.max(least);
            found.greatest = match (found.greatest, greatest) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        let bound = planner.binder(&joint).bind_condition(condition, "ON")?;
        found.conditions.push(bound);
        *self = found;
        Ok(true)
    }
}

fn mirrored(op: BinaryOperator) -> BinaryOperator {
    match op {
        BinaryOperator::Lt => BinaryOperator::Gt,
        BinaryOperator::LtEq => BinaryOperator::GtEq,
        BinaryOperator::Gt => BinaryOperator::Lt,
        BinaryOperator::GtEq => BinaryOperator::LtEq,
        other => other,
    }
}

/// A time attribute, and how many milliseconds are added to it.
fn time(planner: &Planner<'_>, joint: &Relation, expr: &Expr) -> Option<(usize, i64)> {
    /// Beyond this no interval makes sense, and sums of two cannot overflow.
    const APART_MAX: i64 = i64::MAX / 8;
    match expr {
        Expr::Nested(inner) => time(planner, joint, inner),
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => {
            let index = planner.binder(joint).bind(expr).ok()?.column_index()?;
            (joint.scope.columns[index].role == Role::Rowtime).then_some((index, 0))
        }
        Expr::BinaryOp { left, op, right } => {
            let (index, plus) = time(planner, joint, left)?;
            let millis = interval_millis(&planner.binder(joint).bind(right).ok()?)?;
            if millis.abs() > APART_MAX || plus.abs() > APART_MAX {
                return None;
            }
            match op {
                BinaryOperator::Plus => Some((index, plus + millis)),
                BinaryOperator::Minus => Some((index, plus - millis)),
                _ => None,
            }
        }
        _ => None,
    }
}
