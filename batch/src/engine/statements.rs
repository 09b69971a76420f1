//! The one way into the engine: a statement in, its schema, its rows or its count out.
//!
//! Both the command line and Flight SQL come through here, so planning, parameters, cancellation and limits are the same
//! for both. All work happens on the threads of [`Queries`]; what the caller holds ([`Rows`]) is a channel of batches.
//! Dropping it, or the future of a call, cancels the statement.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::array::{Array, Int64Array, UInt64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::common::{ParamValues, Result, ScalarValue, plan_err};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::logical_expr::{DdlStatement, LogicalPlan};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::{DFParser, Statement};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use futures::future::BoxFuture;
use futures::{FutureExt, Stream, StreamExt, TryStreamExt};
use tokio::sync::mpsc;

use super::admission::Admission;
use super::depth;
use super::interrupt::Interrupt;
use super::runtime::{Queries, Running};

/// The futures of a statement are boxed: each future that the compiler must show to be `Send` makes it walk through all of
/// DataFusion's types, in every method that awaits it (<https://github.com/apache/datafusion/issues/13814>).
type Work<T> = BoxFuture<'static, T>;

/// Batches that are ready before the reader asks for them.
const BATCHES_AHEAD: usize = 2;

/// A statement as its plan sees it, before anything runs.
#[derive(Debug)]
pub struct Described {
    pub schema: SchemaRef,
    /// The parameters in order, with the types that the statement implies; a text where it implies none.
    pub parameters: Schema,
}

/// What runs statements for one client: its settings are its own, tables are everybody's.
#[derive(Clone)]
pub struct Session {
    pub(super) context: SessionContext,
    pub(super) queries: Queries,
    pub(super) admission: Option<Admission>,
}

impl Session {
    pub fn context(&self) -> &SessionContext {
        &self.context
    }

    /// Plans without running anything: DDL too has no effect yet.
    pub async fn describe(&self, sql: String, parameters: Vec<ScalarValue>) -> Result<Described> {
        let context = self.context.clone();
        let work = async move {
            let state = context.state();
            let plan = plan(&state, one(&sql)?).await?;
            let wanted = parameters_of(&plan)?;
            let plan = bind(plan, parameters)?;
            Ok(Described {
                schema: Arc::clone(plan.schema().inner()),
                parameters: wanted,
            })
        };
        let work: Work<Result<Described>> = work.boxed();
        self.queries.run(Interrupt::default(), work).await
    }

    /// Runs a statement and gives its batches as they come.
    pub async fn run(&self, sql: String, parameters: Vec<ScalarValue>, interrupt: Interrupt) -> Result<Rows> {
        let statement = move || one(&sql);
        self.start(statement, parameters, interrupt).await
    }

    /// Runs a statement that was parsed before.
    pub async fn run_statement(&self, statement: Statement, interrupt: Interrupt) -> Result<Rows> {
        self.start(move || Ok(statement), Vec::new(), interrupt).await
    }

    /// Runs a statement for its effect and counts the rows it says it wrote.
    pub async fn update(&self, sql: String, parameters: Vec<ScalarValue>, interrupt: Interrupt) -> Result<i64> {
        let mut rows = self.run(sql, parameters, interrupt).await?;
        let mut written = 0;
        while let Some(batch) = rows.try_next().await? {
            written += rows_written(&batch);
        }
        Ok(written)
    }

    /// Parses a script.
    pub async fn parse(&self, script: String) -> Result<Vec<Statement>> {
        let work = async move { parse(&script).map(Vec::from) };
        self.queries.run(Interrupt::default(), work).await
    }

    async fn start(
        &self,
        statement: impl FnOnce() -> Result<Statement> + Send + 'static,
        parameters: Vec<ScalarValue>,
        interrupt: Interrupt,
    ) -> Result<Rows> {
        let (context, admission) = (self.context.clone(), self.admission.clone());
        let (announce, announced) = tokio::sync::oneshot::channel();
        let (sender, batches) = mpsc::channel(BATCHES_AHEAD);
        let own = interrupt.clone();
        let work = async move {
            let place = match &admission {
                Some(admission) => match admission.place().await {
                    Ok(place) => Some(place),
                    Err(error) => return drop(announce.send(Err(error))),
                },
                None => None,
            };
            let started = async {
                let mut state = context.state();
                state.config_mut().options_mut().extensions.insert(own.clone());
                let plan = bind(plan(&state, statement()?).await?, parameters)?;
                execute(&context, state, plan).await
            };
            match started.await {
                Err(error) => drop(announce.send(Err(error))),
                Ok(mut stream) => {
                    if announce.send(Ok(stream.schema())).is_err() {
                        return;
                    }
                    while let Some(batch) = stream.next().await {
                        let failed = batch.is_err();
                        let batch = own.check().and(batch);
                        if sender.send(batch).await.is_err() || failed {
                            break;
                        }
                    }
                }
            }
            // Only now: what is still computing counts as running.
            drop(place);
        };
        let work: Work<()> = work.boxed();
        let running = self.queries.spawn(interrupt, work)?;
        match announced.await {
            Ok(schema) => Ok(Rows {
                schema: schema?,
                batches,
                _running: running,
            }),
            Err(_) => Err(DataFusionError::Internal(
                "the query broke down while it was planned".into(),
            )),
        }
    }
}

