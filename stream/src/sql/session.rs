//! A session: what statements change and queries see.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::time::Zone;
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::catalog::{Catalog, Entry, View};
use super::data_type::name_with as type_name;
use super::environment::Environment;
use super::facts::Facts;
use super::insert;
use super::parse::place;
use super::planner::Planner;
use super::statement::{ColumnKind, CreateTable, CreateView, Insert, Located, Name, Statement};
use super::table;
use crate::Error;
use crate::functions::SessionFacts;
use crate::graph::{Output, Target};

/// What `SET` has set.
#[derive(Debug, Clone, Default)]
pub struct Options {
    values: BTreeMap<String, String>,
}

/// Keys of options whose values are true or false.
const BOOLEANS: [&str; 6] = [
    "table.dml-sync",
    "table.exec.mini-batch.enabled",
    "table.exec.legacy-cast-behaviour",
    "pipeline.object-reuse",
    "table.optimizer.reuse-sub-plan-enabled",
    "table.optimizer.distinct-agg.split.enabled",
];

impl Options {
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&String, &String)> {
        self.values.iter()
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), Error> {
        if BOOLEANS.contains(&key) && !value.eq_ignore_ascii_case("true") && !value.eq_ignore_ascii_case("false") {
            return Err(Error::runtime(format!(
                "Unrecognized option for boolean: {value}. Expected either true or false (case insensitive) for '{key}'"
            )));
        }
        match key {
            "table.local-time-zone" => {
                zone(value)?;
            }
            "pipeline.auto-watermark-interval"
            | "execution.checkpointing.interval"
            | "table.exec.source.idle-timeout" => {
                duration_millis(value).ok_or_else(|| {
                    Error::validate(format!("'{value}' is no duration for '{key}': write 200 ms or 5 s"))
                })?;
            }
            "execution.runtime-mode" if !value.eq_ignore_ascii_case("streaming") => {
                return Err(Error::unsupported(format!(
                    "execution.runtime-mode = '{value}': there is only streaming"
                )));
            }
            "sql-client.execution.result-mode" | "parallelism.default" => {}
            _ => {}
        }
        self.values.insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    pub fn zone(&self) -> Result<Zone, Error> {
        self.get("table.local-time-zone").map_or(Ok(Zone::UTC), zone)
    }

    /// A duration option, or its default.
    pub fn duration_ms(&self, key: &str, default: i64) -> i64 {
        self.get(key).and_then(duration_millis).unwrap_or(default)
    }
}

fn zone(text: &str) -> Result<Zone, Error> {
    if text.eq_ignore_ascii_case("default") {
        return Ok(Zone::UTC);
    }
    text.parse().map_err(|_| {
        Error::validate(format!(
            "Invalid time zone '{text}'. The value should be a Time Zone Database (TZDB) ID such as \
             'America/Los_Angeles' to include daylight saving time. Fixed offsets are supported using 'GMT-03:00' or \
             'GMT+03:00'. Or use 'UTC' without time zone and daylight saving time."
        ))
    })
}

/// `200`, `200 ms`, `5s`, `1 min`, `2 h`, `1 d`.
pub fn duration_millis(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: i64 = number.parse().ok()?;
    let worth = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1,
        "s" | "sec" | "secs" | "second" | "seconds" => 1000,
        "m" | "min" | "minute" | "minutes" => 60_000,
        "h" | "hour" | "hours" => 3_600_000,
        "d" | "day" | "days" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(worth)
}

/// What a statement comes to.
#[derive(Debug)]
pub enum Answer {
    /// Done: these rows are all there is to say.
    Rows(SchemaRef, RecordBatch),
    /// A job to run.
    Job(Job),
}

/// A job to run.
#[derive(Debug, Clone)]
pub struct Job {
    pub outputs: Vec<Output>,
    /// The columns of a query's result; none for INSERTs.
    pub result: Option<SchemaRef>,
    /// What the columns' Arrow types do not say.
    pub facts: Vec<Facts>,
    /// Whether Flink would tell the result as a changelog; we tell the final rows.
    pub updating: bool,
    pub bounded: bool,
    pub zone: Zone,
}

/// Tables, views and options of one program or one client.
#[derive(Debug, Clone)]
pub struct Session {
    catalog: Catalog,
    options: Options,
    environment: Environment,
}

