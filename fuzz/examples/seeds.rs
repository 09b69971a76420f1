//! Writes one small, valid input of each kind into `fuzz/seeds`, for the fuzzers to begin with:
//! `cargo run --manifest-path fuzz/Cargo.toml --example seeds`.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use coordinator::snapshot::content::{Content, Frame};
use coordinator::snapshot::{measure, write};
use coordinator::store::EmptyArchive;
use coordinator_wire::coordinatorpb::{Entry, entry::Request};
use coordinator_wire::etcdserverpb as pb;
use dfs_wire::proto::hdfs::ClientReadStatusProto;
use dfs_wire::{op, packet, rpc};
use disk::Disk;
use disk::faulty::MemoryDisk;
use log_broker_wire::compression::Codec;
use log_broker_wire::messages::{api_versions, fetch, metadata, produce};
use log_broker_wire::{Record, frame, record};
use prost::Message as _;
use raft::consensus::{Body, Message, Payload, Position, ReadContext};
use raft::log::{Log, Options};

fn main() -> io::Result<()> {
    entries()?;
    gateway()?;
    raft_messages()?;
    raft_log()?;
    snapshot()?;
    broker()?;
    file_system()
}

fn seed(target: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(name), bytes)
}

fn put(key: &'static str, lease: i64) -> pb::PutRequest {
    pb::PutRequest {
        key: key.into(),
        value: "value".into(),
        lease,
        prev_kv: true,
        ..Default::default()
    }
}

fn entries() -> io::Result<()> {
    let grant = Request::LeaseGrant(pb::LeaseGrantRequest { ttl: 60, id: 7 });
    let compare = pb::Compare {
        key: "a".into(),
        result: pb::compare::CompareResult::Greater.into(),
        target: pb::compare::CompareTarget::Mod.into(),
        target_union: Some(pb::compare::TargetUnion::ModRevision(1)),
        ..Default::default()
    };
    let step = |request| pb::RequestOp { request: Some(request) };
    let delete = pb::DeleteRangeRequest {
        key: "a".into(),
        range_end: "z".into(),
        prev_kv: true,
    };
    let range = pb::RangeRequest {
        key: "a".into(),
        range_end: "\0".into(),
        ..Default::default()
    };
    let inner = pb::TxnRequest {
        success: vec![step(pb::request_op::Request::RequestPut(put("c", 0)))],
        ..Default::default()
    };
    let txn = pb::TxnRequest {
        compare: vec![compare],
        success: vec![
            step(pb::request_op::Request::RequestPut(put("b", 7))),
            step(pb::request_op::Request::RequestRange(range)),
            step(pb::request_op::Request::RequestTxn(inner)),
        ],
        failure: vec![step(pb::request_op::Request::RequestDeleteRange(delete.clone()))],
    };
    let compaction = pb::CompactionRequest {
        revision: 3,
        physical: false,
    };
    let requests = [
        grant,
        Request::Put(put("a", 7)),
        Request::Put(put("a", 0)),
        Request::Txn(txn),
        Request::Compaction(compaction),
        Request::DeleteRange(delete),
        Request::LeaseRevoke(pb::LeaseRevokeRequest { id: 7 }),
    ];
    let mut all = Vec::new();
    for (number, request) in requests.into_iter().enumerate() {
        let entry = Entry {
            request: Some(request),
            caller: None,
            only_in_term: 0,
        };
        let bytes = entry.encode_length_delimited_to_vec();
        seed("coordinator_entry", &format!("one-{number}"), &bytes)?;
        all.extend(bytes);
    }
    seed("coordinator_entry", "all", &all)
}

fn gateway() -> io::Result<()> {
    let txn = r#"{"compare":[{"target":"MOD","result":"GREATER","key":"Zm9v","mod_revision":"1"}],
        "success":[{"requestPut":{"key":"Zm9v","value":"YmFy"}}],"failure":[{"request_range":{"key":"Zm9v"}}]}"#;
    seed("gateway_json", "txn", txn.as_bytes())?;
    let range = r#"{"key":"Zm9v","range_end":"AA==","limit":"5","sort_order":"DESCEND","keysOnly":true}"#;
    seed("gateway_json", "range", range.as_bytes())?;
    let watch = r#"{"create_request":{"key":"Zm9v","start_revision":3,"filters":["NOPUT"]}}"#;
    seed("gateway_json", "watch", watch.as_bytes())?;
    seed("gateway_json", "lease", br#"{"TTL":60,"ID":"0"}"#)
}

