//! The name node's memory behind one lock, and the one way to change it.
//!
//! # Decide, replicate, execute
//! A call is *decided* under the lock: the block map adds what it knows (the targets of a block, whether a replica is
//! stored), and refusals and calls that change nothing are answered. The rest becomes a [`Command`], which the edit log makes
//! durable, and which is *executed* then, in the order of the log, on the log writer's thread. The execution checks
//! everything again, for other commands came before it; it gives out ids and stamps and makes the answer.
//!
//! So readers never see what is not durable, and a replay of the log gives the same namespace and the same answers.
//!
//! # When the log refuses
//! Then the command is not executed, and further changes are refused until [`NameNode::resume`] has seen the log take a record.

mod checkpoint;
mod health;

use std::collections::{BTreeMap, HashMap};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use disk::Disk;
use prost::Message;
use tokio::sync::{Notify, oneshot};

use super::command::{Command, Followup, Op, SetAccessed};
use super::directory::Asker;
use super::execute::Replicated;
use super::journal::{Journal, JournalError, LostEdits, Recovered};
use super::retry::{CallKey, InFlight, Turn};
use super::settings::Settings;
use super::users::Groups;
use crate::Error;
use crate::block::{self, Blocks, Effect, Event, NodeId};
use crate::namespace::file::Recovery;
use crate::namespace::{Block, InodeId, Namespace};

/// A recovery of a block that data nodes were told to make.
#[derive(Debug, Clone, Copy)]
pub struct PendingRecovery {
    pub file: u64,
    pub new_stamp: u64,
    pub ordered: u64,
}

/// The name node's memory.
#[derive(Debug)]
pub struct State {
    /// What the edit log determines. Only [`State::execute`] changes it.
    pub replicated: Replicated,
    pub soft: Soft,
}

/// Soft state: from the data nodes' reports, and not in the log. A start rebuilds it.
#[derive(Debug)]
pub struct Soft {
    pub blocks: Blocks,
    pub commands: BTreeMap<NodeId, Vec<block::Command>>,
    /// By block.
    pub recoveries: BTreeMap<u64, PendingRecovery>,
    /// The data node by its RPC connection.
    pub data_node_by_connection: HashMap<u64, String>,
    /// Who waits for a replica of a block.
    waiters: HashMap<u64, Arc<Notify>>,
    /// Too little space is left on the disk.
    pub low_on_space: bool,
}

/// A change's answer, as on the wire.
#[derive(Debug)]
pub struct Answered<M> {
    encoded: Bytes,
    message: PhantomData<M>,
}

impl<M: Message + Default> Answered<M> {
    pub fn new(message: &M) -> Self {
        Self::encoded(Bytes::from(message.encode_to_vec()))
    }

    fn encoded(encoded: Bytes) -> Self {
        Self {
            encoded,
            message: PhantomData,
        }
    }

    pub fn into_bytes(self) -> Bytes {
        self.encoded
    }

    pub fn message(&self) -> Result<M, Error> {
        Ok(M::decode(self.encoded.clone())?)
    }
}

/// What is decided about a call before it is proposed.
#[derive(Debug)]
pub enum Decision {
    /// To be executed once it is durable.
    Propose(Box<Op>, Followup),
    /// Nothing has to change.
    Answer(Bytes),
}

impl Decision {
    pub fn propose(op: Op, followup: Followup) -> Self {
        Self::Propose(Box::new(op), followup)
    }
}

impl From<Op> for Decision {
    fn from(op: Op) -> Self {
        Self::propose(op, Followup::None)
    }
}

/// Milliseconds since 1970 by a clock that never goes back.
#[derive(Debug, Clone, Copy)]
struct Clock {
    started: Instant,
    /// The wall clock at the start.
    epoch: u64,
}

impl Clock {
    fn now(self) -> u64 {
        self.epoch + self.started.elapsed().as_millis() as u64
    }
}

