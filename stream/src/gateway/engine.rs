//! One client's statements on the engine: the same session and the same jobs that `stream run` has.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::SchemaRef;
use host::Shutdown;
use prometheus::Registry;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::jobs::{self, Job, Jobs, Record, Status};
use super::operation::Head;
use crate::Error;
use crate::connector;
use crate::runtime::program::{self, Outcome};
use crate::runtime::workers::deeply;
use crate::runtime::{Meter, Report, Settings, State};
use crate::sql::statement::{Located, Statement};
use crate::sql::{Options, Session, parse};

/// The tables, views and options of a client.
pub struct Engine {
    session: Session,
    /// The statements that made tables and views, for the jobs to be planned from again.
    ddl: Vec<String>,
    jobs: Arc<Jobs>,
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
    pub fn open(options: &BTreeMap<String, String>, jobs: Arc<Jobs>, shutdown: Shutdown) -> Result<Self, Error> {
        let mut session = Session::new(connector::ENVIRONMENT);
        session.override_options(options)?;
        Ok(Self {
            session,
            ddl: Vec::new(),
            jobs,
            // Each session counts for itself; the gateway's own page tells of sessions, not of rows.
            meter: Meter::new(&Registry::new()),
            shutdown,
        })
    }

    pub fn options(&self) -> BTreeMap<String, String> {
        self.session
            .options()
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    /// Runs one statement, with `options` for it alone: what needs no job is done when this returns, a query has started.
    ///
    /// # Errors
    /// Why the statement is refused; with `table.dml-sync`, why its job failed.
    pub async fn execute(&mut self, text: &str, options: &BTreeMap<String, String>) -> Result<Answer, Error> {
        let mut statements = deeply(|| parse::parse(text))?;
        let statement = match (statements.pop(), statements.is_empty()) {
            (Some(statement), true) => statement,
            (None, _) => return Err(Error::parse("there is no statement")),
            (Some(_), false) => {
                return Err(Error::unsupported(
                    "a call takes one statement: send the others after it",
                ));
            }
        };
        match &statement.statement {
            Statement::ShowJobs => return self.list(self.jobs.list()),
            Statement::DescribeJob(id) => return self.list(vec![self.job(id)?.record()]),
            Statement::StopJob { id, savepoint, drain } => return self.stop(id, *savepoint, *drain).await,
            // What these set is to last.
            Statement::Set { .. } | Statement::Reset { .. } => return self.run(&statement, text).await,
            _ => {}
        }
        let before = self.session.override_options(options)?;
        let answer = self.run(&statement, text).await;
        self.session.put_back(before);
        answer
    }

    async fn run(&mut self, statement: &Located, text: &str) -> Result<Answer, Error> {
        let has_content = !matches!(
            statement.statement,
            Statement::Set { .. }
                | Statement::Reset { .. }
                | Statement::Drop(_)
                | Statement::CreateView(_)
                | Statement::CreateTable(_)
        );
        let (outcome, job) = self.start(statement, text)?;
        if matches!(
            statement.statement,
            Statement::Drop(_) | Statement::CreateView(_) | Statement::CreateTable(_)
        ) {
            self.ddl.push(text.to_owned());
        }
        let head = Head {
            schema: Arc::clone(&outcome.schema),
            facts: outcome.facts,
            is_query: outcome.is_query,
            has_content,
            job: outcome.job.clone(),
            zone: self.session.options().zone()?,
        };
        let Some(job) = job else {
            let rows = Rows {
                batches: outcome.rows,
                ended: Some(outcome.ended),
            };
            return Ok(Answer { head, rows });
        };
        let ended = watched(&job, outcome.ended, &self.shutdown);
        let rows = if outcome.is_query {
            Rows {
                batches: outcome.rows,
                ended: Some(ended),
            }
        } else {
            self.inserted(&job, Arc::clone(&outcome.schema), ended).await?
        };
        Ok(Answer { head, rows })
    }

    /// Starts a statement; a query and an INSERT have a job, which is known and durable before it runs.
    fn start(&mut self, statement: &Located, text: &str) -> Result<(Outcome, Option<Arc<Job>>), Error> {
        let id = Uuid::new_v4().simple().to_string();
        let is_insert = matches!(statement.statement, Statement::Insert(_));
        if !is_insert && !matches!(statement.statement, Statement::Query(_)) {
            let settings = settings(self.session.options(), &id, None)?;
            let outcome = program::execute(&mut self.session, statement, settings, &self.meter, &self.shutdown)?;
            return Ok((outcome, None));
        }
        if is_insert {
            // What cannot be planned leaves no job.
            let session = &self.session;
            deeply(|| session.clone().execute(statement, jobs::now_ms()).map(|_| ()))?;
        }
        let options = self.options();
        let record = Record {
            id: id.clone(),
            name: options
                .get("pipeline.name")
                .cloned()
                .unwrap_or_else(|| job_name(&statement.statement)),
            status: Status::Running,
            started_ms: jobs::now_ms(),
            ended_ms: None,
            error: None,
            savepoint: None,
            ddl: if is_insert { self.ddl.clone() } else { Vec::new() },
            options,
            statement: text.to_owned(),
            failing: None,
        };
        let job = self.jobs.add(record, is_insert)?;
        let started = settings(self.session.options(), &id, Some(&job))
            .and_then(|settings| program::execute(&mut self.session, statement, settings, &self.meter, &job.stop));
        match started {
            Ok(outcome) => Ok((outcome, Some(job))),
            Err(error) => {
                job.settle(Err(&error), false);
                Err(error)
            }
        }
    }

    /// The answer of an INSERT is its job's id: at once, or at its end with `table.dml-sync`. The job goes on when the client
    /// has gone.
    async fn inserted(&self, job: &Arc<Job>, schema: SchemaRef, ended: Ended) -> Result<Rows, Error> {
        let sync = self.session.options().get("table.dml-sync");
        if sync.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            ended.await.map_err(Error::runtime)??;
        }
        let column: ArrayRef = Arc::new(StringArray::from(vec![job.record().id]));
        Rows::of(RecordBatch::try_new(schema, vec![column])?)
    }

