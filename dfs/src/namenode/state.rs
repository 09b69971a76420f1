//! The name node's memory behind one lock, and the one way to change it.
//!
//! A change is made under the lock, its edits are queued for the log under the same lock, so that the log has them in the
//! order in which they happened, and the answer waits, without the lock, until they are durable.
//!
//! # When the log refuses
//! Then memory holds what the log does not. Nothing is acknowledged any more: neither what was refused nor what came after
//! it, for the log's answers come in order. [`NameNode::reload`] builds memory anew from the disk once it takes writes again.

mod health;

use std::collections::{BTreeMap, HashMap};
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use disk::Disk;
use prost::Message;
use tokio::sync::{Notify, oneshot, watch};

use super::journal::{Journal, JournalError, LostEdits, Recovered};
use super::retry::{CallKey, InFlight, RetryCache, Turn};
use super::settings::Settings;
use crate::Error;
use crate::block::{Blocks, Command, Effect, Event, NodeId};
use crate::namespace::edit::{EditBox, Transaction};
use crate::namespace::{Block, InodeId, Namespace};

/// How an image waits for a moment when all changes are durable.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(10);
const SETTLE_INTERVAL: Duration = Duration::from_micros(200);
const SETTLE_ATTEMPTS: u32 = 100;

/// A recovery of a block that data nodes were told to make.
#[derive(Debug, Clone, Copy)]
pub struct PendingRecovery {
    pub file: u64,
    pub new_stamp: u64,
    pub ordered: u64,
}

/// All that a call may look at and change.
#[derive(Debug)]
pub struct State {
    pub names: Namespace,
    pub blocks: Blocks,
    pub retries: RetryCache,
    pub commands: BTreeMap<NodeId, Vec<Command>>,
    /// By block.
    pub recoveries: BTreeMap<u64, PendingRecovery>,
    /// The data node by its RPC connection.
    pub data_node_by_connection: HashMap<u64, String>,
    /// Who waits for a replica of a block.
    waiters: HashMap<u64, Arc<Notify>>,
    /// The last transaction.
    transaction: u64,
    /// Too little space is left on the disk.
    pub low_on_space: bool,
}

/// A change's answer, and its encoding where the edit log has one.
#[derive(Debug)]
pub struct Answered<M> {
    message: M,
    encoded: Option<Bytes>,
}

impl<M> Answered<M> {
    pub fn new(message: M) -> Self {
        Self { message, encoded: None }
    }
}

impl<M: Message> Answered<M> {
    /// As on the wire.
    pub fn into_bytes(self) -> Bytes {
        self.encoded
            .unwrap_or_else(|| Bytes::from(self.message.encode_to_vec()))
    }
}

impl<M> Deref for Answered<M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.message
    }
}

