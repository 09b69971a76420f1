//! Every message, in every version, both ways, against the `kafka-protocol` crate.
//!
//! Then noise: changed and cut messages, which are an error or another message.
//!
//! The crate is the oracle only: it reserves what a length claims before it looks whether the bytes are there.

use bytes::Bytes;
use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::{Decodable, Encodable, Message as TheirMessage};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::messages as ours;
use crate::{At, Message, Writer};

/// Samples a version, each with other values and other nulls.
const ROUNDS: u32 = 7;

/// Ours to bytes, those read by theirs, written again, the same bytes, read by ours, the same message.
fn cross<O: Message + PartialEq + std::fmt::Debug, T: TheirMessage + Encodable + Decodable>() {
    let mut compared = 0;
    for version in O::VERSIONS {
        if version < T::VERSIONS.min || version > T::VERSIONS.max {
            continue;
        }
        for round in 0..ROUNDS {
            let sample = O::sample_at(&mut (round * 13 + round), At::new(version, O::is_flexible(version)));
            let what = format!(
                "{} version {version} round {round}: {sample:?}",
                std::any::type_name::<O>()
            );
            let mut out = Writer::default();
            sample.encode(&mut out, version);
            let bytes = out.into_bytes();
            let mut input = bytes.clone();
            let read = T::decode(&mut input, version).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert!(input.is_empty(), "{what}: {} bytes left over", input.len());
            let mut written = bytes::BytesMut::new();
            read.encode(&mut written, version)
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(written, bytes, "{what}");
            assert_eq!(O::decode(written.freeze(), version).unwrap(), sample, "{what}");
            every_cut_is_an_error::<O>(&bytes, version, &what);
            compared += 1;
        }
    }
    assert!(compared > 0);
}

/// Whatever arrives is an error or a message; nothing panics, and nothing is reserved for what is not there.
fn survives_noise<O: Message>() {
    let noise = (
        any::<u32>(),
        prop::collection::vec((any::<usize>(), any::<u8>()), 1..8),
        any::<usize>(),
    );
    let mut runner = TestRunner::new(Config {
        cases: 200,
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(&noise, |(seed, changes, cut)| {
        let span = u32::from(O::VERSIONS.end().abs_diff(*O::VERSIONS.start())) + 1;
        let version = O::VERSIONS.start() + (seed % span) as i16;
        let mut out = Writer::default();
        O::sample_at(&mut (seed % 50), At::new(version, O::is_flexible(version))).encode(&mut out, version);
        let mut bytes = out.into_bytes().to_vec();
        for (place, byte) in changes {
            if !bytes.is_empty() {
                let place = place % bytes.len();
                bytes[place] = byte;
            }
        }
        bytes.truncate(cut % (bytes.len() + 1) + bytes.len() / 2);
        let _ = O::decode(bytes.into(), version);
        Ok(())
    });
    outcome.unwrap();
}

fn every_cut_is_an_error<O: Message>(bytes: &Bytes, version: i16, what: &str) {
    let step = (bytes.len() / 50).max(1); // Long samples hold long runs of the same byte.
    for len in (0..bytes.len()).step_by(step) {
        assert!(O::decode(bytes.slice(..len), version).is_err(), "cut at {len}: {what}");
    }
}

macro_rules! cross {
    ($($test:ident: $request:ident, $response:ident;)*) => {$(
        #[test]
        fn $test() {
            cross::<ours::$test::$request, theirs::$request>();
            cross::<ours::$test::$response, theirs::$response>();
            survives_noise::<ours::$test::$request>();
            survives_noise::<ours::$test::$response>();
        }
    )*};
}

cross! {
    produce: ProduceRequest, ProduceResponse;
    fetch: FetchRequest, FetchResponse;
    list_offsets: ListOffsetsRequest, ListOffsetsResponse;
    metadata: MetadataRequest, MetadataResponse;
    offset_commit: OffsetCommitRequest, OffsetCommitResponse;
    offset_fetch: OffsetFetchRequest, OffsetFetchResponse;
    find_coordinator: FindCoordinatorRequest, FindCoordinatorResponse;
    join_group: JoinGroupRequest, JoinGroupResponse;
    heartbeat: HeartbeatRequest, HeartbeatResponse;
    leave_group: LeaveGroupRequest, LeaveGroupResponse;
    sync_group: SyncGroupRequest, SyncGroupResponse;
    describe_groups: DescribeGroupsRequest, DescribeGroupsResponse;
    list_groups: ListGroupsRequest, ListGroupsResponse;
    api_versions: ApiVersionsRequest, ApiVersionsResponse;
    create_topics: CreateTopicsRequest, CreateTopicsResponse;
    delete_topics: DeleteTopicsRequest, DeleteTopicsResponse;
    delete_records: DeleteRecordsRequest, DeleteRecordsResponse;
    init_producer_id: InitProducerIdRequest, InitProducerIdResponse;
    offset_for_leader_epoch: OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse;
    describe_configs: DescribeConfigsRequest, DescribeConfigsResponse;
    alter_configs: AlterConfigsRequest, AlterConfigsResponse;
    describe_log_dirs: DescribeLogDirsRequest, DescribeLogDirsResponse;
    create_partitions: CreatePartitionsRequest, CreatePartitionsResponse;
    delete_groups: DeleteGroupsRequest, DeleteGroupsResponse;
    incremental_alter_configs: IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse;
    offset_delete: OffsetDeleteRequest, OffsetDeleteResponse;
    describe_cluster: DescribeClusterRequest, DescribeClusterResponse;
    add_partitions_to_txn: AddPartitionsToTxnRequest, AddPartitionsToTxnResponse;
    add_offsets_to_txn: AddOffsetsToTxnRequest, AddOffsetsToTxnResponse;
    end_txn: EndTxnRequest, EndTxnResponse;
    txn_offset_commit: TxnOffsetCommitRequest, TxnOffsetCommitResponse;
    write_txn_markers: WriteTxnMarkersRequest, WriteTxnMarkersResponse;
    describe_producers: DescribeProducersRequest, DescribeProducersResponse;
    describe_transactions: DescribeTransactionsRequest, DescribeTransactionsResponse;
    list_transactions: ListTransactionsRequest, ListTransactionsResponse;
}

#[test]
fn keys_and_flexible_versions_are_the_oracles() {
    for api in ours::ApiKey::ALL {
        let theirs = theirs::ApiKey::try_from(api.key()).unwrap();
        assert_eq!(format!("{theirs:?}"), api.name());
        for version in api.versions() {
            assert_eq!(
                theirs.request_header_version(version) == 2,
                api.is_flexible(version),
                "{api:?} {version}"
            );
        }
    }
}
