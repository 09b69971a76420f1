//! The task that reads channels: operators, and perhaps a sink behind them.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use serde_json::Value;
use tokio::sync::mpsc;

use super::Failure;
use super::gate::{Gate, Input, Message};
use super::task::{Body, Command, Told};
use crate::connector::Sink;
use crate::operator::{Event, Rows};

/// Where the rows of a task go, if no other task reads them.
pub enum Drain {
    Table {
        sink: Box<dyn Sink>,
        schema: SchemaRef,
    },
    /// To the client of a query.
    Collect {
        to: mpsc::Sender<RecordBatch>,
        schema: SchemaRef,
    },
    /// Over the body's routes.
    Routes,
}

pub struct ChannelTask {
    pub body: Body,
    pub gate: Gate,
    pub drain: Drain,
    pub commands: mpsc::UnboundedReceiver<Command>,
    /// What the sink committed last, in the epoch that the job was restored from.
    pub recover: Option<Value>,
    /// Larger than any epoch that this task has seen.
    pub next_epoch: u64,
}

impl ChannelTask {
    pub async fn run(mut self) -> Result<(), Failure> {
        if let Drain::Table { sink, .. } = &mut self.drain {
            sink.recover(self.recover.as_ref()).await.map_err(Failure::Peer)?;
        }
        loop {
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(command) => self.command(command).await?,
                    None => return Ok(()),
                },
                input = self.gate.next() => match input {
                    Some(Input::Event(Event::End)) => return self.end().await,
                    Some(Input::Event(event)) => {
                        let events = self.body.process(event)?;
                        if !self.emit(events).await? {
                            return Ok(());
                        }
                    }
                    Some(Input::Barrier(epoch)) => self.barrier(epoch).await?,
                    // Another task failed; it says why.
                    None => return Ok(()),
                },
            }
        }
    }

    async fn command(&mut self, command: Command) -> Result<(), Failure> {
        if let Command::Commit(epoch, committable) = command {
            if let Drain::Table { sink, .. } = &mut self.drain {
                sink.commit(&committable).await.map_err(Failure::Peer)?;
            }
            self.body.tell(Told::Committed(self.body.task, epoch));
        }
        Ok(())
    }

    async fn barrier(&mut self, epoch: u64) -> Result<(), Failure> {
        let committable = self.pre_commit(epoch).await?;
        self.next_epoch = epoch + 1;
        let state = self.body.state(None, committable)?;
        self.body.tell(Told::Acknowledged(self.body.task, epoch, state));
        self.body.broadcast(&Message::Barrier(epoch)).await;
        Ok(())
    }

    async fn pre_commit(&mut self, epoch: u64) -> Result<Option<Value>, Failure> {
        match &mut self.drain {
            Drain::Table { sink, .. } => sink.pre_commit(epoch).await.map(Some).map_err(Failure::Peer),
            Drain::Collect { .. } | Drain::Routes => Ok(None),
        }
    }

    /// The end of the input: the last state, and then only commits.
    async fn end(mut self) -> Result<(), Failure> {
        let events = self.body.process(Event::End)?;
        let is_table = matches!(self.drain, Drain::Table { .. });
        if is_table {
            self.emit(events).await?;
            let committable = self.pre_commit(self.next_epoch).await?;
            let state = self.body.state(None, committable)?;
            self.body.tell(Told::Finished(self.body.task, state));
        } else {
            let (rows, end): (Vec<Event>, Vec<Event>) =
                events.into_iter().partition(|event| !matches!(event, Event::End));
            self.emit(rows).await?;
            let state = self.body.state(None, None)?;
            self.body.tell(Told::Finished(self.body.task, state));
            self.emit(end).await?;
        }
        while let Some(command) = self.commands.recv().await {
            self.command(command).await?;
        }
        Ok(())
    }

    /// False if the reader of the rows has gone.
    async fn emit(&mut self, events: Vec<Event>) -> Result<bool, Failure> {
        match &mut self.drain {
            Drain::Routes => self.body.send(events).await,
            Drain::Table { sink, schema } => {
                for event in events {
                    if let Event::Rows(rows) = event {
                        let batch = named(&rows, schema)?;
                        let kinds = rows.kinds.to_vec(batch.num_rows());
                        sink.write(&batch, &kinds).await.map_err(Failure::Peer)?;
                    }
                }
                Ok(true)
            }
            Drain::Collect { to, schema } => {
                for event in events {
                    if let Event::Rows(rows) = event
                        && to.send(named(&rows, schema)?).await.is_err()
                    {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
        }
    }
}

/// The plan's columns under their real names.
fn named(rows: &Rows, schema: &SchemaRef) -> Result<RecordBatch, Failure> {
    crate::operator::calc::table(&Arc::clone(schema), rows.batch.columns().to_vec(), rows.len()).map_err(Failure::Row)
}
