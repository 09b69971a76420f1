//! Logs: `tracing` to stderr, as text or as one JSON object a line.

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// The flags that every service has for its logs.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// How log lines look.
    #[arg(long, value_enum, default_value = "text", global = true)]
    pub log_format: Format,
    /// What is logged: a level, or directives such as `info,log_broker=debug`.
    #[arg(long, default_value = "info", global = true)]
    pub log_level: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

/// Installs the subscriber; a second call in one process (tests) changes nothing.
pub fn init(options: &Options) {
    let filter = EnvFilter::try_new(&options.log_level).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let _already_set = match options.log_format {
        Format::Text => builder.try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
}
