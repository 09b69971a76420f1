//! A log line as one JSON object, in the shape that zap gives it (etcd's logger), which log collectors know:
//! `{"level":"info","ts":"2026-01-31T12:00:00.000000Z","caller":"server/serve.rs:90","msg":"…"}` and the event's fields.

use std::fmt;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// What tracing calls the text of an event.
const TEXT: &str = "message";

pub(super) struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        writeln!(writer, "{}", object(&time, event))
    }
}

fn object(time: &str, event: &Event<'_>) -> Value {
    let metadata = event.metadata();
    let mut line = Map::new();
    line.insert("level".to_owned(), level(*metadata.level()).into());
    line.insert("ts".to_owned(), time.into());
    line.insert("caller".to_owned(), caller(metadata).into());
    // Before the fields, whatever their order in the event.
    line.insert("msg".to_owned(), "".into());
    event.record(&mut Fields(&mut line));
    Value::Object(line)
}

/// zap's names; it has no level below debug.
fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        _ => "debug",
    }
}

/// The file with its folder, and the line.
fn caller(metadata: &Metadata<'_>) -> String {
    let Some(file) = metadata.file() else {
        return metadata.target().to_owned();
    };
    let start = file.rmatch_indices('/').nth(1).map_or(0, |(slash, _)| slash + 1);
    let file = file.get(start..).unwrap_or(file);
    format!("{file}:{}", metadata.line().unwrap_or(0))
}

/// Puts an event's fields beside what every line has.
struct Fields<'a>(&'a mut Map<String, Value>);

impl Fields<'_> {
    fn put(&mut self, field: &Field, value: Value) {
        let name = if field.name() == TEXT { "msg" } else { field.name() };
        self.0.insert(name.to_owned(), value);
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn each_event_is_a_line_with_zaps_keys_first() {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::TRACE)
            .with_writer(move || writer.clone())
            .event_format(Lines)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(answer = 42, name = "a \"b\"", on = true, "two\nlines");
            tracing::trace!(error = %io::Error::other("torn"), list = ?[1, 2], "again");
        });
        let written = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<Map<String, Value>> = written
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let keys = |line: &Map<String, Value>| line.keys().cloned().collect::<Vec<_>>().join(" ");
        assert_eq!(keys(&lines[0]), "level ts caller msg answer name on");
        assert_eq!(lines[0]["level"], "info");
        assert_eq!(lines[0]["msg"], "two\nlines");
        assert_eq!(lines[0]["answer"], 42);
        assert_eq!(lines[0]["name"], "a \"b\"");
        assert_eq!(lines[0]["on"], true);
        let caller = lines[0]["caller"].as_str().unwrap();
        assert!(caller.starts_with("telemetry/json.rs:"), "{caller}");
        let time = lines[0]["ts"].as_str().unwrap();
        assert!(
            time.len() == "2026-01-31T12:00:00.000000Z".len() && time.ends_with('Z'),
            "{time}"
        );
        assert_eq!(keys(&lines[1]), "level ts caller msg error list");
        assert_eq!(lines[1]["level"], "debug");
        assert_eq!(lines[1]["error"], "torn");
        assert_eq!(lines[1]["list"], "[1, 2]");
    }
}