    fn job(&self, id: &str) -> Result<Arc<Job>, Error> {
        self.jobs
            .get(id)
            .ok_or_else(|| Error::validate(format!("Job {id} not found")))
    }

    /// Flink's columns of SHOW JOBS.
    fn list(&self, records: Vec<Record>) -> Result<Answer, Error> {
        let texts = |text: fn(&Record) -> &str| -> ArrayRef {
            Arc::new(records.iter().map(|record| Some(text(record))).collect::<StringArray>())
        };
        let starts: TimestampMillisecondArray = records
            .iter()
            .map(|record| record.started_ms)
            .collect::<Vec<_>>()
            .into();
        let starts: ArrayRef = Arc::new(starts.with_timezone("UTC"));
        let columns = [
            ("job id", texts(|record| &record.id)),
            ("job name", texts(|record| &record.name)),
            ("status", texts(Record::state)),
            ("start time", starts),
        ];
        self.answer(RecordBatch::try_from_iter(columns)?, true)
    }

    async fn stop(&self, id: &str, savepoint: bool, drain: bool) -> Result<Answer, Error> {
        let job = self.job(id)?;
        if !savepoint {
            if drain {
                return Err(Error::validate("WITH DRAIN could only be used after WITH SAVEPOINT."));
            }
            job.cancel()?;
            let ok: ArrayRef = Arc::new(StringArray::from(vec!["OK"]));
            return self.answer(RecordBatch::try_from_iter([("result", ok)])?, false);
        }
        let path = job.stop(drain).await?;
        let path = path.map(|path| path.display().to_string());
        let path: ArrayRef = Arc::new(StringArray::from(vec![path]));
        self.answer(RecordBatch::try_from_iter([("savepoint path", path)])?, true)
    }

    fn answer(&self, batch: RecordBatch, has_content: bool) -> Result<Answer, Error> {
        let head = Head {
            schema: batch.schema(),
            facts: Vec::new(),
            is_query: false,
            has_content,
            job: None,
            zone: self.session.options().zone()?,
        };
        Ok(Answer {
            head,
            rows: Rows::of(batch)?,
        })
    }
}

