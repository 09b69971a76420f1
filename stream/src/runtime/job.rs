//! One job from its start, or its last epoch, to its end.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::time::Zone;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use disk::RealDisk;
use host::Shutdown;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::task::{Command, Told};
use super::wiring::{Tasks, Wiring};
use super::{Failure, Meter};
use crate::Error;
use crate::checkpoint::{Coordinator, Effect, Happened, Store, TaskId, TaskState};
use crate::connector::Sink;
use crate::graph::{Output, build};
use crate::operator::Counters;

/// How often a failed job is started again before it is given up, and how long it waits first.
const RESTARTS_MAX: u32 = 10;
const RESTART_DELAY: Duration = Duration::from_millis(500);
/// A restart counts as the first again after this long without a failure.
const RESTART_FORGIVEN: Duration = Duration::from_secs(60);
/// How often the drain file is looked for.
const DRAIN_POLL: Duration = Duration::from_millis(100);

/// How a job runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Names the job: the same after a restart.
    pub job: String,
    pub zone: Zone,
    pub parallelism: u32,
    /// Where its epochs are; without, it has none and cannot be resumed.
    pub state: Option<State>,
    pub idle_after: Option<Duration>,
    pub drain_file: Option<PathBuf>,
    /// Shown to those who watch the job.
    pub failing: Failing,
}

/// Why a job's last attempt failed, until it has published a checkpoint again: before that it only tries to run.
#[derive(Debug, Clone, Default)]
pub struct Failing(Arc<Mutex<Option<String>>>);

impl Failing {
    pub fn reason(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, reason: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }
}

#[derive(Debug, Clone)]
pub struct State {
    pub directory: PathBuf,
    /// Tells this program from others.
    pub fingerprint: String,
    pub interval: Duration,
}

/// What a run came to.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub counters: Counters,
    pub checkpoints: u64,
    pub restored_from: Option<u64>,
    /// False if the job was stopped before its end, to be resumed.
    pub finished: bool,
    /// The job had finished before; nothing was done.
    pub was_finished: bool,
}

/// Runs a job to its end. A query's rows go to `results`.
pub async fn run_job(
    outputs: &[Output],
    settings: &Settings,
    meter: &Meter,
    results: Option<(mpsc::Sender<RecordBatch>, SchemaRef)>,
    shutdown: &Shutdown,
) -> Result<Report, Error> {
    let mut restarts = 0;
    let mut restored_from = None;
    let mut checkpoints = 0;
    loop {
        let started = Instant::now();
        let mut run = Run::prepare(outputs, settings, meter, results.as_ref())?;
        restored_from = restored_from.or(run.restored_from);
        let outcome = run.run(shutdown).await;
        checkpoints += run.checkpoints;
        match outcome {
            Ok(finished) => {
                let counters = run.counters;
                meter.settle(counters);
                return Ok(Report {
                    counters,
                    checkpoints,
                    restored_from,
                    finished,
                    was_finished: run.finished_before.is_some(),
                });
            }
            Err(Failure::Peer(error @ Error::Runtime(_))) if settings.state.is_some() && !shutdown.is_requested() => {
                restarts = if started.elapsed() > RESTART_FORGIVEN {
                    1
                } else {
                    restarts + 1
                };
                if restarts > RESTARTS_MAX {
                    return Err(error);
                }
                tracing::warn!(%error, restarts, "the job failed; starting again from its newest checkpoint");
                settings.failing.set(Some(error.to_string()));
                meter.clear();
                tokio::time::sleep(RESTART_DELAY * restarts).await;
            }
            Err(failure) => return Err(failure.into_error()),
        }
    }
}

/// One attempt.
struct Run<'a> {
    settings: &'a Settings,
    meter: &'a Meter,
    store: Option<Store>,
    coordinator: Coordinator,
    tasks: Option<Tasks>,
    restored_from: Option<u64>,
    finished_before: Option<Counters>,
    /// The sinks of a job that had finished, and what each committed last.
    sinks: Vec<(Box<dyn Sink>, Option<Value>)>,
    checkpoints: u64,
    counters: Counters,
}

impl<'a> Run<'a> {
    fn prepare(
        outputs: &[Output],
        settings: &'a Settings,
        meter: &'a Meter,
        results: Option<&(mpsc::Sender<RecordBatch>, SchemaRef)>,
    ) -> Result<Self, Error> {
        let graph = build(outputs, settings.parallelism);
        let mut restored = BTreeMap::new();
        let (mut store, mut restored_from, mut finished_before, mut last) = (None, None, None, 0);
        if let Some(state) = &settings.state {
            let opened = Store::open(Arc::new(RealDisk), &state.directory, &state.fingerprint)?;
            last = opened.last_epoch()?;
            if let Some(newest) = opened.newest()? {
                for reason in &newest.passed_over {
                    tracing::warn!(%reason, "a damaged checkpoint was passed over");
                }
                if newest.finished {
                    finished_before = Some(sum(&newest.tasks));
                }
                restored_from = Some(newest.epoch);
                restored = newest.tasks;
            }
            store = Some(opened);
        }
        let ids = graph.vertices.iter().enumerate().flat_map(|(vertex, v)| {
            (0..v.parallelism).map(move |subtask| TaskId {
                vertex: vertex as u32,
                subtask,
            })
        });
        let coordinator = Coordinator::new(ids.collect(), last);
        let results = results.map(|(to, schema)| (to, schema));
        let wiring = Wiring {
            graph: &graph,
            settings,
            restored: &restored,
            meter,
            results,
            next_epoch: last + 1,
        };
        let (tasks, sinks) = match finished_before {
            None => (Some(wiring.start()?), Vec::new()),
            Some(_) => (None, wiring.sinks()?),
        };
        Ok(Self {
            settings,
            meter,
            store,
            coordinator,
            tasks,
            restored_from,
            finished_before,
            sinks,
            checkpoints: 0,
            counters: Counters::default(),
        })
    }