/// The name node.
#[derive(Debug)]
pub struct NameNode {
    state: Arc<Mutex<State>>,
    journal: Journal,
    directory: PathBuf,
    pub(super) groups: Groups,
    pub settings: Settings,
    pub pool_id: String,
    pub user: String,
    clock: Clock,
    /// The log refused a command.
    failed: Arc<AtomicBool>,
    /// Held while an image is written: one at a time.
    imaging: Mutex<()>,
    pub(super) in_flight: InFlight,
    /// Data nodes were heard of, time passed, or an operator changed safe mode.
    pub(super) data_nodes_changed: Notify,
    /// When the lock was last free, by [`NameNode::now`].
    lock_free_at: AtomicU64,
    /// What cannot be served, as of then.
    degraded: Mutex<Option<String>>,
    pub operations: AtomicU64,
    seed: AtomicU64,
}

/// Milliseconds since 1970.
pub fn wall_clock() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |passed| passed.as_millis() as u64)
}

/// The name node's memory, held.
///
/// A panic leaves it half changed, so that neither memory nor the next edits can be trusted: the process ends, and its
/// supervisor starts it again from what is on disk.
#[derive(Debug)]
pub struct Locked<'a>(MutexGuard<'a, State>);

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.0
    }
}

fn locked(state: &Mutex<State>) -> Locked<'_> {
    match state.lock() {
        Ok(guard) => Locked(guard),
        // The thread that panicked ends the process; none may look at what it left behind.
        Err(_) => std::process::abort(),
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            host::fail(&"a panic under the namespace lock: the process ends; start it again");
            std::process::abort();
        }
    }
}

impl State {
    fn new(recovered: Recovered, settings: &Settings, now: u64) -> Self {
        let Recovered {
            mut replicated,
            changes,
            ..
        } = recovered;
        replicated.names.renew_all_leases(now);
        let mut blocks = Blocks::new(settings.policy());
        // Nothing is registered yet, so this has no effects.
        let _ = blocks.step(Event::Changed(&changes), now);
        Self {
            replicated,
            soft: Soft {
                blocks,
                commands: BTreeMap::new(),
                recoveries: BTreeMap::new(),
                data_node_by_connection: HashMap::new(),
                waiters: HashMap::new(),
                low_on_space: false,
            },
        }
    }

    /// Executes a durable command, and lets the block map know what came of it.
    fn execute(&mut self, log_index: u64, command: &Command, followup: Followup, now: u64) -> Result<Bytes, Error> {
        let outcome = self.replicated.execute(log_index, command, now);
        let soft = &mut self.soft;
        // Replicas of the former stamp outside of the new pipeline are stale: it has to be known first.
        if let (Followup::Pipeline { block, nodes }, Ok(_)) = (&followup, &outcome.answer) {
            soft.blocks.set_pipeline(*block, nodes.clone());
        }
        if !outcome.changes.is_empty() {
            soft.step(Event::Changed(&outcome.changes), now);
        }
        match (followup, outcome.added, outcome.recovery) {
            (Followup::NewPipeline(nodes), Some(block), _) => soft.blocks.set_pipeline(block, nodes),
            (Followup::Recovery(nodes), _, Some(recovery)) => soft.order_recovery(recovery, nodes, now),
            _ => {}
        }
        outcome.answer
    }
}

impl Soft {
    /// Queues the recovery of a block at the first of `nodes`.
    fn order_recovery(&mut self, recovery: Recovery, nodes: Vec<NodeId>, now: u64) {
        let Recovery::Block {
            file,
            block,
            new_stamp,
            truncating,
        } = recovery
        else {
            return;
        };
        let Some(primary) = nodes.first().copied() else { return };
        let pending = PendingRecovery {
            file,
            new_stamp,
            ordered: now,
        };
        self.recoveries.insert(block.id, pending);
        let command = block::Command::Recover {
            block,
            new_stamp,
            truncating,
            locations: nodes,
        };
        self.commands.entry(primary).or_default().push(command);
    }

    /// Steps the block map and carries out what comes of it.
    pub fn step(&mut self, event: Event, now: u64) {
        let effects = self.blocks.step(event, now);
        self.carry_out(effects);
    }

    pub fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Stored(block) => {
                    if let Some(waiter) = self.waiters.remove(&block) {
                        waiter.notify_waiters();
                    }
                }
                Effect::Command(node, command) => self.commands.entry(node).or_default().push(command),
                Effect::Died(node) => {
                    self.commands.remove(&node);
                    tracing::warn!(node = %self.blocks.node(node).address.uuid, "lost a data node: no heartbeat in time");
                }
                Effect::SafeModeLeft => tracing::info!("left safe mode"),
            }
        }
    }
}

