//! Snapshots on their way to a member that is too far behind for entries.
//!
//! The sender cuts the state into chunks and keeps the few that are not acknowledged; the receiver writes each to its disk
//! before it asks for the next. When the stream breaks, the sender begins again under the same number as soon as there is
//! another one, and is told from which chunk on; so a transfer survives any number of broken streams, and ends only when
//! nothing moves for [`STALLED_MAX`], when either process ends, or when a newer one takes its place. Where no one listens
//! any more the receiver's process has ended, so the sender does not wait: others may need a snapshot, too, and the log.
//! A snapshot travels beside the stream's other frames and yields to them.

use std::collections::{HashMap, VecDeque};
use std::fmt::Debug;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Transport;
use super::frame::{Frame, Progress};
use super::peer::hex;
use super::transport::{Shared, locked};

/// About how long a chunk should be, in bytes.
pub const CHUNK_BYTES: usize = 1 << 20;
/// Chunks that are under way at a time.
const WINDOW_CHUNKS: usize = 4;
/// Chunks that may wait for the receiver's disk: more than the window, so that they never hold up the stream.
const WAITING_MAX: usize = 2 * WINDOW_CHUNKS;
/// How long the sender waits for news before it asks again.
const NEWS_TIMEOUT: Duration = Duration::from_secs(2);
/// A transfer that does not move for so long has failed.
pub const STALLED_MAX: Duration = Duration::from_secs(30);

/// A state, given piece by piece. Calls block.
pub trait Source: Send + 'static {
    /// The next piece, about [`CHUNK_BYTES`] long; `None` behind the last.
    fn next(&mut self) -> io::Result<Option<Bytes>>;
}

/// Where a state that arrives goes. Calls block. Dropped before it is finished, it leaves nothing.
pub trait Sink: Send + 'static {
    fn write(&mut self, piece: Bytes) -> io::Result<()>;
    /// Everything is there: make it durable and use it.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// The transfers that are under way in both directions.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    outgoing: Mutex<HashMap<u64, Outgoing>>,
    incoming: Mutex<HashMap<u64, Incoming>>,
}

#[derive(Debug)]
struct Outgoing {
    to: u64,
    news: mpsc::Sender<News>,
}

#[derive(Debug, Clone, Copy)]
enum News {
    Progress(Progress),
    /// There is a new stream: what was under way on the old one is lost.
    Reconnected,
    /// No one listens where the receiver was: its process has ended, and what had arrived is forgotten.
    Gone,
}

#[derive(Debug)]
struct Incoming {
    transfer: u64,
    orders: mpsc::Sender<Order>,
    receiver: JoinHandle<()>,
}

#[derive(Debug)]
enum Order {
    /// The sender asks how far it is.
    Begin,
    Chunk {
        number: u64,
        last: bool,
        data: Bytes,
    },
}

impl Transfers {
    pub fn connected(&self, member: u64) {
        self.tell_senders(member, News::Reconnected);
    }

    /// A dial of this member was refused.
    pub fn refused(&self, member: u64) {
        self.tell_senders(member, News::Gone);
    }

    fn tell_senders(&self, member: u64, news: News) {
        for outgoing in locked(&self.outgoing).values().filter(|outgoing| outgoing.to == member) {
            let _ended_or_busy = outgoing.news.try_send(news);
        }
    }

    pub fn progress(&self, transfer: u64, progress: Progress) {
        if let Some(outgoing) = locked(&self.outgoing).get(&transfer) {
            // When it is lost, the sender asks again.
            let _ended_or_busy = outgoing.news.try_send(News::Progress(progress));
        }
    }

