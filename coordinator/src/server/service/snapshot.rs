//! Snapshots on their way to clients, and hashes of what would be in them.

use std::sync::Arc;

use bytes::Bytes;
use coordinator_wire::etcdserverpb as pb;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use crate::Error;
use crate::corruption::KeyHash;
use crate::server::metrics::Running;
use crate::server::replica::node::Node;
use crate::server::settings::version::cluster_version;
use crate::snapshot::content::{Content, Frame};
use crate::snapshot::{self, SnapshotError, Unhashed};

/// A piece of the file in one answer, in bytes: etcd's.
const PIECE_BYTES: usize = 32 << 10;
/// Pieces that may wait for a client to read them.
const PIECES_WAITING_MAX: usize = 4;

pub(in crate::server) type Pieces = ReceiverStream<Result<pb::SnapshotResponse, Status>>;

/// The state of this moment, and its revision.
pub(in crate::server) fn content(node: &Node) -> (Content, i64) {
    // Locked once: a second reader of one thread waits for a writer that waits for the first.
    let machine = node.machine();
    let store = machine.store();
    let frame = Frame {
        leases: machine
            .leases()
            .iter()
            .map(|(id, lease)| (id, lease.ttl_seconds))
            .collect(),
        alarms: machine.alarms().iter().collect(),
        accounts: machine.auth().stored(),
        members: machine.members().list(),
        applied: machine.applied(),
        term: machine.term(),
        compacted: store.compacted(),
        version: cluster_version(),
    };
    let content = Content {
        versions: Arc::new(store.view()),
        frame,
    };
    (content, store.revision())
}

/// Starts to send `content` as a file, with its checksum behind it.
pub(in crate::server) fn send(content: Content, mut running: Running) -> Pieces {
    let (pieces, receiver) = mpsc::channel(PIECES_WAITING_MAX);
    tokio::task::spawn_blocking(move || {
        let failure = match send_all(&content, &pieces) {
            Ok(()) => return running.ends(Code::Ok),
            Err(SnapshotError::Gone) => return,
            Err(error) => error,
        };
        running.ends(Code::Internal);
        tracing::warn!(error = %failure, "failed to send database snapshot");
        let _client_gone = pieces.blocking_send(Err(Status::internal(failure.to_string())));
    });
    ReceiverStream::new(receiver)
}

fn send_all(
    content: &Content,
    pieces: &mpsc::Sender<Result<pb::SnapshotResponse, Status>>,
) -> Result<(), SnapshotError> {
    let layout = snapshot::measure(content)?;
    let total_bytes = layout.bytes();
    tracing::info!(total_bytes, "sending database snapshot to client");
    let (mut waiting, mut hash, mut sent) = (Vec::with_capacity(PIECE_BYTES), Sha256::new(), 0);
    let send = |blob: Vec<u8>, remaining_bytes: u64| {
        let piece = pb::SnapshotResponse {
            header: None,
            remaining_bytes,
            blob: Bytes::from(blob),
            version: cluster_version(),
        };
        pieces.blocking_send(Ok(piece)).map_err(|_| SnapshotError::Gone)
    };
    snapshot::write(content, &layout, &mut |page| {
        hash.update(page);
        waiting.extend_from_slice(page);
        while waiting.len() >= PIECE_BYTES {
            let rest = waiting.split_off(PIECE_BYTES);
            let piece = std::mem::replace(&mut waiting, rest);
            sent += piece.len() as u64;
            send(piece, total_bytes - sent)?;
        }
        Ok(())
    })?;
    if !waiting.is_empty() {
        send(waiting, 0)?;
    }
    send(hash.finalize().to_vec(), 0)?;
    tracing::info!(total_bytes, "sent database snapshot");
    Ok(())
}

/// CRC-32C of all that a snapshot of now would hold, as etcd computes it.
pub(in crate::server) fn hash(content: &Content) -> Result<u32, Error> {
    snapshot::hash(content).map_err(|error| match error {
        SnapshotError::Archive(error) => Error::Archive(error),
        _ => Error::Stopped,
    })
}

/// Hashes all keys up to `revision` (0: now).
pub(in crate::server) fn hash_keys(node: &Node, revision: i64) -> Result<KeyHash, Error> {
    let unhashed = Unhashed::of(node.machine().store(), revision)?;
    unhashed.hash()
}
