//! Properties: Kafka's names, their defaults, and what is set on the broker and on topics.
//!
//! One table, [`table::PROPERTIES`], names every property that means something here, another one the rest of Kafka's
//! ([`others::OTHERS`]). `--set` takes a broker's name, topics take the topic's name; a name that is in no table is
//! refused. A value that has no effect here is accepted with a warning, unless ignoring it would break a promise. A topic's
//! value comes from the topic, else from the broker's flag, else from the default: the *sources* that
//! DescribeConfigs shows.

pub mod others;
mod table;

use std::collections::BTreeMap;

pub use table::{Kind, PROPERTIES, Property};

/// Where a value comes from, with Kafka's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Topic = 1,
    StaticBroker = 4,
    Default = 5,
}

/// A value with what it would be without the topic's and the broker's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    pub value: String,
    pub source: Source,
    /// Name, value and source, the winning one first.
    pub synonyms: Vec<(&'static str, String, Source)>,
}

/// What `--set` gave a broker, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrokerProperties {
    set: BTreeMap<&'static str, String>,
    /// What was set without an effect, and why it has none.
    ignored: Vec<(&'static str, &'static str)>,
}

/// What a topic was given, by the topic's name of the property.
pub type TopicProperties = BTreeMap<String, String>;

impl BrokerProperties {
    /// Reads `name=value` settings.
    ///
    /// # Errors
    /// One sentence that names the setting.
    pub fn parse<'a>(settings: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut properties = Self::default();
        for setting in settings {
            let (name, value) = setting
                .split_once('=')
                .ok_or_else(|| format!("--set {setting}: write it as name=value"))?;
            let invalid = |name: &str, value: &str, reason| format!("--set {name}={value}: {reason}");
            if let Some((name, kind, default)) = others::find(name.trim()).filter(|(name, ..)| !is_unit_alias(name)) {
                let value = value.trim();
                others::check(name, kind, default, value).map_err(|reason| invalid(name, value, reason))?;
                properties.set.insert(name, value.to_owned());
                if default != Some(value) {
                    properties.ignored.push((name, "it has no meaning for this broker"));
                }
                continue;
            }
            let (name, value) = unit_alias(name.trim(), value.trim())?;
            let property = find(name);
            property.check(&value).map_err(|reason| invalid(name, &value, reason))?;
            if let Some(why) = property.why_ignored(&value) {
                properties.ignored.push((property.broker, why));
            }
            properties.set.insert(property.broker, value);
        }
        Ok(properties)
    }

    /// What was set without an effect: name and reason.
    pub fn ignored(&self) -> &[(&'static str, &'static str)] {
        &self.ignored
    }

    /// The value of one of Kafka's other properties, where it was set.
    pub fn other(&self, name: &str) -> Option<&str> {
        self.set.get(name).map(String::as_str)
    }

    fn text(&self, property: &Property) -> (String, Source) {
        match self.set.get(property.broker) {
            Some(value) => (value.clone(), Source::StaticBroker),
            None => (property.default.to_owned(), Source::Default),
        }
    }

    /// The value of a broker property that is a number.
    ///
    /// # Panics
    /// When the table has no such number; names are literals of this crate, and values were checked.
    pub fn number(&self, name: &str) -> i64 {
        self.text(find(name)).0.parse().expect("numbers were checked")
    }

    /// The value of a broker property that is true or false.
    pub fn flag(&self, name: &str) -> bool {
        self.text(find(name)).0 == "true"
    }

    /// A broker property with its source.
    pub fn resolve(&self, property: &Property) -> Resolved {
        let (value, source) = self.text(property);
        let mut synonyms = Vec::new();
        if !property.broker.is_empty() {
            synonyms.push((property.broker, value.clone(), source));
        }
        if source != Source::Default {
            synonyms.push((property.broker, property.default.to_owned(), Source::Default));
        }
        Resolved {
            value,
            source,
            synonyms,
        }
    }

    /// A topic property with its source. `property` is one that topics have.
    pub fn resolve_topic(&self, property: &Property, topic: &TopicProperties) -> Resolved {
        let name = property.topic.unwrap_or(property.broker);
        let mut resolved = self.resolve(property);
        if let Some(value) = topic.get(name) {
            resolved.synonyms.insert(0, (name, value.clone(), Source::Topic));
            resolved.value = value.clone();
            resolved.source = Source::Topic;
        }
        resolved
    }

    /// The value of a topic property that is a number.
    pub fn topic_number(&self, name: &str, topic: &TopicProperties) -> i64 {
        self.topic_text(name, topic).parse().expect("numbers were checked")
    }

    /// The value of a topic property.
    pub fn topic_text(&self, name: &str, topic: &TopicProperties) -> String {
        self.resolve_topic(find_topic(name).expect("a name of the table"), topic)
            .value
    }
}

