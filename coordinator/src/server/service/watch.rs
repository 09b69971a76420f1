//! The service Watch: one task a stream, between its client and its [`Watchers`].

use std::sync::Arc;
use std::time::Duration;

use coordinator_wire::etcdserverpb as pb;
use coordinator_wire::mvccpb::{Event, KeyValue, event::EventType};
use futures::StreamExt;
use pb::watch_request::RequestUnion;
use pb::watch_server::Watch;
use prost::Message;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::Error;
use crate::auth::Access;
use crate::server::metrics::Running;
use crate::server::replica::node::Node;
use crate::server::service::auth::caller;
use crate::server::service::auth::credentials::Credentials;
use crate::store::Version;
use crate::watch::{Answer, Watchers};

/// Answers that may wait for a client to read them; then its stream stops pulling.
const ANSWERS_WAITING_MAX: usize = 32;
/// Revisions taken from the feed at a time, and so at most in one answer.
const REVISIONS_PULLED_MAX: usize = 512;
/// Versions read from the store at a time for those that catch up; whole revisions, so one large transaction is more.
const VERSIONS_READ_MAX: usize = 1_000;

#[derive(Clone)]
pub(in crate::server) struct WatchService {
    pub(in crate::server) node: Arc<Node>,
    pub(in crate::server) shutdown: host::Shutdown,
}

#[tonic::async_trait]
impl Watch for WatchService {
    type WatchStream = ReceiverStream<Result<pb::WatchResponse, Status>>;

    async fn watch(
        &self,
        request: Request<Streaming<pb::WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Ok(Response::new(self.open(request)))
    }
}

impl WatchService {
    /// Starts to answer a stream of requests.
    pub(in crate::server) fn open<S>(&self, request: Request<S>) -> ReceiverStream<Result<pb::WatchResponse, Status>>
    where
        S: futures::Stream<Item = Result<pb::WatchRequest, Status>> + Send + Unpin + 'static,
    {
        let (answers, receiver) = mpsc::channel(ANSWERS_WAITING_MAX);
        let stream = Stream {
            credentials: Credentials::of(&request),
            revisions: self.node.revisions(),
            // What the feed holds beyond this revision is told; the store may be a little ahead of it.
            watchers: Watchers::new(self.node.feed().last()),
            node: Arc::clone(&self.node),
            answers,
            counted: (0, 0),
            running: self.node.metrics.running("bidi_stream", "etcdserverpb.Watch", "Watch"),
        };
        self.node.metrics.watch_streams.inc();
        tokio::spawn(stream.run(request.into_inner(), self.shutdown.clone()));
        ReceiverStream::new(receiver)
    }
}

/// The client is gone, or has been told the end.
struct Closed;

struct Stream {
    node: Arc<Node>,
    /// Looked at for each watcher: a stream lives longer than a token.
    credentials: Credentials,
    watchers: Watchers,
    revisions: watch::Receiver<i64>,
    answers: mpsc::Sender<Result<pb::WatchResponse, Status>>,
    /// Watchers, and those behind, as they stand in the metrics.
    counted: (usize, usize),
    running: Running,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.count((0, 0));
        self.node.metrics.watch_streams.dec();
    }
}

impl Stream {
    async fn run<S>(mut self, mut requests: S, shutdown: host::Shutdown)
    where
        S: futures::Stream<Item = Result<pb::WatchRequest, Status>> + Send + Unpin,
    {
        let mut asking = true;
        let period = self.node.limits.progress_interval.max(Duration::from_millis(100));
        let mut progress = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
        loop {
            let behind = self.watchers.behind() > 0;
            let outcome = tokio::select! {
                biased;
                () = shutdown.requested() => {
                    self.running.ends(Code::Unavailable);
                    let _client_gone = self.answers.try_send(Err(Error::Stopped.into()));
                    return;
                }
                () = self.answers.closed() => return,
                request = requests.next(), if asking => match request {
                    Some(Ok(request)) => self.request(request).await,
                    Some(Err(status)) => {
                        // Most clients are gone by then; the gateway's are not.
                        let _client_gone = self.answers.send(Err(status)).await;
                        return;
                    }
                    // The client has nothing more to say, and goes on listening.
                    None => {
                        asking = false;
                        Ok(())
                    }
                },
                changed = self.revisions.changed() => match changed {
                    Ok(()) => self.pull().await,
                    Err(_) => return,
                },
                _ = progress.tick() => {
                    let answers = self.watchers.periodic_progress();
                    self.send_all(answers).await
                }
                () = std::future::ready(()), if behind => self.catch_up().await,
            };
            if outcome.is_err() || self.progress().await.is_err() {
                return;
            }
            self.count((self.watchers.len(), self.watchers.behind()));
        }
    }