impl NameNode {
    /// Reads what is on disk; formats an empty directory.
    pub fn open(
        disk: Arc<dyn Disk>,
        directory: PathBuf,
        settings: Settings,
        user: String,
        fresh_pool_id: String,
        lost: LostEdits,
    ) -> Result<Self, JournalError> {
        let clock = Clock {
            started: Instant::now(),
            epoch: wall_clock(),
        };
        let now = clock.epoch;
        let fresh = || (Namespace::new(&user, &settings.supergroup, now), fresh_pool_id);
        let (journal, recovered) = Journal::open(disk, &directory, fresh, lost, now)?;
        let pool_id = recovered.replicated.pool_id.clone();
        tracing::info!(
            pool = pool_id,
            inodes = recovered.replicated.names.inode_count(),
            replayed = recovered.replayed,
            "loaded image and edits"
        );
        Ok(Self {
            state: Arc::new(Mutex::new(State::new(recovered, &settings, now))),
            journal,
            directory,
            groups: Groups::default(),
            settings,
            pool_id,
            user,
            clock,
            failed: Arc::default(),
            imaging: Mutex::default(),
            in_flight: InFlight::default(),
            data_nodes_changed: Notify::new(),
            lock_free_at: AtomicU64::new(now),
            degraded: Mutex::default(),
            operations: AtomicU64::new(0),
            seed: AtomicU64::new(now),
        })
    }

    /// Milliseconds since 1970 by a clock that never goes back: what the pure rooms call now.
    pub fn now(&self) -> u64 {
        self.clock.now()
    }

    /// A number for spreading, not for secrets.
    pub fn seed(&self) -> u64 {
        self.seed.fetch_add(1, Ordering::Relaxed)
    }

