//! The `print` and `blackhole` connectors: rows on standard output in Flink's form, or nowhere.
//!
//! Both take every kind of row. Printing is at least once: rows are shown as they come, before any checkpoint.

use std::io::Write;

use arrow::array::RecordBatch;
use futures::FutureExt;
use futures::future::BoxFuture;

use super::{Context, Sink};
use crate::Error;
use crate::format::view::views;
use crate::output::text;
use crate::table::{Options, RowKind, TableSpec};

/// Writes `+I[1, a]` lines.
struct Print {
    prefix: String,
    to_stderr: bool,
}

/// Takes rows and forgets them.
struct Blackhole;

pub fn open_print(table: &TableSpec, context: &Context) -> Result<Box<dyn Sink>, Error> {
    let options = Options::new("print", &table.options);
    let identifier = options.text("print-identifier").unwrap_or_default();
    let to_stderr = options.boolean("standard-error", false)?;
    options.refuse("sink.parallelism", "1")?;
    options.finish()?;
    // Flink's prefix: the identifier, and the subtask's number where there are several.
    let prefix = match (identifier.is_empty(), context.parallelism > 1) {
        (true, false) => String::new(),
        (true, true) => format!("{}> ", context.subtask + 1),
        (false, false) => format!("{identifier}> "),
        (false, true) => format!("{identifier}:{}> ", context.subtask + 1),
    };
    Ok(Box::new(Print { prefix, to_stderr }))
}

pub fn open_blackhole(table: &TableSpec) -> Result<Box<dyn Sink>, Error> {
    Options::new("blackhole", &table.options).finish()?;
    Ok(Box::new(Blackhole))
}

impl Print {
    fn print(&self, rows: &RecordBatch, kinds: &[RowKind]) -> Result<(), Error> {
        let views = views(rows)?;
        let mut out = String::new();
        for (row, kind) in kinds.iter().enumerate() {
            out.push_str(&self.prefix);
            out.push_str(kind.short());
            out.push('[');
            for (index, view) in views.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                text::write_value(&mut out, view.value(row));
            }
            out.push_str("]\n");
        }
        let written = if self.to_stderr {
            std::io::stderr().write_all(out.as_bytes())
        } else {
            let mut stdout = std::io::stdout().lock();
            stdout.write_all(out.as_bytes()).and_then(|()| stdout.flush())
        };
        written.map_err(|error| Error::runtime(format!("Rows cannot be printed: {error}.")))
    }
}

impl Sink for Print {
    fn recover<'a>(&'a mut self, _last: Option<&'a serde_json::Value>) -> BoxFuture<'a, Result<(), Error>> {
        futures::future::ready(Ok(())).boxed()
    }

    fn write<'a>(&'a mut self, rows: &'a RecordBatch, kinds: &'a [RowKind]) -> BoxFuture<'a, Result<(), Error>> {
        futures::future::ready(self.print(rows, kinds)).boxed()
    }

    fn pre_commit(&mut self, _epoch: u64) -> BoxFuture<'_, Result<serde_json::Value, Error>> {
        futures::future::ready(Ok(serde_json::Value::Null)).boxed()
    }

    fn commit<'a>(&'a mut self, _committable: &'a serde_json::Value) -> BoxFuture<'a, Result<(), Error>> {
        futures::future::ready(Ok(())).boxed()
    }

    fn takes_updates(&self) -> bool {
        true
    }
}

impl Sink for Blackhole {
    fn recover<'a>(&'a mut self, _last: Option<&'a serde_json::Value>) -> BoxFuture<'a, Result<(), Error>> {
        futures::future::ready(Ok(())).boxed()
    }

    fn write<'a>(&'a mut self, _rows: &'a RecordBatch, _kinds: &'a [RowKind]) -> BoxFuture<'a, Result<(), Error>> {
        futures::future::ready(Ok(())).boxed()
    }

    fn pre_commit(&mut self, _epoch: u64) -> BoxFuture<'_, Result<serde_json::Value, Error>> {
        futures::future::ready(Ok(serde_json::Value::Null)).boxed()
    }

    fn commit<'a>(&'a mut self, _committable: &'a serde_json::Value) -> BoxFuture<'a, Result<(), Error>> {
        futures::future::ready(Ok(())).boxed()
    }

    fn takes_updates(&self) -> bool {
        true
    }
}