impl Session {
    pub fn new(environment: Environment) -> Self {
        Self {
            catalog: Catalog::default(),
            options: Options::default(),
            environment,
        }
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Sets options for the statements to come; gives those from before, to be put back.
    pub fn override_options<'a>(
        &mut self,
        options: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) -> Result<Options, Error> {
        let before = self.options.clone();
        for (key, value) in options {
            if let Err(error) = self.options.set(key, value) {
                self.options = before;
                return Err(error);
            }
        }
        Ok(before)
    }

    pub fn put_back(&mut self, options: Options) {
        self.options = options;
    }

    /// Carries out what needs no job, and plans what does. `now_ms` is the time of the statement.
    pub fn execute(&mut self, located: &Located, now_ms: i64) -> Result<Answer, Error> {
        match &located.statement {
            Statement::CreateTable(create) => self.create_table(create, now_ms),
            Statement::CreateView(create) => self.create_view(create, now_ms),
            Statement::Drop(drop) => {
                self.catalog.drop(drop)?;
                done()
            }
            Statement::Set { key, value } => {
                self.options
                    .set(key, value)
                    .map_err(|error| located_error(error, located))?;
                done()
            }
            Statement::Reset { key } => {
                match key {
                    Some(key) => self.options.values.remove(key),
                    None => {
                        self.options.values.clear();
                        None
                    }
                };
                done()
            }
            Statement::ShowSet => {
                let (keys, values): (Vec<String>, Vec<String>) = self
                    .options
                    .iter()
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .unzip();
                strings(&[("key", keys), ("value", values)])
            }
            Statement::ShowTables => strings(&[("table name", self.catalog.names(false))]),
            Statement::ShowViews => strings(&[("view name", self.catalog.names(true))]),
            Statement::Describe(name) => self.describe(name, now_ms),
            Statement::ShowJobs | Statement::DescribeJob(_) | Statement::StopJob { .. } => {
                Err(Error::unsupported(format!(
                    "statements about jobs{}: they are for the SQL gateway, `stream serve`",
                    place(located.start)
                )))
            }
            Statement::Query(query) => self.plan_query(query, now_ms),
            Statement::Insert(inserts) => self.plan_inserts(inserts, now_ms),
        }
    }

