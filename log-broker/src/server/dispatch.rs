//! From a frame to whoever answers it.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use log_broker_wire::frame::{self, RequestHeader};
use log_broker_wire::messages::ApiKey;
use log_broker_wire::messages::{
    add_offsets_to_txn::AddOffsetsToTxnRequest, add_partitions_to_txn::AddPartitionsToTxnRequest,
    alter_configs::AlterConfigsRequest, api_versions::ApiVersionsRequest, create_partitions::CreatePartitionsRequest,
    create_topics::CreateTopicsRequest, delete_groups::DeleteGroupsRequest, delete_records::DeleteRecordsRequest,
    delete_topics::DeleteTopicsRequest, describe_cluster::DescribeClusterRequest,
    describe_configs::DescribeConfigsRequest, describe_groups::DescribeGroupsRequest,
    describe_log_dirs::DescribeLogDirsRequest, describe_producers::DescribeProducersRequest,
    describe_transactions::DescribeTransactionsRequest, end_txn::EndTxnRequest, fetch::FetchRequest,
    find_coordinator::FindCoordinatorRequest, heartbeat::HeartbeatRequest,
    incremental_alter_configs::IncrementalAlterConfigsRequest, init_producer_id::InitProducerIdRequest,
    join_group::JoinGroupRequest, leave_group::LeaveGroupRequest, list_groups::ListGroupsRequest,
    list_offsets::ListOffsetsRequest, list_transactions::ListTransactionsRequest, metadata::MetadataRequest,
    offset_commit::OffsetCommitRequest, offset_delete::OffsetDeleteRequest, offset_fetch::OffsetFetchRequest,
    offset_for_leader_epoch::OffsetForLeaderEpochRequest, produce::ProduceRequest, sync_group::SyncGroupRequest,
    txn_offset_commit::TxnOffsetCommitRequest, write_txn_markers::WriteTxnMarkersRequest,
};
use log_broker_wire::{Message, Request, Segment};

use super::api;
use super::broker::Broker;
use crate::log::Extent;

/// The versions that are served. Produce below 3 is named only because librdkafka takes its absence for a lack of
/// compression; Kafka 4 does the same.
pub(super) fn served(api: ApiKey) -> RangeInclusive<i16> {
    match api {
        ApiKey::Produce => 0..=12,
        ApiKey::Fetch => 4..=17,
        // The filter by a pattern of version 2 is missing.
        ApiKey::ListTransactions => 0..=1,
        _ => api.versions(),
    }
}

/// Why a request ends its connection, as in Kafka: what follows it cannot be understood either.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("a request with unknown key {0} or version {1}")]
    Unknown(i16, i16),
    #[error("a malformed {api} request: {source}")]
    Malformed {
        api: &'static str,
        source: log_broker_wire::Error,
    },
    /// The producer learns by it that it has to ask for metadata again.
    #[error("a batch of a producer that takes no answers (acks=0) was refused: {0}")]
    RefusedSilently(String),
}

/// Who asks.
#[derive(Debug, Clone)]
pub(super) struct Client {
    pub(super) host: String,
    /// The broker's address that it connected to.
    pub(super) reached: IpAddr,
}

/// A request that was begun.
pub(super) enum Begun {
    /// Appended; to be answered when it is durable.
    Produce(RequestHeader, api::produce::Begun),
    /// Not begun, in truth: it is carried out when its turn to be answered comes.
    Deferred(RequestHeader, ApiKey, Bytes, Client),
    Answered(Vec<Bytes>),
}

