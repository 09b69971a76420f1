//! The table of properties.

/// What values a property takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Boolean,
    /// A whole number that fits 32 bits, with its least and greatest value.
    Int(i64, i64),
    Long(i64, i64),
    Double,
    /// One of these.
    Text(&'static [&'static str]),
    List(&'static [&'static str]),
}

impl Kind {
    /// Kafka's number for the type.
    pub fn number(self) -> i8 {
        match self {
            Kind::Boolean => 1,
            Kind::Text(_) => 2,
            Kind::Int(..) => 3,
            Kind::Long(..) => 5,
            Kind::Double => 6,
            Kind::List(_) => 7,
        }
    }
}

/// A property that brokers have, and topics too where `topic` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Property {
    pub broker: &'static str,
    pub topic: Option<&'static str>,
    pub kind: Kind,
    pub default: &'static str,
    /// Whether other values than the default have an effect. Where not, they are refused: `why` says it.
    pub why_fixed: Option<&'static str>,
}

const fn broker(broker: &'static str, kind: Kind, default: &'static str) -> Property {
    Property {
        broker,
        topic: None,
        kind,
        default,
        why_fixed: None,
    }
}

const fn topic(topic: &'static str, broker: &'static str, kind: Kind, default: &'static str) -> Property {
    Property {
        broker,
        topic: Some(topic),
        kind,
        default,
        why_fixed: None,
    }
}

const fn fixed(property: Property, why: &'static str) -> Property {
    Property {
        why_fixed: Some(why),
        ..property
    }
}

const INT_MAX: i64 = i32::MAX as i64;
const LONG_MAX: &str = "9223372036854775807";
const NO_COMPACTION: &str = "compaction is not supported yet";
const NO_FLUSH: &str = "when data is synced is decided by --flush";
const ONE_BROKER: &str = "there is one broker";
const AS_PRODUCED: &str = "batches are kept as they were produced";

