//! The group coordinator: the pure core with a clock, waiting callers, and its log, the topic `__consumer_offsets`.
//!
//! What has to survive is a record of that topic, in Kafka's format: committed offsets, and the generations of groups. It
//! takes effect when it is durable ([`writer`]). At a start the topic is read ([`topic`]), so the members of groups are
//! where they were.

mod migration;
#[cfg(test)]
mod tests;
mod timers;
mod topic;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, mpsc};
use std::thread::JoinHandle;

use disk::Disk;
use log_broker_wire::ErrorCode;
use log_broker_wire::internal::consumer_offsets::Entry;
use log_broker_wire::record::ProducerStamp;
use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

use super::broker::Broker;
use super::now_ms;
use super::partition::lock;
use crate::group::{
    Committed, DescribedGroup, Effect, Groups, Identity, Join, Joined, Offsets, Settings, Store, Sync, Synced, Ticket,
    group_tombstone, tombstone,
};
use crate::property::BrokerProperties;
use writer::{Content, Work};

pub(super) use timers::timers;

/// Topic, partition, offset.
pub(super) type Offset = (String, i32, Committed);

#[derive(Debug)]
pub(super) struct Coordinator {
    core: Arc<Mutex<Core>>,
    /// Held over a step and the queueing of what it stores, so that what is stored is in the order of the steps.
    steps: Mutex<()>,
    offsets: Arc<Mutex<Offsets>>,
    /// Partitions of the topic that could not be read.
    failed: OnceLock<BTreeSet<i32>>,
    /// `None` before the start and once closed.
    queue: RwLock<Option<mpsc::Sender<Work>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// Told when the next deadline may have changed.
    changed: Arc<Notify>,
    pub(super) metadata_bytes_max: usize,
}

#[derive(Debug)]
struct Core {
    groups: Groups,
    next_ticket: Ticket,
    joining: BTreeMap<Ticket, oneshot::Sender<Joined>>,
    syncing: BTreeMap<Ticket, oneshot::Sender<Synced>>,
}

impl Core {
    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        self.next_ticket
    }

    /// Answers the callers, and returns what is to be stored. A caller may have gone; its member's session will expire.
    fn deliver(&mut self, effects: Vec<Effect>) -> Vec<Store> {
        let mut stores = Vec::new();
        for effect in effects {
            match effect {
                Effect::Store(store) => stores.push(*store),
                Effect::Joined(ticket, joined) => {
                    if let Some(waiter) = self.joining.remove(&ticket) {
                        let _ = waiter.send(joined);
                    }
                }
                Effect::Synced(ticket, synced) => {
                    if let Some(waiter) = self.syncing.remove(&ticket) {
                        let _ = waiter.send(synced);
                    }
                }
            }
        }
        stores
    }
}

impl Coordinator {
    pub(super) fn new(properties: &BrokerProperties) -> Self {
        let settings = Settings {
            initial_rebalance_delay_ms: properties.number("group.initial.rebalance.delay.ms"),
            session_timeout_ms_min: properties.number("group.min.session.timeout.ms") as i32,
            session_timeout_ms_max: properties.number("group.max.session.timeout.ms") as i32,
            members_max: usize::try_from(properties.number("group.max.size")).unwrap_or(usize::MAX),
        };
        Self {
            core: Arc::new(Mutex::new(Core {
                groups: Groups::new(settings),
                next_ticket: 0,
                joining: BTreeMap::new(),
                syncing: BTreeMap::new(),
            })),
            steps: Mutex::new(()),
            offsets: Arc::default(),
            failed: OnceLock::new(),
            queue: RwLock::new(None),
            writer: Mutex::new(None),
            changed: Arc::new(Notify::new()),
            metadata_bytes_max: usize::try_from(properties.number("offset.metadata.max.bytes")).unwrap_or(0),
        }
    }

