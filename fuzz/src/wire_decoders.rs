//! The wires of the log broker and of the distributed file system.

use bytes::Bytes;
use dfs_wire::{op, packet, rpc};
use log_broker_wire::messages::{
    api_versions, create_topics, describe_configs, fetch, find_coordinator, heartbeat, join_group, list_offsets,
    metadata, offset_commit, offset_fetch, produce, sync_group,
};
use log_broker_wire::{Message, Writer, batch, frame, record};

/// A record's own limit for what its batch unpacks to, in bytes.
const UNPACKED_BYTES_MAX: usize = 1 << 20;

/// A request's frame, a batch of records, and the records in it.
pub fn log_broker_wire(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    if let Ok((header, Some(body))) = frame::read_request(bytes.clone()) {
        broker_call(header.key, header.version, body);
    }
    if batch::check(&bytes).is_ok()
        && let Ok(records) = record::records(bytes.clone(), UNPACKED_BYTES_MAX)
    {
        for record in records {
            if record.is_err() {
                break;
            }
        }
    }
}

fn broker_call(key: i16, version: i16, body: Bytes) {
    macro_rules! one_of {
        ($($module:ident :: $request:ident),* $(,)?) => {
            match key {
                $($module::$request::KEY => round::<$module::$request>(body, version),)*
                _ => {}
            }
        };
    }
    one_of!(
        produce::ProduceRequest,
        fetch::FetchRequest,
        list_offsets::ListOffsetsRequest,
        metadata::MetadataRequest,
        offset_commit::OffsetCommitRequest,
        offset_fetch::OffsetFetchRequest,
        find_coordinator::FindCoordinatorRequest,
        join_group::JoinGroupRequest,
        heartbeat::HeartbeatRequest,
        sync_group::SyncGroupRequest,
        api_versions::ApiVersionsRequest,
        create_topics::CreateTopicsRequest,
        describe_configs::DescribeConfigsRequest,
    );
}

/// What was decoded is encoded, and decoded to the same.
fn round<M: Message + PartialEq + std::fmt::Debug>(body: Bytes, version: i16) {
    let Ok(message) = M::decode(body, version) else { return };
    let mut out = Writer::default();
    message.encode(&mut out, version);
    let again = M::decode(out.into_bytes(), version).expect("what was encoded can be decoded");
    assert_eq!(again, message, "version {version}");
}

/// Frames of Hadoop RPC, operations of the data transfer protocol, and packets.
pub fn dfs_wire(bytes: &[u8]) {
    let frame = Bytes::copy_from_slice(bytes);
    if let Ok((_, rest)) = rpc::parse_request(frame.clone()) {
        // Refused is as good as read.
        let _ = rpc::parse_call(rest);
    }
    let _ = rpc::parse_reply(frame);
    if let Some(preamble) = bytes.first_chunk() {
        let _ = rpc::parse_preamble(preamble);
    }
    if let Some((prefix, rest)) = bytes.split_first_chunk() {
        let _ = op::Op::parse(*prefix);
        let mut length = op::LengthReader::default();
        for byte in rest {
            match length.push(*byte, op::MESSAGE_BYTES_MAX) {
                Ok(None) => {}
                Ok(Some(length)) => {
                    assert!(length as u64 <= op::MESSAGE_BYTES_MAX);
                    break;
                }
                Err(_) => break,
            }
        }
    }
    if let Some((lengths, rest)) = bytes.split_first_chunk()
        && let Ok(lengths) = packet::Lengths::parse(*lengths)
        && let Some(header) = rest.get(..lengths.header)
        && let Ok(header) = packet::Header::parse(header, lengths.body)
    {
        assert!(header.data_bytes <= lengths.body);
        let checksum_bytes = lengths.body - header.data_bytes;
        let encoded = header.encode(checksum_bytes);
        let (lengths, rest) = encoded.split_first_chunk().expect("it begins with its lengths");
        let lengths = packet::Lengths::parse(*lengths).expect("what was encoded can be decoded");
        assert_eq!(
            packet::Header::parse(&rest[..lengths.header], lengths.body).ok(),
            Some(header)
        );
    }
}