fn raft_messages() -> io::Result<()> {
    let position = Position { index: 9, term: 2 };
    let entries = [Payload::Blank, Payload::Command(Bytes::from_static(b"command"))];
    let entries = (10..).zip(entries).map(|(index, payload)| raft::consensus::Entry {
        index,
        term: 3,
        payload,
    });
    let bodies = [
        Body::PreVote { last: position },
        Body::Vote {
            last: position,
            transfer: true,
        },
        Body::VoteReply { granted: true },
        Body::Append {
            session: 1,
            previous: position,
            commit: 9,
            entries: entries.collect(),
        },
        Body::AppendAck {
            session: 1,
            match_index: 11,
        },
        Body::AppendReject {
            session: 1,
            previous: 9,
            hint: position,
        },
        Body::TimeoutNow,
        Body::ReadIndex {
            context: ReadContext {
                incarnation: 5,
                attempt: 6,
            },
        },
        Body::StaleTerm,
    ];
    for (number, body) in bodies.into_iter().enumerate() {
        let message = Message {
            from: 1,
            to: 2,
            term: 3,
            body,
        };
        let mut bytes = BytesMut::new();
        message.encode(&mut bytes);
        seed("raft_message", &format!("{number:02}"), &bytes)?;
    }
    Ok(())
}

fn raft_log() -> io::Result<()> {
    let memory = MemoryDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(memory.clone());
    let directory = Path::new("/log");
    let (mut log, _) = Log::open(Arc::clone(&disk), directory, Options::default()).map_err(io::Error::other)?;
    let records: Vec<_> = (1..=5_u8)
        .map(|number| raft::log::Record {
            index: number.into(),
            kind: 1,
            payload: Bytes::from(vec![number; usize::from(number) * 10]),
        })
        .collect();
    let segment = disk.list(directory)?.swap_remove(0).name;
    seed("raft_log", "empty", &memory.read(&directory.join(&segment))?)?;
    log.append(&records[..1])
        .and_then(|()| log.sync())
        .map_err(io::Error::other)?;
    seed("raft_log", "one", &memory.read(&directory.join(&segment))?)?;
    log.append(&records[1..])
        .and_then(|()| log.sync())
        .map_err(io::Error::other)?;
    seed("raft_log", "five", &memory.read(&directory.join(&segment))?)
}

fn snapshot() -> io::Result<()> {
    let frame = Frame {
        leases: vec![(7, 60)],
        applied: 5,
        term: 2,
        version: "3.6.0".to_owned(),
        ..Default::default()
    };
    let content = Content {
        versions: Arc::new(EmptyArchive),
        frame,
    };
    let layout = measure(&content).map_err(io::Error::other)?;
    let mut bytes = Vec::new();
    write(&content, &layout, &mut |page| {
        bytes.extend_from_slice(page);
        Ok(())
    })
    .map_err(io::Error::other)?;
    seed("snapshot_file", "ours", &bytes)
}

fn broker() -> io::Result<()> {
    let api_versions = frame::write_request(&api_versions::ApiVersionsRequest::default(), 3, 1, "seed");
    seed("log_broker_wire", "api-versions", &body(api_versions))?;
    let metadata = frame::write_request(&metadata::MetadataRequest::default(), 9, 2, "seed");
    seed("log_broker_wire", "metadata", &body(metadata))?;
    let fetch = frame::write_request(&fetch::FetchRequest::default(), 12, 3, "seed");
    seed("log_broker_wire", "fetch", &body(fetch))?;
    let produce = frame::write_request(&produce::ProduceRequest::default(), 9, 4, "seed");
    seed("log_broker_wire", "produce", &body(produce))?;
    for (name, codec) in [
        ("batch", Codec::None),
        ("batch-gzip", Codec::Gzip),
        ("batch-lz4", Codec::Lz4),
    ] {
        let records = [Record::new("one"), Record::new("two")];
        seed("log_broker_wire", name, &record::encode_batch(&records, codec, None)?)?;
    }
    Ok(())
}

/// A frame without the length before it.
fn body(segments: Vec<Bytes>) -> Vec<u8> {
    segments.concat().split_off(4)
}

fn file_system() -> io::Result<()> {
    let argument = ClientReadStatusProto::default();
    let context = rpc::context(&[7; 16], "someone", "protocol");
    seed("dfs_wire", "context", &context[4..])?;
    let call = rpc::call(&[7; 16], 1, "protocol", "method", &argument);
    seed("dfs_wire", "call", &call[4..])?;
    seed("dfs_wire", "preamble", &rpc::preamble())?;
    seed("dfs_wire", "operation", &op::Op::ReadBlock.encode(&argument))?;
    let header = packet::Header {
        offset: 512,
        seqno: 3,
        last: false,
        data_bytes: 4,
        sync: true,
    };
    let mut packet = header.encode(4);
    packet.extend_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
    seed("dfs_wire", "packet", &packet)
}
