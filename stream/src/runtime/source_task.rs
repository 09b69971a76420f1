//! The task of a source: reads, computes, sends, and starts barriers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use serde_json::Value;
use tokio::sync::mpsc;

use super::Failure;
use super::gate::Message;
use super::task::{Body, Command, Told};
use crate::connector::{Source, SourceEvent};
use crate::operator::{Event, Rows};

/// Rows that one batch of VALUES may hold on its way.
const VALUES_BATCH_ROWS: usize = 8192;

/// Where the rows come from.
pub enum Rowset {
    Table(Box<dyn Source>),
    Values(RecordBatch),
}

pub struct SourceTask {
    pub body: Body,
    pub rows: Rowset,
    pub commands: mpsc::UnboundedReceiver<Command>,
    /// After how long without rows a split is idle; none: never.
    pub idle_after: Option<Duration>,
}

impl SourceTask {
    pub async fn run(self) -> Result<(), Failure> {
        let Self {
            mut body,
            rows,
            mut commands,
            idle_after,
        } = self;
        match rows {
            Rowset::Values(batch) => values(&mut body, &batch).await,
            Rowset::Table(mut source) => table(&mut body, source.as_mut(), &mut commands, idle_after).await,
        }
    }
}

async fn values(body: &mut Body, batch: &RecordBatch) -> Result<(), Failure> {
    let mut offset = 0;
    while offset < batch.num_rows() {
        let len = VALUES_BATCH_ROWS.min(batch.num_rows() - offset);
        let events = body.process(Event::Rows(Rows::new(batch.slice(offset, len), 0)))?;
        if !body.send(events).await? {
            return Ok(());
        }
        offset += len;
    }
    finish(body, None).await
}

async fn table(
    body: &mut Body,
    source: &mut dyn Source,
    commands: &mut mpsc::UnboundedReceiver<Command>,
    idle_after: Option<Duration>,
) -> Result<(), Failure> {
    source.start().await.map_err(Failure::Peer)?;
    let splits = u32::try_from(source.splits()).unwrap_or(u32::MAX);
    let events = body.process(Event::Splits(splits))?;
    body.send(events).await?;
    let mut idleness = Idleness::new(splits, idle_after);
    // The position of the epoch under way: there is one at a time.
    let mut noted: Option<(u64, Value)> = None;
    loop {
        let event = tokio::select! {
            biased;
            command = commands.recv() => {
                match command {
                    Some(Command::Trigger(epoch)) => {
                        let position = source.position();
                        noted = Some((epoch, position.clone()));
                        let state = body.state(Some(position), None)?;
                        body.tell(Told::Acknowledged(body.task, epoch, state));
                        if !body.broadcast(&Message::Barrier(epoch)).await {
                            return Ok(());
                        }
                    }
                    Some(Command::Drain) => source.drain(),
                    Some(Command::Published(epoch)) => {
                        if let Some((_, position)) = noted.take().filter(|(of, _)| *of == epoch)
                            && let Err(error) = source.checkpointed(&position).await
                        {
                            tracing::warn!(%error, "cannot tell the source how far the job is");
                        }
                    }
                    Some(Command::Commit(..)) => {}
                    None => return Ok(()),
                }
                continue;
            }
            event = source.next() => event.map_err(Failure::Peer)?,
        };
        let sent = match event {
            SourceEvent::Batch { split, rows } => {
                idleness.woke(split);
                let batch = positional(&rows)?;
                let events = body.process(Event::Rows(Rows::new(batch, split)))?;
                body.send(events).await?
            }
            SourceEvent::SplitFinished(split) => {
                idleness.finished(split);
                let events = body.process(Event::SplitFinished(split))?;
                body.send(events).await?
            }
            SourceEvent::Idle => {
                let events = body.process(Event::Quiet)?;
                body.send(events).await?
            }
            SourceEvent::End => return finish(body, Some(source)).await,
        };
        let mut events = Vec::new();
        for split in idleness.newly_idle(Instant::now()) {
            events.extend(body.process(Event::SplitIdle(split))?);
        }
        if !sent || !body.send(events).await? {
            return Ok(());
        }
    }
}

async fn finish(body: &mut Body, source: Option<&mut dyn Source>) -> Result<(), Failure> {
    let events = body.process(Event::End)?;
    // The state goes out before the end does, so that it is known to all that react to the end.
    let state = body.state(source.map(|source| source.position()), None)?;
    body.tell(Told::Finished(body.task, state));
    body.send(events).await?;
    Ok(())
}

/// The table's columns under the names of a plan.
fn positional(rows: &RecordBatch) -> Result<RecordBatch, Failure> {
    let schema = crate::sql::positional(rows.schema().fields().iter().map(|field| field.data_type().clone()));
    crate::operator::calc::table(&schema, rows.columns().to_vec(), rows.num_rows()).map_err(Failure::Row)
}

/// Which splits have brought nothing for so long that they must not hold the watermark back.
struct Idleness {
    after: Option<Duration>,
    last: BTreeMap<u32, Instant>,
}

impl Idleness {
    fn new(splits: u32, after: Option<Duration>) -> Self {
        let now = Instant::now();
        Self {
            after,
            last: (0..splits).map(|split| (split, now)).collect(),
        }
    }

    fn woke(&mut self, split: u32) {
        self.last.insert(split, Instant::now());
    }

    fn finished(&mut self, split: u32) {
        self.last.remove(&split);
    }

    /// The splits that have fallen idle at `now`, in the order in which they did: one that has had rows counts as active
    /// until those without have stopped holding it back, so that its rows move the watermark.
    fn newly_idle(&mut self, now: Instant) -> Vec<u32> {
        let Some(after) = self.after else { return Vec::new() };
        let is_due = |last: &Instant| now.saturating_duration_since(*last) >= after;
        let mut idle: Vec<(Instant, u32)> = self
            .last
            .iter()
            .filter(|(_, last)| is_due(last))
            .map(|(split, last)| (*last, *split))
            .collect();
        idle.sort_unstable();
        idle.iter().for_each(|(_, split)| {
            self.last.remove(split);
        });
        idle.into_iter().map(|(_, split)| split).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_split_that_had_rows_falls_idle_behind_those_that_had_none() {
        let mut idleness = Idleness::new(3, Some(Duration::from_secs(1)));
        let start = *idleness.last.values().max().unwrap();
        idleness.last.insert(0, start + Duration::from_millis(50));
        assert!(idleness.newly_idle(start + Duration::from_millis(900)).is_empty());
        assert_eq!(idleness.newly_idle(start + Duration::from_secs(2)), [1, 2, 0]);
        assert!(idleness.newly_idle(start + Duration::from_secs(3)).is_empty());
        idleness.woke(1);
        let later = Instant::now() + Duration::from_secs(9);
        assert_eq!(idleness.newly_idle(later), [1]);
    }
}
