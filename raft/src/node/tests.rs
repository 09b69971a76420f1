//! Streams between real sockets, and groups of members on them.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use disk::faulty::{FaultyDisk, MemoryDisk};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::*;
use crate::consensus::{
    Body, Config, Event, Index, MemberChange, Membership, Message, Payload, Position, Snapshot, SoftState,
};
use crate::log::{Options, StableStorage};

const PATIENCE: Duration = Duration::from_secs(20);

/// What came in.
#[derive(Debug)]
struct Heard {
    messages: mpsc::UnboundedSender<(u64, Bytes)>,
    removed: Mutex<Vec<u64>>,
    told_removed: AtomicBool,
    received: Arc<Mutex<Vec<u8>>>,
    refuse: AtomicBool,
    /// One snapshot is received at a time.
    room: Arc<Semaphore>,
    /// While its only permit is held, nothing that arrives gets any further.
    disk: Arc<Semaphore>,
}

#[derive(Debug)]
struct Memory {
    bytes: Vec<u8>,
    into: Arc<Mutex<Vec<u8>>>,
    disk: Arc<Semaphore>,
    _turn: OwnedSemaphorePermit,
}

impl Sink for Memory {
    fn write(&mut self, piece: Bytes) -> io::Result<()> {
        let disk = Arc::clone(&self.disk);
        let _disk = tokio::runtime::Handle::current()
            .block_on(disk.acquire_owned())
            .unwrap();
        self.bytes.extend_from_slice(&piece);
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        *self.into.lock().unwrap() = self.bytes;
        Ok(())
    }
}

impl Inbox for Heard {
    fn message(&self, from: u64, bytes: Bytes) -> Pending<'_, ()> {
        let _test_ended = self.messages.send((from, bytes));
        Box::pin(std::future::ready(()))
    }

    fn call(&self, from: u64, body: Bytes) -> Pending<'_, Bytes> {
        let answer = [body.as_ref(), b" to ", from.to_string().as_bytes()].concat();
        Box::pin(async move { Bytes::from(answer) })
    }

    fn ask(&self, body: Bytes) -> Pending<'_, Bytes> {
        Box::pin(async move { body })
    }

    fn receive(&self, _from: u64, _about: Bytes) -> io::Result<Box<dyn Sink>> {
        if self.refuse.load(Ordering::Relaxed) {
            return Err(io::Error::other("not now"));
        }
        let turn = Arc::clone(&self.room).try_acquire_owned().map_err(io::Error::other)?;
        Ok(Box::new(Memory {
            bytes: Vec::new(),
            into: Arc::clone(&self.received),
            disk: Arc::clone(&self.disk),
            _turn: turn,
        }))
    }

    fn connected(&self, _member: u64) {}

    fn lost(&self, _member: u64, _refused: bool) {}

    fn removed(&self) {
        self.told_removed.store(true, Ordering::Relaxed);
    }

    fn is_removed(&self, member: u64) -> bool {
        self.removed.lock().unwrap().contains(&member)
    }

    fn observe_traffic(&self, _member: u64, _sent: usize, _received: usize) {}
}

struct End {
    transport: Transport,
    heard: Arc<Heard>,
    messages: mpsc::UnboundedReceiver<(u64, Bytes)>,
    listening: JoinHandle<()>,
    url: String,
}

async fn end(cluster: u64, member: u64) -> End {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    end_at(listener.into(), url, cluster, member)
}

