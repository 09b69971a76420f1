//! What all services share: the machine, the log, and the way from a request to its answer.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, mpsc};
use std::time::Instant;

use coordinator_wire::coordinatorpb::Entry;
use coordinator_wire::etcdserverpb::ResponseHeader;
use prost::Message;
use raft::log::{GroupCommit, LogError};
use tokio::sync::{oneshot, watch};

use super::auth::Gate;
use super::bell::{Bell, Call};
use super::defragment::Defragmentation;
use super::metrics::Metrics;
use super::redb_disk::Space;
use super::store_file::Identity;
use crate::Error;
use crate::auth::Caller;
use crate::lease::Deadlines;
use crate::machine::{Machine, Outcome, Request};
use crate::watch::Feed;

/// The kind of the log's records that hold an [`Entry`].
pub(super) const ENTRY_KIND: u8 = 1;
/// Requests that may wait for the log or the applier. etcd refuses at about as many.
const PENDING_MAX: usize = 10_000;
/// Versions that may wait in memory for the archivist, in bytes. It starts at a fraction of this, so reaching it means
/// that the disk does not keep up, or is full.
pub(super) const TAIL_BYTES_MAX: usize = 128 << 20;
/// The one term of a member that has led since ever.
pub(super) const TERM: u64 = 1;

/// What the node was told by its flags.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    /// The largest request, in bytes.
    pub(super) request_bytes_max: usize,
    /// The most operations of a transaction.
    pub(super) txn_operations_max: usize,
    /// How often a watcher that wants progress gets it.
    pub(super) progress_interval: std::time::Duration,
    /// What the store may take before it takes no more, in bytes.
    pub(super) quota_bytes: u64,
}

/// An entry that is durable and waits for the applier.
pub(super) struct Durable {
    pub(super) index: u64,
    pub(super) caller: Caller,
    pub(super) request: Request,
    pub(super) respond: oneshot::Sender<Result<Outcome, Error>>,
}

/// Work for the applier.
pub(super) enum Work {
    Apply(Durable),
    /// End the thread.
    Stop,
}

/// One member of the cluster: so far the only one.
pub(super) struct Node {
    pub(super) identity: Identity,
    pub(super) limits: Limits,
    pub(super) metrics: Metrics,
    pub(super) space: Arc<Space>,
    pub(super) defragmentation: Defragmentation,
    pub(super) gate: Gate,
    machine: RwLock<Machine>,
    deadlines: Mutex<Deadlines>,
    feed: Mutex<Feed>,
    /// The feed's newest revision, to wake streams.
    revision: watch::Sender<i64>,
    log: GroupCommit,
    work: mpsc::Sender<Work>,
    pending: AtomicUsize,
    tail_bytes: AtomicUsize,
    /// The last entry that the store file holds.
    archived: watch::Sender<u64>,
    archivist: Bell,
    /// Why the process must end, once it must.
    failure: watch::Sender<Option<String>>,
    started: Instant,
    next_id: AtomicU64,
}

/// What a node is made of, besides what it makes itself.
pub(super) struct Parts {
    pub(super) identity: Identity,
    pub(super) limits: Limits,
    pub(super) metrics: Metrics,
    pub(super) space: Arc<Space>,
    pub(super) gate: Gate,
    pub(super) machine: Machine,
    pub(super) log: GroupCommit,
    pub(super) work: mpsc::Sender<Work>,
    pub(super) archived: u64,
    /// Where the ids of leases begin; different after each start.
    pub(super) id_seed: u64,
}

/// The lock was poisoned by a thread that panicked while it changed the machine: nothing is certain any more.
const POISONED: &str = "no thread panics while it holds this lock";

impl Node {
    pub(super) fn new(parts: Parts) -> Self {
        let revision = parts.machine.store().revision();
        let mut deadlines = Deadlines::default();
        for (id, lease) in parts.machine.leases().iter() {
            deadlines.start(id, lease.ttl_seconds, 0);
        }
        parts.gate.applied(&parts.machine);
        Self {
            identity: parts.identity,
            limits: parts.limits,
            metrics: parts.metrics,
            space: parts.space,
            defragmentation: Defragmentation::default(),
            gate: parts.gate,
            machine: RwLock::new(parts.machine),
            deadlines: Mutex::new(deadlines),
            feed: Mutex::new(Feed::new(revision, crate::watch::FEED_BYTES_MAX)),
            revision: watch::Sender::new(revision),
            log: parts.log,
            work: parts.work,
            pending: AtomicUsize::new(0),
            tail_bytes: AtomicUsize::new(0),
            archived: watch::Sender::new(parts.archived),
            archivist: Bell::default(),
            failure: watch::Sender::new(None),
            started: Instant::now(),
            next_id: AtomicU64::new(parts.id_seed),
        }
    }