    /// The job had finished, but perhaps the process died before its last rows became visible: commits them again.
    async fn commit_again(&mut self, counters: Counters) -> Result<bool, Failure> {
        for (sink, last) in &mut self.sinks {
            sink.recover(last.as_ref()).await.map_err(Failure::Peer)?;
        }
        self.counters = counters;
        Ok(true)
    }

    /// True if the job came to its end, false if it was stopped.
    async fn run(&mut self, shutdown: &Shutdown) -> Result<bool, Failure> {
        if let Some(counters) = self.finished_before {
            return self.commit_again(counters).await;
        }
        let Some(mut tasks) = self.tasks.take() else {
            return Ok(true);
        };
        let every = self
            .settings
            .state
            .as_ref()
            .map_or(Duration::from_secs(3600), |state| state.interval);
        let mut ticks = interval_at(Instant::now() + every, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut drain_poll = tokio::time::interval(DRAIN_POLL);
        let (mut stopping, mut draining) = (false, false);
        loop {
            let happened = tokio::select! {
                biased;
                Some(told) = tasks.told.recv() => match told {
                    Told::Acknowledged(task, epoch, state) => Happened::Acknowledged(task, epoch, state),
                    Told::Finished(task, state) => Happened::Finished(task, state),
                    Told::Committed(task, epoch) => Happened::Committed(task, epoch),
                },
                ended = tasks.running.join_next() => match ended {
                    Some(Ok(Ok(()))) => continue,
                    Some(Ok(Err(failure))) => return Err(failure),
                    Some(Err(error)) => {
                        return Err(Failure::Row(Error::runtime(format!("a task of the job died: {error}"))));
                    }
                    // The reader of the rows has gone.
                    None => return Ok(false),
                },
                () = shutdown.requested(), if !stopping => {
                    stopping = true;
                    if self.store.is_none() {
                        return Err(Failure::Row(Error::runtime("stopped by a signal before its end; give --state DIR to make it resumable")));
                    }
                    Happened::Stop
                }
                _ = ticks.tick(), if self.store.is_some() => Happened::Tick,
                _ = drain_poll.tick(), if self.settings.drain_file.is_some() && !draining => {
                    if self.settings.drain_file.as_ref().is_some_and(|path| path.exists()) {
                        draining = true;
                        send(&tasks, &tasks.sources, |_| Command::Drain);
                    }
                    continue;
                }
            };
            if let Some(finished) = self.step(happened, &tasks).await? {
                return Ok(finished);
            }
        }
    }

    /// Carries out what the coordinator decides.
    async fn step(&mut self, happened: Happened, tasks: &Tasks) -> Result<Option<bool>, Failure> {
        let mut queue = vec![happened];
        while let Some(happened) = queue.pop() {
            for effect in self.coordinator.step(happened) {
                match effect {
                    Effect::Trigger(epoch) => send(tasks, &tasks.sources, |_| Command::Trigger(epoch)),
                    Effect::Publish {
                        epoch,
                        states,
                        finished,
                    } => {
                        self.counters = sum(&states);
                        self.publish(epoch, states, finished).await?;
                        send(tasks, &tasks.sources, |_| Command::Published(epoch));
                        queue.push(Happened::Published(epoch));
                    }
                    Effect::Commit {
                        epoch,
                        task,
                        committable,
                    } => {
                        send(tasks, &[task], |_| Command::Commit(epoch, committable.clone()));
                    }
                    Effect::Forget { before } => {
                        if let Some(store) = &self.store {
                            store.forget(before).map_err(Failure::Row)?;
                        }
                    }
                    Effect::Done { finished } => return Ok(Some(finished)),
                }
            }
        }
        Ok(None)
    }

    async fn publish(
        &mut self,
        epoch: u64,
        states: BTreeMap<TaskId, TaskState>,
        finished: bool,
    ) -> Result<(), Failure> {
        let Some(store) = self.store.clone() else { return Ok(()) };
        let written = tokio::task::spawn_blocking(move || store.publish(epoch, &states, finished)).await;
        match written {
            Ok(Ok(())) => {
                self.checkpoints += 1;
                self.meter.checkpoint();
                self.settings.failing.set(None);
                tracing::debug!(epoch, finished, "checkpoint published");
                Ok(())
            }
            Ok(Err(error)) => Err(Failure::Row(error)),
            Err(error) => Err(Failure::Row(Error::runtime(error))),
        }
    }
}

fn send(tasks: &Tasks, to: &[TaskId], command: impl Fn(&TaskId) -> Command) {
    for task in to {
        // A task that has ended needs no command.
        let _ = tasks.commands.get(task).map(|commands| commands.send(command(task)));
    }
}

fn sum(states: &BTreeMap<TaskId, TaskState>) -> Counters {
    let mut sum = Counters::default();
    states.values().for_each(|state| sum.add(state.counters()));
    sum
}