    fn with_planner<T>(
        &self,
        now_ms: i64,
        plan: impl FnOnce(&mut Planner<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let session = SessionFacts {
            zone: self.options.zone()?,
            now_ms,
            outside: self.environment.outside,
        };
        let interval = self
            .options
            .duration_ms("pipeline.auto-watermark-interval", crate::time::AUTO_INTERVAL_MS);
        plan(&mut Planner {
            catalog: &self.catalog,
            session: &session,
            environment: &self.environment,
            watermark_interval_ms: interval,
            with: BTreeMap::new(),
            depth: 0,
            planned: Rc::default(),
        })
    }

    fn create_table(&mut self, create: &CreateTable, now_ms: i64) -> Result<Answer, Error> {
        if create.query.is_some() {
            return Err(Error::unsupported(format!(
                "CREATE TABLE AS{}",
                place(create.name.place)
            )));
        }
        let table = self.catalog.declare(create)?;
        self.with_planner(now_ms, |planner| table::check(planner, &table))?;
        self.catalog.add(
            &create.name,
            Entry::Table(Box::new(table)),
            create.temporary,
            create.if_not_exists,
        )?;
        done()
    }

    fn create_view(&mut self, create: &CreateView, now_ms: i64) -> Result<Answer, Error> {
        let relation = self.with_planner(now_ms, |planner| planner.query(&create.query))?;
        let columns: Vec<String> = create.columns.iter().map(|ident| ident.value.clone()).collect();
        relation.scope.renamed(&create.name.text, &columns)?;
        let view = View {
            columns,
            query: create.query.clone(),
        };
        self.catalog
            .add(&create.name, Entry::View(view), create.temporary, create.if_not_exists)?;
        done()
    }

    fn plan_query(&self, query: &sqlparser::ast::Query, now_ms: i64) -> Result<Answer, Error> {
        let relation = self.with_planner(now_ms, |planner| planner.query(query)?.settled("a query"))?;
        Ok(Answer::Job(Job {
            result: Some(relation.result_schema()),
            facts: relation
                .scope
                .columns
                .iter()
                .map(|column| column.facts.clone())
                .collect(),
            updating: relation.updating,
            bounded: relation.bounded,
            outputs: vec![Output {
                node: relation.node,
                target: Target::Collect,
            }],
            zone: self.options.zone()?,
        }))
    }

    fn plan_inserts(&self, inserts: &[Insert], now_ms: i64) -> Result<Answer, Error> {
        let outputs = self.with_planner(now_ms, |planner| {
            inserts
                .iter()
                .map(|insert| insert::plan(planner, insert))
                .collect::<Result<Vec<_>, _>>()
        })?;
        Ok(Answer::Job(Job {
            outputs,
            result: None,
            facts: Vec::new(),
            updating: false,
            bounded: true,
            zone: self.options.zone()?,
        }))
    }

    fn describe(&self, name: &Name, now_ms: i64) -> Result<Answer, Error> {
        let mut columns: [Vec<Option<String>>; 6] = Default::default();
        let mut add = |values: [Option<String>; 6]| columns.iter_mut().zip(values).for_each(|(c, v)| c.push(v));
        match self.catalog.find(name)? {
            Entry::Table(table) => {
                let relation = self.with_planner(now_ms, |planner| table::scan(planner, table))?;
                for (declared, column) in table.columns.iter().zip(&relation.scope.columns) {
                    let (data, not_null, extras) = match &declared.kind {
                        ColumnKind::Physical(data) => (data.to_string(), data.not_null, None),
                        ColumnKind::Computed(expr) => (
                            type_name(&column.data, &column.facts),
                            column.facts.not_null,
                            Some(format!("AS {expr}")),
                        ),
                        ColumnKind::Metadata {
                            data_type,
                            key,
                            is_virtual,
                        } => {
                            let from = key.as_ref().map_or_else(String::new, |key| format!(" FROM '{key}'"));
                            let end = if *is_virtual { " VIRTUAL" } else { "" };
                            (
                                data_type.to_string(),
                                data_type.not_null,
                                Some(format!("METADATA{from}{end}")),
                            )
                        }
                    };
                    let data = data.trim_end_matches(" NOT NULL");
                    let time = if column.role.is_time() { " *ROWTIME*" } else { "" };
                    let key = table.primary_key.iter().any(|key| key.value == column.name).then(|| {
                        let keys: Vec<&str> = table.primary_key.iter().map(|key| key.value.as_str()).collect();
                        format!("PRI({})", keys.join(", "))
                    });
                    let watermark = table.watermark.as_ref().filter(|w| w.column.value == column.name);
                    add([
                        Some(column.name.clone()),
                        Some(format!("{data}{time}")),
                        Some((!not_null).to_string()),
                        key,
                        extras,
                        watermark.map(|watermark| watermark.expr.to_string()),
                    ]);
                }
            }
            Entry::View(view) => {
                let relation = self.with_planner(now_ms, |planner| planner.query(&view.query))?;
                for column in relation.scope.renamed(&name.text, &view.columns)?.columns {
                    let data = type_name(&column.data, &column.facts.clone().with_not_null(false));
                    let nullable = (!column.facts.not_null).to_string();
                    add([Some(column.name), Some(data), Some(nullable), None, None, None]);
                }
            }
        }
        let names = ["name", "type", "null", "key", "extras", "watermark"];
        let arrays = columns
            .into_iter()
            .map(|column| Arc::new(StringArray::from(column)) as ArrayRef);
        answer(names.into_iter().zip(arrays).collect())
    }
}

/// What DDL answers: one row that says OK.
fn done() -> Result<Answer, Error> {
    strings(&[("result", vec!["OK".to_owned()])])
}

/// Rows of texts, column by column.
fn strings(columns: &[(&str, Vec<String>)]) -> Result<Answer, Error> {
    let array = |values: &Vec<String>| Arc::new(StringArray::from(values.clone())) as ArrayRef;
    answer(columns.iter().map(|(name, values)| (*name, array(values))).collect())
}

fn answer(columns: Vec<(&str, ArrayRef)>) -> Result<Answer, Error> {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, _)| Field::new(*name, DataType::Utf8, true))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(
        Arc::clone(&schema),
        columns.into_iter().map(|(_, array)| array).collect(),
    )?;
    Ok(Answer::Rows(schema, batch))
}

fn located_error(error: Error, located: &Located) -> Error {
    let at = place(located.start);
    match error {
        Error::Validate(text) => Error::Validate(format!("{text}{at}")),
        Error::Unsupported(text) => Error::Unsupported(format!("{text}{at}")),
        other => other,
    }
}
