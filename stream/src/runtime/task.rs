//! What all tasks share: their operators, their outputs, their line to the job.

use serde_json::Value;
use tokio::sync::mpsc;

use super::gate::Message;
use super::{Failure, Meter};
use crate::checkpoint::{TaskId, TaskState};
use crate::graph::{Exchange, partition};
use crate::operator::{Chain, Event, Rows};

/// What the job tells a task.
#[derive(Debug)]
pub enum Command {
    /// A source: note the position and send a barrier.
    Trigger(u64),
    /// A source: end at what is there now.
    Drain,
    /// A source: the epoch is durable.
    Published(u64),
    /// A sink: make this visible.
    Commit(u64, Value),
}

/// What a task tells the job.
#[derive(Debug)]
pub enum Told {
    Acknowledged(TaskId, u64, TaskState),
    Finished(TaskId, TaskState),
    Committed(TaskId, u64),
}

/// The channels to the subtasks of one reader.
pub struct Route {
    pub exchange: Exchange,
    pub senders: Vec<mpsc::Sender<Message>>,
}

/// A task's operators and where its rows go.
pub struct Body {
    pub task: TaskId,
    pub chain: Chain,
    pub routes: Vec<Route>,
    pub told: mpsc::UnboundedSender<Told>,
    pub meter: Meter,
}

impl Body {
    /// Runs an event through the operators; what comes out and stays here is returned.
    pub fn process(&mut self, event: Event) -> Result<Vec<Event>, Failure> {
        let counts = matches!(event, Event::Rows(_) | Event::Watermark(_) | Event::End);
        let events = self.chain.on_event(event).map_err(Failure::Row)?;
        if counts {
            self.meter.set(self.task, self.chain.counters());
        }
        Ok(events)
    }

    /// Sends events to all readers. False if a reader is gone: then the job is ending.
    pub async fn send(&mut self, events: Vec<Event>) -> Result<bool, Failure> {
        for event in events {
            let sent = match event {
                Event::Rows(rows) => self.send_rows(&rows).await?,
                Event::Watermark(_) | Event::Idle(_) | Event::End => self.broadcast(&Message::Event(event)).await,
                Event::Splits(_) | Event::SplitFinished(_) | Event::SplitIdle(_) | Event::Quiet => true,
            };
            if !sent {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn send_rows(&mut self, rows: &Rows) -> Result<bool, Failure> {
        for route in &self.routes {
            let keys: &[usize] = match &route.exchange {
                Exchange::Hash(keys) => keys,
                Exchange::Gather => &[],
            };
            let parallelism = route.senders.len() as u32;
            let parts = if keys.is_empty() {
                vec![rows.clone()]
            } else {
                partition(rows, keys, parallelism).map_err(Failure::Row)?
            };
            for (part, sender) in parts.into_iter().zip(&route.senders) {
                if !part.is_empty() && sender.send(Message::Event(Event::Rows(part))).await.is_err() {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    pub async fn broadcast(&mut self, message: &Message) -> bool {
        for sender in self.routes.iter().flat_map(|route| &route.senders) {
            if sender.send(message.clone()).await.is_err() {
                return false;
            }
        }
        true
    }

    pub fn state(&self, position: Option<Value>, committable: Option<Value>) -> Result<TaskState, Failure> {
        let operators = self.chain.snapshot().map_err(Failure::Row)?;
        Ok(TaskState {
            position,
            operators,
            committable,
        })
    }

    /// The job may have ended already; then the message is dropped.
    pub fn tell(&self, told: Told) {
        let _ = self.told.send(told);
    }
}