fn find(name: &str) -> &'static Property {
    PROPERTIES
        .iter()
        .find(|property| property.broker == name)
        .expect("a name of the table")
}

/// The property that topics know by this name.
pub fn find_topic(name: &str) -> Option<&'static Property> {
    PROPERTIES.iter().find(|property| property.topic == Some(name))
}

/// Checks a topic's setting.
///
/// # Errors
/// One sentence that names it.
pub fn check_topic(name: &str, value: &str) -> Result<(), String> {
    let property = find_topic(name).ok_or_else(|| format!("Unknown topic config name: {name}"))?;
    property
        .check(value)
        .map_err(|reason| format!("Invalid value {value} for configuration {name}: {reason}"))
}

/// Why a topic's setting has no effect, where that is so.
pub fn why_ignored(name: &str, value: &str) -> Option<&'static str> {
    find_topic(name)?.why_ignored(value)
}

fn is_unit_alias(name: &str) -> bool {
    matches!(name, "log.retention.hours" | "log.retention.minutes" | "log.roll.hours")
}

/// Kafka's older names in other units become the one in milliseconds.
fn unit_alias(name: &str, value: &str) -> Result<(&'static str, String), String> {
    let (canonical, unit_ms) = match name {
        "log.retention.hours" => ("log.retention.ms", 3_600_000),
        "log.retention.minutes" => ("log.retention.ms", 60_000),
        "log.roll.hours" => ("log.roll.ms", 3_600_000),
        _ => {
            let known = PROPERTIES
                .iter()
                .find(|property| property.broker == name && !name.is_empty());
            let known = known.ok_or_else(|| format!("--set {name}: this broker knows no such property"))?;
            return Ok((known.broker, value.to_owned()));
        }
    };
    let number: i64 = value
        .parse()
        .map_err(|_| format!("--set {name}={value}: it must be a whole number"))?;
    let value = if number < 0 { -1 } else { number.saturating_mul(unit_ms) };
    Ok((canonical, value.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_valid() {
        for property in PROPERTIES {
            assert_eq!(property.check(property.default), Ok(()), "{}", property.broker);
        }
    }

    #[test]
    fn a_topic_wins_over_the_broker_and_the_broker_over_the_default() {
        let broker = BrokerProperties::parse(["log.retention.hours=2", "num.partitions=4"]).unwrap();
        assert_eq!(broker.number("num.partitions"), 4);
        let topic = TopicProperties::from([("retention.ms".to_owned(), "5".to_owned())]);
        assert_eq!(broker.topic_number("retention.ms", &TopicProperties::new()), 7_200_000);
        let resolved = broker.resolve_topic(find_topic("retention.ms").unwrap(), &topic);
        assert_eq!((resolved.value.as_str(), resolved.source), ("5", Source::Topic));
        let sources: Vec<_> = resolved.synonyms.iter().map(|(_, _, source)| *source).collect();
        assert_eq!(sources, [Source::Topic, Source::StaticBroker, Source::Default]);
    }

    #[test]
    fn what_is_unknown_or_has_no_effect_is_refused() {
        for setting in [
            "no.such.thing=1",
            "num.partitions=many",
            "num.partitions",
            "log.cleanup.policy=shred",
            "ssl.keystore.location=/keys",
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "broker.id=7",
            "node.id=-1",
            "log.dirs=/var/lib/kafka",
            "num.io.threads=many",
        ] {
            assert!(BrokerProperties::parse([setting]).is_err(), "{setting}");
        }
        assert!(check_topic("segment.bytes", "100").is_err());
        assert!(check_topic("cleanup.policy", "compact,delete").is_ok());
        assert!(check_topic("remote.storage.enable", "true").is_err());
        assert!(check_topic("flush.ms", "5").is_err());
        assert!(check_topic("flush.ms", "9223372036854775807").is_ok());
    }

    #[test]
    fn what_has_no_meaning_here_is_accepted_and_named() {
        let broker =
            BrokerProperties::parse(["num.io.threads=3", "log.preallocate=true", "num.network.threads=3"]).unwrap();
        let names: Vec<_> = broker.ignored().iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["num.io.threads", "log.preallocate"]);
        assert_eq!(broker.other("num.io.threads"), Some("3"));
        assert!(why_ignored("segment.jitter.ms", "5").is_some());
        assert!(why_ignored("segment.jitter.ms", "0").is_none());
    }
}
