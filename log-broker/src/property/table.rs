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
    pub effect: Effect,
}

/// What becomes of a value that is not the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Honoured,
    /// It is accepted with a warning, for this reason: it has no meaning here, and nothing that was promised is missed.
    Ignored(&'static str),
    /// It is refused, for this reason: ignoring it would break a promise.
    Refused(&'static str),
}

const fn broker(broker: &'static str, kind: Kind, default: &'static str) -> Property {
    Property {
        broker,
        topic: None,
        kind,
        default,
        effect: Effect::Honoured,
    }
}

const fn topic(topic: &'static str, broker: &'static str, kind: Kind, default: &'static str) -> Property {
    Property {
        broker,
        topic: Some(topic),
        kind,
        default,
        effect: Effect::Honoured,
    }
}

const fn refused(property: Property, why: &'static str) -> Property {
    Property {
        effect: Effect::Refused(why),
        ..property
    }
}

const fn ignored(property: Property, why: &'static str) -> Property {
    Property {
        effect: Effect::Ignored(why),
        ..property
    }
}

/// A property that only topics have.
const fn topic_only(topic: &'static str, kind: Kind, default: &'static str) -> Property {
    Property {
        broker: "",
        topic: Some(topic),
        kind,
        default,
        effect: Effect::Honoured,
    }
}

const INT_MAX: i64 = i32::MAX as i64;
const LONG_MAX: &str = "9223372036854775807";
const NO_FLUSH: &str = "when data is synced is decided by --flush";
const ONE_BROKER: &str = "there is one broker";
const NO_TIERED: &str = "there is no tiered storage";

/// Every property that is known, topics' first.
pub const PROPERTIES: &[Property] = &[
    topic(
        "cleanup.policy",
        "log.cleanup.policy",
        Kind::List(&["delete", "compact"]),
        "delete",
    ),
    topic(
        "compression.type",
        "compression.type",
        Kind::Text(&["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"]),
        "producer",
    ),
    topic(
        "delete.retention.ms",
        "log.cleaner.delete.retention.ms",
        Kind::Long(0, i64::MAX),
        "86400000",
    ),
    ignored(
        topic(
            "file.delete.delay.ms",
            "log.segment.delete.delay.ms",
            Kind::Long(0, i64::MAX),
            "60000",
        ),
        "open files stay readable, so deletion needs no delay",
    ),
    refused(
        topic(
            "flush.messages",
            "log.flush.interval.messages",
            Kind::Long(1, i64::MAX),
            LONG_MAX,
        ),
        NO_FLUSH,
    ),
    refused(
        topic("flush.ms", "log.flush.interval.ms", Kind::Long(0, i64::MAX), LONG_MAX),
        NO_FLUSH,
    ),
    topic(
        "index.interval.bytes",
        "log.index.interval.bytes",
        Kind::Int(0, INT_MAX),
        "4096",
    ),
    topic(
        "max.compaction.lag.ms",
        "log.cleaner.max.compaction.lag.ms",
        Kind::Long(1, i64::MAX),
        LONG_MAX,
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
    topic(
        "min.cleanable.dirty.ratio",
        "log.cleaner.min.cleanable.ratio",
        Kind::Double,
        "0.5",
    ),
    topic(
        "min.compaction.lag.ms",
        "log.cleaner.min.compaction.lag.ms",
        Kind::Long(0, i64::MAX),
        "0",
    ),
    // As in Kafka, more than there are replicas counts as all of them.
    topic("min.insync.replicas", "min.insync.replicas", Kind::Int(1, INT_MAX), "1"),
    ignored(
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
    ignored(
        topic(
            "segment.index.bytes",
            "log.index.size.max.bytes",
            Kind::Int(4, INT_MAX),
            "10485760",
        ),
        "indexes have the size they need",
    ),
    ignored(
        topic("segment.jitter.ms", "log.roll.jitter.ms", Kind::Long(0, i64::MAX), "0"),
        "segments are sealed without jitter",
    ),
    topic("segment.ms", "log.roll.ms", Kind::Long(1, i64::MAX), "604800000"),
    ignored(
        topic(
            "unclean.leader.election.enable",
            "unclean.leader.election.enable",
            Kind::Boolean,
            "false",
        ),
        ONE_BROKER,
    ),
    ignored(
        topic(
            "compression.gzip.level",
            "compression.gzip.level",
            Kind::Int(-1, 9),
            "-1",
        ),
        "batches are compressed at the codec's default level",
    ),
    ignored(
        topic("compression.lz4.level", "compression.lz4.level", Kind::Int(1, 17), "9"),
        "batches are compressed at the codec's default level",
    ),
    ignored(
        topic(
            "compression.zstd.level",
            "compression.zstd.level",
            Kind::Int(-131_072, 22),
            "3",
        ),
        "batches are compressed at the codec's default level",
    ),
    ignored(
        topic(
            "local.retention.bytes",
            "log.local.retention.bytes",
            Kind::Long(-2, i64::MAX),
            "-2",
        ),
        NO_TIERED,
    ),
    ignored(
        topic(
            "local.retention.ms",
            "log.local.retention.ms",
            Kind::Long(-2, i64::MAX),
            "-2",
        ),
        NO_TIERED,
    ),
    refused(topic_only("remote.storage.enable", Kind::Boolean, "false"), NO_TIERED),
    ignored(topic_only("remote.log.copy.disable", Kind::Boolean, "false"), NO_TIERED),
    ignored(
        topic_only("remote.log.delete.on.disable", Kind::Boolean, "false"),
        NO_TIERED,
    ),
    ignored(
        topic_only("leader.replication.throttled.replicas", Kind::List(&[]), ""),
        ONE_BROKER,
    ),
    ignored(
        topic_only("follower.replication.throttled.replicas", Kind::List(&[]), ""),
        ONE_BROKER,
    ),
    broker("auto.create.topics.enable", Kind::Boolean, "true"),
    broker("connections.max.idle.ms", Kind::Long(1, i64::MAX), "600000"),
    refused(
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
    broker("log.cleaner.backoff.ms", Kind::Long(0, i64::MAX), "15000"),
    broker("log.retention.check.interval.ms", Kind::Long(1, i64::MAX), "300000"),
    broker("max.connections", Kind::Int(1, 100_000), "4000"),
    broker("node.id", Kind::Int(0, INT_MAX), "0"),
    broker("num.partitions", Kind::Int(1, 10_000), "1"),
    broker("offset.metadata.max.bytes", Kind::Int(0, INT_MAX), "4096"),
    broker("offsets.retention.check.interval.ms", Kind::Long(1, i64::MAX), "600000"),
    broker("offsets.retention.minutes", Kind::Int(1, INT_MAX), "10080"),
    broker("offsets.topic.num.partitions", Kind::Int(1, 10_000), "50"),
    broker(
        "offsets.topic.segment.bytes",
        Kind::Int(1_048_576, INT_MAX),
        "104857600",
    ),
    broker("socket.request.max.bytes", Kind::Int(1024, 104_857_600), "104857600"),
    broker(
        "transaction.abort.timed.out.transaction.cleanup.interval.ms",
        Kind::Int(1, INT_MAX),
        "10000",
    ),
    broker("transaction.max.timeout.ms", Kind::Int(1, INT_MAX), "900000"),
    broker("transaction.state.log.num.partitions", Kind::Int(1, 1000), "50"),
    broker("transactional.id.expiration.ms", Kind::Int(1, INT_MAX), "604800000"),
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
                let number = value.parse::<f64>().map_err(|_| "it must be a number".to_owned())?;
                // All that there are here are ratios.
                if !(0.0..=1.0).contains(&number) {
                    return Err("it must be within 0 and 1".to_owned());
                }
            }
            Kind::Text(values) if values.contains(&value) => {}
            Kind::List([]) => {}
            Kind::List(values) if value.split(',').all(|element| values.contains(&element.trim())) => {}
            Kind::Text(values) | Kind::List(values) => return Err(format!("it must be one of {}", values.join(", "))),
        }
        match self.effect {
            Effect::Refused(why) if value != self.default => Err(format!("only {} is supported: {why}", self.default)),
            _ => Ok(()),
        }
    }

    /// Why a value has no effect, where it is accepted in spite of that.
    pub fn why_ignored(&self, value: &str) -> Option<&'static str> {
        match self.effect {
            Effect::Ignored(why) if value != self.default => Some(why),
            _ => None,
        }
    }
}
