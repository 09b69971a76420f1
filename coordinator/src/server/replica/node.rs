//! What all services share: the machine, the log, and the way from a request to its answer.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard, mpsc};
use std::time::Instant;

use coordinator_wire::coordinatorpb::Entry;
use coordinator_wire::etcdserverpb::{Member, ResponseHeader};
use disk::Disk;
use prost::Message;
use raft::consensus::Snapshot;
use raft::log::LogError;
use raft::node::{Inbox, Transport};
use tokio::sync::{Semaphore, watch};

use crate::Error;
use crate::auth::Caller;
use crate::lease::Deadlines;
use crate::machine::{Machine, Outcome, Request};
use crate::server::metrics::Metrics;
use crate::server::replica::hashes::Hashes;
use crate::server::replica::work::{Reader, Waiting, Work};
use crate::server::service::auth::gate::Gate;
use crate::server::settings::limits::Limits;
use crate::server::storage::defragment::Defragmentation;
use crate::server::storage::jobs::Jobs;
use crate::server::storage::redb_disk::Space;
use crate::server::storage::store_file::Identity;
use crate::server::storage::wake_up::{WakeReason, WakeUp};
use crate::watch::Feed;

/// Requests that may wait for the log or the applier. etcd refuses at about as many.
const PENDING_MAX: usize = 10_000;
/// Versions that may wait in memory for the persister, in bytes. It starts at a fraction of this, so reaching it means
/// that the disk does not keep up, or is full.
pub(in crate::server) const TAIL_BYTES_MAX: usize = 128 << 20;
/// Requests that may wait until there is room for them in memory, in bytes; those beyond are refused.
const WAITING_BYTES_MAX: usize = 64 << 20;

/// One member of the cluster.
pub(in crate::server) struct Node {
    pub(in crate::server) identity: Identity,
    pub(in crate::server) limits: Limits,
    pub(in crate::server) metrics: Metrics,
    pub(in crate::server) space: Arc<Space>,
    pub(in crate::server) defragmentation: Defragmentation,
    pub(in crate::server) hashes: Arc<Hashes>,
    pub(in crate::server) gate: Gate,
    machine: RwLock<Machine>,
    deadlines: Mutex<Deadlines>,
    /// When a majority was last asked whether this member leads, and said so: milliseconds of the leases' clock.
    pub(in crate::server) led_at: AtomicU64,
    /// Written while checkpoints are on their way, read while a lease is renewed.
    pub(in crate::server) checkpointing: tokio::sync::RwLock<()>,
    feed: Mutex<Feed>,
    /// The feed's newest revision, to wake streams.
    revision: watch::Sender<i64>,
    /// Consensus and its log; set right after the node is made.
    raft: OnceLock<raft::node::Node<Waiting, Reader>>,
    pub(in crate::server) transport: Transport,
    pub(in crate::server) runtime: tokio::runtime::Handle,
    pub(in crate::server) disk: Arc<dyn Disk>,
    pub(in crate::server) directory: PathBuf,
    pub(in crate::server) jobs: Jobs,
    /// One snapshot is received at a time.
    pub(in crate::server) receiving: Arc<Semaphore>,
    /// The last entry applied.
    applied: watch::Sender<u64>,
    /// Who leads, as far as this member knows.
    leader: watch::Sender<Option<u64>>,
    /// As the members are, to be read without the machine's lock.
    learner: AtomicBool,
    work: mpsc::SyncSender<Work>,
    /// The last entry of the time before this start: tokens given in it are forgotten.
    pub(in crate::server) replay_to: u64,
    /// What other members' streams lead to; the transport holds it weakly.
    inbox: OnceLock<Arc<dyn Inbox>>,
    pending: AtomicUsize,
    /// Bytes of requests that wait for the persister.
    waiting_bytes: AtomicUsize,
    tail_bytes: watch::Sender<usize>,
    /// The last entry that the store file holds.
    archived: watch::Sender<u64>,
    persister: WakeUp,
    /// Why the process must end, once it must.
    failure: watch::Sender<Option<String>>,
    started: Instant,
    next_id: AtomicU64,
}

