//! The `kafka` connector: topics of any broker that speaks Kafka's protocol.
//!
//! As a source each partition is a split; all are fetched at the same time and handed out in turn, and a position is the
//! next offset of each. The broker may be restarted meanwhile: the client asks again for [`DEADLINE`]. As a sink it is at
//! least once: `write` returns when the broker has acknowledged the rows, so `pre_commit` has nothing left to do.
//!
//! Not here, and refused by name: exactly-once delivery (it wants transactions), topic patterns, upsert-kafka, SASL and
//! TLS. Partitions that are added while a job runs are found at its next start.

mod offsets;
mod partitioner;
mod rows;
mod sink;
mod source;

use std::time::Duration;

use log_broker_client::Client;

use super::discovery;
use super::{Context, Sink, Source};
use crate::Error;
use crate::format::MessageFormat;
use crate::table::{Options, TableSpec};
use offsets::{Bound, Start};

/// How long a broker may be away.
const DEADLINE: Duration = Duration::from_secs(120);

/// What the options of a table say.
#[derive(Debug, Clone)]
struct Settings {
    /// `None`: the brokers that are registered in the coordinator.
    bootstrap: Option<String>,
    topics: Vec<String>,
    group: Option<String>,
    start: Start,
    bound: Bound,
    key: Option<KeySettings>,
    value_format: MessageFormat,
    /// Whether key columns stand in the value too.
    value_has_key: bool,
    partitioner: partitioner::Kind,
    compression: log_broker_client::Codec,
    acknowledged: bool,
}

#[derive(Debug, Clone)]
struct KeySettings {
    format: MessageFormat,
    /// Columns of the table.
    columns: Vec<String>,
    /// What stands before the fields' names in the table, but not in the key.
    prefix: String,
}

impl Settings {
    /// Reads the options of a source; those of a sink need not say where reading starts.
    fn read(table: &TableSpec, is_source: bool) -> Result<Self, Error> {
        let options = Options::new("kafka", &table.options);
        options.refuse("topic-pattern", "")?;
        options.watermarks()?;
        options.refuse("sink.parallelism", "1")?;
        options.refuse("scan.parallelism", "1")?;
        options.duration("scan.topic-partition-discovery.interval")?;
        let topics = options
            .required("topic")?
            .split(';')
            .map(|topic| topic.trim().to_owned())
            .collect();
        let bootstrap = match options.text("properties.bootstrap.servers") {
            None if discovery::is_there() => None,
            _ => Some(options.required("properties.bootstrap.servers")?.to_owned()),
        };
        let properties = options.with_prefix("properties.");
        for (key, value) in &properties {
            let unsafe_to_ignore = key.starts_with("sasl.") || key.starts_with("ssl.") || *key == "transactional.id";
            if unsafe_to_ignore || (*key == "security.protocol" && *value != "PLAINTEXT") {
                return Err(Error::unsupported(format!(
                    "The option 'properties.{key}' is not supported: connections are plain and without a user. Leave it out."
                )));
            }
        }
        let group = properties.get("group.id").map(|group| (*group).to_owned());
        let reset = properties.get("auto.offset.reset").copied();
        let start = match Start::read(&options, group.as_deref(), reset) {
            Err(_) if !is_source => Start::Earliest,
            start => start?,
        };
        let bound = Bound::read(&options, group.as_deref())?;
        let key = KeySettings::read(table, &options)?;
        let include = options.one_of("value.fields-include", &["ALL", "EXCEPT_KEY"], "ALL")?;
        let value_format = match (options.text("format"), options.text("value.format")) {
            (Some(name), None) => MessageFormat::read(name, &options, "")?,
            (None, Some(name)) => MessageFormat::read(name, &options, "value.")?,
            (Some(_), Some(_)) => {
                return Err(Error::validate(
                    "The options 'format' and 'value.format' mean the same. Leave one out.",
                ));
            }
            (None, None) => {
                return Err(Error::validate(
                    "One or more required options are missing. Missing required options are: format (or value.format).",
                ));
            }
        };
        let settings = Self {
            bootstrap,
            topics,
            group,
            start,
            bound,
            value_has_key: include == "ALL",
            value_format,
            partitioner: partitioner::Kind::read(&options, key.is_some())?,
            compression: compression(properties.get("compression.type").copied())?,
            acknowledged: delivery(&options)?,
            key,
        };
        options.finish()?;
        Ok(settings)
    }

