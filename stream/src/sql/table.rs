//! A declared table as a relation, and as a sink.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

use super::catalog::Table;
use super::data_type::{SqlType, name};
use super::expr::{Binder, Bound, at};
use super::parse::place;
use super::planner::Planner;
use super::relation::{Relation, column, positional};
use super::scope::{Role, Scope, ScopeColumn};
use super::session::duration_millis;
use super::statement::{Column, ColumnKind};
use crate::Error;
use crate::graph::{Node, Step};
use crate::table::{MetadataColumn, TableSpec};

/// How the keys of options about watermarks begin.
const WATERMARK_OPTIONS: &str = "scan.watermark.";

/// Checks the options about watermarks; gives the idle timeout in milliseconds, if there is one.
fn watermark_options(table: &Table) -> Result<Option<i64>, Error> {
    let mut idle = None;
    for (key, value) in table
        .options
        .iter()
        .filter(|(key, _)| key.starts_with(WATERMARK_OPTIONS))
    {
        let refuse =
            |why: &str| Error::validate(format!("option '{key}' = '{value}' of table '{}': {why}", table.name));
        match key.as_str() {
            // Both move the watermark with the rows here; Flink's `on-periodic` looks at the clock.
            "scan.watermark.emit.strategy" if ["on-event", "on-periodic"].contains(&value.as_str()) => {}
            "scan.watermark.emit.strategy" => return Err(refuse("give on-event or on-periodic")),
            "scan.watermark.idle-timeout" => {
                let millis = duration_millis(value).ok_or_else(|| refuse("give a duration such as 5 s"))?;
                idle = Some(millis).filter(|millis| *millis > 0);
            }
            _ => return Err(Error::unsupported(format!("option '{key}' of table '{}'", table.name))),
        }
    }
    Ok(idle)
}

/// The table as its connector gets it.
pub fn spec(table: &Table) -> TableSpec {
    let mut fields = Vec::new();
    let mut metadata = Vec::new();
    for column in &table.columns {
        let (data, not_null) = match &column.kind {
            ColumnKind::Physical(data) => (data.data.clone(), data.not_null),
            ColumnKind::Metadata {
                data_type,
                key,
                is_virtual,
            } => {
                metadata.push(MetadataColumn {
                    column: column.name.value.clone(),
                    key: key.clone().unwrap_or_else(|| column.name.value.clone()),
                    virtual_: *is_virtual,
                });
                (data_type.data.clone(), data_type.not_null)
            }
            ColumnKind::Computed(_) => continue,
        };
        fields.push(Field::new(&column.name.value, data, !not_null));
    }
    let names = |idents: &[sqlparser::ast::Ident]| idents.iter().map(|ident| ident.value.clone()).collect();
    // What is about watermarks is the planner's business, not the connector's.
    let options = table
        .options
        .iter()
        .filter(|(key, _)| !key.starts_with(WATERMARK_OPTIONS));
    TableSpec {
        name: table.name.clone(),
        physical: Arc::new(Schema::new(fields)),
        metadata,
        options: options.map(|(key, value)| (key.clone(), value.clone())).collect(),
        partition_keys: names(&table.partition_keys),
        primary_key: names(&table.primary_key),
    }
}

/// Reads the table: what the connector brings, the computed columns, the watermark.
pub fn scan(planner: &Planner<'_>, table: &Table) -> Result<Relation, Error> {
    let idle_ms = watermark_options(table)?;
    let spec = Arc::new(spec(table));
    let bounded = (planner.environment.is_bounded)(&spec, planner.session.zone)?;
    let fields = spec.physical.fields();
    let columns = read_columns(table);
    let relation = Relation {
        node: Arc::new(Node::Step(
            Arc::new(Node::Scan(Arc::clone(&spec), idle_ms)),
            Step::ReadCounter,
        )),
        scope: Scope { columns },
        schema: positional(fields.iter().map(|field| field.data_type().clone())),
        updating: false,
        retracts: false,
        final_only: false,
        pending: None,
        bounded,
        key_columns: Vec::new(),
        window_zone: None,
    };
    let relation = compute_columns(planner, table, relation)?;
    watermark(planner, table, relation)
}

/// The columns that the connector brings.
fn read_columns(table: &Table) -> Vec<ScopeColumn> {
    let read = table.columns.iter().filter_map(|declared| match &declared.kind {
        ColumnKind::Physical(data) | ColumnKind::Metadata { data_type: data, .. } => Some((declared, data)),
        ColumnKind::Computed(_) => None,
    });
    read.map(|(declared, data)| {
        column(Some(&table.name), &declared.name.value, &data.data, Role::Plain).with(data.facts())
    })
    .collect()
}

