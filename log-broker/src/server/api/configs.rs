//! DescribeConfigs, AlterConfigs, IncrementalAlterConfigs.

use std::sync::Arc;

use log_broker_wire::ErrorCode;
use log_broker_wire::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult, DescribeConfigsSynonym,
};
use log_broker_wire::messages::{alter_configs, incremental_alter_configs};

use super::super::broker::Broker;
use super::super::partition::Refused;
use super::super::topics::refused;
use super::{blocking, outcome};
use crate::property::{self, Kind, PROPERTIES, Resolved, Source, TopicProperties, others};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub(in super::super) async fn describe(
    broker: &Arc<Broker>,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let describe = |resource: &DescribeConfigsResource| {
        let described = describe_one(broker, resource);
        let configs = described
            .as_ref()
            .map(|all| chosen(all, resource, request.include_synonyms))
            .unwrap_or_default();
        let (error_code, error_message) = outcome(described);
        DescribeConfigsResult {
            error_code,
            error_message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            configs,
        }
    };
    DescribeConfigsResponse {
        results: request.resources.iter().map(describe).collect(),
        ..Default::default()
    }
}

/// A property as it is shown.
struct Described {
    name: &'static str,
    /// Kafka's number for the type.
    kind: i8,
    read_only: bool,
    is_sensitive: bool,
    /// `None` is null.
    value: Option<String>,
    source: Source,
    synonyms: Vec<(&'static str, String, Source)>,
}

impl Described {
    fn new(name: &'static str, kind: Kind, read_only: bool, resolved: Resolved) -> Self {
        Self {
            name,
            kind: kind.number(),
            read_only,
            is_sensitive: false,
            value: Some(resolved.value),
            source: resolved.source,
            synonyms: resolved.synonyms,
        }
    }
}

/// Kafka's other properties: as they were set, or what they say of this broker, or Kafka's default.
fn describe_others(broker: &Broker) -> impl Iterator<Item = Described> {
    let own = |name: &str| {
        let (host, port) = &broker.advertised;
        Some(match name {
            "broker.id" => broker.node_id.to_string(),
            "process.roles" => "broker".to_owned(),
            "log.dir" | "log.dirs" => broker.data().display().to_string(),
            "listeners" => format!("PLAINTEXT://{}", broker.listen),
            "advertised.listeners" => match host {
                Some(host) => format!("PLAINTEXT://{host}:{port}"),
                None => format!("PLAINTEXT://{}", broker.listen),
            },
            _ => return None,
        })
    };
    others::OTHERS.iter().map(move |(name, kind, default)| {
        let set = own(name).or_else(|| broker.properties.other(name).map(str::to_owned));
        let source = if set.is_some() {
            Source::StaticBroker
        } else {
            Source::Default
        };
        let is_sensitive = *kind == others::Type::Password;
        let value = set.or_else(|| default.map(str::to_owned)).filter(|_| !is_sensitive);
        let mut synonyms = Vec::new();
        if let (Source::StaticBroker, Some(value)) = (source, &value) {
            synonyms.push((*name, value.clone(), source));
        }
        synonyms.extend(default.map(|default| (*name, default.to_owned(), Source::Default)));
        Described {
            name,
            kind: *kind as i8,
            read_only: true,
            is_sensitive,
            value,
            source,
            synonyms,
        }
    })
}

fn describe_one(broker: &Broker, resource: &DescribeConfigsResource) -> Result<Vec<Described>, Refused> {
    match resource.resource_type {
        TOPIC => {
            let topic = broker
                .topics
                .get(&resource.resource_name)
                .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
            let properties = PROPERTIES
                .iter()
                .filter_map(|property| Some((property.topic?, property)));
            Ok(properties
                .map(|(name, property)| {
                    let resolved = broker.properties.resolve_topic(property, &topic.properties);
                    Described::new(name, property.kind, false, resolved)
                })
                .collect())
        }
        BROKER if resource.resource_name.is_empty() || resource.resource_name == broker.node_id.to_string() => {
            Ok(PROPERTIES
                .iter()
                .filter(|property| !property.broker.is_empty())
                .map(|property| {
                    let resolved = broker.properties.resolve(property);
                    Described::new(property.broker, property.kind, true, resolved)
                })
                .chain(describe_others(broker))
                .collect())
        }
        BROKER => {
            let message = format!(
                "Unexpected broker id, expected {} but received {}",
                broker.node_id, resource.resource_name
            );
            Err(refused(ErrorCode::INVALID_REQUEST, message))
        }
        other => Err(refused(
            ErrorCode::INVALID_REQUEST,
            format!("Unsupported resource type: {other}"),
        )),
    }
}

fn chosen(
    all: &[Described],
    resource: &DescribeConfigsResource,
    with_synonyms: bool,
) -> Vec<DescribeConfigsResourceResult> {
    let wanted = |name: &str| {
        resource
            .configuration_keys
            .as_ref()
            .is_none_or(|keys| keys.iter().any(|key| key == name))
    };
    let synonym = |(name, value, source): &(&'static str, String, property::Source)| DescribeConfigsSynonym {
        name: (*name).to_owned(),
        value: Some(value.clone()),
        source: *source as i8,
    };
    all.iter()
        .filter(|described| wanted(described.name))
        .map(|described| DescribeConfigsResourceResult {
            name: described.name.to_owned(),
            value: described.value.clone(),
            read_only: described.read_only,
            config_source: described.source as i8,
            is_sensitive: described.is_sensitive,
            synonyms: if with_synonyms {
                described.synonyms.iter().map(synonym).collect()
            } else {
                Vec::new()
            },
            config_type: described.kind,
            documentation: None,
        })
        .collect()
}

/// Replaces all properties of each topic.
pub(in super::super) async fn replace(
    broker: &Arc<Broker>,
    request: alter_configs::AlterConfigsRequest,
) -> alter_configs::AlterConfigsResponse {
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let (resource_type, resource_name) = (resource.resource_type, resource.resource_name.clone());
        let changed = change(
            broker,
            resource_type,
            resource_name.clone(),
            request.validate_only,
            move |_| {
                let set = resource
                    .configs
                    .into_iter()
                    .map(|config| (config.name, config.value.unwrap_or_default()));
                Ok(set.collect())
            },
        );
        let (error_code, error_message) = outcome(changed.await);
        responses.push(alter_configs::AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type,
            resource_name,
        });
    }
    alter_configs::AlterConfigsResponse {
        responses,
        ..Default::default()
    }
}

