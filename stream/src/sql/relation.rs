//! A planned relation: its plan, its names, and what may be done with it.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::expr::Bound;
use super::facts::Facts;
use super::scope::{Role, Scope, ScopeColumn};
use crate::expression::{Expr, Junction, inline};
use crate::graph::{Node, Step};
use crate::operator::calc::Calc;

#[derive(Debug, Clone)]
pub struct Relation {
    /// Shared by all that read the relation, so that its rows are computed once.
    pub node: Arc<Node>,
    pub scope: Scope,
    /// Columns `c0`, `c1`, … in the scope's order: names are the scope's business.
    pub schema: SchemaRef,
    /// Its rows are a final result, that Flink would tell as a changelog.
    pub updating: bool,
    /// It ends by itself.
    pub bounded: bool,
    /// Set between GROUP BY and the aggregation: which columns hold the keys.
    pub key_columns: Vec<usize>,
    /// The zone that its windows are laid out in, if it is not UTC.
    pub window_zone: Option<crate::time::Zone>,
}

impl Relation {
    /// Rows that end and are not updated.
    pub fn bounded(node: Node, scope: Scope, schema: SchemaRef) -> Self {
        Self {
            node: Arc::new(node),
            scope,
            schema,
            updating: false,
            bounded: true,
            key_columns: Vec::new(),
            window_zone: None,
        }
    }

    /// Computes `columns` for the rows that `filter` keeps.
    ///
    /// A projection over a projection becomes one, as in Flink: a column that is not used is not computed, and one that is
    /// only for the rows, and in the branches, that reach it.
    pub fn project(self, filter: Option<Bound>, columns: Vec<(Bound, ScopeColumn)>) -> Self {
        let schema = positional(columns.iter().map(|(bound, _)| bound.data.clone()));
        let (exprs, scope): (Vec<_>, Vec<_>) = columns.into_iter().map(|(bound, column)| (bound.expr, column)).unzip();
        let calc = Calc {
            filter: filter.map(|filter| filter.expr),
            columns: exprs,
            schema: Arc::clone(&schema),
        };
        let (below, calc) = merged(self.node, calc);
        Self {
            node: Arc::new(Node::Step(below, Step::Calc(calc))),
            scope: Scope { columns: scope },
            schema,
            ..self
        }
    }

    /// The rows for which `condition` is true.
    pub fn filter(self, condition: Bound) -> Self {
        let columns = self.columns();
        self.project(Some(condition), columns)
    }

    /// All columns as they are.
    pub fn columns(&self) -> Vec<(Bound, ScopeColumn)> {
        let bound = |index: usize| Bound::column(index, self.schema.field(index).data_type().clone());
        self.scope
            .columns
            .iter()
            .enumerate()
            .map(|(index, column)| (bound(index).with(column.facts.clone()), column.clone()))
            .collect()
    }

    /// Only some columns, so that what the others cost is not paid.
    pub fn keep(self, kept: &[usize]) -> Self {
        let all = self.columns();
        let columns = kept.iter().filter_map(|index| all.get(*index).cloned()).collect();
        self.project(None, columns)
    }

    pub fn step(self, step: Step) -> Self {
        Self {
            node: Arc::new(Node::Step(self.node, step)),
            ..self
        }
    }

    /// The columns under the names that the result shows.
    pub fn result_schema(&self) -> SchemaRef {
        let fields: Vec<Field> = self
            .scope
            .columns
            .iter()
            .map(|column| Field::new(&column.name, column.data.clone(), true))
            .collect();
        Arc::new(Schema::new(fields))
    }
}

/// Puts `calc` over `node` into the projection that `node` is, if it is one; gives what is below, and the projection.
fn merged(node: Arc<Node>, calc: Calc) -> (Arc<Node>, Calc) {
    let Node::Step(below, Step::Calc(inner)) = node.as_ref() else {
        return (node, calc);
    };
    let outer: Vec<&Expr> = calc.filter.iter().chain(&calc.columns).collect();
    let Some(mut exprs) = inline(&outer, &inner.columns) else {
        return (node, calc);
    };
    let columns = exprs.split_off(usize::from(calc.filter.is_some()));
    let filter = match (inner.filter.clone(), exprs.pop()) {
        (Some(first), Some(second)) => Some(Junction::and(first, second)),
        (first, second) => first.or(second),
    };
    let merged = Calc {
        filter,
        columns,
        schema: calc.schema,
    };
    (Arc::clone(below), merged)
}

pub fn positional(types: impl Iterator<Item = DataType>) -> SchemaRef {
    let fields: Vec<Field> = types
        .enumerate()
        .map(|(index, data)| Field::new(format!("c{index}"), data, true))
        .collect();
    Arc::new(Schema::new(fields))
}

/// A column that has a name of its own.
pub fn column(qualifier: Option<&str>, name: &str, data: &DataType, role: Role) -> ScopeColumn {
    ScopeColumn {
        qualifier: qualifier.map(str::to_owned),
        name: name.to_owned(),
        data: data.clone(),
        facts: Facts::default(),
        role,
    }
}
