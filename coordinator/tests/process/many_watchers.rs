//! Thousands of watches over a few streams, some of which no one reads.

use std::collections::BTreeMap;
use std::time::Duration;

use coordinator_client::wire::etcdserverpb as pb;
use coordinator_client::wire::mvccpb::Event;
use coordinator_client::{Client, Op};
use pb::watch_client::WatchClient;
use pb::watch_request::RequestUnion;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::program::Coordinator;

const PATIENCE: Duration = Duration::from_secs(60);
/// Streams that are read, and the watches of each.
const READ: usize = 3;
const WATCHES: i64 = 900;
/// Streams that no one reads until the end, and the watches of each: of the few changes, and of the many.
const UNREAD: usize = 2;
const UNREAD_WATCHES: i64 = 150;
const UNREAD_OF_MANY: i64 = 8;
/// The few changes, that everyone watches.
const FEW: usize = 40;
/// The many: 24 MB, more than the feed holds. For each unread watch of them to have its own would take 384 MB.
const MANY: usize = 1_500;
const MANY_BYTES: usize = 16 << 10;
/// What they may take together, with the feed, what waits for the archive, and what the allocator keeps.
const GROWTH_BYTES_MAX: u64 = 160 << 20;

/// One stream; its requests end with it.
struct Stream {
    answers: Streaming<pb::WatchResponse>,
    _requests: mpsc::Sender<pb::WatchRequest>,
    /// What each watch was told: the revisions.
    told: BTreeMap<i64, Vec<i64>>,
}

impl Stream {
    /// A connection of its own with `few` and `many` watches, all created.
    async fn open(coordinator: &Coordinator, few: i64, many: i64) -> Self {
        let count = usize::try_from(few + many).expect("positive");
        let (requests, queue) = mpsc::channel(count);
        for id in 1..=few + many {
            let (key, range_end) = if id <= few {
                ("few/", "few0")
            } else {
                ("many/", "many0")
            };
            let create = pb::WatchCreateRequest {
                key: key.into(),
                range_end: range_end.into(),
                watch_id: id,
                ..Default::default()
            };
            let request_union = Some(RequestUnion::CreateRequest(create));
            requests
                .send(pb::WatchRequest { request_union })
                .await
                .expect("there is room");
        }
        let mut client = WatchClient::new(coordinator.channel().await).max_decoding_message_size(usize::MAX);
        let answers = client
            .watch(ReceiverStream::new(queue))
            .await
            .expect("a stream")
            .into_inner();
        let mut stream = Self {
            answers,
            _requests: requests,
            told: BTreeMap::new(),
        };
        for _ in 0..count {
            let answer = stream.next().await;
            assert!(answer.created && !answer.canceled, "{answer:?}");
            stream.told.insert(answer.watch_id, Vec::new());
        }
        assert_eq!(stream.told.len(), count);
        stream
    }

    async fn next(&mut self) -> pb::WatchResponse {
        let answer = tokio::time::timeout(PATIENCE, self.answers.message()).await;
        answer.expect("told in time").expect("no error").expect("it goes on")
    }

    /// Reads until each watch was told as many changes as there are; each once and in order.
    async fn read_all(&mut self, few: i64) {
        let wanted = |id: i64| if id <= few { FEW } else { MANY };
        let mut left: usize = self.told.keys().map(|id| wanted(*id)).sum();
        while left > 0 {
            let answer = self.next().await;
            let told = self.told.get_mut(&answer.watch_id).expect("one of its watches");
            for Event { kv, .. } in answer.events {
                let revision = kv.expect("a pair").mod_revision;
                assert!(
                    told.last().is_none_or(|last| *last < revision),
                    "watch {}",
                    answer.watch_id
                );
                told.push(revision);
                left -= 1;
            }
        }
        for (id, told) in &self.told {
            assert_eq!(told.len(), wanted(*id), "watch {id}");
        }
    }
}