    async fn request(&mut self, request: pb::WatchRequest) -> Result<(), Closed> {
        match request.request_union {
            Some(RequestUnion::CreateRequest(create)) => {
                let caller = self.node.establish(&self.credentials).await;
                let (revision, compacted, permitted) = {
                    let machine = self.node.machine();
                    let (key, range_end) = (&create.key, &create.range_end);
                    let permitted = caller.and_then(|caller| machine.check(&caller, Access::Watch { key, range_end }));
                    (machine.store().revision(), machine.store().compacted(), permitted)
                };
                let answers = match permitted {
                    // A revision that cannot be is told first, anyone who asks.
                    Err(error) if create.start_revision >= 0 => vec![Answer::Refused {
                        revision,
                        reason: caller::watch_refusal(&error),
                    }],
                    _ => self.watchers.create(&create, revision, compacted),
                };
                self.send_all(answers).await
            }
            Some(RequestUnion::CancelRequest(cancel)) => {
                let answer = self.watchers.cancel(cancel.watch_id);
                self.send_all(answer).await
            }
            Some(RequestUnion::ProgressRequest(_)) => {
                self.watchers.want_progress();
                // What was acknowledged before the client asked is to be covered.
                self.pull().await
            }
            None => Ok(()),
        }
    }

    async fn progress(&mut self) -> Result<(), Closed> {
        let answer = self.watchers.progress();
        self.send_all(answer).await
    }

    /// Takes all that is new from the feed.
    async fn pull(&mut self) -> Result<(), Closed> {
        loop {
            let (revisions, last) = {
                let feed = self.node.feed();
                (feed.after(self.watchers.cursor(), REVISIONS_PULLED_MAX), feed.last())
            };
            match revisions {
                None => self.watchers.fall_behind(last),
                Some(revisions) if revisions.is_empty() => return Ok(()),
                Some(revisions) => {
                    let answers = self.watchers.advance(revisions.iter().map(AsRef::as_ref));
                    self.send_all(answers).await?;
                }
            }
        }
    }

    /// Reads a part of what those behind have missed from the store.
    async fn catch_up(&mut self) -> Result<(), Closed> {
        let Some((from, to)) = self.watchers.missing() else {
            return Ok(());
        };
        let node = Arc::clone(&self.node);
        let read = tokio::task::spawn_blocking(move || {
            let history = node.machine().store().history(from)?;
            Ok(history.read(to, VERSIONS_READ_MAX)?)
        })
        .await;
        let answers = match read {
            Ok(Ok((changes, to))) => self.watchers.catch_up(&changes, to),
            Ok(Err(Error::Compacted)) => {
                let compacted = self.node.machine().store().compacted();
                self.watchers.compacted(compacted)
            }
            Ok(Err(error)) => return self.end(error).await,
            Err(_ended) => return self.end(Error::Stopped).await,
        };
        self.send_all(answers).await
    }

    async fn end(&mut self, error: Error) -> Result<(), Closed> {
        let _client_gone = self.answers.send(Err(error.into())).await;
        Err(Closed)
    }

