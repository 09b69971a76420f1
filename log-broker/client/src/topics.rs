//! What there is: brokers, topics, partitions; making and removing topics.

use log_broker_wire::ErrorCode;
use log_broker_wire::messages::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use log_broker_wire::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use log_broker_wire::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};

use crate::{Client, Error};

/// What a broker says about its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    pub cluster_id: Option<String>,
    pub brokers: Vec<Broker>,
    pub topics: Vec<Topic>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    pub id: i32,
    pub host: String,
    pub port: i32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    pub name: String,
    /// [`ErrorCode::NONE`], or why nothing else is known of it.
    pub error: ErrorCode,
    /// By ascending id.
    pub partitions: Vec<Partition>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    pub id: i32,
    /// The broker that leads it, or -1.
    pub leader: i32,
    /// -1 where the broker does not tell.
    pub leader_epoch: i32,
}

/// How long a broker may take to create or delete topics, in milliseconds.
const TOPICS_TIMEOUT_MS: i32 = 30_000;

impl Client {
    /// Brokers and topics: those named, or all for `None`. Creates nothing; a topic that is not there carries its error.
    ///
    /// # Errors
    /// When no broker answers in time.
    pub async fn metadata(&self, topics: Option<&[&str]>) -> Result<Metadata, Error> {
        let mut retry = self.retry();
        loop {
            match self.metadata_once(topics).await {
                Err(error) => retry.after("Metadata", error).await?,
                outcome => return outcome,
            }
        }
    }

    pub(crate) async fn metadata_once(&self, topics: Option<&[&str]>) -> Result<Metadata, Error> {
        let named = |name: &&str| MetadataRequestTopic {
            name: Some((*name).to_owned()),
            ..Default::default()
        };
        let request = MetadataRequest {
            topics: topics.map(|topics| topics.iter().map(named).collect()),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        let metadata = Metadata::from(self.call_any(&request, 12).await?);
        self.learn(&metadata);
        Ok(metadata)
    }

    /// Creates a topic; -1 partitions or replicas means the broker's default.
    ///
    /// # Errors
    /// [`Error::TopicAlreadyExists`], or what the broker says.
    pub async fn create_topic(
        &self,
        name: &str,
        partitions: i32,
        replication: i16,
        configs: &[(&str, &str)],
    ) -> Result<(), Error> {
        let config = |(name, value): &(&str, &str)| CreatableTopicConfig {
            name: (*name).to_owned(),
            value: Some((*value).to_owned()),
        };
        let topic = CreatableTopic {
            name: name.to_owned(),
            num_partitions: partitions,
            replication_factor: replication,
            assignments: Vec::new(),
            configs: configs.iter().map(config).collect(),
        };
        let request = CreateTopicsRequest {
            topics: vec![topic],
            timeout_ms: TOPICS_TIMEOUT_MS,
            validate_only: false,
        };
        let what = format!("create topic {name}");
        let mut retry = self.retry();
        loop {
            let outcome = match self.call_any(&request, i16::MAX).await {
                Ok(response) => match response.topics.into_iter().next() {
                    Some(topic) if topic.error_code == ErrorCode::TOPIC_ALREADY_EXISTS.0 => {
                        Err(Error::TopicAlreadyExists(name.to_owned()))
                    }
                    Some(topic) => Error::check(|| what.clone(), topic.error_code, topic.error_message),
                    None => Ok(()),
                },
                Err(error) => Err(error),
            };
            match outcome {
                Err(error) => retry.after(&what, error).await?,
                Ok(()) => return Ok(()),
            }
        }
    }

    /// Deletes a topic with all its records.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], or what the broker says.
    pub async fn delete_topic(&self, name: &str) -> Result<(), Error> {
        let request = DeleteTopicsRequest {
            topics: vec![DeleteTopicState {
                name: Some(name.to_owned()),
                ..Default::default()
            }],
            topic_names: vec![name.to_owned()],
            timeout_ms: TOPICS_TIMEOUT_MS,
        };
        let what = format!("delete topic {name}");
        let mut retry = self.retry();
        loop {
            let outcome = match self.call_any(&request, i16::MAX).await {
                Ok(response) => match response.responses.into_iter().next() {
                    Some(topic) if topic.error_code == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0 => {
                        Err(Error::UnknownTopic(name.to_owned()))
                    }
                    Some(topic) => Error::check(|| what.clone(), topic.error_code, topic.error_message),
                    None => Ok(()),
                },
                Err(error) => Err(error),
            };
            match outcome {
                Err(error) => retry.after(&what, error).await?,
                Ok(()) => return Ok(()),
            }
        }
    }
}

impl From<MetadataResponse> for Metadata {
    fn from(response: MetadataResponse) -> Self {
        let brokers = response
            .brokers
            .into_iter()
            .map(|b| Broker {
                id: b.node_id,
                host: b.host,
                port: b.port,
            })
            .collect();
        let topics = response.topics.into_iter().map(|topic| {
            let mut partitions: Vec<_> = topic
                .partitions
                .iter()
                .map(|p| Partition {
                    id: p.partition_index,
                    leader: p.leader_id,
                    leader_epoch: p.leader_epoch,
                })
                .collect();
            partitions.sort_by_key(|partition| partition.id);
            Topic {
                name: topic.name.unwrap_or_default(),
                error: ErrorCode(topic.error_code),
                partitions,
            }
        });
        Metadata {
            cluster_id: response.cluster_id,
            brokers,
            topics: topics.collect(),
        }
    }
}
