//! The stream to one other member: dialled again for as long as the member is known.
//!
//! What is to be said waits in two bounded queues: a short one for consensus, calls and answers, and one for a snapshot's
//! chunks, which yields to the first. While there is no stream nothing is kept: consensus says again what matters, a caller
//! is told at once, and a transfer waits by itself.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::connect::{CONNECT_TIMEOUT, Stream};
use super::frame::{Frame, Greeting, Purpose, Verdict, WELCOME_BYTES, Welcome};
use super::transport::{Shared, locked};

/// Frames that may wait for one member, and the bytes in them.
const QUEUE_FRAMES_MAX: usize = 4_096;
const QUEUE_BYTES_MAX: usize = 128 << 20;
/// Chunks that may wait.
const QUEUE_CHUNKS_MAX: usize = 2;
/// The pause between two dials of a member that does not answer. Short, because a member that was restarted is waited for.
const DIAL_PAUSE: Duration = Duration::from_millis(100);
/// A write that takes longer than this finds no one reading: the stream is given up.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// Frames are gathered into writes of about this many bytes.
const WRITE_BYTES: usize = 256 << 10;
/// A member that says nothing for so long is not active any more.
const SILENCE_MAX: Duration = Duration::from_secs(2);
/// After so long without anything to say a member says that it is there: followers have nothing else for each other, and
/// the next leader has to know since when they are there.
const ALIVE_INTERVAL: Duration = Duration::from_millis(500);

/// Why the last dial failed, for the log: said once, not at every try.
type Complaint = Option<String>;

#[derive(Debug)]
pub(super) struct Peer {
    pub id: u64,
    urls: Mutex<Vec<String>>,
    urgent: mpsc::Sender<Frame>,
    bulk: mpsc::Sender<Frame>,
    queued_bytes: AtomicUsize,
    connected: AtomicBool,
    heard: Mutex<Heard>,
    task: Mutex<Option<AbortHandle>>,
}

/// When frames came from the member.
#[derive(Debug, Default)]
struct Heard {
    last: Option<Instant>,
    /// The beginning of the time without silence that `last` belongs to.
    since: Option<Instant>,
}

impl Peer {
    /// Starts to dial. The task ends with the peer ([`Peer::end`]).
    pub fn start(shared: &Arc<Shared>, id: u64, urls: Vec<String>) -> Arc<Self> {
        let (urgent, urgent_queue) = mpsc::channel(QUEUE_FRAMES_MAX);
        let (bulk, bulk_queue) = mpsc::channel(QUEUE_CHUNKS_MAX);
        let peer = Arc::new(Self {
            id,
            urls: Mutex::new(urls),
            urgent,
            bulk,
            queued_bytes: AtomicUsize::new(0),
            connected: AtomicBool::new(false),
            heard: Mutex::default(),
            task: Mutex::default(),
        });
        let dialer = Dialer {
            shared: Arc::clone(shared),
            peer: Arc::clone(&peer),
            urgent: urgent_queue,
            bulk: bulk_queue,
            buffer: BytesMut::new(),
        };
        let task = shared.runtime.spawn(dialer.run());
        *locked(&peer.task) = Some(task.abort_handle());
        peer
    }

    pub fn end(&self) {
        if let Some(task) = locked(&self.task).take() {
            task.abort();
        }
        self.connected.store(false, Ordering::Relaxed);
    }

    pub fn set_urls(&self, urls: Vec<String>) {
        *locked(&self.urls) = urls;
    }

    /// Queues a frame; false if it was dropped, because there is no stream or too much waits for it.
    pub fn send(&self, frame: Frame) -> bool {
        let weight = frame.weight();
        if !self.is_connected() || self.queued_bytes.load(Ordering::Relaxed) + weight > QUEUE_BYTES_MAX {
            return false;
        }
        self.queued_bytes.fetch_add(weight, Ordering::Relaxed);
        let queued = self.urgent.try_send(frame).is_ok();
        if !queued {
            self.queued_bytes.fetch_sub(weight, Ordering::Relaxed);
        }
        queued
    }

    /// Queues a chunk of a snapshot once there is room.
    pub async fn send_bulk(&self, frame: Frame) -> bool {
        self.is_connected() && self.bulk.send(frame).await.is_ok()
    }

    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    pub fn note_heard(&self, now: Instant) {
        let mut heard = locked(&self.heard);
        if heard.last.is_none_or(|last| now - last > SILENCE_MAX) {
            heard.since = Some(now);
        }
        heard.last = Some(now);
    }

    /// Since when the member is there without a longer silence.
    pub fn active_since(&self, now: Instant) -> Option<Instant> {
        let heard = locked(&self.heard);
        let active = self.is_connected() && heard.last.is_some_and(|last| now - last <= SILENCE_MAX);
        heard.since.filter(|_| active)
    }
}

