//! The state on its way to a member that is too far behind for entries, and its arrival there.
//!
//! The sender's persister makes a copy of the store file, which holds everything up to some entry, while the member goes on
//! serving; the copy is sent and removed. The receiver writes it beside its own store file. When all of it is there,
//! consensus is told, and decides to install it: the persister puts it in the place of the old file, and the machine starts
//! again from it. Watchers go on: what they have missed meanwhile they read from the new store.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Weak};

use bytes::{Bytes, BytesMut};
use disk::{Disk, DiskFile, Mode};
use raft::consensus::{Body, Message, Position, Snapshot};
use raft::node::{CHUNK_BYTES, Sink, Source};
use tokio::sync::{Semaphore, oneshot};

use crate::server::replica::node::Node;
use crate::server::storage::jobs::{INCOMING, Job};
use crate::server::storage::wake_up::WakeReason;

const OUTGOING: &str = "store.outgoing";

/// Puts a state that has arrived in the present one's place. Blocks; on the applier's thread.
pub(in crate::server) fn install(node: &Node, snapshot: &Snapshot) -> io::Result<()> {
    tracing::info!(
        index = snapshot.last.index,
        term = snapshot.last.term,
        "applying snapshot"
    );
    let (done, outcome) = sync_channel(1);
    node.jobs.push(Job::Adopt { done });
    node.persister_wake_up().wake(WakeReason::Requested);
    outcome
        .recv()
        .unwrap_or_else(|_| Err(io::Error::other("the persister has stopped")))
}

/// Sends the state, and with it a message that says which it is.
pub(in crate::server) async fn send(node: Weak<Node>, message: Message) {
    let Some(node) = node.upgrade() else { return };
    let (to, Body::Snapshot { session, .. }) = (message.to, &message.body) else {
        return;
    };
    let session = *session;
    let outcome = send_to(&node, message).await;
    if let Err(error) = &outcome {
        tracing::warn!(to = format!("{to:x}"), %error, "failed to send database snapshot");
    }
    node.raft().snapshot_sent(to, session, outcome.is_ok());
}

async fn send_to(node: &Arc<Node>, mut message: Message) -> io::Result<()> {
    let to = message.to;
    // One at a time: each is a copy of the whole store.
    static SENDING: Semaphore = Semaphore::const_new(1);
    let _turn = SENDING.acquire().await.map_err(io::Error::other)?;
    let path = node.directory.join(OUTGOING);
    let (done, copied) = oneshot::channel();
    node.jobs.push(Job::Copy { to: path.clone(), done });
    node.persister_wake_up().wake(WakeReason::Requested);
    let (numbers, members) = copied
        .await
        .map_err(|_| io::Error::other("the persister has stopped"))??;
    let last = Position {
        term: numbers.term,
        index: numbers.applied,
    };
    if let Body::Snapshot { snapshot, .. } = &mut message.body {
        // The copy may hold more than consensus knew of when it asked.
        **snapshot = Snapshot {
            last,
            membership: members.membership(),
        };
    }
    let mut about = BytesMut::new();
    message.encode(&mut about);
    let source = Outgoing::open(&*node.disk, &path)?;
    let bytes = source.bytes;
    tracing::info!(
        to = format!("{to:x}"),
        index = last.index,
        bytes,
        "sending database snapshot"
    );
    let sent = node.transport.send_snapshot(to, about.freeze(), Box::new(source)).await;
    node.disk.remove_file(&path)?;
    sent?;
    tracing::info!(
        to = format!("{to:x}"),
        index = last.index,
        bytes,
        "sent database snapshot"
    );
    Ok(())
}

/// A copy, read piece by piece.
struct Outgoing {
    file: Arc<dyn DiskFile>,
    offset: u64,
    bytes: u64,
}

impl Outgoing {
    fn open(disk: &dyn Disk, path: &Path) -> io::Result<Self> {
        let file = disk.open(path, Mode::Read)?;
        let bytes = file.len()?;
        Ok(Self { file, offset: 0, bytes })
    }
}

impl Source for Outgoing {
    fn next(&mut self) -> io::Result<Option<Bytes>> {
        let left = usize::try_from(self.bytes - self.offset).unwrap_or(usize::MAX);
        if left == 0 {
            return Ok(None);
        }
        let mut piece = vec![0; left.min(CHUNK_BYTES)];
        self.file.read_exact_at(&mut piece, self.offset)?;
        self.offset += piece.len() as u64;
        Ok(Some(piece.into()))
    }
}

/// A state that arrives.
pub(in crate::server) struct Incoming {
    node: Weak<Node>,
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    offset: u64,
    message: Message,
    /// One at a time.
    _turn: tokio::sync::OwnedSemaphorePermit,
    finished: bool,
}

impl Incoming {
    pub(in crate::server) fn begin(node: &Arc<Node>, about: Bytes) -> io::Result<Self> {
        let message = Message::decode(about).map_err(io::Error::other)?;
        if !matches!(message.body, Body::Snapshot { .. }) {
            return Err(io::Error::other("the message is not a snapshot message"));
        }
        let turn = Arc::clone(&node.receiving)
            .try_acquire_owned()
            .map_err(|_| io::Error::other("another snapshot is being received"))?;
        let path = node.directory.join(INCOMING);
        if node.disk.exists(&path)? {
            node.disk.remove_file(&path)?;
        }
        let file = node.disk.open(&path, Mode::CreateNew)?;
        Ok(Self {
            node: Arc::downgrade(node),
            disk: Arc::clone(&node.disk),
            directory: node.directory.clone(),
            path,
            file,
            offset: 0,
            message,
            _turn: turn,
            finished: false,
        })
    }
}

impl Sink for Incoming {
    fn write(&mut self, piece: Bytes) -> io::Result<()> {
        self.file.write_at(&piece, self.offset)?;
        self.offset += piece.len() as u64;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.file.sync_data()?;
        self.disk.sync_dir(&self.directory)?;
        self.finished = true;
        let node = self
            .node
            .upgrade()
            .ok_or_else(|| io::Error::other("the server is stopping"))?;
        tracing::info!(bytes = self.offset, "received and saved database snapshot");
        let (answer, taken_in) = sync_channel(1);
        node.raft().event(raft::consensus::Event::Message(self.message.clone()));
        // Whatever consensus makes of it, it has by then: the file may be replaced by the next.
        node.raft().status(move |_| {
            let _gone = answer.send(());
        });
        taken_in.recv().map_err(|_| io::Error::other("the server is stopping"))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.finished {
            // What is left of it is in no one's way, and goes with the next.
            let _left = self.disk.remove_file(&self.path);
        }
    }
}