    /// Reads the topic, takes over what is in the older format, and starts the writer. Blocks on the disk.
    ///
    /// # Errors
    /// When the older format cannot be read or written to the topic, or there is no thread for the writer.
    pub(super) fn start(&self, broker: &Arc<Broker>, disk: &Arc<dyn Disk>, data: &Path) -> Result<(), String> {
        if let Some(older) = migration::read(disk, data, now_ms())? {
            let failure = Arc::new(Mutex::new(None));
            let groups = older.len();
            let work = older.into_iter().map(|(group, entries)| {
                let failure = Arc::clone(&failure);
                Work {
                    content: Content::Entries(group, entries),
                    done: Box::new(move |outcome| {
                        if let Err(code) = outcome {
                            *lock(&failure) = Some(code);
                        }
                    }),
                }
            });
            let work = work.collect();
            // On a thread of its own: it waits, which the runtime's threads must not.
            std::thread::scope(|scope| scope.spawn(|| writer::store(broker, &Mutex::default(), work)).join())
                .map_err(|_| format!("writing to {} failed", topic::NAME))?;
            if let Some(code) = *lock(&failure) {
                return Err(format!(
                    "the committed offsets cannot be written to {}: {code}",
                    topic::NAME
                ));
            }
            broker
                .topics
                .put_aside_for_removal(migration::DIR)
                .map_err(|error| format!("cannot remove {}: {error}", data.join(migration::DIR).display()))?;
            tracing::info!(groups, "the committed offsets are in the topic {} now", topic::NAME);
        }
        let loaded = topic::load(broker);
        lock(&self.core).groups.restore_all(loaded.groups, now_ms());
        *lock(&self.offsets) = loaded.offsets;
        let _first = self.failed.set(loaded.failed);
        let (sender, receiver) = mpsc::channel();
        let (weak, offsets) = (Arc::downgrade(broker), Arc::clone(&self.offsets));
        let thread = std::thread::Builder::new().name("group-writer".to_owned());
        let thread = thread
            .spawn(move || writer::run(&receiver, &weak, &offsets))
            .map_err(|error| error.to_string())?;
        *lock(&self.writer) = Some(thread);
        *self.queue.write().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        Ok(())
    }

    /// Whether the state of a group is known: its partition of the topic can be used.
    pub(super) fn check(&self, broker: &Broker, group: &str) -> Result<(), ErrorCode> {
        let Some(topic) = broker.topics.get(topic::NAME) else {
            return Ok(());
        };
        let index = topic::partition_of(group, topic.partitions.len() as i32);
        let failed = self.failed.get().is_some_and(|failed| failed.contains(&index));
        let partition = usize::try_from(index)
            .ok()
            .and_then(|place| topic.partitions.get(place));
        if failed || partition.is_none_or(|partition| partition.failure().is_some()) {
            return Err(ErrorCode::COORDINATOR_NOT_AVAILABLE);
        }
        Ok(())
    }

    /// The partition of the topic that has a group's records; the topic is created where it is not there.
    pub(super) async fn log_partition(&self, broker: &Arc<Broker>, group: &str) -> Result<i32, ErrorCode> {
        let broker = Arc::clone(broker);
        let counted = tokio::task::spawn_blocking(move || topic::partition_count(&broker)).await;
        match counted {
            Ok(Ok(partitions)) => Ok(topic::partition_of(group, partitions)),
            _ => Err(ErrorCode::COORDINATOR_NOT_AVAILABLE),
        }
    }

    /// Does something with the groups, answers those whom it concerns, and stores what is to be stored.
    fn step<T>(&self, step: impl FnOnce(&mut Core) -> (T, Vec<Effect>)) -> T {
        let _steps = lock(&self.steps);
        let (outcome, stores) = {
            let mut core = lock(&self.core);
            let (outcome, effects) = step(&mut core);
            (outcome, core.deliver(effects))
        };
        for store in stores {
            self.store(store);
        }
        outcome
    }

    /// Queues a generation; its members are answered when it is durable.
    fn store(&self, store: Store) {
        let Store {
            group,
            generation,
            entry,
            then,
        } = store;
        let (core, changed) = (Arc::clone(&self.core), Arc::clone(&self.changed));
        let content = Content::Entries(group.clone(), vec![entry]);
        self.submit(content, move |outcome| {
            if let Err(code) = outcome {
                tracing::warn!(group, %code, "the members of a group could not be stored");
            }
            let mut core = lock(&core);
            let mut effects = then;
            effects.extend(core.groups.stored(&group, generation, outcome.is_ok(), now_ms()));
            core.deliver(effects);
            drop(core);
            changed.notify_one();
        });
    }

