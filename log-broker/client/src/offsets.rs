//! Positions: the ends of a partition, a point in time, and what groups committed.

use std::time::Duration;

use log_broker_wire::ErrorCode;
use log_broker_wire::messages::list_groups::ListGroupsRequest;
use log_broker_wire::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use log_broker_wire::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use log_broker_wire::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestTopic};

use crate::{Client, Error};

/// Where in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The first record that is still there.
    Earliest,
    /// Behind the last record.
    Latest,
    /// The first record with at least this timestamp (milliseconds since 1970); as `Latest` where there is none.
    Timestamp(i64),
}

impl Client {
    /// Finds an offset.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], [`Error::UnknownPartition`], or what the broker says.
    pub async fn offset(&self, topic: &str, partition: i32, at: At) -> Result<i64, Error> {
        let found = self.list_offset(topic, partition, at).await?;
        match (at, found) {
            (At::Timestamp(_), -1) => self.list_offset(topic, partition, At::Latest).await,
            _ => Ok(found),
        }
    }

    async fn list_offset(&self, topic: &str, partition: i32, at: At) -> Result<i64, Error> {
        let what = format!("ListOffsets of {topic}/{partition}");
        let mut retry = self.retry();
        loop {
            match self.list_offset_once(topic, partition, at, &what).await {
                Err(error) => {
                    self.forget_leader(topic, partition);
                    retry.after(&what, error).await?;
                }
                outcome => return outcome,
            }
        }
    }

    async fn list_offset_once(&self, topic: &str, partition: i32, at: At, what: &str) -> Result<i64, Error> {
        let timestamp = match at {
            At::Earliest => -2,
            At::Latest => -1,
            At::Timestamp(timestamp) => timestamp.max(0),
        };
        let asked = ListOffsetsPartition {
            partition_index: partition,
            timestamp,
            ..Default::default()
        };
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsTopic {
                name: topic.to_owned(),
                partitions: vec![asked],
            }],
            ..Default::default()
        };
        let leader = self.leader(topic, partition).await?;
        let response = self.call_at(&leader, &request, i16::MAX, Duration::ZERO).await?;
        let answer = response.topics.into_iter().flat_map(|topic| topic.partitions).next();
        let answer = answer.ok_or_else(|| Error::UnknownPartition(topic.to_owned(), partition))?;
        Error::check(|| what.to_owned(), answer.error_code, None)?;
        Ok(answer.offset)
    }

    /// The positions that a group has committed, in the order of `partitions`; `None` where it has none.
    ///
    /// # Errors
    /// What the broker says.
    pub async fn committed(&self, group: &str, topic: &str, partitions: &[i32]) -> Result<Vec<Option<i64>>, Error> {
        let asked = OffsetFetchRequestTopic {
            name: topic.to_owned(),
            partition_indexes: partitions.to_vec(),
        };
        let request = OffsetFetchRequest {
            group_id: group.to_owned(),
            topics: Some(vec![asked]),
            ..Default::default()
        };
        let what = format!("OffsetFetch of group {group}");
        let mut retry = self.retry();
        loop {
            match self.committed_once(&request, partitions, &what).await {
                Err(error) => retry.after(&what, error).await?,
                outcome => return outcome,
            }
        }
    }

    /// The groups of all brokers, by name.
    ///
    /// # Errors
    /// What a broker says.
    pub async fn groups(&self) -> Result<Vec<String>, Error> {
        let metadata = self.metadata(Some(&[])).await?;
        let mut groups = Vec::new();
        for broker in metadata.brokers {
            let address = format!("{}:{}", broker.host, broker.port);
            let request = ListGroupsRequest::default();
            let response = self.call_at(&address, &request, 2, Duration::ZERO).await?;
            Error::check(|| "ListGroups".to_owned(), response.error_code, None)?;
            groups.extend(response.groups.into_iter().map(|group| group.group_id));
        }
        groups.sort();
        groups.dedup();
        Ok(groups)
    }

    async fn committed_once(
        &self,
        request: &OffsetFetchRequest,
        partitions: &[i32],
        what: &str,
    ) -> Result<Vec<Option<i64>>, Error> {
        let coordinator = self.coordinator(&request.group_id).await?;
        let response = self.call_at(&coordinator, request, 7, Duration::ZERO).await?; // From 8 on for several groups.
        Error::check(|| what.to_owned(), response.error_code, None)?;
        let mut committed = vec![None; partitions.len()];
        for answer in response.topics.into_iter().flat_map(|topic| topic.partitions) {
            match ErrorCode(answer.error_code) {
                // Kafka says so of a partition that it does not have: nothing was committed either.
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => continue,
                code => Error::check(|| what.to_owned(), code.0, None)?,
            }
            if let Some(place) = partitions
                .iter()
                .position(|partition| *partition == answer.partition_index)
            {
                committed[place] = (answer.committed_offset >= 0).then_some(answer.committed_offset);
            }
        }
        Ok(committed)
    }

    /// Commits positions, `(partition, next offset to read)`, for a group without members.
    ///
    /// # Errors
    /// What the broker says; it refuses while the group has members.
    pub async fn commit(&self, group: &str, topic: &str, offsets: &[(i32, i64)]) -> Result<(), Error> {
        let position = |(partition, offset): &(i32, i64)| OffsetCommitRequestPartition {
            partition_index: *partition,
            committed_offset: *offset,
            committed_metadata: Some(String::new()),
            ..Default::default()
        };
        let request = OffsetCommitRequest {
            group_id: group.to_owned(),
            topics: vec![OffsetCommitRequestTopic {
                name: topic.to_owned(),
                partitions: offsets.iter().map(position).collect(),
            }],
            ..Default::default()
        };
        let what = format!("OffsetCommit of group {group}");
        let mut retry = self.retry();
        loop {
            match self.commit_once(&request, &what).await {
                Err(error) => retry.after(&what, error).await?,
                outcome => return outcome,
            }
        }
    }

    async fn commit_once(&self, request: &OffsetCommitRequest, what: &str) -> Result<(), Error> {
        let coordinator = self.coordinator(&request.group_id).await?;
        let response = self.call_at(&coordinator, request, i16::MAX, Duration::ZERO).await?;
        for answer in response.topics.into_iter().flat_map(|topic| topic.partitions) {
            Error::check(
                || format!("{what}, partition {}", answer.partition_index),
                answer.error_code,
                None,
            )?;
        }
        Ok(())
    }
}