/// Begins what a frame asks for.
pub(super) async fn begin(broker: &Arc<Broker>, bytes: Bytes, client: &Client) -> Result<Begun, Error> {
    let malformed = |api: &'static str| move |source| Error::Malformed { api, source };
    let (header, body) = frame::read_request(bytes).map_err(malformed("header of a"))?;
    let Some(api) = ApiKey::from_key(header.key) else {
        return Err(Error::Unknown(header.key, header.version));
    };
    broker.metrics().requests.with_label_values(&[api.name()]).inc();
    let body = match body {
        Some(body) if served(api).contains(&header.version) => body,
        _ if api == ApiKey::ApiVersions => {
            let answer = api::cluster::unknown_api_versions();
            return Ok(Begun::Answered(frame::write_unknown_api_versions(
                &answer,
                header.correlation_id,
            )));
        }
        _ => return Err(Error::Unknown(header.key, header.version)),
    };
    if api != ApiKey::Produce {
        return Ok(Begun::Deferred(header, api, body, client.clone()));
    }
    let request = ProduceRequest::decode(body, header.version).map_err(malformed("Produce"))?;
    // Requests of a connection are appended in their order, so the coordinator is asked before the next one is read.
    let unlisted = api::produce::enlist(broker, &request, header.version).await;
    let begun = super::off_worker(|| api::produce::begin(broker, request, &unlisted));
    match begun.refused_silently() {
        Some(reason) => Err(Error::RefusedSilently(reason)),
        None => Ok(Begun::Produce(header, begun)),
    }
}

/// A piece of an answer.
#[derive(Debug)]
pub(super) enum Piece {
    Bytes(Bytes),
    File(Extent),
}

fn pieces(answer: Vec<Bytes>) -> Vec<Piece> {
    answer.into_iter().map(Piece::Bytes).collect()
}

impl Begun {
    /// The answer; empty where none is to be sent.
    pub(super) async fn finish(self, broker: &Arc<Broker>) -> Result<Vec<Piece>, Error> {
        match self {
            Begun::Answered(answer) => Ok(pieces(answer)),
            Begun::Produce(header, begun) => Ok(match begun.finish().await {
                Some(response) => pieces(frame::write_response(&response, header.version, header.correlation_id)),
                None => Vec::new(),
            }),
            Begun::Deferred(header, ApiKey::Fetch, body, _) => {
                let malformed = |source| Error::Malformed { api: "Fetch", source };
                let request = FetchRequest::decode(body, header.version).map_err(malformed)?;
                let (response, extents) = api::fetch::answer(broker, request, header.version).await;
                let mut extents = extents.into_iter();
                let segments = frame::write_response_segments(&response, header.version, header.correlation_id);
                let pieces = segments.into_iter().filter_map(|segment| match segment {
                    Segment::Bytes(bytes) => Some(Piece::Bytes(bytes)),
                    Segment::Elsewhere(_) => extents.next().map(Piece::File),
                });
                Ok(pieces.collect())
            }
            Begun::Deferred(header, api, body, client) => answer(broker, &header, api, body, &client)
                .await
                .map(pieces)
                .map_err(|source| Error::Malformed {
                    api: api.name(),
                    source,
                }),
        }
    }
}

/// Decodes, calls, encodes.
macro_rules! call {
    ($header:ident, $body:ident, $request:ty, $handler:expr) => {{
        let request = <$request>::decode($body, $header.version)?;
        let handler = $handler;
        let response: <$request as Request>::Response = handler(request).await;
        frame::write_response(&response, $header.version, $header.correlation_id)
    }};
}

