//! What there is: ApiVersions, Metadata, DescribeCluster, DescribeLogDirs.

use std::sync::Arc;

use log_broker_wire::ErrorCode;
use log_broker_wire::messages::ApiKey;
use log_broker_wire::messages::api_versions::{
    ApiVersion, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use log_broker_wire::messages::describe_cluster::{
    DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};
use log_broker_wire::messages::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsRequest, DescribeLogDirsResponse, DescribeLogDirsResult,
    DescribeLogDirsTopic,
};
use log_broker_wire::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition,
    MetadataResponseTopic,
};

use super::super::broker::Broker;
use super::super::dispatch::{self, Client};
use super::super::partition::{Partition, Refused};
use super::super::topics::Topic;
use super::blocking;
use crate::catalog;

/// Features, with the version that is in force and supported. With the second version of transactions, clients let the
/// broker add partitions, and each end of a transaction bumps the epoch (KIP-890).
const FEATURES: [(&str, i16); 1] = [("transaction.version", 2)];

/// Metadata before this version takes an empty list for all topics.
const EMPTY_IS_NONE: i16 = 1;
/// ...and before this version cannot forbid to create them.
const CAN_FORBID_CREATION: i16 = 4;

pub(in super::super) async fn api_versions() -> ApiVersionsResponse {
    let api_keys = ApiKey::ALL.iter().map(|api| {
        let versions = dispatch::served(*api);
        ApiVersion {
            api_key: api.key(),
            min_version: *versions.start(),
            max_version: *versions.end(),
        }
    });
    let supported = FEATURES.iter().map(|(name, max_version)| SupportedFeatureKey {
        name: (*name).to_owned(),
        min_version: 0,
        max_version: *max_version,
    });
    let finalized = FEATURES.iter().map(|(name, level)| FinalizedFeatureKey {
        name: (*name).to_owned(),
        max_version_level: *level,
        min_version_level: *level,
    });
    ApiVersionsResponse {
        api_keys: api_keys.collect(),
        supported_features: supported.collect(),
        finalized_features_epoch: 0,
        finalized_features: finalized.collect(),
        ..Default::default()
    }
}

/// For a client that speaks a newer ApiVersions: it reads what is served here, and asks again (KIP-511).
pub(in super::super) fn unknown_api_versions() -> ApiVersionsResponse {
    let versions = dispatch::served(ApiKey::ApiVersions);
    let own = ApiVersion {
        api_key: ApiKey::ApiVersions.key(),
        min_version: *versions.start(),
        max_version: *versions.end(),
    };
    ApiVersionsResponse {
        error_code: ErrorCode::UNSUPPORTED_VERSION.0,
        api_keys: vec![own],
        ..Default::default()
    }
}

pub(in super::super) async fn metadata(
    broker: &Arc<Broker>,
    request: MetadataRequest,
    version: i16,
    client: &Client,
) -> MetadataResponse {
    let may_create = (version < CAN_FORBID_CREATION || request.allow_auto_topic_creation)
        && broker.properties.flag("auto.create.topics.enable");
    let topics = match request.topics {
        Some(topics) if version >= EMPTY_IS_NONE || !topics.is_empty() => {
            let mut found = Vec::with_capacity(topics.len());
            for topic in topics {
                found.push(one_topic(broker, topic, may_create).await);
            }
            found
        }
        _ => broker
            .topics
            .all()
            .into_iter()
            .map(|(name, topic)| describe_topic(broker, name, &topic))
            .collect(),
    };
    let (host, port) = broker.advertised_to(client);
    MetadataResponse {
        brokers: vec![MetadataResponseBroker {
            node_id: broker.node_id,
            host,
            port: i32::from(port),
            rack: None,
        }],
        cluster_id: Some(broker.topics.cluster_id().to_owned()),
        controller_id: broker.node_id,
        topics,
        ..Default::default()
    }
}