    /// Queues something for the writer; `done` is called on its thread, or at once where the coordinator is closed.
    fn submit(&self, content: Content, done: impl FnOnce(Result<(), ErrorCode>) + Send + 'static) {
        let work = Work {
            content,
            done: Box::new(done),
        };
        let queue = self.queue.read().unwrap_or_else(PoisonError::into_inner);
        let refused = match queue.as_ref() {
            None => Some(work),
            Some(queue) => queue.send(work).err().map(|mpsc::SendError(work)| work),
        };
        drop(queue);
        if let Some(work) = refused {
            (work.done)(Err(ErrorCode::NOT_COORDINATOR));
        }
    }

    /// Makes something durable and visible.
    async fn write(&self, content: Content) -> Result<(), ErrorCode> {
        let (sender, receiver) = oneshot::channel();
        self.submit(content, |outcome| {
            let _ = sender.send(outcome);
        });
        receiver.await.unwrap_or(Err(ErrorCode::NOT_COORDINATOR))
    }

    pub(super) async fn join(&self, join: Join) -> Joined {
        let receiver = self.step(|core| {
            let (sender, receiver) = oneshot::channel();
            let ticket = core.ticket();
            core.joining.insert(ticket, sender);
            let name = join.instance_id.as_deref().unwrap_or(&join.client_id);
            let fresh_id = format!("{name}-{}", Uuid::new_v4());
            let effects = core.groups.join(ticket, join, fresh_id, now_ms());
            (receiver, effects)
        });
        self.changed.notify_one();
        receiver
            .await
            .unwrap_or_else(|_| Joined::refused(ErrorCode::NOT_COORDINATOR, String::new()))
    }

    pub(super) async fn sync(&self, sync: Sync) -> Synced {
        let receiver = self.step(|core| {
            let (sender, receiver) = oneshot::channel();
            let ticket = core.ticket();
            core.syncing.insert(ticket, sender);
            let effects = core.groups.sync(ticket, sync, now_ms());
            (receiver, effects)
        });
        self.changed.notify_one();
        receiver
            .await
            .unwrap_or_else(|_| Synced::refused(ErrorCode::NOT_COORDINATOR))
    }

    pub(super) fn heartbeat(&self, group: &str, member: &Identity) -> ErrorCode {
        lock(&self.core).groups.heartbeat(group, member, now_ms())
    }

    pub(super) fn leave(&self, group: &str, member_id: &str, instance_id: Option<&str>) -> ErrorCode {
        let left = self.step(|core| core.groups.leave(group, member_id, instance_id, now_ms()));
        self.changed.notify_one();
        left
    }

    pub(super) fn may_commit(&self, group: &str, member: &Identity, is_transactional: bool) -> ErrorCode {
        let mut core = lock(&self.core);
        core.groups.may_commit(group, member, is_transactional, now_ms())
    }

    pub(super) fn describe(&self, group: &str) -> Option<DescribedGroup> {
        lock(&self.core).groups.describe(group)
    }

    /// Groups that have or had members, and those that only have offsets.
    pub(super) fn list(&self) -> Vec<(String, String, &'static str)> {
        let mut groups = lock(&self.core).groups.list();
        let named: BTreeSet<String> = groups.iter().map(|(name, ..)| name.clone()).collect();
        let offsets = lock(&self.offsets);
        let others = offsets.groups().filter(|group| !named.contains(*group));
        groups.extend(others.map(|group| (group.to_owned(), String::new(), "Empty")));
        groups.sort();
        groups
    }

    pub(super) fn may_delete_offsets(&self, group: &str, topic: &str) -> ErrorCode {
        lock(&self.core).groups.may_delete_offsets(group, topic)
    }

    pub(super) fn has_members(&self, group: &str) -> bool {
        lock(&self.core).groups.has_members(group)
    }

    pub(super) fn member_count(&self) -> usize {
        lock(&self.core).groups.member_count()
    }

    /// Whether there is such a group: one that has or had members, or that has offsets.
    pub(super) fn contains(&self, group: &str) -> bool {
        lock(&self.core).groups.contains(group) || self.has_offsets(group)
    }

    pub(super) fn has_offsets(&self, group: &str) -> bool {
        lock(&self.offsets).contains(group)
    }

    pub(super) fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<Committed> {
        lock(&self.offsets).get(group, topic, partition).cloned()
    }