    async fn send_all(&mut self, answers: impl IntoIterator<Item = Answer>) -> Result<(), Closed> {
        for answer in answers {
            let responses = match self.respond(answer) {
                Ok(responses) => responses,
                Err(error) => return self.end(error).await,
            };
            for response in responses {
                self.node.metrics.events.inc_by(response.events.len() as u64);
                self.answers.send(Ok(response)).await.map_err(|_client_gone| Closed)?;
            }
        }
        Ok(())
    }

    fn respond(&self, answer: Answer) -> Result<Vec<pb::WatchResponse>, Error> {
        let base = |id, revision| pb::WatchResponse {
            header: Some(self.node.header(revision)),
            watch_id: id,
            ..Default::default()
        };
        Ok(match answer {
            Answer::Created { id, revision } => vec![pb::WatchResponse {
                created: true,
                ..base(id, revision)
            }],
            Answer::Refused { revision, reason } => vec![pb::WatchResponse {
                created: true,
                canceled: true,
                cancel_reason: reason.to_owned(),
                ..base(-1, revision)
            }],
            Answer::Cancelled { id, revision } => vec![pb::WatchResponse {
                canceled: true,
                ..base(id, revision)
            }],
            Answer::Compacted {
                id,
                revision,
                compacted,
            } => {
                vec![pb::WatchResponse {
                    canceled: true,
                    compact_revision: compacted,
                    ..base(id, revision)
                }]
            }
            Answer::Progress { id, revision } => vec![base(id, revision)],
            Answer::Changes {
                id,
                revision,
                changes,
                prev_kv,
                fragment,
            } => {
                let events = self.events(&changes, prev_kv)?;
                let base = base(id, revision);
                if fragment {
                    fragments(&base, events, self.node.limits.request_bytes_max)
                } else {
                    vec![pb::WatchResponse { events, ..base }]
                }
            }
        })
    }

    fn events(&self, changes: &[Arc<Version>], prev_kv: bool) -> Result<Vec<Event>, Error> {
        changes
            .iter()
            .map(|version| {
                let kind = if version.deleted {
                    EventType::Delete
                } else {
                    EventType::Put
                };
                let prev_kv = if prev_kv { self.before(version)? } else { None };
                Ok(Event {
                    r#type: kind.into(),
                    kv: Some(version.kv.clone()),
                    prev_kv,
                })
            })
            .collect()
    }

    /// The pair before a change, where there was one and it is not compacted.
    fn before(&self, version: &Version) -> Result<Option<KeyValue>, Error> {
        let is_first = !version.deleted && version.kv.version == 1;
        let revision = version.revision.main - 1;
        let selection = {
            let machine = self.node.machine();
            let store = machine.store();
            if is_first || revision < 1 || store.check_revision(revision).is_err() {
                return Ok(None);
            }
            store.select(&crate::store::Bounds::One(version.kv.key.clone()), revision, 1)
        };
        Ok(selection.load()?.pop().map(|before| before.kv.clone()))
    }

    fn count(&mut self, now: (usize, usize)) {
        let difference = |now: usize, before: usize| now as i64 - before as i64;
        self.node.metrics.watchers.add(difference(now.0, self.counted.0));
        self.node.metrics.slow_watchers.add(difference(now.1, self.counted.1));
        self.counted = now;
    }
}

/// Cuts events into answers of at most `bytes_max` each, as far as single events allow. All but the last say that more
/// follows.
fn fragments(base: &pb::WatchResponse, events: Vec<Event>, bytes_max: usize) -> Vec<pb::WatchResponse> {
    let mut responses = vec![pb::WatchResponse {
        fragment: true,
        ..base.clone()
    }];
    let mut bytes = 0;
    for event in events {
        let event_bytes = event.encoded_len();
        if bytes > 0 && bytes + event_bytes > bytes_max {
            responses.push(pb::WatchResponse {
                fragment: true,
                ..base.clone()
            });
            bytes = 0;
        }
        bytes += event_bytes;
        if let Some(response) = responses.last_mut() {
            response.events.push(event);
        }
    }
    if let Some(last) = responses.last_mut() {
        last.fragment = false;
    }
    responses
}