/// Opens the stream that begins with this greeting.
pub(super) async fn dial(shared: &Shared, url: &str, greeting: Greeting) -> io::Result<(Stream, Welcome)> {
    let opening = async {
        let mut stream = shared.connect.connect(url).await?;
        stream.write_all(&greeting.encode()).await?;
        stream.flush().await?;
        let mut bytes = [0; WELCOME_BYTES];
        stream.read_exact(&mut bytes).await?;
        Ok((stream, Welcome::decode(&bytes)?))
    };
    match tokio::time::timeout(CONNECT_TIMEOUT, opening).await {
        Ok(opened) => opened,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

struct Dialer {
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    urgent: mpsc::Receiver<Frame>,
    bulk: mpsc::Receiver<Frame>,
    buffer: BytesMut,
}

impl Dialer {
    async fn run(mut self) {
        let mut complaint: Complaint = None;
        let mut next_url = 0;
        loop {
            let url = {
                let urls = locked(&self.peer.urls);
                urls.get(next_url % urls.len().max(1)).cloned()
            };
            next_url += 1;
            if let Some(url) = url {
                match self.open(&url).await {
                    Ok(stream) => {
                        complaint = None;
                        tracing::info!(peer = %hex(self.peer.id), %url, "established a stream to a member");
                        let reason = self.speak(stream).await;
                        self.peer.connected.store(false, Ordering::Relaxed);
                        tracing::warn!(peer = %hex(self.peer.id), %url, %reason, "lost the stream to a member");
                        self.shared.lost(self.peer.id, false);
                    }
                    Err(error) => {
                        let refused = error.kind() == io::ErrorKind::ConnectionRefused;
                        self.shared.lost(self.peer.id, refused);
                        let text = error.to_string();
                        if complaint.as_ref() != Some(&text) {
                            tracing::warn!(peer = %hex(self.peer.id), %url, reason = %text, "cannot reach a member");
                            complaint = Some(text);
                        }
                    }
                }
            }
            self.drop_queued();
            tokio::time::sleep(DIAL_PAUSE).await;
        }
    }

    async fn open(&self, url: &str) -> io::Result<Stream> {
        let greeting = Greeting {
            purpose: Purpose::Stream,
            cluster: self.shared.identity.cluster,
            from: self.shared.identity.member,
            to: self.peer.id,
        };
        let (stream, welcome) = dial(&self.shared, url, greeting).await?;
        match welcome.verdict {
            Verdict::Welcome => Ok(stream),
            Verdict::OtherCluster => {
                let (other, own) = (hex(welcome.cluster), hex(self.shared.identity.cluster));
                Err(io::Error::other(format!(
                    "cluster ID mismatch: {other} is there, not {own}"
                )))
            }
            Verdict::OtherMember => {
                let other = hex(welcome.member);
                Err(io::Error::other(format!("another member is there: {other}")))
            }
            Verdict::Removed => {
                self.shared.removed();
                Err(io::Error::other("this member was removed from the cluster"))
            }
        }
    }

    /// Writes what is queued until the stream breaks; returns why it did.
    async fn speak(&mut self, stream: Stream) -> io::Error {
        self.drop_queued();
        self.peer.connected.store(true, Ordering::Relaxed);
        self.shared.connected(self.peer.id);
        let (mut reading, mut writing) = tokio::io::split(stream);
        let mut nothing = [0; 1];
        loop {
            let frame = tokio::select! {
                biased;
                frame = self.urgent.recv() => frame,
                frame = self.bulk.recv() => frame,
                // The other end never says anything here, so this is its end.
                read = reading.read(&mut nothing) => return match read {
                    Ok(_) => io::ErrorKind::ConnectionAborted.into(),
                    Err(error) => error,
                },
                () = tokio::time::sleep(ALIVE_INTERVAL) => Some(Frame::Alive),
            };
            let Some(frame) = frame else {
                return io::ErrorKind::ConnectionAborted.into();
            };
            self.gather(&frame);
            while self.buffer.len() < WRITE_BYTES
                && let Ok(frame) = self.urgent.try_recv()
            {
                self.gather(&frame);
            }
            let write = async {
                writing.write_all(&self.buffer).await?;
                writing.flush().await
            };
            match tokio::time::timeout(WRITE_TIMEOUT, write).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error,
                Err(_) => return io::ErrorKind::TimedOut.into(),
            }
            self.shared.observe_sent(self.peer.id, self.buffer.len());
            self.buffer.clear();
            if self.buffer.capacity() > 4 * WRITE_BYTES {
                self.buffer = BytesMut::new();
            }
        }
    }

    fn gather(&mut self, frame: &Frame) {
        frame.encode(&mut self.buffer);
        if !matches!(frame, Frame::SnapshotBegin { .. } | Frame::SnapshotChunk { .. }) {
            self.peer.queued_bytes.fetch_sub(frame.weight(), Ordering::Relaxed);
        }
    }

    /// What was meant for a stream that is gone.
    fn drop_queued(&mut self) {
        self.buffer.clear();
        while let Ok(frame) = self.urgent.try_recv() {
            self.peer.queued_bytes.fetch_sub(frame.weight(), Ordering::Relaxed);
        }
        while self.bulk.try_recv().is_ok() {}
    }
}

/// A member's id as etcd writes it.
pub(super) fn hex(id: u64) -> String {
    format!("{id:x}")
}
