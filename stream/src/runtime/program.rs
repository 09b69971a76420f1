//! A program: the statements of a file, one after the other.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::time::Zone;
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use host::Shutdown;
use serde_json::json;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::job::{Failing, Report, Settings, State, run_job};
use super::meter::Meter;
use super::workers::deeply;
use crate::Error;
use crate::connector;
use crate::operator::Counters;
use crate::output;
use crate::sql::statement::{Located, Statement};
use crate::sql::{Answer, Facts, Job, Session, parse};

/// The checkpoint interval where the program sets none: short, because an epoch of a small job costs milliseconds.
pub const CHECKPOINT_INTERVAL_MS: i64 = 1000;
/// Batches of a result on their way to the reader.
const RESULT_BATCHES: usize = 16;
const SUMMARY: &str = "summary.json";
const JOB_ID: &str = "job-id";

/// How the last result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    Json,
    Table,
}

/// How a program is run.
#[derive(Debug, Clone)]
pub struct Plan {
    pub text: String,
    pub parallelism: u32,
    pub state: Option<PathBuf>,
    pub drain_file: Option<PathBuf>,
    pub output: Output,
}

/// A result whose rows arrive while the job runs.
pub struct Outcome {
    pub schema: SchemaRef,
    /// What the columns' Arrow types do not say; empty where nothing is known.
    pub facts: Vec<Facts>,
    /// A query, rather than DDL or an INSERT.
    pub is_query: bool,
    /// Set if a job ran or runs.
    pub job: Option<String>,
    /// The rows, all inserted; closed at their end.
    pub rows: mpsc::Receiver<RecordBatch>,
    /// How the job ended.
    pub ended: tokio::task::JoinHandle<Result<Report, Error>>,
}

/// Runs one statement of a session: what `stream run` and any other front end share. Jobs run on their own, so dropping
/// the outcome's rows ends a query.
pub fn execute(
    session: &mut Session,
    statement: &Located,
    settings: Settings,
    meter: &Meter,
    shutdown: &Shutdown,
) -> Result<Outcome, Error> {
    let (send, rows) = mpsc::channel(RESULT_BATCHES);
    match deeply(|| session.execute(statement, now_ms()))? {
        Answer::Rows(schema, batch) => {
            let ended = tokio::spawn(async move {
                let _nobody_reads = send.send(batch).await;
                Ok(Report {
                    finished: true,
                    ..Report::default()
                })
            });
            Ok(Outcome {
                schema,
                facts: Vec::new(),
                is_query: false,
                job: None,
                rows,
                ended,
            })
        }
        Answer::Job(job) => Ok(start(job, settings, meter, shutdown, send, rows)),
    }
}

fn start(
    job: Job,
    settings: Settings,
    meter: &Meter,
    shutdown: &Shutdown,
    send: mpsc::Sender<RecordBatch>,
    rows: mpsc::Receiver<RecordBatch>,
) -> Outcome {
    let (meter, shutdown, id) = (meter.clone(), shutdown.clone(), settings.job.clone());
    let is_query = job.result.is_some();
    let facts = job.facts.clone();
    let schema = job.result.clone().unwrap_or_else(job_schema);
    let result = Arc::clone(&schema);
    let ended = tokio::spawn(async move {
        let results = is_query.then(|| (send.clone(), Arc::clone(&result)));
        let report = run_job(&job.outputs, &settings, &meter, results, &shutdown).await?;
        if !is_query {
            let ids: ArrayRef = Arc::new(StringArray::from(vec![settings.job.clone()]));
            let _nobody_reads = send.send(RecordBatch::try_new(result, vec![ids])?).await;
        }
        Ok(report)
    });
    Outcome {
        schema,
        facts,
        is_query,
        job: Some(id),
        rows,
        ended,
    }
}

fn job_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("job id", DataType::Utf8, true)]))
}