/// The name node.
#[derive(Debug)]
pub struct NameNode {
    state: Mutex<State>,
    /// `None` only after a reload failed.
    journal: RwLock<Option<Journal>>,
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    pub settings: Settings,
    pub pool_id: String,
    pub user: String,
    started: Instant,
    /// The wall clock at the start.
    epoch: u64,
    /// The log refused something: memory is ahead of it.
    failed: Arc<AtomicBool>,
    durable: watch::Sender<u64>,
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
            mut namespace,
            retries,
            transaction,
            ..
        } = recovered;
        namespace.renew_all_leases(now);
        let mut blocks = Blocks::new(settings.policy());
        // Nothing is registered yet, so this has no effects.
        let _ = blocks.step(Event::Changed(&namespace.take_changes()), now);
        Self {
            names: namespace,
            blocks,
            retries,
            commands: BTreeMap::new(),
            recoveries: BTreeMap::new(),
            data_node_by_connection: HashMap::new(),
            waiters: HashMap::new(),
            transaction,
            low_on_space: false,
        }
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
        let now = wall_clock();
        let started = Instant::now();
        let fresh = || (Namespace::new(&user, &settings.supergroup, now), fresh_pool_id);
        let (journal, recovered) = Journal::open(Arc::clone(&disk), &directory, fresh, lost, now)?;
        let pool_id = recovered.pool_id.clone();
        tracing::info!(
            pool = pool_id,
            inodes = recovered.namespace.inode_count(),
            replayed = recovered.replayed,
            "loaded image and edits"
        );
        let state = State::new(recovered, &settings, now);
        let durable = watch::Sender::new(state.transaction);
        Ok(Self {
            state: Mutex::new(state),
            journal: RwLock::new(Some(journal)),
            disk,
            directory,
            settings,
            pool_id,
            user,
            started,
            epoch: now,
            failed: Arc::default(),
            durable,
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
        self.epoch + self.started.elapsed().as_millis() as u64
    }

    /// A number for spreading, not for secrets.
    pub fn seed(&self) -> u64 {
        self.seed.fetch_add(1, Ordering::Relaxed)
    }

    pub fn lock(&self) -> Locked<'_> {
        match self.state.lock() {
            Ok(guard) => Locked(guard),
            // The thread that panicked ends the process; none may look at what it left behind.
            Err(_) => std::process::abort(),
        }
    }

    fn journal(&self) -> RwLockReadGuard<'_, Option<Journal>> {
        self.journal.read().expect("no holder of the journal's lock panics")
    }

    pub fn is_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    pub fn journal_stats(&self) -> raft::log::Stats {
        self.journal().as_ref().map(Journal::stats).unwrap_or_default()
    }

    /// Refuses while nothing may be changed.
    fn check_writable(&self, state: &State, what: &str) -> Result<(), Error> {
        if self.is_failed() {
            return Err(Error::SafeMode(format!(
                "Cannot {what}. Name node is in safe mode.\nThe edit log could not be written; free disk space."
            )));
        }
        if state.low_on_space {
            return Err(Error::SafeMode(format!(
                "Cannot {what}. Name node is in safe mode.\nResources are low on NN. Please add or free up more resources."
            )));
        }
        if state.blocks.in_safe_mode() {
            let reason = state.blocks.safe_mode_reason();
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
                let made = self.lock().retries.get(key);
                let outcome = match made {
                    Some(answer) => self.all_durable().await.map(|()| answer),
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
        key: Option<CallKey>,
        make: impl FnOnce(&mut State, u64) -> Result<M, Error>,
    ) -> Result<Answered<M>, Error> {
        self.wait_for_data_nodes(|state, _| !state.blocks.is_starting()).await;
        self.commit(key, |state, now| {
            self.check_writable(state, what)?;
            make(state, now)
        })
        .await
    }

    /// Makes a change and waits until it is durable.
    pub async fn commit<M: Message + Default>(
        &self,
        key: Option<CallKey>,
        make: impl FnOnce(&mut State, u64) -> Result<M, Error>,
    ) -> Result<Answered<M>, Error> {
        let (outcome, durable) = {
            let mut state = self.lock();
            let now = self.now();
            let outcome = make(&mut state, now).map(Answered::new);
            let response = outcome.as_ref().ok().filter(|_| key.is_some());
            let encoded = response.map(|answer| Bytes::from(answer.message.encode_to_vec()));
            let durable = self.submit(&mut state, key, encoded.clone(), now);
            let outcome = outcome.map(|answer| Answered { encoded, ..answer });
            (outcome, durable)
        };
        self.operations.fetch_add(1, Ordering::Relaxed);
        if let Some(durable) = durable {
            match durable.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(Error::Io("the edit log was closed".to_owned())),
            }
        }
        outcome
    }

    /// Queues the edits that were made under the lock, and tells the block map. Even a change that failed half-way may have
    /// made some: memory and log must agree.
    fn submit(
        &self,
        state: &mut State,
        key: Option<CallKey>,
        response: Option<Bytes>,
        now: u64,
    ) -> Option<oneshot::Receiver<Result<(), Error>>> {
        let changes = state.names.take_changes();
        if !changes.is_empty() {
            state.step(Event::Changed(&changes), now);
        }
        let edits = state.names.take_edits();
        if edits.is_empty() {
            return None;
        }
        state.transaction += 1;
        let number = state.transaction;
        let mut transaction = Transaction {
            number,
            time: wall_clock(),
            edits: edits.into_iter().map(|edit| EditBox { edit: Some(edit) }).collect(),
            ..Default::default()
        };
        if let (Some(key), Some(response)) = (key, response) {
            transaction.client_id = key.client_id.to_vec();
            transaction.call_id = key.call_id;
            transaction.response = response;
            state
                .retries
                .insert(&key.client_id, key.call_id, &transaction.response, now);
        }
        let (sender, receiver) = oneshot::channel();
        let (failed, durable) = (Arc::clone(&self.failed), self.durable.clone());
        let journal = self.journal();
        let Some(journal) = journal.as_ref() else {
            let _ = sender.send(Err(Error::Io("the edit log is closed".to_owned())));
            return Some(receiver);
        };
        journal.submit(&transaction, move |outcome| {
            let outcome = match outcome {
                Ok(_) if failed.load(Ordering::SeqCst) => {
                    Err(Error::Io("an edit before this one could not be written".to_owned()))
                }
                Ok(_) => {
                    durable.send_replace(number);
                    Ok(())
                }
                Err(error) => {
                    failed.store(true, Ordering::SeqCst);
                    durable.send_modify(|_| {});
                    tracing::error!(%error, "the edit log rejected a transaction");
                    Err(Error::Io(format!("the edit log could not be written: {error}")))
                }
            };
            let _ = sender.send(outcome);
        });
        Some(receiver)
    }

    /// Records an access in the edit log, and waits for nothing: the reader does not, and a lost access time is no loss.
    pub(super) fn note_access(&self, state: &mut State, file: InodeId, time: u64) {
        let now = self.now();
        if self.check_writable(state, "record an access").is_ok() && state.names.set_accessed(now, file, time).is_ok() {
            drop(self.submit(state, None, None, now));
        }
    }

    /// Waits until all that was changed so far is durable.
    async fn all_durable(&self) -> Result<(), Error> {
        let number = self.lock().transaction;
        let mut durable = self.durable.subscribe();
        let done = durable.wait_for(|durable| *durable >= number || self.is_failed()).await;
        match done {
            Ok(_) if !self.is_failed() => Ok(()),
            _ => Err(Error::Io("the edit log could not be written".to_owned())),
        }
    }

    /// Waits until a replica of `block` is reported, at most the time that is set for it. False if none was.
    pub async fn wait_stored(&self, block: Block) -> bool {
        let deadline = tokio::time::Instant::now() + Duration::from_millis(self.settings.report_wait_ms);
        loop {
            let mut reported = {
                let mut state = self.lock();
                if state.blocks.is_stored(block) {
                    return true;
                }
                if state.blocks.get(block.id).is_none() {
                    return false;
                }
                // Under the lock, so that no report comes between the look and the registration.
                let mut reported = Box::pin(Arc::clone(state.waiters.entry(block.id).or_default()).notified_owned());
                reported.as_mut().enable();
                reported
            };
            if tokio::time::timeout_at(deadline, reported.as_mut()).await.is_err() {
                let mut state = self.lock();
                state.waiters.remove(&block.id);
                return state.blocks.is_stored(block);
            }
        }
    }

    /// The lock at a moment when all that was changed is durable. Blocks.
    fn settled(&self) -> Result<Locked<'_>, Error> {
        let give_up = Instant::now() + SETTLE_TIMEOUT;
        for attempt in 0.. {
            let state = self.lock();
            // Under steady changes there is no such moment: then the lock is kept for the length of one sync.
            let keep = attempt >= SETTLE_ATTEMPTS;
            while *self.durable.borrow() < state.transaction {
                if self.is_failed() || Instant::now() > give_up {
                    return Err(Error::Io("the edit log could not be written".to_owned()));
                }
                if !keep {
                    break;
                }
                std::thread::sleep(SETTLE_INTERVAL);
            }
            if *self.durable.borrow() >= state.transaction {
                return Ok(state);
            }
            drop(state);
            std::thread::sleep(SETTLE_INTERVAL);
        }
        Err(Error::Io("the edit log could not be written".to_owned()))
    }

    /// Writes an image of the present state and cuts the log. Blocks.
    pub fn checkpoint(&self) -> Result<(), Error> {
        if self.is_failed() {
            return Err(Error::Io("the edit log could not be written".to_owned()));
        }
        // The image must end with a record of the log.
        let (image, index) = {
            let state = self.settled()?;
            let index = self.journal().as_ref().map_or(0, Journal::durable_index);
            let header = crate::namespace::image::Header {
                transaction: state.transaction,
                log_index: index,
                pool_id: self.pool_id.clone(),
                ..Default::default()
            };
            (state.names.to_image(header), index)
        };
        match self.journal().as_ref() {
            Some(journal) => journal.checkpoint(&image, index)?,
            None => return Err(Error::Io("the edit log is closed".to_owned())),
        }
        tracing::info!(bytes = image.len(), log_index = index, "saved the namespace image");
        Ok(())
    }

    /// After the log refused something: builds memory anew from what is on disk. Data nodes register again. Blocks.
    pub fn reload(&self) -> Result<(), JournalError> {
        let mut state = self.lock();
        let mut journal = self.journal.write().expect("no holder of the journal's lock panics");
        if let Some(error @ raft::log::LogError::Stopped(_)) = journal.as_ref().and_then(Journal::failure) {
            return Err(error.into());
        }
        let fresh = || (Namespace::new("", "", 0), self.pool_id.clone());
        // Ends the former writer; nothing is queued meanwhile, for the name node's lock is held.
        drop(journal.take());
        let (disk, now) = (Arc::clone(&self.disk), self.now());
        let (opened, recovered) = Journal::open(disk, &self.directory, fresh, LostEdits::Refuse, now)?;
        *state = State::new(recovered, &self.settings, self.now());
        self.durable.send_replace(state.transaction);
        *journal = Some(opened);
        self.failed.store(false, Ordering::SeqCst);
        tracing::warn!("the edit log is writable again: reloaded image and edits");
        Ok(())
    }

    pub fn data_directory(&self) -> &std::path::Path {
        &self.directory
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