/// What a node is made of, besides what it makes itself.
pub(in crate::server) struct Parts {
    pub(in crate::server) identity: Identity,
    pub(in crate::server) limits: Limits,
    pub(in crate::server) metrics: Metrics,
    pub(in crate::server) space: Arc<Space>,
    pub(in crate::server) gate: Gate,
    pub(in crate::server) machine: Machine,
    pub(in crate::server) transport: Transport,
    pub(in crate::server) runtime: tokio::runtime::Handle,
    pub(in crate::server) disk: Arc<dyn Disk>,
    pub(in crate::server) directory: PathBuf,
    pub(in crate::server) work: mpsc::SyncSender<Work>,
    pub(in crate::server) archived: u64,
    pub(in crate::server) replay_to: u64,
    /// Where the ids of leases begin; different after each start.
    pub(in crate::server) id_seed: u64,
}

/// The lock was poisoned by a thread that panicked while it changed the machine: nothing is certain any more.
const POISONED: &str = "no thread panics while it holds this lock";

impl Node {
    pub(in crate::server) fn new(parts: Parts) -> Self {
        let revision = parts.machine.store().revision();
        let applied = parts.machine.applied();
        let own = parts.machine.members().get(parts.identity.member);
        let learner = own.is_some_and(|member| member.is_learner);
        parts.gate.applied(&parts.machine);
        Self {
            identity: parts.identity,
            limits: parts.limits,
            metrics: parts.metrics,
            space: parts.space,
            defragmentation: Defragmentation::default(),
            hashes: Arc::default(),
            gate: parts.gate,
            machine: RwLock::new(parts.machine),
            deadlines: Mutex::default(),
            led_at: AtomicU64::new(0),
            checkpointing: tokio::sync::RwLock::default(),
            feed: Mutex::new(Feed::new(revision, crate::watch::FEED_BYTES_MAX)),
            revision: watch::Sender::new(revision),
            raft: OnceLock::new(),
            transport: parts.transport,
            runtime: parts.runtime,
            disk: parts.disk,
            directory: parts.directory,
            jobs: Jobs::default(),
            receiving: Arc::new(Semaphore::new(1)),
            applied: watch::Sender::new(applied),
            leader: watch::Sender::new(None),
            learner: AtomicBool::new(learner),
            work: parts.work,
            replay_to: parts.replay_to,
            inbox: OnceLock::new(),
            pending: AtomicUsize::new(0),
            waiting_bytes: AtomicUsize::new(0),
            tail_bytes: watch::Sender::new(0),
            archived: watch::Sender::new(parts.archived),
            persister: WakeUp::default(),
            failure: watch::Sender::new(None),
            started: Instant::now(),
            next_id: AtomicU64::new(parts.id_seed),
        }
    }

