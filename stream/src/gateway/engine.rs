//! One client's statements on the engine: the same session and the same jobs that `stream run` has.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use host::Shutdown;
use prometheus::Registry;
use sqlparser::tokenizer::Location;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::operation::Head;
use crate::Error;
use crate::runtime::program::{self, Outcome};
use crate::runtime::{Meter, Report, Settings};
use crate::sql::statement::{Located, Statement};
use crate::sql::{Session, parse};

/// The tables, views and options of a client.
pub struct Engine {
    session: Session,
    meter: Meter,
    shutdown: Shutdown,
}

/// What a statement answers: what it is, then its rows.
pub struct Answer {
    pub head: Head,
    pub rows: Rows,
}

type Ended = JoinHandle<Result<Report, Error>>;

/// Rows as a job makes them. Dropping them ends the job of a query.
pub struct Rows {
    batches: mpsc::Receiver<RecordBatch>,
    /// `None` once it was asked.
    ended: Option<Ended>,
}

impl Engine {
    /// A session with the client's options.
    ///
    /// # Errors
    /// If an option has a value that cannot be.
    pub fn open(options: &BTreeMap<String, String>, shutdown: Shutdown) -> Result<Self, Error> {
        // Each session counts for itself; the gateway's own page tells of sessions, not of rows.
        let meter = Meter::new(&Registry::new());
        let mut engine = Self {
            session: Session::default(),
            meter,
            shutdown,
        };
        for (key, value) in options {
            let set = Statement::Set {
                key: key.clone(),
                value: value.clone(),
            };
            engine.start(&Located {
                statement: set,
                start: Location::empty(),
            })?;
        }
        Ok(engine)
    }

    pub fn options(&self) -> BTreeMap<String, String> {
        self.session
            .options()
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    /// Runs one statement: what needs no job is done when this returns, a query has started.
    ///
    /// # Errors
    /// Why the statement is refused; with `table.dml-sync`, why its job failed.
    pub async fn execute(&mut self, text: &str) -> Result<Answer, Error> {
        let mut statements = parse::parse(text)?;
        let statement = match (statements.pop(), statements.is_empty()) {
            (Some(statement), true) => statement,
            (None, _) => return Err(Error::parse("there is no statement")),
            (Some(_), false) => {
                return Err(Error::unsupported(
                    "a call takes one statement: send the others after it",
                ));
            }
        };
        let outcome = self.start(&statement)?;
        let has_content = !matches!(
            statement.statement,
            Statement::Set { .. } | Statement::Reset { .. } | Statement::Drop(_) | Statement::CreateView(_)
        ) && (outcome.job.is_some() || !matches!(statement.statement, Statement::CreateTable(_)));
        let zone = self.session.options().zone()?;
        let head = |outcome: &Outcome| Head {
            schema: Arc::clone(&outcome.schema),
            is_query: outcome.is_query,
            has_content,
            job: outcome.job.clone(),
            zone,
        };
        let head = head(&outcome);
        let rows = match &outcome.job {
            Some(job) if !outcome.is_query => self.insert(job.clone(), outcome).await?,
            _ => Rows {
                batches: outcome.rows,
                ended: Some(outcome.ended),
            },
        };
        Ok(Answer { head, rows })
    }

    fn start(&mut self, statement: &Located) -> Result<Outcome, Error> {
        let options = self.session.options();
        let idle = options.duration_ms("table.exec.source.idle-timeout", 0);
        let settings = Settings {
            job: Uuid::new_v4().simple().to_string(),
            zone: options.zone()?,
            parallelism: options
                .get("parallelism.default")
                .and_then(|text| text.parse().ok())
                .unwrap_or(1),
            state: None,
            idle_after: (idle > 0).then(|| Duration::from_millis(idle.unsigned_abs())),
            drain_file: None,
        };
        program::execute(&mut self.session, statement, settings, &self.meter, &self.shutdown)
    }

    /// The answer of an INSERT is its job's id: at once, or at its end with `table.dml-sync`. The job is nobody's: it goes on
    /// when the client has gone.
    async fn insert(&self, job: String, outcome: Outcome) -> Result<Rows, Error> {
        let schema = outcome.schema;
        if self
            .session
            .options()
            .get("table.dml-sync")
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
        {
            outcome.ended.await.map_err(Error::runtime)??;
        } else {
            let name = job.clone();
            tokio::spawn(async move {
                match outcome.ended.await {
                    Ok(Ok(_)) => tracing::info!(job = name, "the job has ended"),
                    Ok(Err(error)) => tracing::warn!(job = name, %error, "the job failed"),
                    Err(error) => tracing::error!(job = name, %error, "the job was lost"),
                }
            });
        }
        let column: ArrayRef = Arc::new(StringArray::from(vec![job]));
        Rows::of(schema, column)
    }
}

impl Rows {
    /// One row, there already.
    fn of(schema: SchemaRef, column: ArrayRef) -> Result<Self, Error> {
        let (send, batches) = mpsc::channel(1);
        // The channel holds one batch, so there is room.
        let _sent = send.try_send(RecordBatch::try_new(schema, vec![column])?);
        Ok(Self { batches, ended: None })
    }

    /// What waits, up to about `count` rows (batches are never split); waits up to `wait` where nothing does.
    /// `None` at the end.
    ///
    /// # Errors
    /// Why the job failed.
    pub async fn page(&mut self, count: usize, wait: Duration) -> Result<Option<Vec<RecordBatch>>, Error> {
        let first = match tokio::time::timeout(wait, self.batches.recv()).await {
            Ok(Some(batch)) => batch,
            Ok(None) => {
                if let Some(ended) = self.ended.take() {
                    ended.await.map_err(Error::runtime)??;
                }
                return Ok(None);
            }
            Err(_) => return Ok(Some(Vec::new())),
        };
        let mut rows = first.num_rows();
        let mut page = vec![first];
        while rows < count {
            match self.batches.try_recv() {
                Ok(batch) => {
                    rows += batch.num_rows();
                    page.push(batch);
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        Ok(Some(page))
    }
}