async fn answer(
    broker: &Arc<Broker>,
    header: &RequestHeader,
    api: ApiKey,
    body: Bytes,
    client: &Client,
) -> Result<Vec<Bytes>, log_broker_wire::Error> {
    let version = header.version;
    Ok(match api {
        ApiKey::Produce | ApiKey::Fetch => unreachable!("produce and fetch requests are answered by themselves"),
        ApiKey::ListOffsets => call!(header, body, ListOffsetsRequest, |r| api::offsets::list(broker, r)),
        ApiKey::OffsetForLeaderEpoch => {
            call!(header, body, OffsetForLeaderEpochRequest, |r| api::offsets::epoch_ends(
                broker, r
            ))
        }
        ApiKey::DeleteRecords => call!(header, body, DeleteRecordsRequest, |r| api::offsets::delete_records(
            broker, r
        )),
        ApiKey::Metadata => call!(header, body, MetadataRequest, |r| api::cluster::metadata(
            broker, r, version, client
        )),
        ApiKey::ApiVersions => call!(header, body, ApiVersionsRequest, |_| api::cluster::api_versions()),
        ApiKey::DescribeCluster => call!(header, body, DescribeClusterRequest, |r| api::cluster::describe(
            broker, r, client
        )),
        ApiKey::DescribeLogDirs => call!(header, body, DescribeLogDirsRequest, |r| api::cluster::log_dirs(
            broker, r
        )),
        ApiKey::InitProducerId => call!(header, body, InitProducerIdRequest, |r| api::produce::init_id(
            broker, r, version
        )),
        ApiKey::AddPartitionsToTxn => {
            call!(header, body, AddPartitionsToTxnRequest, |r| {
                api::transactions::add_partitions(broker, r, version)
            })
        }
        ApiKey::AddOffsetsToTxn => {
            call!(header, body, AddOffsetsToTxnRequest, |r| {
                api::transactional_offsets::add(broker, r, version)
            })
        }
        ApiKey::TxnOffsetCommit => {
            call!(header, body, TxnOffsetCommitRequest, |r| {
                api::transactional_offsets::commit(broker, r, version)
            })
        }
        ApiKey::EndTxn => call!(header, body, EndTxnRequest, |r| api::transactions::end(
            broker, r, version
        )),
        ApiKey::WriteTxnMarkers => call!(header, body, WriteTxnMarkersRequest, |r| api::transactions::write(
            broker, r
        )),
        ApiKey::DescribeProducers => {
            call!(header, body, DescribeProducersRequest, |r| {
                api::transactions::describe_producers(broker, r)
            })
        }
        ApiKey::DescribeTransactions => {
            call!(header, body, DescribeTransactionsRequest, |r| {
                api::transactions::describe(broker, r)
            })
        }
        ApiKey::ListTransactions => call!(header, body, ListTransactionsRequest, |r| api::transactions::list(
            broker, r
        )),
        ApiKey::CreateTopics => call!(header, body, CreateTopicsRequest, |r| api::topics::create(broker, r)),
        ApiKey::DeleteTopics => call!(header, body, DeleteTopicsRequest, |r| api::topics::delete(
            broker, r, version
        )),
        ApiKey::CreatePartitions => call!(header, body, CreatePartitionsRequest, |r| api::topics::grow(broker, r)),
        ApiKey::DescribeConfigs => call!(header, body, DescribeConfigsRequest, |r| api::configs::describe(
            broker, r
        )),
        ApiKey::AlterConfigs => call!(header, body, AlterConfigsRequest, |r| api::configs::replace(broker, r)),
        ApiKey::IncrementalAlterConfigs => {
            call!(header, body, IncrementalAlterConfigsRequest, |r| api::configs::alter(
                broker, r
            ))
        }
        ApiKey::FindCoordinator => {
            call!(header, body, FindCoordinatorRequest, |r| api::groups::find(
                broker, r, version, client
            ))
        }
        ApiKey::JoinGroup => {
            call!(header, body, JoinGroupRequest, |r| api::groups::join(
                broker, r, header, client
            ))
        }
        ApiKey::SyncGroup => call!(header, body, SyncGroupRequest, |r| api::groups::sync(broker, r)),
        ApiKey::Heartbeat => call!(header, body, HeartbeatRequest, |r| api::groups::heartbeat(broker, r)),
        ApiKey::LeaveGroup => call!(header, body, LeaveGroupRequest, |r| api::groups::leave(
            broker, r, version
        )),
        ApiKey::DescribeGroups => call!(header, body, DescribeGroupsRequest, |r| api::groups::describe(
            broker, r, version
        )),
        ApiKey::ListGroups => call!(header, body, ListGroupsRequest, |r| api::groups::list(broker, r)),
        ApiKey::DeleteGroups => call!(header, body, DeleteGroupsRequest, |r| api::groups::delete(broker, r)),
        ApiKey::OffsetCommit => call!(header, body, OffsetCommitRequest, |r| api::committed_offsets::commit(
            broker, r
        )),
        ApiKey::OffsetFetch => call!(header, body, OffsetFetchRequest, |r| api::committed_offsets::fetch(
            broker, r, version
        )),
        ApiKey::OffsetDelete => call!(header, body, OffsetDeleteRequest, |r| api::committed_offsets::delete(
            broker, r
        )),
    })
}