/// The rows of a running statement.
pub struct Rows {
    pub schema: SchemaRef,
    batches: mpsc::Receiver<Result<RecordBatch>>,
    _running: Running<()>,
}

impl Stream for Rows {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.batches.poll_recv(cx)
    }
}

fn parse(script: &str) -> Result<std::collections::VecDeque<Statement>> {
    let dialect = GenericDialect {};
    depth::check(script, &dialect)?;
    let numbered = numbered(script);
    DFParser::parse_sql(numbered.as_deref().unwrap_or(script))
}

fn one(sql: &str) -> Result<Statement> {
    let mut statements = parse(sql)?;
    match (statements.pop_front(), statements.len()) {
        (Some(statement), 0) => Ok(statement),
        (None, _) => plan_err!("there is no statement"),
        (Some(_), more) => plan_err!("one statement at a time is run, not {}", more + 1),
    }
}

/// `?` as `$1`, `$2` …, in order. `None`: there is none.
fn numbered(sql: &str) -> Option<String> {
    if !sql.contains('?') {
        return None;
    }
    let tokens = Tokenizer::new(&GenericDialect {}, sql)
        .with_unescape(false)
        .tokenize()
        .ok()?;
    let mut number = 0;
    let mut text = String::with_capacity(sql.len() + 8);
    for token in tokens {
        match token {
            Token::Placeholder(mark) if mark == "?" => {
                number += 1;
                text.push_str(&format!("${number}"));
            }
            // The tokenizer's name for a lone question mark in some dialects.
            Token::Question => {
                number += 1;
                text.push_str(&format!("${number}"));
            }
            other => text.push_str(&other.to_string()),
        }
    }
    (number > 0).then_some(text)
}

async fn plan(state: &SessionState, statement: Statement) -> Result<LogicalPlan> {
    let plan = state.statement_to_plan(statement).await?;
    depth::check_plan(&plan)?;
    Ok(plan)
}

/// The parameters `$1` … in order.
fn parameters_of(plan: &LogicalPlan) -> Result<Schema> {
    let mut fields: Vec<(u32, String, Option<FieldRef>)> = Vec::new();
    for (name, field) in plan.get_parameter_fields()? {
        let place = name.trim_start_matches('$').parse().unwrap_or(u32::MAX);
        fields.push((place, name, field));
    }
    fields.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    let field = |(_, name, field): (u32, String, Option<FieldRef>)| {
        let kind = field.map(|field| field.data_type().clone());
        let kind = kind.filter(|kind| *kind != DataType::Null).unwrap_or(DataType::Utf8);
        Field::new(name, kind, true)
    };
    Ok(Schema::new(fields.into_iter().map(field).collect::<Vec<_>>()))
}

fn bind(plan: LogicalPlan, parameters: Vec<ScalarValue>) -> Result<LogicalPlan> {
    if parameters.is_empty() {
        return Ok(plan);
    }
    let wanted = plan.get_parameter_names()?.len();
    if parameters.len() != wanted {
        return plan_err!(
            "the statement has {wanted} parameters, and {} values were given",
            parameters.len()
        );
    }
    plan.with_param_values(ParamValues::from(parameters))
}

async fn execute(
    context: &SessionContext,
    state: SessionState,
    plan: LogicalPlan,
) -> Result<SendableRecordBatchStream> {
    if !plan.get_parameter_names()?.is_empty() {
        return plan_err!("the statement has parameters, and no values were given for them");
    }
    if let LogicalPlan::Statement(datafusion::logical_expr::Statement::SetVariable(set)) = &plan
        && set.variable.starts_with("datafusion.runtime.")
    {
        return plan_err!(
            "{} is for all sessions: set it when the program starts, as with --memory-limit",
            set.variable
        );
    }
    let frame = match plan {
        // These change the session, and run nothing.
        plan @ (LogicalPlan::Statement(_)
        | LogicalPlan::Ddl(DdlStatement::CreateFunction(_) | DdlStatement::DropFunction(_))) => {
            context.execute_logical_plan(plan).await?
        }
        // A copy of the session, which this statement can be interrupted by; tables are shared.
        plan => SessionContext::new_with_state(state).execute_logical_plan(plan).await?,
    };
    frame.execute_stream().await
}

/// What DataFusion's INSERT and COPY answer is one column with the count of rows; DDL answers nothing.
fn rows_written(batch: &RecordBatch) -> i64 {
    if batch.num_columns() != 1 {
        return 0;
    }
    let column = batch.column(0);
    if let Some(counts) = column.as_any().downcast_ref::<UInt64Array>() {
        let counts = counts.iter().flatten();
        counts.map(|count| i64::try_from(count).unwrap_or(i64::MAX)).sum()
    } else if let Some(counts) = column.as_any().downcast_ref::<Int64Array>() {
        counts.iter().flatten().sum()
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn question_marks_are_numbered_and_texts_left_alone() {
        assert_eq!(numbered("SELECT 1"), None);
        assert_eq!(
            numbered("SELECT ?, '?', ? -- ?").as_deref(),
            Some("SELECT $1, '?', $2 -- ?")
        );
        assert_eq!(numbered("SELECT 'it''s' || ?").as_deref(), Some("SELECT 'it''s' || $1"));
        assert_eq!(
            numbered("SELECT \"a\"\"?\" = ?").as_deref(),
            Some("SELECT \"a\"\"?\" = $1")
        );
    }
}