    /// A member begins to send, or asks how far it is.
    pub fn begin(&self, shared: &Arc<Shared>, from: u64, transfer: u64, about: Bytes) {
        let mut incoming = locked(&self.incoming);
        if let Some(known) = incoming.get(&from)
            && known.transfer == transfer
        {
            let _ended_or_busy = known.orders.try_send(Order::Begin);
            return;
        }
        let (orders, queue) = mpsc::channel(WAITING_MAX);
        let _there_is_room = orders.try_send(Order::Begin);
        let receiver = Receiver {
            shared: Arc::clone(shared),
            from,
            transfer,
            queue,
        };
        let former = incoming.remove(&from);
        let receiver = shared.runtime.spawn(async move {
            if let Some(Incoming { orders, receiver, .. }) = former {
                // A former transfer of this sender ends, since no one holds the other end of its orders any more, and
                // gives its room to this one.
                drop(orders);
                let _panicked = receiver.await;
            }
            receiver.run(about).await;
        });
        let begun = Incoming {
            transfer,
            orders,
            receiver,
        };
        incoming.insert(from, begun);
    }

    pub async fn chunk(&self, from: u64, transfer: u64, number: u64, last: bool, data: Bytes) {
        let orders = match locked(&self.incoming).get(&from) {
            Some(incoming) if incoming.transfer == transfer => incoming.orders.clone(),
            _ => return,
        };
        let _ended = orders.send(Order::Chunk { number, last, data }).await;
    }

    fn forget(&self, from: u64, transfer: u64) {
        let mut incoming = locked(&self.incoming);
        if incoming
            .get(&from)
            .is_some_and(|incoming| incoming.transfer == transfer)
        {
            incoming.remove(&from);
        }
    }
}

/// Takes one snapshot in.
struct Receiver {
    shared: Arc<Shared>,
    from: u64,
    transfer: u64,
    queue: mpsc::Receiver<Order>,
}

impl Receiver {
    async fn run(mut self, about: Bytes) {
        let outcome = self.take_in(about).await;
        if let Err(error) = outcome {
            tracing::warn!(from = %hex(self.from), %error, "a snapshot was not received");
            self.report(Progress::Refused);
        }
        self.shared.transfers.forget(self.from, self.transfer);
    }

    async fn take_in(&mut self, about: Bytes) -> io::Result<()> {
        let Some(inbox) = self.shared.inbox() else {
            return Ok(());
        };
        let from = self.from;
        let mut sink = blocking(move || inbox.receive(from, about)).await?;
        let mut next = 0;
        loop {
            let order = match tokio::time::timeout(STALLED_MAX, self.queue.recv()).await {
                Ok(Some(order)) => order,
                Ok(None) => return Err(io::Error::other("a newer one came")),
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            };
            match order {
                Order::Chunk { number, last, data } if number == next => {
                    sink = blocking(move || sink.write(data).map(|()| sink)).await?;
                    next += 1;
                    if last {
                        break;
                    }
                }
                Order::Chunk { number, .. } if number < next => continue,
                Order::Chunk { .. } | Order::Begin => {}
            }
            self.report(Progress::Wants(next));
        }
        blocking(move || sink.finish()).await?;
        self.report(Progress::Complete);
        // The sender may have missed it.
        while let Ok(Some(_)) = tokio::time::timeout(STALLED_MAX, self.queue.recv()).await {
            self.report(Progress::Complete);
        }
        Ok(())
    }

    fn report(&self, progress: Progress) {
        let frame = Frame::SnapshotProgress {
            transfer: self.transfer,
            progress,
        };
        let _sent = self.shared.send(self.from, frame);
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

impl Transport {
    /// Sends a state to a member, and waits until it is durable there.
    ///
    /// # Errors
    /// If it was refused, or nothing moved for too long.
    pub async fn send_snapshot(&self, to: u64, about: Bytes, source: Box<dyn Source>) -> io::Result<()> {
        let (sender, news) = mpsc::channel(WAITING_MAX);
        let transfer = {
            let mut outgoing = locked(&self.shared.transfers.outgoing);
            // Unlike any before a restart of this process, which the receiver may remember.
            let mut transfer = microseconds_now();
            while outgoing.contains_key(&transfer) {
                transfer += 1;
            }
            outgoing.insert(transfer, Outgoing { to, news: sender });
            transfer
        };
        let mut sending = Sending {
            transport: self,
            to,
            transfer,
            about,
            news,
            window: VecDeque::new(),
            acknowledged: 0,
            sent: 0,
            source: Some(source),
            moved: Instant::now(),
        };
        let outcome = sending.run().await;
        locked(&self.shared.transfers.outgoing).remove(&transfer);
        outcome
    }
}

fn microseconds_now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(0))
}

