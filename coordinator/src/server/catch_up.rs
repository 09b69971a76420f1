//! The state on its way to a member that is too far behind for entries, and its arrival there.
//!
//! The sender's archivist makes a copy of the store file, which holds everything up to some entry, while the member goes on
//! serving; the copy is sent and removed. The receiver writes it beside its own store file. When all of it is there,
//! consensus is told, and decides to install it: the archivist puts it in the place of the old file, and the machine starts
//! anew from it. Watchers go on: what they have missed meanwhile they read from the new store.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::{Bytes, BytesMut};
use disk::{Disk, DiskFile, Mode};
use raft::consensus::{Body, Membership, Message, Position, Snapshot};
use raft::node::{CHUNK_BYTES, Sink, Source};
use tokio::sync::{Semaphore, oneshot};

use super::bell::Call;
use super::node::Node;
use super::recovery;
use super::store_file::{Numbers, StoreFile};
use crate::members::Members;

const INCOMING: &str = "store.incoming";
const OUTGOING: &str = "store.outgoing";

/// What only the archivist can do, who has the store file.
pub(super) enum Job {
    /// Copy the file as it is now.
    Copy {
        to: PathBuf,
        done: oneshot::Sender<io::Result<(Numbers, Members)>>,
    },
    /// Put the file that has arrived in the place of the present one.
    Adopt { done: SyncSender<io::Result<()>> },
}

/// The jobs that wait for the archivist.
#[derive(Default)]
pub(super) struct Jobs(Mutex<Vec<Job>>);

impl Jobs {
    fn push(&self, job: Job) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(job);
    }

    /// The archivist's part. The entry that the file holds is another afterwards, if one is returned.
    pub(super) fn carry_out(&self, node: &Node, file: &mut StoreFile) -> Option<u64> {
        let jobs = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut archived = None;
        for job in jobs {
            match job {
                Job::Copy { to, done } => {
                    let _gone = done.send(copy(file, &to));
                }
                Job::Adopt { done } => {
                    let outcome = adopt(node, file);
                    if let Ok(applied) = &outcome {
                        archived = Some(*applied);
                    }
                    let _gone = done.send(outcome.map(|_| ()));
                }
            }
        }
        archived
    }
}

fn copy(file: &StoreFile, to: &Path) -> io::Result<(Numbers, Members)> {
    file.copy_to(to).map_err(io::Error::other)?;
    let numbers = file.present_numbers().map_err(io::Error::other)?;
    let members = file.members().map_err(io::Error::other)?;
    Ok((numbers, members))
}

fn adopt(node: &Node, file: &mut StoreFile) -> io::Result<u64> {
    let incoming = node.directory.join(INCOMING);
    file.adopt(&incoming, node.identity).map_err(io::Error::other)?;
    let machine = recovery::machine_of(file).map_err(io::Error::other)?;
    let (applied, revision) = (machine.applied(), machine.store().revision());
    node.replace_machine(machine);
    tracing::info!(applied, revision, "applied snapshot");
    Ok(applied)
}

/// Puts a state that has arrived in the present one's place. Blocks; on the applier's thread.
pub(super) fn install(node: &Node, snapshot: &Snapshot) -> io::Result<()> {
    tracing::info!(
        index = snapshot.last.index,
        term = snapshot.last.term,
        "applying snapshot"
    );
    let (done, outcome) = sync_channel(1);
    node.jobs.push(Job::Adopt { done });
    node.bell().ring(Call::Now);
    outcome
        .recv()
        .unwrap_or_else(|_| Err(io::Error::other("the archivist has ended")))
}

/// Who votes and who learns, for consensus.
pub(super) fn membership_of(members: &Members) -> Membership {
    Membership::new(
        members.voters().map(|member| member.id),
        members.learners().map(|member| member.id),
    )
}

/// Sends the state, and with it a message that says which it is.
pub(super) async fn send(node: Weak<Node>, message: Message) {
    let Some(node) = node.upgrade() else { return };
    let (to, Body::Snapshot { session, .. }) = (message.to, &message.body) else {
        return;
    };
    let session = *session;
    let outcome = send_to(&node, message).await;
    if let Err(error) = &outcome {
        tracing::warn!(to = format!("{to:x}"), %error, "could not send a snapshot");
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
    node.bell().ring(Call::Now);
    let (numbers, members) = copied
        .await
        .map_err(|_| io::Error::other("the archivist has ended"))??;
    let last = Position {
        term: numbers.term,
        index: numbers.applied,
    };
    if let Body::Snapshot { snapshot, .. } = &mut message.body {
        // The copy may hold more than consensus knew of when it asked.
        **snapshot = Snapshot {
            last,
            membership: membership_of(&members),
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
pub(super) struct Incoming {
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
    pub(super) fn begin(node: &Arc<Node>, about: Bytes) -> io::Result<Self> {
        let message = Message::decode(about).map_err(io::Error::other)?;
        if !matches!(message.body, Body::Snapshot { .. }) {
            return Err(io::Error::other("this is not about a snapshot"));
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
        let node = self.node.upgrade().ok_or_else(|| io::Error::other("it is ending"))?;
        tracing::info!(bytes = self.offset, "received and saved database snapshot");
        let (answer, taken_in) = sync_channel(1);
        node.raft().event(raft::consensus::Event::Message(self.message.clone()));
        // Whatever consensus makes of it, it has by then: the file may be replaced by the next.
        node.raft().status(move |_| {
            let _gone = answer.send(());
        });
        taken_in.recv().map_err(|_| io::Error::other("it is ending"))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.finished {
            // What is left of it is in nobody's way, and goes with the next.
            let _left = self.disk.remove_file(&self.path);
        }
    }
}
