//! The coordinator's: entries of its log, requests as JSON, and snapshots in etcd's file format.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use coordinator::lease::Leases;
use coordinator::machine::{Machine, Request, validate};
use coordinator::snapshot::{Reader, content};
use coordinator::store::{EmptyArchive, Store};
use coordinator_wire::coordinatorpb::Entry;
use coordinator_wire::etcdserverpb::TxnRequest;
use disk::faulty::MemoryDisk;
use disk::{Disk, Mode};
use prost::Message;
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage, SerializeOptions};

/// Entries behind one another, each with its length before it: what is valid is carried out, twice on two machines, which
/// must agree on every answer.
pub fn coordinator_entry(bytes: &[u8]) {
    let mut bytes = Bytes::copy_from_slice(bytes);
    let (mut one, mut other) = (machine(), machine());
    let mut index = 0;
    while !bytes.is_empty() {
        let Ok(entry) = Entry::decode_length_delimited(&mut bytes) else {
            return;
        };
        assert_eq!(Entry::decode(entry.encode_to_vec().as_slice()).as_ref(), Ok(&entry));
        let (caller, Some(request)) = (entry.caller.unwrap_or_default(), entry.request) else {
            return;
        };
        if !is_valid(&request) {
            continue;
        }
        index += 1;
        let first = one
            .apply(index, &caller, &request)
            .expect("an archive in memory is readable");
        let second = other
            .apply(index, &caller, &request)
            .expect("an archive in memory is readable");
        assert_eq!(first.outcome, second.outcome, "{request:?}");
        assert_eq!(first.changes, second.changes, "{request:?}");
    }
    assert_eq!(one.store().revision(), other.store().revision());
}

fn machine() -> Machine {
    Machine::restore(Store::new(Arc::new(EmptyArchive)), Leases::default(), 0)
}

/// What the server lets through to the log.
fn is_valid(request: &Request) -> bool {
    match request {
        Request::Put(request) => validate::put(request).is_ok(),
        Request::DeleteRange(request) => validate::delete_range(request).is_ok(),
        Request::Txn(request) => validate::txn(request, 128).is_ok(),
        _ => true,
    }
}

/// The calls that the JSON gateway is mostly asked for, with their requests as types.
const REQUESTS: [&str; 4] = ["TxnRequest", "RangeRequest", "WatchRequest", "LeaseGrantRequest"];

/// JSON that is to be a request, translated by the same description of the protocol as the gateway's: what is taken is a
/// message, and comes back from its own JSON the same.
pub fn gateway_json(bytes: &[u8]) {
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(bytes) else {
        return;
    };
    let pool = DescriptorPool::decode(coordinator_wire::DESCRIPTORS).expect("the build has checked it");
    for name in REQUESTS {
        let name = format!("etcdserverpb.{name}");
        let kind = pool.get_message_by_name(&name).expect("it is described");
        let options = DeserializeOptions::new().deny_unknown_fields(false);
        let Ok(message) = DynamicMessage::deserialize_with_options(kind.clone(), &json, &options) else {
            continue;
        };
        let encoded = message.encode_to_vec();
        if name.ends_with("TxnRequest") {
            TxnRequest::decode(encoded.as_slice()).expect("one protocol, one encoding");
        }
        let shown = message
            .serialize_with_options(serde_json::value::Serializer, &SerializeOptions::new())
            .expect("a message can be shown");
        let again = DynamicMessage::deserialize_with_options(kind, &shown, &options);
        assert_eq!(again.expect("what was shown is taken").encode_to_vec(), encoded);
    }
}

/// A file that says it is an etcd snapshot: read whole, and the same twice.
pub fn snapshot_file(bytes: &[u8]) {
    let disk = MemoryDisk::new();
    let path = Path::new("/snapshot.db");
    disk.write(path, bytes);
    let file = disk.open(path, Mode::Read).expect("it was just written");
    let Ok(reader) = Reader::open(file.as_ref()) else {
        return;
    };
    let read = || {
        let mut versions = Vec::new();
        let found = content::read(&reader, &mut |version| {
            versions.push(version);
            Ok(())
        });
        found.ok().map(|found| (found, versions))
    };
    assert_eq!(read(), read());
}