fn end_at(door: Door, url: String, cluster: u64, member: u64) -> End {
    let identity = Identity { cluster, member };
    let transport = Transport::new(identity, Arc::new(Plain), tokio::runtime::Handle::current());
    let (sender, messages) = mpsc::unbounded_channel();
    let heard = Arc::new(Heard {
        messages: sender,
        removed: Mutex::default(),
        told_removed: AtomicBool::new(false),
        received: Arc::default(),
        refuse: AtomicBool::new(false),
        room: Arc::new(Semaphore::new(1)),
        disk: Arc::new(Semaphore::new(1)),
    });
    transport.deliver_to(&(Arc::clone(&heard) as Arc<dyn Inbox>));
    let listening = tokio::spawn(transport.clone().listen(door, Arc::new(Plain)));
    End {
        transport,
        heard,
        messages,
        listening,
        url,
    }
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn pair() -> (End, End) {
    acquaint(end(7, 1).await, end(7, 2).await).await
}

async fn acquaint(one: End, two: End) -> (End, End) {
    let members = || [(1, vec![one.url.clone()]), (2, vec![two.url.clone()])];
    one.transport.set_peers(members());
    two.transport.set_peers(members());
    eventually("both are connected", || {
        one.transport.is_connected(2) && two.transport.is_connected(1)
    })
    .await;
    (one, two)
}

#[tokio::test]
async fn messages_arrive_in_order_and_calls_are_answered() {
    let (one, mut two) = pair().await;
    for number in 0..100u8 {
        assert!(one.transport.send(2, Bytes::from(vec![number; 3])));
    }
    for number in 0..100u8 {
        let (from, message) = two.messages.recv().await.unwrap();
        assert_eq!((from, message), (1, Bytes::from(vec![number; 3])));
    }
    let answer = two.transport.call(1, Bytes::from("answer"), PATIENCE).await;
    assert_eq!(answer.as_deref(), Some(&b"answer to 2"[..]));
    assert_eq!(
        one.transport.call(9, Bytes::new(), PATIENCE).await,
        None,
        "nobody has that id"
    );
    assert!(!one.transport.send(9, Bytes::new()));
    assert!(two.transport.active_since(1).is_some());
}

/// Followers say nothing to each other, but who leads next must know since when they are there.
#[tokio::test]
async fn members_that_have_nothing_to_say_are_there_all_the_same() {
    let (one, two) = pair().await;
    let both = || Some((one.transport.active_since(2)?, two.transport.active_since(1)?));
    eventually("each hears of the other", || both().is_some()).await;
    let before = both();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(both(), before, "without a silence");
    two.transport.end();
    eventually("silence is noticed", || one.transport.active_since(2).is_none()).await;
}

#[tokio::test]
async fn members_connect_over_sockets_in_the_file_system() {
    let directory = tempfile::tempdir().unwrap();
    let at = |member: u64| {
        let path = directory.path().join(format!("peer:{member}"));
        let url = format!("unix://{}", path.display());
        end_at(UnixListener::bind(path).unwrap().into(), url, 7, member)
    };
    let (one, mut two) = acquaint(at(1), at(2)).await;
    assert!(one.transport.send(2, Bytes::from("word")));
    assert_eq!(two.messages.recv().await.unwrap(), (1, Bytes::from("word")));
}

#[tokio::test]
async fn a_stranger_may_ask_and_learns_the_cluster() {
    let (one, two) = (end(7, 1).await, end(0, 0).await);
    let (cluster, answer) = two.transport.ask(&one.url, Bytes::from("who?")).await.unwrap();
    assert_eq!((cluster, answer.as_ref()), (7, &b"who?"[..]));
}

#[tokio::test]
async fn other_clusters_other_members_and_removed_ones_are_turned_away() {
    let (one, mut two) = (end(7, 1).await, end(8, 2).await);
    two.transport.set_peers([(1, vec![one.url.clone()])]);
    let misled = end(7, 3).await;
    misled.transport.set_peers([(5, vec![one.url.clone()])]);
    let removed = end(7, 4).await;
    one.heard.removed.lock().unwrap().push(4);
    removed.transport.set_peers([(1, vec![one.url.clone()])]);
    eventually("the removed one is told", || {
        removed.heard.told_removed.load(Ordering::Relaxed)
    })
    .await;
    for (end, to) in [(&two, 1), (&misled, 5), (&removed, 1)] {
        assert!(!end.transport.is_connected(to));
    }
    assert!(!two.heard.told_removed.load(Ordering::Relaxed));
    assert!(two.messages.try_recv().is_err());
}

#[tokio::test]
async fn a_member_that_comes_back_is_found_again() {
    let (one, two) = pair().await;
    two.listening.abort();
    two.transport.end();
    let address = address_of(&two.url).to_owned();
    drop(two);
    // What was accepted is closed by its other end, which notices only when the process ends; so another member takes the
    // place at the address and refuses the former stream's greeting no more.
    let listener = loop {
        match TcpListener::bind(&address).await {
            Ok(listener) => break listener,
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    let again = end(7, 2).await;
    let _listening = tokio::spawn(again.transport.clone().listen(listener, Arc::new(Plain)));
    again.transport.set_peers([(1, vec![one.url.clone()])]);
    eventually("it is connected", || again.transport.is_connected(1)).await;
}

/// Counts up, some pieces of different lengths.
struct Pieces {
    next: u8,
    count: u8,
}

impl Source for Pieces {
    fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.next == self.count {
            return Ok(None);
        }
        self.next += 1;
        Ok(Some(Bytes::from(vec![self.next; usize::from(self.next) * 7_000])))
    }
}

fn all_pieces(count: u8) -> Vec<u8> {
    (1..=count).flat_map(|n| vec![n; usize::from(n) * 7_000]).collect()
}

#[tokio::test]
async fn a_snapshot_arrives_whole_or_is_refused() {
    let (one, two) = pair().await;
    for count in [0, 1, 2, 30] {
        let source = Box::new(Pieces { next: 0, count });
        one.transport
            .send_snapshot(2, Bytes::from("about"), source)
            .await
            .unwrap();
        assert_eq!(*two.heard.received.lock().unwrap(), all_pieces(count));
    }
    two.heard.refuse.store(true, Ordering::Relaxed);
    let source = Box::new(Pieces { next: 0, count: 3 });
    assert!(one.transport.send_snapshot(2, Bytes::new(), source).await.is_err());
}

/// Forwards bytes, and breaks all its connections when told to.
async fn proxy(to: String) -> (String, mpsc::UnboundedSender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (cut, mut cuts) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut connections: Vec<JoinHandle<()>> = Vec::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let Ok((mut near, _)) = accepted else { return };
                    let to = to.clone();
                    connections.push(tokio::spawn(async move {
                        let Ok(mut far) = tokio::net::TcpStream::connect(to).await else { return };
                        let _broken = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                    }));
                }
                told = cuts.recv() => {
                    if told.is_none() {
                        return;
                    }
                    connections.drain(..).for_each(|connection| connection.abort());
                }
            }
        }
    });
    (url, cut)
}