    /// The machine, to read. Hold it for selecting, not for loading.
    pub(in crate::server) fn machine(&self) -> RwLockReadGuard<'_, Machine> {
        self.machine.read().expect(POISONED)
    }

    pub(in crate::server) fn machine_mut(&self) -> RwLockWriteGuard<'_, Machine> {
        self.machine.write().expect(POISONED)
    }

    /// Lock it after the machine, never before.
    pub(in crate::server) fn deadlines(&self) -> MutexGuard<'_, Deadlines> {
        self.deadlines.lock().expect(POISONED)
    }

    pub(in crate::server) fn feed(&self) -> MutexGuard<'_, Feed> {
        self.feed.lock().expect(POISONED)
    }

    /// Milliseconds since this process began to serve: the clock of the leases.
    pub(in crate::server) fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Who answers, at which revision.
    pub(in crate::server) fn header(&self, revision: i64) -> ResponseHeader {
        ResponseHeader {
            cluster_id: self.identity.cluster,
            member_id: self.identity.member,
            revision,
            raft_term: self.raft().gauges().term(),
        }
    }

    /// A lease id that was not used before, and is positive as etcd's are.
    pub(in crate::server) fn lease_id(&self) -> i64 {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed) & u64::try_from(i64::MAX).unwrap_or(0);
        id.cast_signed().max(1)
    }

    /// Sees the revisions that the applier publishes.
    pub(in crate::server) fn revisions(&self) -> watch::Receiver<i64> {
        self.revision.subscribe()
    }

    pub(in crate::server) fn publish(&self, revision: i64) {
        self.revision.send_replace(revision);
    }

    pub(in crate::server) fn persister_wake_up(&self) -> &WakeUp {
        &self.persister
    }

    pub(in crate::server) fn tail_bytes(&self) -> usize {
        *self.tail_bytes.borrow()
    }

    pub(in crate::server) fn set_tail_bytes(&self, bytes: usize) {
        self.tail_bytes.send_replace(bytes);
    }

    /// The store file holds everything up to the end of this snapshot: the log may forget it.
    pub(in crate::server) fn set_archived(&self, snapshot: Snapshot) {
        self.archived.send_replace(snapshot.last.index);
        let alone = snapshot.membership.members().nth(1).is_none();
        let keep = if alone { 0 } else { self.limits.catch_up_entries };
        self.raft().compacted(snapshot, keep);
    }

    /// Consensus and its log.
    pub(in crate::server) fn raft(&self) -> &raft::node::Node<Waiting, Reader> {
        self.raft.get().expect("it is set before the node is shared")
    }

    pub(in crate::server) fn set_raft(&self, raft: raft::node::Node<Waiting, Reader>) {
        let _set_once = self.raft.set(raft);
    }

    pub(in crate::server) fn keep(&self, inbox: Arc<dyn Inbox>) {
        let _set_once = self.inbox.set(inbox);
    }

    pub(in crate::server) fn note_leader(&self, leader: Option<u64>) {
        self.leader.send_replace(leader);
    }

    pub(in crate::server) fn leaders(&self) -> watch::Receiver<Option<u64>> {
        self.leader.subscribe()
    }

    pub(in crate::server) fn note_applied(&self, index: u64) {
        self.applied.send_replace(index);
    }

    pub(in crate::server) fn applied_indexes(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// A state that has arrived takes the place of what was here.
    pub(in crate::server) fn replace_machine(&self, machine: Machine) {
        let (applied, revision) = (machine.applied(), machine.store().revision());
        {
            let mut present = self.machine_mut();
            self.gate.replaced(&present, &machine);
            *present = machine;
            *self.feed() = Feed::new(revision, crate::watch::FEED_BYTES_MAX);
        }
        self.archived.send_replace(applied);
        self.set_tail_bytes(0);
        self.note_applied(applied);
        self.connect_members();
        self.publish(revision);
    }

    /// Whether this member is a learner.
    pub(in crate::server) fn is_learner(&self) -> bool {
        self.learner.load(Ordering::Relaxed)
    }

    /// Keeps streams to the members that there are now.
    pub(in crate::server) fn connect_members(&self) {
        let members = self.machine().members().list();
        let is_learner = |member: &Member| member.id == self.identity.member && member.is_learner;
        self.learner.store(members.iter().any(is_learner), Ordering::Relaxed);
        let peers = members.into_iter().map(|member| (member.id, member.peer_ur_ls));
        self.transport.set_peers(peers);
    }

    /// Waits until the store file holds entry `index`.
    pub(in crate::server) async fn archived(&self, index: u64) {
        self.persister.wake(WakeReason::Requested);
        let mut archived = self.archived.subscribe();
        // An error means that the node is gone, and with it anyone who waits.
        let _gone = archived.wait_for(|archived| *archived >= index).await;
    }

    /// The process cannot go on.
    pub(in crate::server) fn fail(&self, reason: String) {
        tracing::error!(%reason, "fatal error; shutting down");
        self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            failure.get_or_insert(reason);
            first
        });
    }

    pub(in crate::server) fn failures(&self) -> watch::Receiver<Option<String>> {
        self.failure.subscribe()
    }

    /// Why the node cannot serve, if so.
    pub(in crate::server) fn unhealthy(&self) -> Option<String> {
        if let Some(failure) = self.failure.borrow().clone() {
            return Some(failure);
        }
        if self.space.is_full() {
            return Some("no space left on device".to_owned());
        }
        let raft = self.raft();
        if raft.gauges().leader().is_none() && !raft.gauges().is_alone() {
            return Some(Error::NoLeader.to_string());
        }
        raft.failure().map(|failure| failure.to_string())
    }

    /// Whether the log refused the last write for lack of space.
    pub(in crate::server) fn log_is_full(&self) -> bool {
        matches!(self.raft().failure(), Some(LogError::NoSpace(_)))
    }

    pub(in crate::server) fn log_stats(&self) -> raft::log::Stats {
        self.raft().gauges().written()
    }

    pub(in crate::server) fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    /// Ends the applier once it has applied what is durable by now.
    pub(in crate::server) fn stop_applier(&self) {
        // An error means that it has ended already.
        let _ended = self.work.send(Work::Stop);
    }

    /// A request as it goes into the log, once there is room for it.
    async fn entry(&self, caller: Caller, request: Request, only_in_term: u64) -> Result<Entry, Error> {
        let entry = Entry {
            request: Some(request),
            caller: Some(caller).filter(|caller| *caller != Caller::default()),
            only_in_term,
        };
        if entry.encoded_len() > self.limits.request_bytes_max {
            return Err(Error::RequestTooLarge);
        }
        if self.tail_bytes() > TAIL_BYTES_MAX {
            self.wait_for_room(entry.encoded_len()).await?;
        }
        Ok(entry)
    }

    /// Waits until the persister has moved enough out of memory, for as long as a request may take. A client that sends one
    /// request after the other so goes as fast as the disk does.
    async fn wait_for_room(&self, bytes: usize) -> Result<(), Error> {
        if self.space.is_full() {
            return Err(Error::NoSpace);
        }
        let waiting = Counted::enter(&self.waiting_bytes, bytes);
        if waiting.before.saturating_add(bytes) > WAITING_BYTES_MAX {
            return Err(Error::TooManyRequests);
        }
        self.persister.wake(WakeReason::Requested);
        let mut tail = self.tail_bytes.subscribe();
        let room = tail.wait_for(|bytes| *bytes <= TAIL_BYTES_MAX);
        match tokio::time::timeout(self.limits.request_timeout, room).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_ended)) => Err(Error::Stopped),
            Err(_late) if self.space.is_full() => Err(Error::NoSpace),
            Err(_late) => Err(Error::TooManyRequests),
        }
    }

    /// Writes a request to the log on behalf of `caller`, has it committed and applied, and returns its outcome.
    pub(in crate::server) async fn propose(&self, caller: Caller, request: Request) -> Result<Outcome, Error> {
        let _pending = Counted::pending(&self.pending)?;
        let entry = self.entry(caller, request, 0).await?;
        self.propose_entry(entry).await
    }

    /// As [`Node::propose`], of what only the leader of this very term may want.
    pub(in crate::server) async fn propose_as_leader(&self, request: Request) -> Result<Outcome, Error> {
        let _pending = Counted::pending(&self.pending)?;
        let term = self.raft().gauges().term();
        if !self.raft().gauges().is_leader() {
            return Err(Error::NotLeader);
        }
        let entry = self.entry(crate::auth::root(), request, term).await?;
        self.propose_entry(entry).await
    }
}

/// Adds to a count for as long as it lives.
struct Counted<'a> {
    count: &'a AtomicUsize,
    amount: usize,
    /// The count before.
    before: usize,
}

impl<'a> Counted<'a> {
    fn enter(count: &'a AtomicUsize, amount: usize) -> Self {
        let before = count.fetch_add(amount, Ordering::Relaxed);
        Self { count, amount, before }
    }

    /// A request that waits for its entry.
    fn pending(count: &'a AtomicUsize) -> Result<Self, Error> {
        let entered = Self::enter(count, 1);
        if entered.before >= PENDING_MAX {
            Err(Error::TooManyRequests)
        } else {
            Ok(entered)
        }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(self.amount, Ordering::Relaxed);
    }
}