/// Changes single properties of each topic.
pub(in super::super) async fn alter(
    broker: &Arc<Broker>,
    request: incremental_alter_configs::IncrementalAlterConfigsRequest,
) -> incremental_alter_configs::IncrementalAlterConfigsResponse {
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let (resource_type, resource_name) = (resource.resource_type, resource.resource_name.clone());
        let changed = change(
            broker,
            resource_type,
            resource_name.clone(),
            request.validate_only,
            move |mut now| {
                for config in resource.configs {
                    apply(&mut now, config)?;
                }
                Ok(now)
            },
        );
        let (error_code, error_message) = outcome(changed.await);
        responses.push(incremental_alter_configs::AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type,
            resource_name,
        });
    }
    incremental_alter_configs::IncrementalAlterConfigsResponse {
        responses,
        ..Default::default()
    }
}

fn apply(properties: &mut TopicProperties, config: incremental_alter_configs::AlterableConfig) -> Result<(), Refused> {
    let invalid = |message: String| refused(ErrorCode::INVALID_CONFIG, message);
    let name = config.name;
    let property = property::find_topic(&name).ok_or_else(|| invalid(format!("Unknown topic config name: {name}")))?;
    let value = config.value.unwrap_or_default();
    match config.config_operation {
        SET => {
            properties.insert(name, value);
        }
        DELETE => {
            properties.remove(&name);
        }
        operation @ (APPEND | SUBTRACT) => {
            if !matches!(property.kind, Kind::List(_)) {
                return Err(invalid(format!(
                    "Config value append is not allowed for config key: {name}"
                )));
            }
            let now = properties
                .get(&name)
                .cloned()
                .unwrap_or_else(|| property.default.to_owned());
            let mut elements: Vec<&str> = now.split(',').filter(|element| !element.is_empty()).collect();
            if operation == APPEND {
                let new = value
                    .split(',')
                    .filter(|element| !elements.contains(element))
                    .collect::<Vec<_>>();
                elements.extend(new);
            } else {
                elements.retain(|element| !value.split(',').any(|gone| gone == *element));
            }
            properties.insert(name, elements.join(","));
        }
        other => {
            return Err(refused(
                ErrorCode::INVALID_REQUEST,
                format!("Unknown operation {other}"),
            ));
        }
    }
    Ok(())
}

async fn change(
    broker: &Arc<Broker>,
    resource_type: i8,
    name: String,
    validate_only: bool,
    change: impl FnOnce(TopicProperties) -> Result<TopicProperties, Refused> + Send + 'static,
) -> Result<(), Refused> {
    if resource_type != TOPIC {
        let message = "only topics' properties can be changed while the broker runs; its own are set by --set";
        return Err(refused(ErrorCode::INVALID_REQUEST, message.to_owned()));
    }
    blocking(broker, move |broker| {
        let topic = broker.topics.get(&name).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        let properties = change(topic.properties.clone())?;
        for (name, value) in &properties {
            property::check_topic(name, value).map_err(|reason| refused(ErrorCode::INVALID_CONFIG, reason))?;
            if let Some(reason) = property::why_ignored(name, value) {
                tracing::warn!(property = name, value, reason, "a property of a topic has no effect");
            }
        }
        if validate_only {
            Ok(())
        } else {
            broker.topics.set_properties(&name, properties)
        }
    })
    .await
}