#[tokio::test]
async fn a_snapshot_goes_on_where_the_stream_broke() {
    let (one, two) = (end(7, 1).await, end(7, 2).await);
    let (url, cut) = proxy(address_of(&two.url).to_owned()).await;
    one.transport.set_peers([(2, vec![url])]);
    two.transport.set_peers([(1, vec![one.url.clone()])]);
    eventually("both are connected", || {
        one.transport.is_connected(2) && two.transport.is_connected(1)
    })
    .await;
    let asked = Arc::new(Mutex::new(0));
    struct Counted(Pieces, Arc<Mutex<u32>>, mpsc::UnboundedSender<()>);
    impl Source for Counted {
        fn next(&mut self) -> io::Result<Option<Bytes>> {
            let mut asked = self.1.lock().unwrap();
            *asked += 1;
            if (*asked).is_multiple_of(10) {
                self.2.send(()).unwrap();
            }
            self.0.next()
        }
    }
    let source = Counted(Pieces { next: 0, count: 60 }, Arc::clone(&asked), cut.clone());
    one.transport
        .send_snapshot(2, Bytes::new(), Box::new(source))
        .await
        .unwrap();
    assert_eq!(*two.heard.received.lock().unwrap(), all_pieces(60));
    assert_eq!(*asked.lock().unwrap(), 61, "no piece was asked for twice");
}

/// No one waits half a minute for what a killed process had received: the log is held meanwhile, and so are others.
#[tokio::test]
async fn a_snapshot_for_a_process_that_has_ended_is_given_up_at_once() {
    let (one, two) = (end(7, 1).await, end(7, 2).await);
    let (url, cut) = proxy(address_of(&two.url).to_owned()).await;
    one.transport.set_peers([(2, vec![url])]);
    two.transport.set_peers([(1, vec![one.url.clone()])]);
    eventually("both are connected", || {
        one.transport.is_connected(2) && two.transport.is_connected(1)
    })
    .await;
    struct Ending(Pieces, Option<mpsc::UnboundedSender<()>>);
    impl Source for Ending {
        fn next(&mut self) -> io::Result<Option<Bytes>> {
            if self.0.next == 20
                && let Some(cut) = self.1.take()
            {
                // The connections break, and then no one listens there any more.
                cut.send(()).unwrap();
            }
            self.0.next()
        }
    }
    let source = Ending(Pieces { next: 0, count: 60 }, Some(cut));
    let begun = Instant::now();
    let sent = one.transport.send_snapshot(2, Bytes::new(), Box::new(source)).await;
    assert_eq!(sent.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    assert!(begun.elapsed() < STALLED_MAX, "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_snapshot_gets_the_room_of_the_former_one() {
    let (one, two) = pair().await;
    let disk = Arc::clone(&two.heard.disk);
    let send = |count| {
        let transport = one.transport.clone();
        tokio::spawn(async move {
            let source = Box::new(Pieces { next: 0, count });
            transport.send_snapshot(2, Bytes::new(), source).await
        })
    };
    let held = disk.acquire().await.unwrap();
    let former = send(40);
    eventually("it is being received", || two.heard.room.available_permits() == 0).await;
    former.abort();
    let newer = send(5);
    // Time for it to ask while the former one is still there; it must do without, too.
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(held);
    newer.await.unwrap().unwrap();
    assert_eq!(*two.heard.received.lock().unwrap(), all_pieces(5));
}

mod group;