    pub fn lock(&self) -> Locked<'_> {
        locked(&self.state)
    }

    pub fn is_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    pub fn journal_stats(&self) -> raft::log::Stats {
        self.journal.stats()
    }

    /// Refuses while nothing may be changed.
    fn check_writable(&self, state: &State, what: &str) -> Result<(), Error> {
        if self.is_failed() {
            return Err(Error::SafeMode(format!(
                "Cannot {what}. Name node is in safe mode.\nThe edit log could not be written; free disk space."
            )));
        }
        if state.soft.low_on_space {
            return Err(Error::SafeMode(format!(
                "Cannot {what}. Name node is in safe mode.\nResources are low on NN. Please add or free up more resources."
            )));
        }
        if state.soft.blocks.in_safe_mode() {
            let reason = state.soft.blocks.safe_mode_reason();
            return Err(Error::SafeMode(format!(
                "Cannot {what}. Name node is in safe mode.\n{reason}"
            )));
        }
        Ok(())
    }

    /// Waits until `ready`, at most the time that data nodes take to come back after a restart. Stock clients do not try
    /// again by themselves.
    pub(super) async fn wait_for_data_nodes(&self, ready: impl Fn(&State, u64) -> bool) {
        let deadline = tokio::time::Instant::now() + Duration::from_millis(self.settings.restart_wait_ms);
        loop {
            let mut changed = std::pin::pin!(self.data_nodes_changed.notified());
            changed.as_mut().enable();
            if ready(&self.lock(), self.now()) || tokio::time::timeout_at(deadline, changed).await.is_err() {
                return;
            }
        }
    }

    /// Executes a call once, however often it comes: one that was made before is answered from the retry cache, one that is
    /// under way with the outcome of that. HDFS executes a call that failed again; here those that waited share the failure.
    pub(super) async fn once(
        &self,
        key: Option<&CallKey>,
        execute: impl Future<Output = Result<Bytes, Error>>,
    ) -> Result<Bytes, Error> {
        let Some(key) = key else {
            return execute.await;
        };
        match self.in_flight.begin(*key) {
            Turn::First(execution) => {
                let made = self.lock().replicated.retries.get(key);
                let outcome = match made {
                    Some(answer) => Ok(answer),
                    None => execute.await,
                };
                execution.finish(outcome.clone());
                outcome
            }
            Turn::Repeated(mut first) => match first.wait_for(Option::is_some).await.as_deref() {
                Ok(Some(outcome)) => outcome.clone(),
                _ => Err(Error::Io("the first execution of this call failed".to_owned())),
            },
        }
    }

    /// Makes a change that clients ask for: refused in safe mode.
    pub async fn change<M: Message + Default>(
        &self,
        what: &str,
        asker: &Asker,
        op: impl Into<Decision>,
    ) -> Result<Answered<M>, Error> {
        let decision = op.into();
        self.decide(what, asker, asker.key, |_, _| Ok(decision)).await
    }

    /// The same, where the block map has a say. `key`: `None` for a call whose answer is not kept for retries.
    pub async fn decide<M: Message + Default>(
        &self,
        what: &str,
        asker: &Asker,
        key: Option<CallKey>,
        decide: impl FnOnce(&State, u64) -> Result<Decision, Error>,
    ) -> Result<Answered<M>, Error> {
        self.wait_for_data_nodes(|state, _| !state.soft.blocks.is_starting())
            .await;
        let answer = self
            .propose(asker, key, |state, now| {
                self.check_writable(state, what)?;
                decide(state, now)
            })
            .await?;
        Ok(Answered::encoded(answer))
    }

    /// Decides what a call comes to by what is known, has it logged, and answers once it was executed. Refusals, and what
    /// changes nothing, are answered at once.
    pub async fn propose(
        &self,
        asker: &Asker,
        key: Option<CallKey>,
        decide: impl FnOnce(&State, u64) -> Result<Decision, Error>,
    ) -> Result<Bytes, Error> {
        self.operations.fetch_add(1, Ordering::Relaxed);
        let (command, followup) = {
            let mut state = self.lock();
            let now = self.now();
            let (op, followup) = match decide(&state, now)? {
                Decision::Propose(op, followup) => (op, followup),
                Decision::Answer(answer) => return Ok(answer),
            };
            let command = Command::new(asker, key, wall_clock(), *op);
            if let Some(answer) = state.replicated.probe(&command, now) {
                return answer;
            }
            (command, followup)
        };
        match self.submit(command, followup).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::Io("the edit log was closed".to_owned())),
        }
    }

    /// Queues a command for the log. It is executed when it is durable, in the order of the log.
    fn submit(&self, command: Command, followup: Followup) -> oneshot::Receiver<Result<Bytes, Error>> {
        let (sender, receiver) = oneshot::channel();
        let (state, failed, clock) = (Arc::clone(&self.state), Arc::clone(&self.failed), self.clock);
        let payload = Bytes::from(command.encode_to_vec());
        self.journal.submit(payload, move |written| {
            let outcome = match written {
                Ok(index) => locked(&state).execute(index, &command, followup, clock.now()),
                Err(error) => {
                    failed.store(true, Ordering::SeqCst);
                    tracing::error!(%error, "the edit log rejected a command");
                    Err(Error::Io(format!("the edit log could not be written: {error}")))
                }
            };
            let _ = sender.send(outcome);
        });
        receiver
    }

    /// Records an access in the edit log, and waits for nothing: the reader does not, and a lost access time is no loss.
    pub(super) fn note_access(&self, file: InodeId, time: u64) {
        if self.check_writable(&self.lock(), "record an access").is_ok() {
            let op = Op::SetAccessed(SetAccessed { file, time });
            drop(self.submit(Command::new(&self.own_asker(), None, time, op), Followup::None));
        }
    }

    /// Waits until a replica of `block` is reported, at most the time that is set for it. False if none was.
    pub async fn wait_stored(&self, block: Block) -> bool {
        let deadline = tokio::time::Instant::now() + Duration::from_millis(self.settings.report_wait_ms);
        loop {
            let mut reported = {
                let mut state = self.lock();
                if state.soft.blocks.is_stored(block) {
                    return true;
                }
                if state.soft.blocks.get(block.id).is_none() {
                    return false;
                }
                // Under the lock, so that no report comes between the look and the registration.
                let mut reported =
                    Box::pin(Arc::clone(state.soft.waiters.entry(block.id).or_default()).notified_owned());
                reported.as_mut().enable();
                reported
            };
            if tokio::time::timeout_at(deadline, reported.as_mut()).await.is_err() {
                let mut state = self.lock();
                state.soft.waiters.remove(&block.id);
                return state.soft.blocks.is_stored(block);
            }
        }
    }

    pub fn data_directory(&self) -> &std::path::Path {
        &self.directory
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
