//! Where rows come from and where they go.
//!
//! A *source* hands out Arrow batches split by split: a split is a file or a Kafka partition, the unit in which
//! watermarks advance and positions are kept. `position()` covers exactly the batches that `next()` has returned, so a
//! snapshot taken between two calls is a consistent cut. A *sink* takes rows and the kind of each, and commits in two
//! phases: `pre_commit` makes everything written since the last one durable but invisible and returns a *committable*,
//! which the checkpoint stores; `commit` makes it visible, and may be called again for the same committable, also by
//! another process after a crash.
//!
//! The life of a source: `open_source` → `restore`? → `start` → `next`…, `position`…, `drain`?.
//! The life of a sink: `open_sink` → `recover(last committable or None)` → `write`… → `pre_commit(epoch)` →
//! (checkpoint published) → `commit` → `write`… . A sink that was dropped anywhere leaves nothing visible that no
//! `commit` was called for, and `recover` clears away what it left.
//!
//! Opening validates the table's options as Flink does: an unknown option is refused by name. Connectors do not
//! know SQL, watermarks or checkpoints; they may use sockets, files and clocks.

mod context;
mod datagen;
pub mod discovery;
mod filesystem;
mod kafka;
pub mod outside;
mod print;

use arrow::array::RecordBatch;
use futures::future::BoxFuture;

use crate::Error;
use crate::sql::Environment;
use crate::table::{RowKind, TableSpec};
use crate::time::Zone;

pub use context::Context;

/// What [`Source::next`] brings.
#[derive(Debug, Clone)]
pub enum SourceEvent {
    /// Rows of one split in their order, with the columns of [`TableSpec::physical`]. Never empty.
    Batch { split: u32, rows: RecordBatch },
    /// This split brings nothing any more; its watermark no longer holds others back.
    SplitFinished(u32),
    /// Nothing there just now. The source waited a little before it said so, so call `next` again at once.
    Idle,
    /// All splits have finished. Further calls return it again.
    End,
}

/// One table being read: all its splits. Splits are numbered 0..`splits()`.
pub trait Source: Send {
    /// Connects, and finds the splits that `restore` did not bring. Called once, before the first `next`.
    fn start(&mut self) -> BoxFuture<'_, Result<(), Error>>;

    /// The next event. Cancel safe: a dropped future loses no row.
    fn next(&mut self) -> BoxFuture<'_, Result<SourceEvent, Error>>;

    /// Covers exactly what `next` has returned.
    fn position(&self) -> serde_json::Value;

    /// Continues behind `position`; called before `start`.
    fn restore(&mut self, position: &serde_json::Value) -> Result<(), Error>;

    /// A checkpoint with `position` is durable: tells the outside how far the job is (Kafka: commits the group's
    /// offsets). Nothing depends on it.
    fn checkpointed<'a>(&'a mut self, position: &'a serde_json::Value) -> BoxFuture<'a, Result<(), Error>> {
        let _ = position;
        Box::pin(std::future::ready(Ok(())))
    }

    /// From now on brings only what is there at this moment, then [`SourceEvent::End`].
    fn drain(&mut self);

    /// The number of splits; known after `start`.
    fn splits(&self) -> usize;

    /// Whether it ends by itself.
    fn is_bounded(&self) -> bool;
}

/// One table being written by one subtask.
pub trait Sink: Send {
    /// Called once, before the first `write`: commits `last` again and removes what is not in it.
    fn recover<'a>(&'a mut self, last: Option<&'a serde_json::Value>) -> BoxFuture<'a, Result<(), Error>>;

    /// Takes rows with the columns of [`TableSpec::physical`] without virtual ones; `kinds` is as long as `rows`.
    fn write<'a>(&'a mut self, rows: &'a RecordBatch, kinds: &'a [RowKind]) -> BoxFuture<'a, Result<(), Error>>;

    /// Makes what was written since the last call durable, but invisible, and returns how to make it visible.
    fn pre_commit(&mut self, epoch: u64) -> BoxFuture<'_, Result<serde_json::Value, Error>>;

    /// Makes a committable visible. Idempotent.
    fn commit<'a>(&'a mut self, committable: &'a serde_json::Value) -> BoxFuture<'a, Result<(), Error>>;

    /// Whether the sink takes updates and deletes; if not, a plan that makes them is refused before it runs.
    fn takes_updates(&self) -> bool {
        false
    }
}

/// The real connectors and the machine's clock, for the planner.
pub const ENVIRONMENT: Environment = Environment {
    is_bounded,
    takes_updates,
    outside: outside::REAL,
};

/// Opening validates the options; the job opens its own source.
fn is_bounded(table: &TableSpec, zone: Zone) -> Result<bool, Error> {
    Ok(open_source(table, &Context::of_zone(zone))?.is_bounded())
}

fn takes_updates(table: &TableSpec, zone: Zone) -> Result<bool, Error> {
    Ok(open_sink(table, &Context::of_zone(zone))?.takes_updates())
}

/// Opens a table for reading, after validating its options.
pub fn open_source(table: &TableSpec, context: &Context) -> Result<Box<dyn Source>, Error> {
    match connector_of(table)? {
        "datagen" => datagen::open(table),
        "filesystem" => filesystem::open_source(table, context),
        "kafka" => kafka::open_source(table, context),
        name @ ("print" | "blackhole") => Err(Error::validate(format!(
            "Connector '{name}' can only be used as a sink. It cannot be used as a source."
        ))),
        name => Err(unknown_connector(name)),
    }
}

/// Opens a table for writing, after validating its options.
pub fn open_sink(table: &TableSpec, context: &Context) -> Result<Box<dyn Sink>, Error> {
    match connector_of(table)? {
        "filesystem" => filesystem::open_sink(table, context),
        "kafka" => kafka::open_sink(table, context),
        "print" => print::open_print(table, context),
        "blackhole" => print::open_blackhole(table),
        "datagen" => Err(Error::validate(
            "Connector 'datagen' can only be used as a source. It cannot be used as a sink.",
        )),
        name => Err(unknown_connector(name)),
    }
}

fn connector_of(table: &TableSpec) -> Result<&str, Error> {
    table.options.get("connector").map(String::as_str).ok_or_else(|| {
        Error::validate(format!(
            "Table options do not contain an option key 'connector' for discovering a connector. Add one to table '{}': \
             blackhole, datagen, filesystem, kafka, print.",
            table.name
        ))
    })
}

fn unknown_connector(name: &str) -> Error {
    const FLINKS_OTHERS: [&str; 8] = [
        "elasticsearch-7",
        "hbase-2.2",
        "hive",
        "jdbc",
        "kinesis",
        "mongodb",
        "pulsar",
        "upsert-kafka",
    ];
    if FLINKS_OTHERS.contains(&name) {
        return Error::unsupported(format!(
            "The connector '{name}' is not supported. Use blackhole, datagen, filesystem, kafka or print."
        ));
    }
    Error::validate(format!(
        "Could not find any factory for identifier '{name}' in the classpath. Available factory identifiers are: \
         blackhole, datagen, filesystem, kafka, print."
    ))
}
