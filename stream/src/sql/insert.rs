//! INSERT INTO: a query's columns become a table's.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;

use super::catalog::{Entry, Table};
use super::data_type::{SqlType, name};
use super::expr::{Bound, at, implicit_cast, widen};
use super::parse::place;
use super::planner::Planner;
use super::relation::{Relation, column};
use super::scope::{Role, ScopeColumn};
use super::statement::Insert;
use super::table;
use crate::Error;
use crate::graph::{Output, Step, Target};

/// Plans one INSERT.
pub fn plan(planner: &mut Planner<'_>, insert: &Insert) -> Result<Output, Error> {
    let at_table = place(insert.table.place);
    let target = match planner.catalog.find(&insert.table)? {
        Entry::Table(table) => table.as_ref().clone(),
        Entry::View(_) => {
            return Err(Error::unsupported(format!(
                "Sink 'default_catalog.default_database.{}' does not exists{at_table}: it is a view",
                insert.table.text
            )));
        }
    };
    let relation = planner.query(&insert.query)?;
    let spec = Arc::new(table::spec(&target));
    let takes_updates = (planner.environment.takes_updates)(&spec, planner.session.zone)?;
    if relation.updating && !takes_updates {
        return Err(Error::unsupported(format!(
            "Table sink '{}' doesn't support consuming update changes{at_table}: its query is a final result, \
             group it by a window",
            target.name
        )));
    }
    if relation.final_only {
        return Err(Error::unsupported(format!(
            "INSERT of a result that is updated by an aggregate{at_table}"
        )));
    }
    let relation = arrange(planner, relation, insert, &target)?;
    Ok(Output {
        node: relation.node,
        target: Target::Table(spec),
    })
}

/// Brings the query's columns into the table's order and types.
fn arrange(planner: &mut Planner<'_>, relation: Relation, insert: &Insert, target: &Table) -> Result<Relation, Error> {
    let at_table = place(insert.table.place);
    let written = table::written(target);
    for named in insert
        .columns
        .iter()
        .chain(insert.partition.iter().map(|(name, _)| name))
    {
        if !written.iter().any(|(column, _)| column.name.value == named.value) {
            let at = place(named.span.start);
            return Err(Error::validate(format!("Unknown target column '{}'{at}", named.value)));
        }
    }
    let mut queried = relation.columns().into_iter();
    let mut columns: Vec<(Bound, ScopeColumn)> = Vec::new();
    let mut not_null = Vec::new();
    let mut by_name: Vec<(String, Bound)> = Vec::new();
    if !insert.columns.is_empty() {
        for named in &insert.columns {
            let (bound, _) = queried.next().ok_or_else(|| mismatch(&relation, target, &at_table))?;
            by_name.push((named.value.clone(), bound));
        }
    }
    for (declared, data) in &written {
        let declared_name = &declared.name.value;
        let given = insert.partition.iter().find(|(name, _)| name.value == *declared_name);
        let bound = if let Some((_, literal)) = given {
            let bound = planner.binder(&relation).bind(literal)?;
            planner.binder(&relation).cast_bound(bound, data, false, &at(literal))?
        } else if insert.columns.is_empty() {
            let (bound, source) = queried.next().ok_or_else(|| mismatch(&relation, target, &at_table))?;
            fit(
                planner,
                &relation,
                bound,
                &source.name,
                declared_name,
                data,
                target,
                &at_table,
            )?
        } else if let Some(index) = by_name.iter().position(|(name, _)| name == declared_name) {
            let (name, bound) = by_name.swap_remove(index);
            fit(planner, &relation, bound, &name, declared_name, data, target, &at_table)?
        } else {
            widen(Bound::literal(ScalarValue::Null), &data.data)?
        };
        if data.not_null {
            not_null.push((columns.len(), declared_name.clone()));
        }
        let column = column(None, declared_name, &data.data, Role::Plain).with(data.facts());
        columns.push((bound, column));
    }
    if queried.next().is_some() {
        return Err(mismatch(&relation, target, &at_table));
    }
    let relation = relation.project(None, columns);
    Ok(if not_null.is_empty() {
        relation
    } else {
        relation.step(Step::NotNull(not_null))
    })
}

#[allow(clippy::too_many_arguments, reason = "one place, all of it for its one message")]
fn fit(
    planner: &Planner<'_>,
    relation: &Relation,
    bound: Bound,
    source: &str,
    column: &str,
    data: &SqlType,
    target: &Table,
    at_table: &str,
) -> Result<Bound, Error> {
    if bound.data == data.data && data.precision.is_none() {
        return Ok(bound);
    }
    if !implicit_cast(&bound.data, &data.data) {
        return Err(Error::validate(format!(
            "Column types of query result and sink for '{}' do not match{at_table}. Cause: Incompatible types for sink \
             column '{column}': the query's '{source}' is {}, the sink wants {data}",
            target.name,
            name(&bound.data)
        )));
    }
    // A length is not enforced by INSERT, as in Flink's default.
    let plain = SqlType {
        length: None,
        ..data.clone()
    };
    let lossy = plain.data.is_nested()
        || matches!(plain.data, DataType::Decimal128(..))
        || matches!(
            (&bound.data, &plain.data),
            (DataType::Timestamp(..), DataType::Timestamp(..))
        )
        || plain.precision.is_some();
    if lossy {
        return planner.binder(relation).cast_bound(bound, &plain, false, at_table);
    }
    widen(bound, &plain.data)
}

fn mismatch(relation: &Relation, target: &Table, at_table: &str) -> Error {
    let query: Vec<String> = relation
        .scope
        .columns
        .iter()
        .map(|c| format!("{}: {}", c.name, name(&c.data)))
        .collect();
    let sink: Vec<String> = table::written(target)
        .iter()
        .map(|(c, data)| format!("{}: {data}", c.name.value))
        .collect();
    Error::validate(format!(
        "Column types of query result and sink for '{}' do not match{at_table}. Cause: Different number of columns. \
         Query schema: [{}]. Sink schema: [{}]",
        target.name,
        query.join(", "),
        sink.join(", ")
    ))
}