async fn one_topic(broker: &Arc<Broker>, asked: MetadataRequestTopic, may_create: bool) -> MetadataResponseTopic {
    // A client that asks by id may send an empty name besides (Kafka's Java client does).
    let by_id = !asked.topic_id.is_nil();
    let Some(name) = asked.name.filter(|_| !by_id) else {
        return match broker.topics.get_by_id(asked.topic_id) {
            Some((name, topic)) => describe_topic(broker, name, &topic),
            None => MetadataResponseTopic {
                error_code: ErrorCode::UNKNOWN_TOPIC_ID.0,
                topic_id: asked.topic_id,
                ..Default::default()
            },
        };
    };
    if let Some(topic) = broker.topics.get(&name) {
        return describe_topic(broker, name, &topic);
    }
    let error = if catalog::check_name(&name).is_err() {
        ErrorCode::INVALID_TOPIC_EXCEPTION
    } else if !may_create {
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
    } else {
        match create(broker, name.clone()).await {
            // Somebody else may have been faster.
            Ok(())
            | Err(Refused {
                code: ErrorCode::TOPIC_ALREADY_EXISTS,
                ..
            }) => match broker.topics.get(&name) {
                Some(topic) => return describe_topic(broker, name, &topic),
                None => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            },
            Err(refused) => {
                tracing::warn!(topic = name, ?refused, "cannot create the topic");
                ErrorCode::LEADER_NOT_AVAILABLE // Clients try this again, and the disk may have space then.
            }
        }
    };
    MetadataResponseTopic {
        error_code: error.0,
        name: Some(name),
        ..Default::default()
    }
}

async fn create(broker: &Arc<Broker>, name: String) -> Result<(), Refused> {
    blocking(broker, move |broker| {
        let partitions = broker.properties.number("num.partitions") as i32;
        broker.topics.create(&name, partitions, Default::default())?;
        broker.measure();
        Ok(())
    })
    .await
}

fn describe_topic(broker: &Broker, name: String, topic: &Topic) -> MetadataResponseTopic {
    let partition = |partition: &Partition| match partition.leadership() {
        Some(leadership) => MetadataResponsePartition {
            partition_index: partition.index,
            leader_id: broker.node_id,
            leader_epoch: leadership.leader_epoch,
            replica_nodes: leadership.replicas,
            isr_nodes: leadership.in_sync,
            ..Default::default()
        },
        None => MetadataResponsePartition {
            error_code: ErrorCode::LEADER_NOT_AVAILABLE.0,
            partition_index: partition.index,
            leader_id: -1,
            ..Default::default()
        },
    };
    let is_internal = catalog::is_internal(&name);
    MetadataResponseTopic {
        name: Some(name),
        topic_id: topic.id,
        is_internal,
        partitions: topic.partitions.iter().map(|found| partition(found)).collect(),
        ..Default::default()
    }
}

pub(in super::super) async fn describe(
    broker: &Arc<Broker>,
    request: DescribeClusterRequest,
    client: &Client,
) -> DescribeClusterResponse {
    let (host, port) = broker.advertised_to(client);
    let own = DescribeClusterBroker {
        broker_id: broker.node_id,
        host,
        port: i32::from(port),
        rack: None,
        is_fenced: false,
    };
    if request.endpoint_type != 1 {
        return DescribeClusterResponse {
            error_code: ErrorCode::INVALID_REQUEST.0,
            error_message: Some("only brokers can be described, there are no controllers".to_owned()),
            endpoint_type: request.endpoint_type,
            ..Default::default()
        };
    }
    DescribeClusterResponse {
        cluster_id: broker.topics.cluster_id().to_owned(),
        controller_id: broker.node_id,
        brokers: vec![own],
        ..Default::default()
    }
}

pub(in super::super) async fn log_dirs(
    broker: &Arc<Broker>,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    let wanted = |topic: &str, index: i32| {
        let asked = request.topics.as_ref();
        asked.is_none_or(|asked| asked.iter().any(|t| t.topic == topic && t.partitions.contains(&index)))
    };
    let topics = broker.topics.all().into_iter().map(|(name, topic)| {
        let partitions = topic
            .partitions
            .iter()
            .filter(|found| wanted(&name, found.index))
            .map(|found| {
                let size = found.with_log(|log| Ok::<_, Refused>(log.size_bytes())).unwrap_or(0);
                DescribeLogDirsPartition {
                    partition_index: found.index,
                    partition_size: i64::try_from(size).unwrap_or(i64::MAX),
                    ..Default::default()
                }
            });
        let partitions = partitions.collect();
        DescribeLogDirsTopic { name, partitions }
    });
    let topics = topics.filter(|topic| !topic.partitions.is_empty()).collect();
    let log_dir = broker.data().display().to_string();
    DescribeLogDirsResponse {
        results: vec![DescribeLogDirsResult {
            log_dir,
            topics,
            ..Default::default()
        }],
        ..Default::default()
    }
}
