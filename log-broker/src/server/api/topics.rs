//! CreateTopics, DeleteTopics, CreatePartitions.

use std::collections::BTreeMap;
use std::sync::Arc;

use log_broker_wire::ErrorCode;
use log_broker_wire::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic, CreatePartitionsTopicResult,
};
use log_broker_wire::messages::create_topics::{
    CreatableTopic, CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse,
};
use log_broker_wire::messages::delete_topics::{
    DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
};
use uuid::Uuid;

use super::super::broker::Broker;
use super::super::partition::Refused;
use super::super::topics::refused;
use super::{blocking, outcome};
use crate::catalog::{self, PARTITIONS_MAX};
use crate::property::{self, PROPERTIES, TopicProperties};

/// DeleteTopics takes topics by id from this version on.
const DELETE_BY_ID: i16 = 6;

pub(in super::super) async fn create(broker: &Arc<Broker>, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let mut named = BTreeMap::new();
    for topic in &request.topics {
        *named.entry(topic.name.clone()).or_insert(0) += 1;
    }
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let name = topic.name.clone();
        let created = if named[&name] > 1 {
            Err(refused(ErrorCode::INVALID_REQUEST, "Duplicate topic name.".to_owned()))
        } else {
            let validate_only = request.validate_only;
            blocking(broker, move |broker| create_one(broker, topic, validate_only)).await
        };
        topics.push(match created {
            Ok(result) => result,
            Err(refused) => CreatableTopicResult {
                name,
                error_code: refused.code.0,
                error_message: Some(refused.message.unwrap_or_else(|| refused.code.name().to_owned())),
                ..Default::default()
            },
        });
    }
    broker.measure();
    CreateTopicsResponse {
        topics,
        ..Default::default()
    }
}

fn create_one(broker: &Broker, topic: CreatableTopic, validate_only: bool) -> Result<CreatableTopicResult, Refused> {
    catalog::check_name(&topic.name).map_err(|reason| refused(ErrorCode::INVALID_TOPIC_EXCEPTION, reason))?;
    let partitions = partition_count(broker, &topic)?;
    let mut properties = TopicProperties::new();
    for config in &topic.configs {
        let value = config.value.as_deref().unwrap_or_default();
        property::check_topic(&config.name, value).map_err(|reason| refused(ErrorCode::INVALID_CONFIG, reason))?;
        if let Some(reason) = property::why_ignored(&config.name, value) {
            tracing::warn!(
                topic = topic.name,
                property = config.name,
                value,
                reason,
                "a property of a topic has no effect"
            );
        }
        properties.insert(config.name.clone(), value.to_owned());
    }
    if catalog::is_internal(&topic.name) {
        let message = format!(
            "Topic '{}' is internal: the broker creates it when it is needed.",
            topic.name
        );
        return Err(refused(ErrorCode::INVALID_TOPIC_EXCEPTION, message));
    }
    if broker.topics.get(&topic.name).is_some() {
        let message = format!("Topic '{}' already exists.", topic.name);
        return Err(refused(ErrorCode::TOPIC_ALREADY_EXISTS, message));
    }
    let configs = describe(broker, &properties);
    let topic_id = if validate_only {
        Uuid::nil()
    } else {
        broker.topics.create(&topic.name, partitions, properties)?
    };
    Ok(CreatableTopicResult {
        name: topic.name,
        topic_id,
        num_partitions: partitions,
        replication_factor: 1,
        configs: Some(configs),
        ..Default::default()
    })
}

fn partition_count(broker: &Broker, topic: &CreatableTopic) -> Result<i32, Refused> {
    if !topic.assignments.is_empty() {
        if topic.num_partitions != -1 || topic.replication_factor != -1 {
            let message = "Both partition counts and assignments are given.".to_owned();
            return Err(refused(ErrorCode::INVALID_REQUEST, message));
        }
        let mut indexes: Vec<i32> = topic
            .assignments
            .iter()
            .map(|assignment| assignment.partition_index)
            .collect();
        indexes.sort_unstable();
        let consecutive = indexes.iter().enumerate().all(|(place, index)| place as i32 == *index);
        if !consecutive
            || topic
                .assignments
                .iter()
                .any(|assignment| assignment.broker_ids != [broker.node_id])
        {
            let message = format!(
                "Partitions must be numbered from 0 and assigned to the one broker, {}.",
                broker.node_id
            );
            return Err(refused(ErrorCode::INVALID_REPLICA_ASSIGNMENT, message));
        }
        return Ok(indexes.len() as i32);
    }
    match topic.replication_factor {
        -1 | 1 => {}
        factor if factor < 1 => {
            let message = "Replication factor must be larger than 0, or -1 to use the default value.".to_owned();
            return Err(refused(ErrorCode::INVALID_REPLICATION_FACTOR, message));
        }
        factor => {
            let message = format!("Unable to replicate the partition {factor} time(s): there is 1 broker.");
            return Err(refused(ErrorCode::INVALID_REPLICATION_FACTOR, message));
        }
    }
    match topic.num_partitions {
        -1 => Ok(broker.properties.number("num.partitions") as i32),
        count if (1..=PARTITIONS_MAX).contains(&count) => Ok(count),
        count => {
            let message = format!("{count} partitions: give 1 to {PARTITIONS_MAX}, or -1 for the default value.");
            Err(refused(ErrorCode::INVALID_PARTITIONS, message))
        }
    }
}