/// All columns in the order of the DDL.
fn compute_columns(planner: &Planner<'_>, table: &Table, relation: Relation) -> Result<Relation, Error> {
    if !table
        .columns
        .iter()
        .any(|column| matches!(column.kind, ColumnKind::Computed(_)))
    {
        return Ok(relation);
    }
    let mut read = relation.columns().into_iter();
    let mut columns: Vec<(Bound, ScopeColumn)> = Vec::new();
    for declared in &table.columns {
        let next = match &declared.kind {
            ColumnKind::Computed(expr) => {
                let bound = planner.binder(&relation).bind(expr)?;
                let column =
                    column(Some(&table.name), &declared.name.value, &bound.data, Role::Plain).with(bound.facts.clone());
                Some((bound, column))
            }
            ColumnKind::Physical(_) | ColumnKind::Metadata { .. } => read.next(),
        };
        columns.extend(next);
    }
    Ok(relation.project(None, columns))
}

fn watermark(planner: &Planner<'_>, table: &Table, mut relation: Relation) -> Result<Relation, Error> {
    let Some(watermark) = &table.watermark else {
        return Ok(relation);
    };
    let at_column = place(watermark.column.span.start);
    let index = relation
        .scope
        .columns
        .iter()
        .position(|column| column.name == watermark.column.value);
    let index = index.ok_or_else(|| {
        Error::validate(format!(
            "The rowtime attribute field '{}' is not defined in the table schema{at_column}",
            watermark.column.value
        ))
    })?;
    let data = &relation.scope.columns[index].data;
    if !matches!(data, DataType::Timestamp(TimeUnit::Second | TimeUnit::Millisecond, _)) {
        return Err(Error::validate(format!(
            "Invalid data type of time field for watermark definition. The field must be of type TIMESTAMP(p) or \
             TIMESTAMP_LTZ(p), the supported precision 'p' is from 0 to 3, but the time field type is {}{at_column}",
            name(data)
        )));
    }
    let candidate = planner.binder(&relation).bind(&watermark.expr)?;
    if !matches!(candidate.data, DataType::Timestamp(..)) {
        return Err(Error::validate(format!(
            "Invalid data type of expression for watermark definition: {}{}",
            name(&candidate.data),
            at(&watermark.expr)
        )));
    }
    relation.scope.columns[index].role = Role::Rowtime;
    // Flink pushes watermarks into Kafka's splits, but sets those of files behind the source.
    let by_split = table
        .options
        .get("connector")
        .is_some_and(|connector| connector == "kafka");
    Ok(relation.step(Step::Watermark {
        column: index,
        name: watermark.column.value.clone(),
        candidate: candidate.expr,
        by_split,
        interval_ms: planner.watermark_interval_ms,
    }))
}

/// The columns of a table that INSERT writes, in their order: all that are neither computed nor virtual.
pub fn written(table: &Table) -> Vec<(&Column, &SqlType)> {
    let mut written = Vec::new();
    for column in &table.columns {
        match &column.kind {
            ColumnKind::Physical(data)
            | ColumnKind::Metadata {
                data_type: data,
                is_virtual: false,
                ..
            } => {
                written.push((column, data));
            }
            ColumnKind::Metadata { .. } | ColumnKind::Computed(_) => {}
        }
    }
    written
}

/// Checks that a table's expressions can be planned, as far as that needs no connector.
pub fn check(planner: &Planner<'_>, table: &Table) -> Result<(), Error> {
    let spec = spec(table);
    let fields = spec.physical.fields();
    let mut scope = Scope {
        columns: read_columns(table),
    };
    for declared in &table.columns {
        if let ColumnKind::Computed(expr) = &declared.kind {
            let schema = positional(fields.iter().map(|field| field.data_type().clone()));
            let mut physical = scope.clone();
            physical.columns.truncate(fields.len());
            let mut binder = Binder {
                scope: &physical,
                schema: &schema,
                session: planner.session,
                grouped: None,
            };
            let bound = binder.bind(expr)?;
            let column = column(Some(&table.name), &declared.name.value, &bound.data, Role::Plain);
            scope.columns.push(column.with(bound.facts));
        }
    }
    if let Some(watermark) = &table.watermark {
        let schema = positional(scope.columns.iter().map(|column| column.data.clone()));
        let mut binder = Binder {
            scope: &scope,
            schema: &schema,
            session: planner.session,
            grouped: None,
        };
        binder.bind(&watermark.expr)?;
    }
    Ok(())
}
