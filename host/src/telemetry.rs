//! Logs: `tracing` to stderr, as text or as one JSON object a line.

mod json;

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::str::FromStr;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// The flags that every service has for its logs.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// How log lines look.
    #[arg(long, value_enum, default_value = "text", global = true)]
    pub log_format: Format,
    /// What is logged: off, error, warn, info, debug or trace, or directives such as `info,log_broker=debug`.
    #[arg(long, default_value = "info", global = true, value_parser = check_level)]
    pub log_level: String,
    /// Where lines go; to stderr if nothing is named.
    #[arg(skip)]
    pub outputs: Vec<Output>,
}

/// Where log lines go.
#[derive(Debug, Clone)]
pub enum Output {
    Stderr,
    Stdout,
    /// A file that is open for appending.
    File(Arc<File>),
}

/// Writes each line to all outputs. One that fails does not keep the line from the others.
struct Outputs(Vec<Output>);

impl Write for Outputs {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut outcome = Ok(line.len());
        for output in &self.0 {
            let written = match output {
                Output::Stderr => io::stderr().write_all(line),
                Output::Stdout => io::stdout().write_all(line),
                Output::File(file) => (&**file).write_all(line),
            };
            outcome = written.and(outcome);
        }
        outcome
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    #[value(alias = "console")]
    Text,
    Json,
}

/// A word alone must be a level: tracing takes any other for the name of a module, and logs nothing.
fn check_level(text: &str) -> Result<String, String> {
    for directive in text.split(',') {
        let level = directive.rsplit('=').next().unwrap_or_default();
        if level.is_empty() || LevelFilter::from_str(level).is_err() {
            return Err(format!(
                "'{level}' is no level: use off, error, warn, info, debug or trace"
            ));
        }
    }
    EnvFilter::try_new(text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

/// Installs the subscriber; a second call in one process (tests) changes nothing.
pub fn init(options: &Options) {
    let filter = EnvFilter::try_new(&options.log_level).unwrap_or_else(|_| EnvFilter::new("info"));
    let outputs = match options.outputs.as_slice() {
        [] => vec![Output::Stderr],
        named => named.to_vec(),
    };
    let is_terminal = matches!(outputs[..], [Output::Stderr]) && io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || Outputs(outputs.clone()))
        .with_ansi(is_terminal)
        // With stderr closed, an error about the log cannot be reported, and a panic would end the task that logs.
        .log_internal_errors(false);
    let _already_set = match options.log_format {
        Format::Text => builder.try_init(),
        Format::Json => builder.event_format(json::Lines).try_init(),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_directives() {
        for good in ["info", "OFF", "warn,log_broker=debug", "log_broker::server=trace,info"] {
            assert_eq!(check_level(good).as_deref(), Ok(good));
        }
        for bad in ["loud", "", "info,", "log_broker", "info,log_broker=loud"] {
            assert!(check_level(bad).is_err(), "{bad}");
        }
    }
}