/// Every property that is known, topics' first.
pub const PROPERTIES: &[Property] = &[
    fixed(
        topic(
            "cleanup.policy",
            "log.cleanup.policy",
            Kind::List(&["delete", "compact"]),
            "delete",
        ),
        NO_COMPACTION,
    ),
    fixed(
        topic(
            "compression.type",
            "compression.type",
            Kind::Text(&["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"]),
            "producer",
        ),
        AS_PRODUCED,
    ),
    fixed(
        topic(
            "delete.retention.ms",
            "log.cleaner.delete.retention.ms",
            Kind::Long(0, i64::MAX),
            "86400000",
        ),
        NO_COMPACTION,
    ),
    fixed(
        topic(
            "file.delete.delay.ms",
            "log.segment.delete.delay.ms",
            Kind::Long(0, i64::MAX),
            "60000",
        ),
        "open files stay readable, so deletion needs no delay",
    ),
    fixed(
        topic(
            "flush.messages",
            "log.flush.interval.messages",
            Kind::Long(1, i64::MAX),
            LONG_MAX,
        ),
        NO_FLUSH,
    ),
    fixed(
        topic("flush.ms", "log.flush.interval.ms", Kind::Long(0, i64::MAX), LONG_MAX),
        NO_FLUSH,
    ),
    topic(
        "index.interval.bytes",
        "log.index.interval.bytes",
        Kind::Int(0, INT_MAX),
        "4096",
    ),
    fixed(
        topic(
            "max.compaction.lag.ms",
            "log.cleaner.max.compaction.lag.ms",
            Kind::Long(1, i64::MAX),
            LONG_MAX,
        ),
        NO_COMPACTION,
    ),
    topic(
        "max.message.bytes",
        "message.max.bytes",
        Kind::Int(0, INT_MAX),
        "1048588",
    ),
    topic(
        "message.timestamp.after.max.ms",
        "log.message.timestamp.after.max.ms",
        Kind::Long(0, i64::MAX),
        "3600000",
    ),
    topic(
        "message.timestamp.before.max.ms",
        "log.message.timestamp.before.max.ms",
        Kind::Long(0, i64::MAX),
        LONG_MAX,
    ),
    topic(
        "message.timestamp.type",
        "log.message.timestamp.type",
        Kind::Text(&["CreateTime", "LogAppendTime"]),
        "CreateTime",
    ),
    fixed(
        topic(
            "min.cleanable.dirty.ratio",
            "log.cleaner.min.cleanable.ratio",
            Kind::Double,
            "0.5",
        ),
        NO_COMPACTION,
    ),
    fixed(
        topic(
            "min.compaction.lag.ms",
            "log.cleaner.min.compaction.lag.ms",
            Kind::Long(0, i64::MAX),
            "0",
        ),
        NO_COMPACTION,
    ),
    // As in Kafka, more than there are replicas counts as all of them.
    topic("min.insync.replicas", "min.insync.replicas", Kind::Int(1, INT_MAX), "1"),
    fixed(
        topic("preallocate", "log.preallocate", Kind::Boolean, "false"),
        "files grow with their contents",
    ),
    topic("retention.bytes", "log.retention.bytes", Kind::Long(-1, i64::MAX), "-1"),
    topic(
        "retention.ms",
        "log.retention.ms",
        Kind::Long(-1, i64::MAX),
        "604800000",
    ),
    topic(
        "segment.bytes",
        "log.segment.bytes",
        Kind::Int(1 << 20, INT_MAX),
        "1073741824",
    ),
    fixed(
        topic(
            "segment.index.bytes",
            "log.index.size.max.bytes",
            Kind::Int(4, INT_MAX),
            "10485760",
        ),
        "indexes have the size they need",
    ),
    fixed(
        topic("segment.jitter.ms", "log.roll.jitter.ms", Kind::Long(0, i64::MAX), "0"),
        "segments are sealed without jitter",
    ),
    topic("segment.ms", "log.roll.ms", Kind::Long(1, i64::MAX), "604800000"),
    fixed(
        topic(
            "unclean.leader.election.enable",
            "unclean.leader.election.enable",
            Kind::Boolean,
            "false",
        ),
        ONE_BROKER,
    ),
    broker("auto.create.topics.enable", Kind::Boolean, "true"),
    broker("connections.max.idle.ms", Kind::Long(1, i64::MAX), "600000"),
    fixed(
        broker("default.replication.factor", Kind::Int(1, 32767), "1"),
        ONE_BROKER,
    ),
    broker("delete.topic.enable", Kind::Boolean, "true"),
    broker("fetch.max.bytes", Kind::Int(1024, INT_MAX), "57671680"),
    // Kafka's default is 3000; one developer's consumers need not wait for company.
    broker("group.initial.rebalance.delay.ms", Kind::Int(0, INT_MAX), "0"),
    broker("group.max.session.timeout.ms", Kind::Int(1, INT_MAX), "1800000"),
    broker("group.max.size", Kind::Int(1, INT_MAX), "2147483647"),
    broker("group.min.session.timeout.ms", Kind::Int(1, INT_MAX), "6000"),
    broker("log.retention.check.interval.ms", Kind::Long(1, i64::MAX), "300000"),
    broker("max.connections", Kind::Int(1, 100_000), "4000"),
    broker("num.partitions", Kind::Int(1, 10_000), "1"),
    broker("offset.metadata.max.bytes", Kind::Int(0, INT_MAX), "4096"),
    broker("socket.request.max.bytes", Kind::Int(1024, 104_857_600), "104857600"),
];

impl Property {
    /// Whether the property takes `value`.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, value: &str) -> Result<(), String> {
        match self.kind {
            Kind::Boolean if value == "true" || value == "false" => {}
            Kind::Boolean => return Err("it must be true or false".to_owned()),
            Kind::Int(least, greatest) | Kind::Long(least, greatest) => {
                let number: i64 = value.parse().map_err(|_| "it must be a whole number".to_owned())?;
                if !(least..=greatest).contains(&number) {
                    return Err(format!("it must be within {least} and {greatest}"));
                }
            }
            Kind::Double => {
                value.parse::<f64>().map_err(|_| "it must be a number".to_owned())?;
            }
            Kind::Text(values) if values.contains(&value) => {}
            Kind::List(values) if value.split(',').all(|element| values.contains(&element.trim())) => {}
            Kind::Text(values) | Kind::List(values) => return Err(format!("it must be one of {}", values.join(", "))),
        }
        match self.why_fixed {
            Some(why) if value != self.default => Err(format!("only {} is supported: {why}", self.default)),
            _ => Ok(()),
        }
    }
}