/// Runs a program to its end, and prints the last statement's result.
pub async fn run(plan: &Plan, meter: &Meter, shutdown: &Shutdown) -> Result<(), Error> {
    let statements = deeply(|| parse::parse(&plan.text))?;
    let mut session = Session::new(connector::ENVIRONMENT);
    let mut total = Report {
        finished: true,
        ..Report::default()
    };
    let mut jobs = 0;
    let mut last = None;
    for statement in &statements {
        let job_number = jobs;
        let is_insert = matches!(statement.statement, Statement::Insert(_));
        jobs += u32::from(is_insert);
        let settings = settings(plan, &session, is_insert.then_some(job_number))?;
        let mut outcome = execute(&mut session, statement, settings, meter, shutdown)?;
        let mut batches = Vec::new();
        while let Some(batch) = outcome.rows.recv().await {
            batches.push(batch);
        }
        let report = outcome.ended.await.map_err(Error::runtime)??;
        if report.was_finished {
            note(&format!(
                "job {} had finished before; its result stands",
                job_number + 1
            ));
        }
        add(&mut total, &report);
        if !report.finished {
            note("stopped at a checkpoint; run it again with the same --state to go on");
            return write_summary(plan, &total, jobs);
        }
        last = Some((outcome.schema, batches, session.options().zone()?));
    }
    if let Some((schema, batches, zone)) = last {
        print(&schema, &batches, zone, plan.output)?;
    }
    write_summary(plan, &total, jobs)
}

fn add(total: &mut Report, report: &Report) {
    total.counters.add(report.counters);
    total.checkpoints += report.checkpoints;
    total.restored_from = total.restored_from.or(report.restored_from);
}

/// A job has state if there is a directory and it has a place in the program: a query starts from the beginning.
fn settings(plan: &Plan, session: &Session, insert: Option<u32>) -> Result<Settings, Error> {
    let options = session.options();
    let mut job = Uuid::new_v4().simple().to_string();
    let mut state = None;
    if let (Some(directory), Some(number)) = (&plan.state, insert) {
        let directory = directory.join(format!("job-{number}"));
        std::fs::create_dir_all(&directory).map_err(|error| unusable(&directory, &error))?;
        job = job_id(&directory, &job)?;
        let interval = options
            .duration_ms("execution.checkpointing.interval", CHECKPOINT_INTERVAL_MS)
            .max(1);
        state = Some(State {
            directory,
            fingerprint: format!("{:08x}", crc32c::crc32c(plan.text.as_bytes())),
            interval: Duration::from_millis(interval.unsigned_abs()),
        });
    }
    let idle = options.duration_ms("table.exec.source.idle-timeout", 0);
    Ok(Settings {
        job,
        zone: options.zone()?,
        parallelism: plan.parallelism,
        state,
        idle_after: (idle > 0).then(|| Duration::from_millis(idle.unsigned_abs())),
        drain_file: plan.drain_file.clone(),
        failing: Failing::default(),
    })
}

/// The job's name: found, or `fresh` written down before anything bears it.
fn job_id(directory: &Path, fresh: &str) -> Result<String, Error> {
    let path = directory.join(JOB_ID);
    if let Ok(found) = std::fs::read_to_string(&path)
        && !found.trim().is_empty()
    {
        return Ok(found.trim().to_owned());
    }
    write_file(directory, JOB_ID, fresh)?;
    Ok(fresh.to_owned())
}

fn write_summary(plan: &Plan, total: &Report, jobs: u32) -> Result<(), Error> {
    let Counters {
        rows_read,
        late_rows,
        windows,
    } = total.counters;
    if jobs > 0 {
        note(&format!(
            "{rows_read} rows read, {late_rows} late, {windows} window rows, {} checkpoints{}",
            total.checkpoints,
            total
                .restored_from
                .map_or_else(String::new, |epoch| format!(", restored from epoch {epoch}"))
        ));
    }
    let Some(directory) = &plan.state else { return Ok(()) };
    let summary = json!({
        "rows_read": rows_read,
        "late_rows": late_rows,
        "windows": windows,
        "checkpoints": total.checkpoints,
        "restored_from": total.restored_from,
    });
    write_file(directory, SUMMARY, &format!("{summary}\n"))
}

fn write_file(directory: &Path, name: &str, text: &str) -> Result<(), Error> {
    let part = directory.join(format!("{name}.part"));
    let write = || {
        let mut file = std::fs::File::create(&part)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&part, directory.join(name))?;
        std::fs::File::open(directory)?.sync_all()
    };
    write().map_err(|error| unusable(directory, &error))
}

fn unusable(directory: &Path, error: &std::io::Error) -> Error {
    Error::runtime(format!(
        "cannot use the state directory {}: {error}",
        directory.display()
    ))
}

fn print(schema: &SchemaRef, batches: &[RecordBatch], zone: Zone, how: Output) -> Result<(), Error> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    match how {
        Output::Json => output::write_json(&mut out, &concat_batches(schema, batches)?, zone)?,
        Output::Table => output::write_table(&mut out, schema, batches, zone)?,
    }
    out.flush()
        .map_err(|error| Error::runtime(format!("cannot write the result: {error}")))
}

/// A line for people. Whether anybody reads it does not matter.
fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "stream: {text}");
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