async fn put_all(client: &Client, prefix: &'static str, count: usize, bytes: usize) {
    let value = vec![b'x'; bytes];
    let putting = (0..10).map(|task| {
        let (client, value) = (client.clone(), value.clone());
        async move {
            for number in 0..count / 10 {
                let put = client.put(format!("{prefix}{task}/{number}"), value.clone()).await;
                put.expect("acknowledged");
            }
        }
    });
    futures::future::join_all(putting).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_thousand_watches_are_told_everything_once_whoever_does_not_read() {
    let data = tempfile::tempdir().expect("a directory");
    let coordinator = Coordinator::start(data.path());
    let client = coordinator.client().await;
    let (mut read, mut unread) = (Vec::new(), Vec::new());
    for _ in 0..UNREAD {
        unread.push(Stream::open(&coordinator, UNREAD_WATCHES, UNREAD_OF_MANY).await);
    }
    for _ in 0..READ {
        read.push(Stream::open(&coordinator, WATCHES, 0).await);
    }
    let before = coordinator.resident_bytes();
    // Those who do not read have nothing left that could be sent to them.
    put_all(&client, "many/", MANY, MANY_BYTES).await;
    let reading: Vec<_> = read
        .into_iter()
        .map(|mut stream| tokio::spawn(async move { stream.read_all(WATCHES).await }))
        .collect();
    put_all(&client, "few/", FEW, 100).await;
    for stream in reading {
        stream.await.expect("those who read are not held up");
    }
    let growth = coordinator.resident_bytes().saturating_sub(before);
    println!("{} MB more while {UNREAD} streams are not read", growth >> 20);
    assert!(growth < GROWTH_BYTES_MAX, "{growth} bytes");
    for stream in &mut unread {
        stream.read_all(UNREAD_WATCHES).await;
    }
}

/// A transaction is one answer, and what is too large for one comes in pieces that say so, where that was asked for.
#[tokio::test]
async fn a_transaction_is_one_answer_and_a_large_answer_comes_in_ordered_fragments_if_asked_for() {
    const LIMIT: usize = 100_000;
    let data = tempfile::tempdir().expect("a directory");
    let flags = [format!("--max-request-bytes={LIMIT}")];
    let coordinator = Coordinator::start_with(data.path(), "http://127.0.0.1:0", &flags);
    let client = coordinator.client().await;
    let operations = (0..8).map(|number| Op::put(format!("few/{number}"), vec![b'x'; 10_000]));
    let done = client.txn(Vec::new(), operations.collect(), Vec::new()).await;
    let first = done.expect("carried out").revision;
    let mut last = first;
    for number in 0..20 {
        last = client
            .put(format!("few/{number:02}"), vec![b'x'; 30_000])
            .await
            .expect("acknowledged");
    }
    for fragment in [false, true] {
        let create = pb::WatchCreateRequest {
            key: "few/".into(),
            range_end: "few0".into(),
            start_revision: first,
            fragment,
            ..Default::default()
        };
        let request_union = Some(RequestUnion::CreateRequest(create));
        let (requests, queue) = mpsc::channel(1);
        requests
            .send(pb::WatchRequest { request_union })
            .await
            .expect("there is room");
        let client = WatchClient::new(coordinator.channel().await);
        let answers = client
            .max_decoding_message_size(usize::MAX)
            .watch(ReceiverStream::new(queue))
            .await;
        let mut stream = Stream {
            answers: answers.expect("a stream").into_inner(),
            _requests: requests,
            told: BTreeMap::new(),
        };
        assert!(stream.next().await.created);
        let (mut told, mut pieces) = (Vec::new(), 0);
        loop {
            let answer = stream.next().await;
            let revisions = answer
                .events
                .iter()
                .map(|event| event.kv.as_ref().expect("a pair").mod_revision);
            told.extend(revisions);
            pieces += 1;
            if fragment {
                let bytes: usize = answer.events.iter().map(prost::Message::encoded_len).sum();
                assert!(bytes <= LIMIT, "{bytes} bytes");
            }
            if !answer.fragment {
                break;
            }
        }
        assert_eq!(pieces > 1, fragment, "{pieces} pieces");
        let wanted: Vec<i64> = [first; 8].into_iter().chain(first + 1..=last).collect();
        assert_eq!(told, wanted);
    }
}
