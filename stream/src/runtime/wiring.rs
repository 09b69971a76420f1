//! From a graph to tasks: opens sources and sinks, restores state, connects channels.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::gate::{Gate, Message};
use super::sink_task::{ChannelTask, Drain};
use super::source_task::{Rowset, SourceTask};
use super::task::{Body, Command, Route, Told};
use super::{Failure, Meter, Settings};
use crate::Error;
use crate::checkpoint::{TaskId, TaskState};
use crate::connector::{Context, Sink, open_sink, open_source};
use crate::graph::{Exchange, Graph, Origin, Target, Vertex, key_group_filter};
use crate::operator::Chain;
use crate::table::TableSpec;

/// A sink, and what it committed last.
pub type Committed = (Box<dyn Sink>, Option<Value>);

/// Batches that wait between two tasks: enough to keep both busy, few enough to keep memory and barriers short.
const CHANNEL_BATCHES: usize = 4;

/// A job's running tasks.
pub struct Tasks {
    pub commands: BTreeMap<TaskId, mpsc::UnboundedSender<Command>>,
    pub sources: Vec<TaskId>,
    pub told: mpsc::UnboundedReceiver<Told>,
    pub running: JoinSet<Result<(), Failure>>,
}

/// What wiring needs besides the graph.
pub struct Wiring<'a> {
    pub graph: &'a Graph,
    pub settings: &'a Settings,
    pub restored: &'a BTreeMap<TaskId, TaskState>,
    pub meter: &'a Meter,
    pub results: Option<(&'a mpsc::Sender<RecordBatch>, &'a SchemaRef)>,
    /// The first epoch of this run.
    pub next_epoch: u64,
}

type Senders = BTreeMap<TaskId, Vec<Route>>;
/// Each channel with the input of the first operator that it feeds.
type Receivers = BTreeMap<TaskId, Vec<(mpsc::Receiver<Message>, u8)>>;

