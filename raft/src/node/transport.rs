//! All streams of one member: those it opens ([`super::peer`]) and those that are opened to it ([`super::accept`]).

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::connect::{Connect, Pending};
use super::frame::{Frame, FrameReader, Greeting, Purpose};
use super::peer::{Peer, dial};
use super::transfer::{Sink, Transfers};

/// How long a question to a member whose stream does not exist yet may take ([`Transport::ask`]).
pub(super) const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// Who this member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    pub cluster: u64,
    pub member: u64,
}

/// What the rest of the program does with what comes in. Nothing here may block but [`Inbox::receive`].
pub trait Inbox: Debug + Send + Sync + 'static {
    /// A message of consensus, as bytes. Resolves when there is room for more.
    fn message(&self, from: u64, bytes: Bytes) -> Pending<'_, ()>;
    /// A call of another member.
    fn call(&self, from: u64, body: Bytes) -> Pending<'_, Bytes>;
    /// A question of someone who may not be a member.
    fn ask(&self, body: Bytes) -> Pending<'_, Bytes>;
    /// A member begins to send a snapshot. May block.
    fn receive(&self, from: u64, about: Bytes) -> io::Result<Box<dyn Sink>>;
    /// There is a stream to this member now.
    fn connected(&self, member: u64);
    /// The stream to this member broke, or could not be opened; `refused`: there is no process.
    fn lost(&self, member: u64, refused: bool);
    /// Another member says that this one was removed.
    fn removed(&self);
    /// Whether this member was removed from the cluster.
    fn is_removed(&self, member: u64) -> bool;
    /// Bytes that went to another member, and came from it.
    fn observe_traffic(&self, member: u64, sent: usize, received: usize);
}

#[derive(Debug)]
pub(super) struct Shared {
    pub identity: Identity,
    pub connect: Arc<dyn Connect>,
    pub runtime: Handle,
    pub inbox: OnceLock<Weak<dyn Inbox>>,
    pub transfers: Transfers,
    peers: RwLock<BTreeMap<u64, Arc<Peer>>>,
    calls: Mutex<HashMap<u64, oneshot::Sender<Bytes>>>,
    next_call: AtomicU64,
}

/// No thread panics while it holds one of these locks, and what they protect is whole at every moment anyway.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub fn inbox(&self) -> Option<Arc<dyn Inbox>> {
        self.inbox.get().and_then(Weak::upgrade)
    }

    pub fn peer(&self, member: u64) -> Option<Arc<Peer>> {
        let peers = self.peers.read().unwrap_or_else(PoisonError::into_inner);
        peers.get(&member).cloned()
    }

    pub fn send(&self, to: u64, frame: Frame) -> bool {
        self.peer(to).is_some_and(|peer| peer.send(frame))
    }

    pub fn answered(&self, id: u64, body: Bytes) {
        if let Some(waiting) = locked(&self.calls).remove(&id) {
            let _caller_gone = waiting.send(body);
        }
    }

    pub fn connected(&self, member: u64) {
        if let Some(inbox) = self.inbox() {
            inbox.connected(member);
        }
        self.transfers.connected(member);
    }

    pub fn lost(&self, member: u64, refused: bool) {
        if let Some(inbox) = self.inbox() {
            inbox.lost(member, refused);
        }
        if refused {
            self.transfers.refused(member);
        }
    }

    pub fn removed(&self) {
        if let Some(inbox) = self.inbox() {
            inbox.removed();
        }
    }

    pub fn observe_sent(&self, member: u64, bytes: usize) {
        if let Some(inbox) = self.inbox() {
            inbox.observe_traffic(member, bytes, 0);
        }
    }
}

/// The streams to and from the other members. Clones share them.
#[derive(Debug, Clone)]
pub struct Transport {
    pub(super) shared: Arc<Shared>,
}

impl Transport {
    /// A transport without members yet; tasks run on `runtime`.
    pub fn new(identity: Identity, connect: Arc<dyn Connect>, runtime: Handle) -> Self {
        Self {
            shared: Arc::new(Shared {
                identity,
                connect,
                runtime,
                inbox: OnceLock::new(),
                transfers: Transfers::default(),
                peers: RwLock::default(),
                calls: Mutex::default(),
                next_call: AtomicU64::new(1),
            }),
        }
    }

    /// Says where what comes in goes. Only the first call counts.
    pub fn deliver_to(&self, inbox: &Arc<dyn Inbox>) {
        let _set_already = self.shared.inbox.set(Arc::downgrade(inbox));
    }

    /// Keeps a stream to each of these members, and to no other; this one is passed over.
    pub fn set_peers(&self, members: impl IntoIterator<Item = (u64, Vec<String>)>) {
        let mut peers = self.shared.peers.write().unwrap_or_else(PoisonError::into_inner);
        let mut gone = std::mem::take(&mut *peers);
        for (id, urls) in members {
            if id == self.shared.identity.member {
                continue;
            }
            let peer = match gone.remove(&id) {
                Some(peer) => {
                    peer.set_urls(urls);
                    peer
                }
                None => Peer::start(&self.shared, id, urls),
            };
            peers.insert(id, peer);
        }
        for peer in gone.into_values() {
            peer.end();
        }
    }

    /// Queues a message of consensus; false if it was dropped.
    pub fn send(&self, to: u64, message: Bytes) -> bool {
        self.shared.send(to, Frame::Message(message))
    }

    /// Calls another member and waits for its answer; `None` if there is no stream, or none comes in time.
    pub async fn call(&self, to: u64, body: Bytes, timeout: Duration) -> Option<Bytes> {
        let id = self.shared.next_call.fetch_add(1, Ordering::Relaxed);
        let (answer, waiting) = oneshot::channel();
        locked(&self.shared.calls).insert(id, answer);
        let answer = if self.shared.send(to, Frame::Call { id, body }) {
            tokio::time::timeout(timeout, waiting).await.ok().and_then(Result::ok)
        } else {
            None
        };
        locked(&self.shared.calls).remove(&id);
        answer
    }

    /// Asks anyone who listens at a peer URL, without being a member. The cluster's id comes with the answer.
    ///
    /// # Errors
    /// If no one answers there.
    pub async fn ask(&self, url: &str, body: Bytes) -> io::Result<(u64, Bytes)> {
        let greeting = Greeting {
            purpose: Purpose::Ask,
            cluster: 0,
            from: self.shared.identity.member,
            to: 0,
        };
        let asking = async {
            let (mut stream, welcome) = dial(&self.shared, url, greeting).await?;
            let mut bytes = bytes::BytesMut::new();
            Frame::Call { id: 0, body }.encode(&mut bytes);
            stream.write_all(&bytes).await?;
            stream.flush().await?;
            match FrameReader::new(stream).next().await? {
                Some(Frame::Answer { body, .. }) => Ok((welcome.cluster, body)),
                _ => Err(io::ErrorKind::InvalidData.into()),
            }
        };
        match tokio::time::timeout(ASK_TIMEOUT, asking).await {
            Ok(answer) => answer,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Since when this member has been there without a longer silence.
    pub fn active_since(&self, member: u64) -> Option<Instant> {
        self.shared.peer(member)?.active_since(Instant::now())
    }

    /// Whether there is a stream to this member.
    pub fn is_connected(&self, member: u64) -> bool {
        self.shared.peer(member).is_some_and(|peer| peer.is_connected())
    }

    /// Ends all streams that this member opened.
    pub fn end(&self) {
        self.set_peers([]);
    }
}
