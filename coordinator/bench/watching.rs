//! Many watchers of one key: a put, then everyone must have been told before the next.

use std::time::Instant;

use bytes::Bytes;
use coordinator_wire::etcdserverpb as pb;
use pb::kv_client::KvClient;
use pb::watch_client::WatchClient;
use pb::watch_request::RequestUnion;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::connection::Connection;
use crate::load::{self, Latencies, Round};
use crate::server::Contender;
use crate::{Arguments, Result};

/// Watchers of the one key.
pub const WATCHERS: usize = 1_000;
/// Each of this many connections has one stream, on which its part of the watchers are.
const CONNECTIONS: usize = 20;
const KEY: &[u8] = b"watched";

/// Events told per second, and the time from the sending of a put until each watcher was told.
pub async fn round(contender: &Contender, address: &str, watchers: usize, arguments: &Arguments) -> Result<Round> {
    let (told, mut arrivals) = mpsc::channel::<Result<Instant>>(watchers.max(1));
    let mut readers = Vec::new();
    for connection in 0..CONNECTIONS {
        let mine = (connection..watchers).step_by(CONNECTIONS).count();
        let stream = Watching::start(address, mine).await?;
        readers.push(tokio::spawn(stream.report(told.clone())));
    }
    drop(told);
    let connection = Connection::open(address).await?;
    let origin = connection.origin.clone();
    let mut client = KvClient::with_origin(connection, origin);
    let value = Bytes::from(vec![b'w'; arguments.value_bytes]);
    let writer = move |end: Instant| async move {
        let mut latencies: Latencies = Vec::new();
        while Instant::now() < end {
            let sent = Instant::now();
            let request = pb::PutRequest {
                key: Bytes::from_static(KEY),
                value: value.clone(),
                ..Default::default()
            };
            client.put(request).await?;
            for _ in 0..watchers {
                let arrived = arrivals.recv().await.ok_or("all streams of watches ended")??;
                latencies.push(load::micros(arrived.saturating_duration_since(sent)));
            }
        }
        Ok(latencies)
    };
    let round = load::run(contender, vec![writer], arguments.round()).await;
    for reader in readers {
        reader.abort();
    }
    round
}

/// One stream and its watchers.
struct Watching {
    answers: tonic::Streaming<pb::WatchResponse>,
    /// Kept, since the server ends a stream whose client has nothing more to say.
    _requests: mpsc::Sender<pb::WatchRequest>,
}

impl Watching {
    async fn start(address: &str, watchers: usize) -> Result<Self> {
        let connection = Connection::open(address).await?;
        let origin = connection.origin.clone();
        let mut client = WatchClient::with_origin(connection, origin);
        let (requests, receiver) = mpsc::channel(watchers.max(1));
        for _ in 0..watchers {
            let create = pb::WatchCreateRequest {
                key: Bytes::from_static(KEY),
                ..Default::default()
            };
            let request_union = Some(RequestUnion::CreateRequest(create));
            requests.send(pb::WatchRequest { request_union }).await?;
        }
        let mut answers = client.watch(ReceiverStream::new(receiver)).await?.into_inner();
        for _ in 0..watchers {
            let answer = answers.message().await?.ok_or("the stream of watches ended")?;
            if !answer.created || answer.canceled {
                return Err("a watch was not created".into());
            }
        }
        Ok(Self {
            answers,
            _requests: requests,
        })
    }

    /// Tells of each event when it came.
    async fn report(mut self, told: mpsc::Sender<Result<Instant>>) {
        loop {
            let report = match self.answers.message().await {
                Ok(Some(answer)) => {
                    let now = Instant::now();
                    for _ in &answer.events {
                        if told.send(Ok(now)).await.is_err() {
                            return;
                        }
                    }
                    continue;
                }
                Ok(None) => Err("the stream of watches ended".into()),
                Err(status) => Err(status.into()),
            };
            // No one listens once the round is over.
            let _ = told.send(report).await;
            return;
        }
    }
}