impl Wiring<'_> {
    pub fn start(&self) -> Result<Tasks, Error> {
        let (mut senders, mut receivers) = self.channels();
        let (tell, told) = mpsc::unbounded_channel();
        let threads = super::workers::tasks()?;
        let mut tasks = Tasks {
            commands: BTreeMap::new(),
            sources: Vec::new(),
            told,
            running: JoinSet::new(),
        };
        for (number, vertex) in self.graph.vertices.iter().enumerate() {
            for subtask in 0..vertex.parallelism {
                let task = TaskId {
                    vertex: number as u32,
                    subtask,
                };
                let body = Body {
                    task,
                    chain: self.chain(task, vertex)?,
                    routes: senders.remove(&task).unwrap_or_default(),
                    told: tell.clone(),
                    meter: self.meter.clone(),
                };
                let (command, commands) = mpsc::unbounded_channel();
                tasks.commands.insert(task, command);
                match &vertex.origin {
                    Origin::Channels(_) => {
                        let gate = Gate::new(receivers.remove(&task).unwrap_or_default());
                        let recover = self.restored.get(&task).and_then(|state| state.committable.clone());
                        let drain = self.drain(task, vertex)?;
                        tasks.running.spawn_on(
                            ChannelTask {
                                body,
                                gate,
                                drain,
                                commands,
                                recover,
                                next_epoch: self.next_epoch,
                            }
                            .run(),
                            threads,
                        );
                    }
                    origin => {
                        let rows = self.rowset(task, origin)?;
                        let idle_after = match origin {
                            Origin::Table(_, Some(millis)) => Some(Duration::from_millis(millis.unsigned_abs())),
                            _ => self.settings.idle_after,
                        };
                        tasks.sources.push(task);
                        tasks.running.spawn_on(
                            SourceTask {
                                body,
                                rows,
                                commands,
                                idle_after,
                            }
                            .run(),
                            threads,
                        );
                    }
                }
            }
        }
        Ok(tasks)
    }

    /// A channel for each pair of subtasks along each edge.
    fn channels(&self) -> (Senders, Receivers) {
        let (mut senders, mut receivers): (Senders, Receivers) = Default::default();
        for (reader, vertex) in self.graph.vertices.iter().enumerate() {
            let Origin::Channels(inputs) = &vertex.origin else {
                continue;
            };
            for input in inputs {
                let (writer, exchange) = (input.vertex, &input.exchange);
                for subtask in 0..self.graph.vertices[writer].parallelism {
                    let from = TaskId {
                        vertex: writer as u32,
                        subtask,
                    };
                    let mut route = Route {
                        exchange: exchange.clone(),
                        senders: Vec::new(),
                    };
                    let readers = if *exchange == Exchange::Gather {
                        1
                    } else {
                        vertex.parallelism
                    };
                    for subtask in 0..readers {
                        let (sender, receiver) = mpsc::channel(CHANNEL_BATCHES);
                        route.senders.push(sender);
                        let to = TaskId {
                            vertex: reader as u32,
                            subtask,
                        };
                        receivers.entry(to).or_default().push((receiver, input.side));
                    }
                    senders.entry(from).or_default().push(route);
                }
            }
        }
        (senders, receivers)
    }

    fn chain(&self, task: TaskId, vertex: &Vertex) -> Result<Chain, Error> {
        let operators = vertex
            .steps
            .iter()
            .map(|step| step.operator())
            .collect::<Result<Vec<_>, _>>()?;
        let mut chain = Chain::new(operators);
        // The state of all subtasks that this vertex had, however many they were.
        let snapshots: Vec<_> = self
            .restored
            .iter()
            .filter(|(other, _)| other.vertex == task.vertex)
            .map(|(_, state)| state.operators.clone())
            .collect();
        if !snapshots.is_empty() {
            let keep = |keys: &[arrow::array::ArrayRef]| key_group_filter(keys, task.subtask, vertex.parallelism);
            chain.restore(&snapshots, &keep, task.subtask == 0)?;
        }
        Ok(chain)
    }

    fn context(&self, task: TaskId) -> Context {
        Context {
            job: format!("{}-v{}", self.settings.job, task.vertex),
            subtask: task.subtask,
            parallelism: 1,
            zone: self.settings.zone,
        }
    }

    fn rowset(&self, task: TaskId, origin: &Origin) -> Result<Rowset, Error> {
        match origin {
            Origin::Table(table, _) => {
                let mut source = open_source(table, &self.context(task))?;
                if let Some(position) = self.restored.get(&task).and_then(|state| state.position.as_ref()) {
                    source.restore(position)?;
                }
                Ok(Rowset::Table(source))
            }
            Origin::Values(batch) => Ok(Rowset::Values(batch.clone())),
            Origin::Channels(_) => Err(Error::runtime("a task that reads channels is no source")),
        }
    }

    fn drain(&self, task: TaskId, vertex: &Vertex) -> Result<Drain, Error> {
        match &vertex.target {
            None => Ok(Drain::Routes),
            Some(Target::Table(table)) => {
                let sink = open_sink(table, &self.context(task))?;
                Ok(Drain::Table {
                    sink,
                    schema: written(table),
                })
            }
            Some(Target::Collect) => match self.results {
                Some((to, schema)) => Ok(Drain::Collect {
                    to: to.clone(),
                    schema: Arc::clone(schema),
                }),
                None => Err(Error::runtime("the query has no client to take its rows")),
            },
        }
    }

    /// The sinks alone, each with what it committed in the epoch that was restored.
    pub fn sinks(&self) -> Result<Vec<Committed>, Error> {
        let mut sinks = Vec::new();
        for (number, vertex) in self.graph.vertices.iter().enumerate() {
            let Some(Target::Table(table)) = &vertex.target else {
                continue;
            };
            for subtask in 0..vertex.parallelism {
                let task = TaskId {
                    vertex: number as u32,
                    subtask,
                };
                let last = self.restored.get(&task).and_then(|state| state.committable.clone());
                sinks.push((open_sink(table, &self.context(task))?, last));
            }
        }
        Ok(sinks)
    }
}

/// The columns that a sink takes: all but the virtual ones.
fn written(table: &TableSpec) -> SchemaRef {
    let is_virtual = |name: &str| {
        table
            .metadata
            .iter()
            .any(|column| column.virtual_ && column.column == name)
    };
    let fields: Vec<Field> = table
        .physical
        .fields()
        .iter()
        .filter(|f| !is_virtual(f.name()))
        .map(|f| f.as_ref().clone())
        .collect();
    Arc::new(Schema::new(fields))
}
