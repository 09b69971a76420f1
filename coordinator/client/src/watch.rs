//! Watching keys: a stream of changes that outlives connections.

use std::pin::Pin;
use std::task::{Context, Poll};

use coordinator_wire::etcdserverpb as pb;
use coordinator_wire::mvccpb::{KeyValue, event::EventType};
use futures::{Stream, StreamExt};
use pb::watch_client::WatchClient;
use pb::watch_request::RequestUnion;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::connection::{Backoff, Fate, Transport};
use crate::{Client, Error, Keys};

/// Batches of changes that may wait for the reader; then the server is slowed down.
const BATCHES_WAITING_MAX: usize = 64;

/// One change of one key.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    Put(KeyValue),
    /// The deleted key; `mod_revision` is the revision of the deletion.
    Delete(KeyValue),
}

/// Changes in the order they happened; those of one revision are never parted.
#[derive(Debug, Clone, PartialEq)]
pub struct Changes {
    pub changes: Vec<Change>,
    /// The store's revision when this was sent: everything up to the last change's revision has been told.
    pub revision: i64,
}

/// A stream of [`Changes`]. It ends after an error, which is [`Error::Compacted`] or a refusal.
#[derive(Debug)]
pub struct Watch {
    receiver: mpsc::Receiver<Result<Changes, Error>>,
}

impl Stream for Watch {
    type Item = Result<Changes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.receiver.poll_recv(context)
    }
}

/// How one connection's part of a watch ended.
enum Ended {
    /// The reader is gone or has been told the error.
    Done,
    /// Go on over a new connection.
    Broken(Status),
}

impl Client {
    /// Watches `keys` from `start_revision` on (0: from now on) until dropped, through restarts of the server.
    ///
    /// Returns once the server has confirmed the watch, so whatever is written afterwards will be told.
    pub async fn watch(&self, keys: Keys, start_revision: i64) -> Result<Watch, Error> {
        let (sender, receiver) = mpsc::channel(BATCHES_WAITING_MAX);
        let (created_sender, created) = tokio::sync::oneshot::channel();
        let follower = Follower {
            keys,
            next: start_revision,
            created: Some(created_sender),
            sender,
        };
        tokio::spawn(follower.follow(self.clone()));
        match created.await {
            Ok(outcome) => outcome.map(|()| Watch { receiver }),
            Err(_) => Ok(Watch { receiver }), // It ended at once; the stream says why.
        }
    }
}

struct Follower {
    keys: Keys,
    /// The next revision to be told; 0 before the first connection of a watch from now on.
    next: i64,
    created: Option<tokio::sync::oneshot::Sender<Result<(), Error>>>,
    sender: mpsc::Sender<Result<Changes, Error>>,
}

impl Follower {
    async fn follow(mut self, client: Client) {
        let mut backoff = Backoff::default();
        let started = tokio::time::Instant::now();
        loop {
            let (endpoint, transport) = client.connection.transport().await;
            let before = self.next;
            let status = match transport {
                Ok(transport) => match self.follow_once(WatchClient::new(transport)).await {
                    Ended::Done => return,
                    Ended::Broken(status) => status,
                },
                Err(status) => status,
            };
            if client.connection.renews(&status) {
                backoff.pause().await;
                continue;
            }
            if Fate::of(&status) == Fate::Answered {
                return self.end(Error::refused(&status)).await;
            }
            if self.created.is_some() && started.elapsed() > crate::RETRY_DEADLINE {
                return self.end(client.connection.unreachable(&status)).await;
            }
            if self.next > before {
                backoff = Backoff::default();
            }
            client.connection.leave(endpoint);
            tokio::select! {
                () = backoff.pause() => {}
                () = self.sender.closed() => return,
            }
        }
    }

    async fn end(&mut self, error: Error) {
        match self.created.take() {
            Some(created) => {
                let _reader_gone = created.send(Err(error));
            }
            None => {
                let _reader_gone = self.sender.send(Err(error)).await;
            }
        }
    }

    async fn follow_once(&mut self, client: WatchClient<Transport>) -> Ended {
        let mut client = client.max_decoding_message_size(512 << 20);
        let (requests, receiver) = mpsc::channel(1);
        let create = pb::WatchCreateRequest {
            key: self.keys.key.clone(),
            range_end: self.keys.range_end.clone(),
            start_revision: self.next,
            ..Default::default()
        };
        let request = pb::WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(create)),
        };
        if requests.send(request).await.is_err() {
            return Ended::Broken(Status::unavailable("the stream ended"));
        }
        let mut answers = match client.watch(ReceiverStream::new(receiver)).await {
            Ok(answers) => answers.into_inner(),
            Err(status) => return Ended::Broken(status),
        };
        loop {
            let answer = tokio::select! {
                answer = answers.next() => answer,
                () = self.sender.closed() => return Ended::Done,
            };
            match answer {
                None => return Ended::Broken(Status::unavailable("the stream ended")),
                Some(Err(status)) => return Ended::Broken(status),
                Some(Ok(answer)) => {
                    if self.take(answer).await {
                        return Ended::Done;
                    }
                }
            }
        }
    }

    /// Hands an answer on; says whether the watch is over.
    async fn take(&mut self, answer: pb::WatchResponse) -> bool {
        if answer.canceled {
            let error = if answer.compact_revision > 0 {
                Error::Compacted(answer.compact_revision)
            } else {
                Error::Refused {
                    code: tonic::Code::Cancelled,
                    message: answer.cancel_reason,
                }
            };
            self.end(error).await;
            return true;
        }
        let revision = answer.header.map_or(0, |header| header.revision);
        if answer.created {
            // From here on a new connection must not miss what happens in between.
            if self.next == 0 {
                self.next = revision + 1;
            }
            if let Some(created) = self.created.take() {
                let _reader_gone = created.send(Ok(()));
            }
            return false;
        }
        let changes: Vec<Change> = answer
            .events
            .into_iter()
            .filter_map(|event| {
                let deleted = event.r#type == i32::from(EventType::Delete);
                event
                    .kv
                    .map(|kv| if deleted { Change::Delete(kv) } else { Change::Put(kv) })
            })
            .collect();
        let Some(last) = changes.last() else { return false };
        self.next = match last {
            Change::Put(kv) | Change::Delete(kv) => kv.mod_revision + 1,
        };
        self.sender.send(Ok(Changes { changes, revision })).await.is_err()
    }
}