/// One snapshot being sent.
///
/// - `window` holds the chunks `acknowledged..acknowledged + window.len()`, of which those before `sent` were sent.
struct Sending<'a> {
    transport: &'a Transport,
    to: u64,
    transfer: u64,
    about: Bytes,
    news: mpsc::Receiver<News>,
    window: VecDeque<(Bytes, bool)>,
    acknowledged: u64,
    sent: u64,
    /// `None` behind the last piece.
    source: Option<Box<dyn Source>>,
    moved: Instant,
}

impl Sending<'_> {
    async fn run(&mut self) -> io::Result<()> {
        let mut held: Option<Bytes> = None;
        let mut begun = false;
        loop {
            if !begun {
                // Where there is no stream it is dropped, and said again after a while.
                let (transfer, about) = (self.transfer, self.about.clone());
                self.transport
                    .shared
                    .send(self.to, Frame::SnapshotBegin { transfer, about });
                begun = true;
            }
            match tokio::time::timeout(NEWS_TIMEOUT, self.news.recv()).await {
                Ok(Some(News::Progress(Progress::Complete))) => return Ok(()),
                Ok(Some(News::Progress(Progress::Refused))) => return Err(io::Error::other("it was refused there")),
                Ok(Some(News::Progress(Progress::Wants(number)))) => {
                    self.acknowledge(number)?;
                    self.fill(&mut held).await?;
                    self.send().await;
                }
                Ok(Some(News::Reconnected)) | Err(_) => {
                    self.sent = self.acknowledged;
                    begun = false;
                }
                Ok(Some(News::Gone)) => return Err(io::ErrorKind::ConnectionRefused.into()),
                Ok(None) => return Err(io::Error::other("forgotten")),
            }
            if self.moved.elapsed() > STALLED_MAX {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }

    fn acknowledge(&mut self, wanted: u64) -> io::Result<()> {
        if wanted < self.acknowledged || wanted > self.acknowledged + self.window.len() as u64 {
            return Err(io::Error::other(
                "the receiver asks for a chunk that is not there any more",
            ));
        }
        if wanted > self.acknowledged {
            self.moved = Instant::now();
        }
        while self.acknowledged < wanted {
            self.window.pop_front();
            self.acknowledged += 1;
        }
        self.sent = self.sent.max(self.acknowledged);
        Ok(())
    }

    /// Reads ahead. One piece is held back, so that the last one is known to be.
    async fn fill(&mut self, held: &mut Option<Bytes>) -> io::Result<()> {
        while self.window.len() < WINDOW_CHUNKS
            && let Some(mut source) = self.source.take()
        {
            let (back, piece) = blocking(move || source.next().map(|piece| (source, piece))).await?;
            let ended = piece.is_none();
            match (held.take(), piece) {
                (Some(before), piece) => {
                    self.window.push_back((before, ended));
                    *held = piece;
                }
                (None, None) => self.window.push_back((Bytes::new(), true)),
                (None, piece) => *held = piece,
            }
            self.source = (!ended).then_some(back);
        }
        Ok(())
    }

    async fn send(&mut self) {
        let Some(peer) = self.transport.shared.peer(self.to) else {
            return;
        };
        while let Some((data, last)) = self.window.get((self.sent - self.acknowledged) as usize) {
            let chunk = Frame::SnapshotChunk {
                transfer: self.transfer,
                number: self.sent,
                last: *last,
                data: data.clone(),
            };
            if !peer.send_bulk(chunk).await {
                return;
            }
            self.sent += 1;
        }
    }
}
