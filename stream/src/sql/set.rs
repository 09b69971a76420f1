//! UNION, INTERSECT, EXCEPT.

use std::sync::Arc;

use super::expr::common_type;
use super::relation::Relation;
use super::scope::{Role, Scope, ScopeColumn};
use crate::Error;
use crate::graph::Node;
use crate::operator::set_operation::{self, SetKind};

/// UNION ALL.
pub fn union(left: Relation, right: Relation, at: &str) -> Result<Relation, Error> {
    let (left, right, columns) = aligned(left, right, "UNION", at)?;
    Ok(Relation {
        updating: left.updating || right.updating,
        retracts: left.retracts || right.retracts,
        final_only: left.final_only || right.final_only,
        bounded: left.bounded && right.bounded,
        window_zone: left.window_zone,
        ..Relation::bounded(
            Node::Union(vec![left.node, right.node]),
            Scope { columns },
            Arc::clone(&left.schema),
        )
    })
}

/// INTERSECT, EXCEPT.
pub fn counted(left: Relation, right: Relation, kind: SetKind, at: &str) -> Result<Relation, Error> {
    let name = match kind {
        SetKind::Intersect { .. } => "INTERSECT",
        SetKind::Except { .. } => "EXCEPT",
    };
    let (left, right, mut columns) = aligned(left, right, name, at)?;
    columns.iter_mut().for_each(|column| column.role = Role::Plain);
    let schema = Arc::clone(&left.schema);
    let plan = set_operation::Plan {
        kind,
        schema: Arc::clone(&schema),
    };
    let takes_back = matches!(kind, SetKind::Except { .. });
    Ok(Relation {
        updating: true,
        retracts: takes_back || left.retracts || right.retracts,
        final_only: left.final_only || right.final_only,
        bounded: left.bounded && right.bounded,
        ..Relation::bounded(
            Node::SetOperation([left.node, right.node], plan),
            Scope { columns },
            schema,
        )
    })
}

/// Both sides of a set operation with the same types, and the columns of the result.
fn aligned(
    left: Relation,
    right: Relation,
    name: &str,
    at: &str,
) -> Result<(Relation, Relation, Vec<ScopeColumn>), Error> {
    if left.scope.columns.len() != right.scope.columns.len() {
        return Err(Error::validate(format!("Column count mismatch in {name}{at}")));
    }
    let mut columns = Vec::new();
    for (index, (l, r)) in left.scope.columns.iter().zip(&right.scope.columns).enumerate() {
        let data = common_type(&[l.data.clone(), r.data.clone()])
            .ok_or_else(|| Error::validate(format!("Type mismatch in column {} of {name}{at}", index + 1)))?;
        let role = if l.role == r.role { l.role } else { Role::Plain };
        columns.push(ScopeColumn {
            qualifier: None,
            name: l.name.clone(),
            data,
            facts: l.facts.either(&r.facts),
            role,
        });
    }
    let side = |relation: Relation| -> Result<Relation, Error> {
        let bounds = relation.columns().into_iter().zip(&columns);
        let cast = bounds
            .map(|((bound, _), column)| Ok((super::expr::widen(bound, &column.data)?, column.clone())))
            .collect::<Result<Vec<_>, Error>>()?;
        Ok(relation.project(None, cast))
    };
    let (left, right) = (side(left)?, side(right)?);
    Ok((left, right, columns))
}