    async fn connect(&self) -> Result<Client, Error> {
        let bootstrap = self.bootstrap.clone().or_else(discovery::brokers).ok_or_else(|| {
            Error::runtime(
                "No broker is registered in the coordinator. Start one, or set 'properties.bootstrap.servers'.",
            )
        })?;
        Client::connect_within(&bootstrap, "bonsai-stream", DEADLINE)
            .await
            .map_err(|error| kafka_error(&error))
    }
}

impl KeySettings {
    fn read(table: &TableSpec, options: &Options<'_>) -> Result<Option<Self>, Error> {
        let columns = options.text("key.fields");
        let prefix = options.text("key.fields-prefix").unwrap_or_default().to_owned();
        let Some(format) = options.text("key.format") else {
            return match columns {
                None => Ok(None),
                Some(_) => Err(Error::validate(
                    "The option 'key.fields' can only be declared if a 'key.format' is defined.",
                )),
            };
        };
        let columns: Vec<String> = columns
            .unwrap_or_default()
            .split(';')
            .map(str::trim)
            .filter(|c| !c.is_empty())
            .map(str::to_owned)
            .collect();
        if columns.is_empty() {
            return Err(Error::validate(
                "A key format 'key.format' requires the declaration of one or more of key fields using 'key.fields'.",
            ));
        }
        for column in &columns {
            if table.physical.column_with_name(column).is_none() || table.metadata_key(column).is_some() {
                return Err(Error::validate(format!(
                    "Could not find the field '{column}' in the table schema for usage in the key format. A key field must \
                     be a regular, physical column."
                )));
            }
            if !column.starts_with(&prefix) {
                return Err(Error::validate(format!(
                    "All fields in 'key.fields' must be prefixed with '{prefix}' when option 'key.fields-prefix' is set but \
                     field '{column}' is not prefixed."
                )));
            }
        }
        Ok(Some(Self {
            format: MessageFormat::read(format, options, "key.")?,
            columns,
            prefix,
        }))
    }
}

fn delivery(options: &Options<'_>) -> Result<bool, Error> {
    options.text("sink.transactional-id-prefix");
    options.text("sink.transaction-naming-strategy");
    let names = ["at-least-once", "none", "exactly-once"];
    match options.one_of("sink.delivery-guarantee", &names, "at-least-once")? {
        "exactly-once" => Err(Error::unsupported(
            "'sink.delivery-guarantee' = 'exactly-once' of the 'kafka' connector is not supported yet: it wants \
             transactions. Use at-least-once.",
        )),
        guarantee => Ok(guarantee == "at-least-once"),
    }
}

fn compression(name: Option<&str>) -> Result<log_broker_client::Codec, Error> {
    use log_broker_client::Codec;
    Ok(match name.unwrap_or("none") {
        "none" => Codec::None,
        "gzip" => Codec::Gzip,
        "snappy" => Codec::Snappy,
        "lz4" => Codec::Lz4,
        other => {
            return Err(Error::unsupported(format!(
                "'properties.compression.type' = '{other}' is not supported. Use none, gzip, snappy or lz4."
            )));
        }
    })
}

fn kafka_error(error: &log_broker_client::Error) -> Error {
    Error::runtime(format!("Kafka: {error}."))
}

pub fn open_source(table: &TableSpec, _context: &Context) -> Result<Box<dyn Source>, Error> {
    Ok(Box::new(source::KafkaSource::new(table, Settings::read(table, true)?)?))
}

pub fn open_sink(table: &TableSpec, context: &Context) -> Result<Box<dyn Sink>, Error> {
    Ok(Box::new(sink::KafkaSink::new(
        table,
        Settings::read(table, false)?,
        context,
    )?))
}

#[cfg(test)]
mod tests;