    pub(super) fn all_committed(&self, group: &str) -> Vec<Offset> {
        let offsets = lock(&self.offsets);
        let all = offsets.of_group(group);
        all.map(|(topic, partition, at)| (topic.to_owned(), partition, at.clone()))
            .collect()
    }

    /// Whether a transaction that is not decided yet may change a committed offset.
    pub(super) fn is_unstable(&self, group: &str, topic: &str, partition: i32) -> bool {
        lock(&self.offsets).is_unstable(group, topic, partition)
    }

    /// Commits offsets: durable, then visible.
    pub(super) async fn commit(&self, group: &str, offsets: Vec<Offset>) -> Result<(), ErrorCode> {
        let entries = entries(group, offsets);
        self.write(Content::Entries(group.to_owned(), entries)).await
    }

    /// Commits offsets in a producer's transaction: they count when [`Coordinator::end_transaction`] says that its marker
    /// has committed them. The caller has asked [`Coordinator::may_commit`].
    pub(super) async fn commit_transactional(
        &self,
        group: &str,
        producer_id: i64,
        producer_epoch: i16,
        offsets: Vec<Offset>,
    ) -> Result<(), ErrorCode> {
        let entries = entries(group, offsets);
        let stamp = ProducerStamp {
            producer_id,
            producer_epoch,
            base_sequence: -1,
        };
        self.write(Content::Transactional(group.to_owned(), stamp, entries))
            .await
    }

    /// Takes note that a producer's marker is durable in a partition of the topic.
    pub(super) async fn end_transaction(
        &self,
        partition: i32,
        producer_id: i64,
        is_commit: bool,
    ) -> Result<(), ErrorCode> {
        self.write(Content::EndTransaction {
            partition,
            producer_id,
            is_commit,
        })
        .await
    }

    /// Deletes single offsets of a group.
    pub(super) async fn delete_offsets(&self, group: &str, doomed: Vec<(String, i32)>) -> Result<(), ErrorCode> {
        let entries = doomed
            .iter()
            .map(|(topic, partition)| tombstone(group, topic, *partition));
        self.write(Content::Entries(group.to_owned(), entries.collect())).await
    }

    /// Deletes all committed offsets of a topic that was deleted.
    pub(super) async fn forget_topic(&self, topic: &str) -> Result<(), ErrorCode> {
        let groups = lock(&self.offsets).groups_of_topic(topic);
        for group in groups {
            let (doomed, of) = (topic.to_owned(), group.clone());
            let derive = move |offsets: &Offsets| offsets.tombstones(&of, Some(&doomed));
            self.write(Content::Derived(group, Box::new(derive))).await?;
        }
        Ok(())
    }

    /// Deletes a group without members, with all its offsets.
    pub(super) async fn delete_group(&self, group: &str) -> Result<(), ErrorCode> {
        if self.has_members(group) {
            return Err(ErrorCode::NON_EMPTY_GROUP);
        }
        if !self.contains(group) {
            return Err(ErrorCode::GROUP_ID_NOT_FOUND);
        }
        let of = group.to_owned();
        let derive = move |offsets: &Offsets| {
            let mut entries = offsets.tombstones(&of, None);
            entries.push(group_tombstone(&of));
            entries
        };
        // Forgotten and queued in one step: the records of a member that joins now come behind.
        let (sender, receiver) = oneshot::channel();
        {
            let _steps = lock(&self.steps);
            if !lock(&self.core).groups.forget(group) && self.has_members(group) {
                return Err(ErrorCode::NON_EMPTY_GROUP);
            }
            self.submit(Content::Derived(group.to_owned(), Box::new(derive)), |outcome| {
                let _ = sender.send(outcome);
            });
        }
        receiver.await.unwrap_or(Err(ErrorCode::NOT_COORDINATOR))
    }

    /// Ends the writer after what is queued.
    pub(super) fn close(&self) {
        drop(self.queue.write().unwrap_or_else(PoisonError::into_inner).take());
        let writer = lock(&self.writer).take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the writer of the committed offsets has failed");
        }
    }
}

fn entries(group: &str, offsets: Vec<Offset>) -> Vec<Entry> {
    let entries = offsets
        .iter()
        .map(|(topic, partition, committed)| committed.entry(group, topic, *partition));
    entries.collect()
}
