//! Where reading starts and where it ends: the `scan.startup.*` and `scan.bounded.*` options.

use std::collections::BTreeMap;

use log_broker_client::{At, Client};

use super::kafka_error;
use crate::Error;
use crate::table::Options;

/// What a group without a committed offset does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    Earliest,
    Latest,
    Fail,
}

/// `scan.startup.mode`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    Earliest,
    Latest,
    Timestamp(i64),
    Group { group: String, reset: Reset },
    Offsets(BTreeMap<i32, i64>),
}

/// `scan.bounded.mode`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bound {
    Unbounded,
    Latest,
    Timestamp(i64),
    Group(String),
    Offsets(BTreeMap<i32, i64>),
}

impl Start {
    pub fn read(options: &Options<'_>, group: Option<&str>, reset: Option<&str>) -> Result<Self, Error> {
        let modes = [
            "earliest-offset",
            "latest-offset",
            "group-offsets",
            "timestamp",
            "specific-offsets",
        ];
        let timestamp = options.integer("scan.startup.timestamp-millis")?;
        let offsets = options.text("scan.startup.specific-offsets");
        Ok(match options.one_of("scan.startup.mode", &modes, "group-offsets")? {
            "earliest-offset" => Self::Earliest,
            "latest-offset" => Self::Latest,
            "timestamp" => {
                Self::Timestamp(timestamp.ok_or_else(|| needs("scan.startup.timestamp-millis", "timestamp"))?)
            }
            "specific-offsets" => {
                let text = offsets.ok_or_else(|| needs("scan.startup.specific-offsets", "specific-offsets"))?;
                Self::Offsets(specific(options, "scan.startup.specific-offsets", text)?)
            }
            _ => Self::Group {
                group: group
                    .ok_or_else(|| needs("properties.group.id", "group-offsets"))?
                    .to_owned(),
                reset: match reset {
                    Some("earliest") => Reset::Earliest,
                    Some("latest") => Reset::Latest,
                    _ => Reset::Fail,
                },
            },
        })
    }

    /// The first offset to read.
    pub async fn resolve(&self, client: &Client, topic: &str, partition: i32) -> Result<i64, Error> {
        let at = match self {
            Self::Earliest => At::Earliest,
            Self::Latest => At::Latest,
            Self::Timestamp(timestamp) => At::Timestamp(*timestamp),
            Self::Offsets(offsets) => match offsets.get(&partition) {
                Some(offset) => return Ok(*offset),
                // Flink reads partitions that are not named from the group's offsets; without a group, from the start.
                None => At::Earliest,
            },
            Self::Group { group, reset } => {
                let committed = client
                    .committed(group, topic, &[partition])
                    .await
                    .map_err(|e| kafka_error(&e))?;
                match (committed.first().copied().flatten(), reset) {
                    (Some(offset), _) => return Ok(offset),
                    (None, Reset::Earliest) => At::Earliest,
                    (None, Reset::Latest) => At::Latest,
                    (None, Reset::Fail) => {
                        return Err(Error::runtime(format!(
                            "Undefined offset with no reset policy for partition {topic}-{partition}: group '{group}' has \
                             committed none. Set 'scan.startup.mode' = 'earliest-offset' or \
                             'properties.auto.offset.reset'."
                        )));
                    }
                }
            }
        };
        client.offset(topic, partition, at).await.map_err(|e| kafka_error(&e))
    }
}

impl Bound {
    pub fn read(options: &Options<'_>, group: Option<&str>) -> Result<Self, Error> {
        let modes = [
            "unbounded",
            "latest-offset",
            "group-offsets",
            "timestamp",
            "specific-offsets",
        ];
        let timestamp = options.integer("scan.bounded.timestamp-millis")?;
        let offsets = options.text("scan.bounded.specific-offsets");
        Ok(match options.one_of("scan.bounded.mode", &modes, "unbounded")? {
            "latest-offset" => Self::Latest,
            "timestamp" => {
                Self::Timestamp(timestamp.ok_or_else(|| needs("scan.bounded.timestamp-millis", "timestamp"))?)
            }
            "group-offsets" => Self::Group(
                group
                    .ok_or_else(|| needs("properties.group.id", "group-offsets"))?
                    .to_owned(),
            ),
            "specific-offsets" => {
                let text = offsets.ok_or_else(|| needs("scan.bounded.specific-offsets", "specific-offsets"))?;
                Self::Offsets(specific(options, "scan.bounded.specific-offsets", text)?)
            }
            _ => Self::Unbounded,
        })
    }

    /// The first offset that is not read any more; `None` is no end.
    pub async fn resolve(&self, client: &Client, topic: &str, partition: i32) -> Result<Option<i64>, Error> {
        let at = match self {
            Self::Unbounded => return Ok(None),
            Self::Latest => At::Latest,
            Self::Timestamp(timestamp) => At::Timestamp(*timestamp),
            Self::Offsets(offsets) => return Ok(Some(offsets.get(&partition).copied().unwrap_or(0))),
            Self::Group(group) => {
                let committed = client
                    .committed(group, topic, &[partition])
                    .await
                    .map_err(|e| kafka_error(&e))?;
                return Ok(Some(committed.first().copied().flatten().unwrap_or(0)));
            }
        };
        client
            .offset(topic, partition, at)
            .await
            .map(Some)
            .map_err(|e| kafka_error(&e))
    }
}

fn needs(option: &str, mode: &str) -> Error {
    Error::validate(format!(
        "'{option}' is required in '{mode}' mode but missing. Add it to the WITH clause."
    ))
}

/// `partition:0,offset:42;partition:1,offset:300`
fn specific(options: &Options<'_>, key: &str, text: &str) -> Result<BTreeMap<i32, i64>, Error> {
    text.split(';')
        .map(|pair| {
            let (partition, offset) = pair.trim().split_once(',')?;
            let partition = partition.trim().strip_prefix("partition:")?.parse().ok()?;
            let offset = offset.trim().strip_prefix("offset:")?.parse().ok()?;
            Some((partition, offset))
        })
        .collect::<Option<_>>()
        .ok_or_else(|| options.invalid(key, text, "Expected 'partition:0,offset:42;partition:1,offset:300'"))
}