fn describe(broker: &Broker, properties: &TopicProperties) -> Vec<CreatableTopicConfigs> {
    let topic = PROPERTIES
        .iter()
        .filter_map(|property| Some((property.topic?, property)));
    topic
        .map(|(name, property)| {
            let resolved = broker.properties.resolve_topic(property, properties);
            CreatableTopicConfigs {
                name: name.to_owned(),
                value: Some(resolved.value),
                read_only: false,
                config_source: resolved.source as i8,
                is_sensitive: false,
            }
        })
        .collect()
}

pub(in super::super) async fn delete(
    broker: &Arc<Broker>,
    request: DeleteTopicsRequest,
    version: i16,
) -> DeleteTopicsResponse {
    let asked: Vec<DeleteTopicState> = if version >= DELETE_BY_ID {
        request.topics
    } else {
        let named = |name| DeleteTopicState {
            name: Some(name),
            topic_id: Uuid::nil(),
        };
        request.topic_names.into_iter().map(named).collect()
    };
    let mut responses = Vec::with_capacity(asked.len());
    for topic in asked {
        let (name, topic_id, deleted) = delete_one(broker, topic).await;
        let (error_code, error_message) = outcome(deleted);
        responses.push(DeletableTopicResult {
            name,
            topic_id,
            error_code,
            error_message,
        });
    }
    broker.measure();
    DeleteTopicsResponse {
        responses,
        ..Default::default()
    }
}

async fn delete_one(broker: &Arc<Broker>, asked: DeleteTopicState) -> (Option<String>, Uuid, Result<(), Refused>) {
    let found = match &asked.name {
        Some(name) => broker.topics.get(name).map(|topic| (name.clone(), topic.id)),
        None => broker
            .topics
            .get_by_id(asked.topic_id)
            .map(|(name, topic)| (name, topic.id)),
    };
    let Some((name, id)) = found else {
        let code = match asked.name {
            Some(_) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            None => ErrorCode::UNKNOWN_TOPIC_ID,
        };
        return (asked.name, asked.topic_id, Err(code.into()));
    };
    if !broker.properties.flag("delete.topic.enable") {
        let message = "delete.topic.enable is false".to_owned();
        return (Some(name), id, Err(refused(ErrorCode::POLICY_VIOLATION, message)));
    }
    if catalog::is_internal(&name) {
        let message = format!("Topic '{name}' is internal: the broker needs it.");
        return (Some(name), id, Err(refused(ErrorCode::INVALID_REQUEST, message)));
    }
    let doomed = name.clone();
    let mut deleted = blocking(broker, move |broker| broker.topics.delete(&doomed)).await;
    if deleted.is_ok() {
        deleted = broker.groups.forget_topic(&name).await.map_err(Into::into);
    }
    (Some(name), id, deleted)
}

pub(in super::super) async fn grow(broker: &Arc<Broker>, request: CreatePartitionsRequest) -> CreatePartitionsResponse {
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let name = topic.name.clone();
        let validate_only = request.validate_only;
        let grown = blocking(broker, move |broker| grow_one(broker, &topic, validate_only)).await;
        let (error_code, error_message) = outcome(grown);
        results.push(CreatePartitionsTopicResult {
            name,
            error_code,
            error_message,
        });
    }
    broker.measure();
    CreatePartitionsResponse {
        results,
        ..Default::default()
    }
}

fn grow_one(broker: &Broker, topic: &CreatePartitionsTopic, validate_only: bool) -> Result<(), Refused> {
    let found = broker
        .topics
        .get(&topic.name)
        .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    let before = found.partitions.len() as i32;
    if catalog::is_internal(&topic.name) {
        let message = "The partitions of an internal topic tell where its keys are: their number is fixed.".to_owned();
        return Err(refused(ErrorCode::INVALID_PARTITIONS, message));
    }
    if topic.count <= before || topic.count > PARTITIONS_MAX {
        let message = format!(
            "Topic currently has {before} partitions: give more than that, up to {PARTITIONS_MAX}, not {}.",
            topic.count
        );
        return Err(refused(ErrorCode::INVALID_PARTITIONS, message));
    }
    if let Some(assignments) = &topic.assignments {
        let fits = assignments.len() as i32 == topic.count - before;
        if !fits
            || assignments
                .iter()
                .any(|assignment| assignment.broker_ids != [broker.node_id])
        {
            let message = format!(
                "Every new partition must be assigned to the one broker, {}.",
                broker.node_id
            );
            return Err(refused(ErrorCode::INVALID_REPLICA_ASSIGNMENT, message));
        }
    }
    if validate_only {
        Ok(())
    } else {
        broker.topics.grow(&topic.name, topic.count)
    }
}
