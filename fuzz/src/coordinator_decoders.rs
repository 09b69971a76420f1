//! The coordinator's: entries of its log, and snapshots in etcd's file format.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use coordinator::lease::Leases;
use coordinator::machine::{Machine, Request, validate};
use coordinator::snapshot::{Reader, content};
use coordinator::store::{EmptyArchive, Store};
use coordinator_wire::coordinatorpb::Entry;
use disk::faulty::MemoryDisk;
use disk::{Disk, Mode};
use prost::Message;

/// Entries behind one another, each with its length before it: what is valid is carried out, twice on two machines, which
/// must agree on every answer.
pub fn coordinator_entry(bytes: &[u8]) {
    let mut bytes = Bytes::copy_from_slice(bytes);
    let (mut one, mut other) = (machine(), machine());
    let mut index = 0;
    while !bytes.is_empty() {
        let Ok(entry) = Entry::decode_length_delimited(&mut bytes) else { return };
        assert_eq!(Entry::decode(entry.encode_to_vec().as_slice()).as_ref(), Ok(&entry));
        let (caller, Some(request)) = (entry.caller.unwrap_or_default(), entry.request) else { return };
        if !is_valid(&request) {
            continue;
        }
        index += 1;
        let first = one.apply(index, &caller, &request).expect("an archive in memory is readable");
        let second = other.apply(index, &caller, &request).expect("an archive in memory is readable");
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

/// A file that says it is an etcd snapshot: read whole, and the same twice.
pub fn snapshot_file(bytes: &[u8]) {
    let disk = MemoryDisk::new();
    let path = Path::new("/snapshot.db");
    disk.write(path, bytes);
    let file = disk.open(path, Mode::Read).expect("it was just written");
    let Ok(reader) = Reader::open(file.as_ref()) else { return };
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