/// Goes on with a job that an earlier process left, from its newest checkpoint.
///
/// # Errors
/// Why it cannot: its record says so from then on.
pub fn resume(record: Record, jobs: &Arc<Jobs>, meter: &Meter, shutdown: &Shutdown) -> Result<(), Error> {
    let was_running = record.status == Status::Running;
    let job = jobs.add(record.clone(), true)?;
    if !was_running {
        return Ok(());
    }
    let start = || {
        let mut session = Session::new(connector::ENVIRONMENT);
        session.override_options(&record.options)?;
        for text in &record.ddl {
            for statement in deeply(|| parse::parse(text))? {
                deeply(|| session.execute(&statement, record.started_ms).map(|_| ()))?;
            }
        }
        let settings = settings(session.options(), &record.id, Some(&job))?;
        if settings.state.is_none() {
            return Err(Error::runtime(
                "the server was restarted, and the job had no checkpoints (execution.checkpointing.interval is 0)",
            ));
        }
        let mut statements = deeply(|| parse::parse(&record.statement))?;
        let statement = statements
            .pop()
            .ok_or_else(|| Error::runtime("the job's record has no statement"))?;
        program::execute(&mut session, &statement, settings, meter, &job.stop)
    };
    match start() {
        Ok(outcome) => {
            tracing::info!(job = record.id, name = record.name, "the job goes on");
            watched(&job, outcome.ended, shutdown);
            Ok(())
        }
        Err(error) => {
            job.settle(Err(&error), false);
            Err(error)
        }
    }
}

/// Writes down what becomes of a job.
fn watched(job: &Arc<Job>, ended: Ended, shutdown: &Shutdown) -> Ended {
    job.started(ended.abort_handle());
    let (job, shutdown) = (Arc::clone(job), shutdown.clone());
    tokio::spawn(async move {
        let report = match ended.await {
            Ok(report) => report,
            Err(error) if error.is_cancelled() => Err(Error::runtime("the job was cancelled")),
            Err(error) => Err(Error::runtime(error)),
        };
        job.settle(report.as_ref().map(|report| report.finished), shutdown.is_requested());
        let record = job.record();
        match &report {
            Ok(_) => tracing::info!(job = record.id, status = record.status.name(), "the job has ended"),
            Err(error) => tracing::warn!(job = record.id, status = record.status.name(), %error, "the job has ended"),
        }
        report
    })
}

/// How a statement's job runs; one with a directory has checkpoints there.
fn settings(options: &Options, id: &str, job: Option<&Arc<Job>>) -> Result<Settings, Error> {
    let idle = options.duration_ms("table.exec.source.idle-timeout", 0);
    let interval = options.duration_ms("execution.checkpointing.interval", program::CHECKPOINT_INTERVAL_MS);
    let state = job.and_then(|job| job.checkpoints()).filter(|_| interval > 0);
    let parallelism = options
        .get("parallelism.default")
        .and_then(|text| text.parse().ok())
        .unwrap_or(1);
    Ok(Settings {
        job: id.to_owned(),
        zone: options.zone()?,
        parallelism,
        state: state.map(|directory| State {
            directory,
            fingerprint: id.to_owned(),
            interval: Duration::from_millis(interval.unsigned_abs()),
        }),
        idle_after: (idle > 0).then(|| Duration::from_millis(idle.unsigned_abs())),
        drain_file: job.and_then(|job| job.directory().map(|directory| job.drain_file(directory))),
        failing: job.map(|job| job.failing.clone()).unwrap_or_default(),
    })
}

/// The name that Flink gives a job.
fn job_name(statement: &Statement) -> String {
    match statement {
        Statement::Insert(inserts) => {
            let tables: Vec<String> = inserts
                .iter()
                .map(|insert| format!("default_catalog.default_database.{}", insert.table.text))
                .collect();
            format!("insert-into_{}", tables.join(","))
        }
        _ => "collect".to_owned(),
    }
}

impl Rows {
    /// Rows that are there already.
    fn of(batch: RecordBatch) -> Result<Self, Error> {
        let (send, batches) = mpsc::channel(1);
        // The channel holds one batch, so there is room.
        let _sent = send.try_send(batch);
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