    /// The machine, to read. Hold it for selecting, not for loading.
    pub(super) fn machine(&self) -> RwLockReadGuard<'_, Machine> {
        self.machine.read().expect(POISONED)
    }

    pub(super) fn machine_mut(&self) -> RwLockWriteGuard<'_, Machine> {
        self.machine.write().expect(POISONED)
    }

    /// Lock it after the machine, never before.
    pub(super) fn deadlines(&self) -> MutexGuard<'_, Deadlines> {
        self.deadlines.lock().expect(POISONED)
    }

    pub(super) fn feed(&self) -> MutexGuard<'_, Feed> {
        self.feed.lock().expect(POISONED)
    }

    /// Milliseconds since this process began to serve: the clock of the leases.
    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Who answers, at which revision.
    pub(super) fn header(&self, revision: i64) -> ResponseHeader {
        ResponseHeader {
            cluster_id: self.identity.cluster,
            member_id: self.identity.member,
            revision,
            raft_term: TERM,
        }
    }

    /// A lease id that was not used before, and is positive as etcd's are.
    pub(super) fn lease_id(&self) -> i64 {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed) & u64::try_from(i64::MAX).unwrap_or(0);
        id.cast_signed().max(1)
    }

    /// Sees the revisions that the applier publishes.
    pub(super) fn revisions(&self) -> watch::Receiver<i64> {
        self.revision.subscribe()
    }

    pub(super) fn publish(&self, revision: i64) {
        self.revision.send_replace(revision);
    }

    pub(super) fn bell(&self) -> &Bell {
        &self.archivist
    }

    pub(super) fn tail_bytes(&self) -> usize {
        self.tail_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn set_tail_bytes(&self, bytes: usize) {
        self.tail_bytes.store(bytes, Ordering::Relaxed);
    }

    /// The store file holds everything up to entry `applied`: the log may forget it.
    pub(super) fn set_archived(&self, applied: u64) {
        self.archived.send_replace(applied);
        self.log.purge(applied);
    }

    /// Waits until the store file holds entry `index`.
    pub(super) async fn archived(&self, index: u64) {
        self.archivist.ring(Call::Now);
        let mut archived = self.archived.subscribe();
        // An error means that the node is gone, and with it whoever waits.
        let _gone = archived.wait_for(|archived| *archived >= index).await;
    }

    /// The process cannot go on.
    pub(super) fn fail(&self, reason: String) {
        tracing::error!(%reason, "the coordinator must end");
        self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            failure.get_or_insert(reason);
            first
        });
    }

    pub(super) fn failures(&self) -> watch::Receiver<Option<String>> {
        self.failure.subscribe()
    }

    /// Why the node cannot serve, if so.
    pub(super) fn unhealthy(&self) -> Option<String> {
        if let Some(failure) = self.failure.borrow().clone() {
            return Some(failure);
        }
        if self.space.is_full() {
            return Some("the disk is full".to_owned());
        }
        self.log.failure().map(|failure| failure.to_string())
    }

    /// Whether the log refused the last write for lack of space.
    pub(super) fn log_is_full(&self) -> bool {
        matches!(self.log.failure(), Some(LogError::NoSpace(_)))
    }

    pub(super) fn log_stats(&self) -> raft::log::Stats {
        self.log.stats()
    }

    pub(super) fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    /// Ends the applier once it has applied what is durable by now.
    pub(super) fn stop_applier(&self) {
        // An error means that it has ended already.
        let _ended = self.work.send(Work::Stop);
    }

    /// Resolves when the machine holds everything that was acknowledged anywhere before the call: what is read after it is
    /// linearizable. At once on a member that is alone, where nothing is acknowledged before it is applied.
    pub(super) async fn linearizable_read(&self) -> Result<(), Error> {
        match self.failure.borrow().is_some() {
            true => Err(Error::Stopped),
            false => Ok(()),
        }
    }

    /// Writes a request to the log on behalf of `caller`, has it applied, and returns its outcome.
    pub(super) async fn propose(&self, caller: Caller, request: Request) -> Result<Outcome, Error> {
        let _pending = Pending::enter(&self.pending)?;
        let tail_bytes = self.tail_bytes.load(Ordering::Relaxed);
        if tail_bytes > TAIL_BYTES_MAX {
            return Err(if self.space.is_full() {
                Error::NoSpace
            } else {
                Error::TooManyRequests
            });
        }
        let entry = Entry {
            request: Some(request),
            caller: Some(caller).filter(|caller| *caller != Caller::default()),
        };
        if entry.encoded_len() > self.limits.request_bytes_max {
            return Err(Error::RequestTooLarge);
        }
        let payload = entry.encode_to_vec().into();
        let caller = entry.caller.unwrap_or_default();
        let request = entry.request.expect("it was put in above");
        let (respond, answer) = oneshot::channel();
        let work = self.work.clone();
        let failure = self.failure.clone();
        self.log.submit(ENTRY_KIND, payload, move |written| match written {
            Ok(index) => {
                // Where the applier has ended, dropping `respond` says so.
                let _ended = work.send(Work::Apply(Durable {
                    index,
                    caller,
                    request,
                    respond,
                }));
            }
            Err(error) => {
                if matches!(error, LogError::Stopped(_) | LogError::Corrupt { .. }) {
                    failure.send_replace(Some(error.to_string()));
                }
                let _caller_gone = respond.send(Err(refusal(&error)));
            }
        });
        answer.await.unwrap_or(Err(Error::Stopped))
    }
}

fn refusal(error: &LogError) -> Error {
    match error {
        LogError::NoSpace(_) => Error::NoSpace,
        LogError::Overloaded => Error::TooManyRequests,
        LogError::TooLarge { .. } => Error::RequestTooLarge,
        _ => Error::Stopped,
    }
}

/// Counts a request while it waits.
struct Pending<'a>(&'a AtomicUsize);

impl<'a> Pending<'a> {
    fn enter(pending: &'a AtomicUsize) -> Result<Self, Error> {
        let entered = Self(pending);
        if pending.fetch_add(1, Ordering::Relaxed) >= PENDING_MAX {
            Err(Error::TooManyRequests)
        } else {
            Ok(entered)
        }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
