//! The group coordinator: the pure core with a clock, waiting callers, and its data on disk.
//!
//! Committed offsets and the generations of groups are written to a write-ahead log before they are acknowledged, all that
//! wait in one fdatasync, and are folded into an image (`offsets.json`) now and then, after which the log is purged. After a
//! restart the members of groups are where they were.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use disk::Disk;
use host::Shutdown;
use log_broker_wire::ErrorCode;
use raft::log::{GroupCommit, Log, LogError, Options};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

use super::broker::Broker;
use super::now_ms;
use super::partition::lock;
use crate::group::{
    Change, Committed, DescribedGroup, Effect, Groups, Identity, Join, Joined, Offsets, Settings, Store, StoredGroup,
    Sync, Synced, Ticket,
};
use crate::log::{read_optional, replace};
use crate::property::BrokerProperties;

const DIR: &str = "__consumer_offsets";
const IMAGE: &str = "offsets.json";

/// Bytes of a segment of the write-ahead log; what an image holds is purged by the segment.
const SEGMENT_BYTES: u64 = 4 << 20;

/// Changes after which a new image is written.
const CHANGES_PER_IMAGE: u64 = 20_000;

/// Kind of a record that is a [`Change`].
const CHANGE: u8 = 1;

/// The longest that the timers sleep.
const TICK_MAX: Duration = Duration::from_secs(5);
/// The shortest that the timers sleep: members that are heard again and again move their deadlines all the time.
const TICK_MIN: Duration = Duration::from_millis(10);

/// What was committed, up to and with the record of this index.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
struct Image {
    index: u64,
    offsets: Offsets,
    #[serde(default)]
    groups: BTreeMap<String, StoredGroup>,
}

impl Image {
    fn apply(&mut self, index: u64, change: Change) {
        self.index = index;
        match change {
            Change::Members { group, stored } => {
                match stored {
                    Some(stored) => self.groups.insert(group, stored),
                    None => self.groups.remove(&group),
                };
            }
            change => self.offsets.apply(change),
        }
    }
}

#[derive(Debug)]
pub(super) struct Coordinator {
    core: Arc<Mutex<Core>>,
    /// Held over a step and the queueing of what it stores, so that what is stored is in the order of the steps.
    steps: Mutex<()>,
    offsets: Arc<Mutex<Image>>,
    /// `None` once closed.
    writer: RwLock<Option<GroupCommit>>,
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    imaged: Mutex<u64>,
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
    pub(super) fn open(disk: Arc<dyn Disk>, data: &Path, properties: &BrokerProperties) -> Result<Self, String> {
        let dir = data.join(DIR);
        disk.create_dir_all(&dir).map_err(|error| error.to_string())?;
        let image = read_optional(&*disk, &dir, IMAGE).map_err(|error| error.to_string())?;
        let mut image: Image = match image {
            None => Image::default(),
            Some(contents) => serde_json::from_slice(&contents)
                .map_err(|error| format!("{} is damaged ({error}); restore it", dir.join(IMAGE).display()))?,
        };
        let options = Options {
            first_index: image.index + 1,
            segment_bytes: SEGMENT_BYTES,
        };
        let (log, _) = Log::open(Arc::clone(&disk), dir.join("log"), options).map_err(|error| error.to_string())?;
        replay(&log, &mut image).map_err(|error| error.to_string())?;
        let writer = GroupCommit::start(log).map_err(|error| error.to_string())?;
        let settings = Settings {
            initial_rebalance_delay_ms: properties.number("group.initial.rebalance.delay.ms"),
            session_timeout_ms_min: properties.number("group.min.session.timeout.ms") as i32,
            session_timeout_ms_max: properties.number("group.max.session.timeout.ms") as i32,
            members_max: usize::try_from(properties.number("group.max.size")).unwrap_or(usize::MAX),
        };
        let mut groups = Groups::new(settings);
        for (name, stored) in &image.groups {
            groups.restore(name, stored.clone(), now_ms());
        }
        Ok(Self {
            core: Arc::new(Mutex::new(Core {
                groups,
                next_ticket: 0,
                joining: BTreeMap::new(),
                syncing: BTreeMap::new(),
            })),
            steps: Mutex::new(()),
            imaged: Mutex::new(image.index),
            offsets: Arc::new(Mutex::new(image)),
            writer: RwLock::new(Some(writer)),
            disk,
            dir,
            changed: Arc::new(Notify::new()),
            metadata_bytes_max: usize::try_from(properties.number("offset.metadata.max.bytes")).unwrap_or(0),
        })
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
            stored,
            then,
        } = store;
        let (core, changed) = (Arc::clone(&self.core), Arc::clone(&self.changed));
        let change = Change::Members {
            group: group.clone(),
            stored,
        };
        self.submit(change, move |outcome| {
            if let Err(error) = &outcome {
                tracing::warn!(group, %error, "the members of a group could not be stored");
            }
            let mut core = lock(&core);
            let mut effects = then;
            effects.extend(core.groups.stored(&group, generation, outcome.is_ok(), now_ms()));
            core.deliver(effects);
            drop(core);
            changed.notify_one();
        });
    }

    /// Writes a change to the log; it takes effect when it is durable, then `done` is called, on the writer's thread or at
    /// once. Not at all when the coordinator is closed.
    fn submit(&self, change: Change, done: impl FnOnce(Result<(), LogError>) + Send + 'static) {
        let payload = match serde_json::to_vec(&change) {
            Ok(payload) => Bytes::from(payload),
            Err(error) => {
                tracing::error!(%error, "a change of the groups cannot be encoded");
                return;
            }
        };
        let writer = self.writer.read().unwrap_or_else(PoisonError::into_inner);
        let Some(writer) = writer.as_ref() else { return };
        let offsets = Arc::clone(&self.offsets);
        writer.submit(CHANGE, payload, move |written| {
            // Applied here, on the writer's thread, so that changes take effect in the order of their records.
            done(written.map(|index| lock(&offsets).apply(index, change)));
        });
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
        self.step(|core| (core.groups.heartbeat(group, member, now_ms()), Vec::new()))
    }

    pub(super) fn leave(&self, group: &str, member_id: &str, instance_id: Option<&str>) -> ErrorCode {
        let left = self.step(|core| core.groups.leave(group, member_id, instance_id, now_ms()));
        self.changed.notify_one();
        left
    }

    pub(super) fn may_commit(&self, group: &str, member: &Identity) -> ErrorCode {
        self.step(|core| (core.groups.may_commit(group, member, now_ms()), Vec::new()))
    }

    pub(super) fn describe(&self, group: &str) -> Option<DescribedGroup> {
        lock(&self.core).groups.describe(group)
    }

    /// Groups with members, and those that only have positions.
    pub(super) fn list(&self) -> Vec<(String, String, &'static str)> {
        let mut groups = lock(&self.core).groups.list();
        let idle: Vec<String> = lock(&self.offsets).offsets.groups().map(str::to_owned).collect();
        for group in idle {
            if !groups.iter().any(|(name, ..)| *name == group) {
                groups.push((group, String::new(), "Empty"));
            }
        }
        groups.sort();
        groups
    }

    pub(super) fn may_delete_offsets(&self, group: &str, topic: &str) -> ErrorCode {
        lock(&self.core).groups.may_delete_offsets(group, topic)
    }

    pub(super) fn has_members(&self, group: &str) -> bool {
        lock(&self.core).groups.has_members(group)
    }

    /// Forgets a group without members; its positions are another matter. Says whether there was one.
    pub(super) fn forget(&self, group: &str) -> bool {
        lock(&self.core).groups.forget(group)
    }

    pub(super) fn member_count(&self) -> usize {
        lock(&self.core).groups.member_count()
    }

    pub(super) fn has_offsets(&self, group: &str) -> bool {
        lock(&self.offsets).offsets.contains(group)
    }

    pub(super) fn mentions(&self, topic: &str) -> bool {
        lock(&self.offsets).offsets.mentions(topic)
    }

    pub(super) fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<Committed> {
        lock(&self.offsets).offsets.get(group, topic, partition).cloned()
    }

    pub(super) fn all_committed(&self, group: &str) -> Vec<(String, i32, Committed)> {
        let offsets = lock(&self.offsets);
        offsets
            .offsets
            .of_group(group)
            .map(|(topic, partition, at)| (topic.to_owned(), partition, at.clone()))
            .collect()
    }

    /// Makes a change durable, then visible.
    pub(super) async fn change(&self, change: Change) -> Result<(), ErrorCode> {
        let (sender, receiver) = oneshot::channel();
        self.submit(change, |outcome| {
            let _ = sender.send(outcome);
        });
        match receiver.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(LogError::NoSpace(_) | LogError::Overloaded)) => Err(ErrorCode::COORDINATOR_NOT_AVAILABLE),
            Ok(Err(LogError::TooLarge { .. })) => Err(ErrorCode::INVALID_COMMIT_OFFSET_SIZE),
            Ok(Err(error)) => {
                tracing::error!(%error, "offsets cannot be committed");
                Err(ErrorCode::COORDINATOR_NOT_AVAILABLE)
            }
            Err(_) => Err(ErrorCode::NOT_COORDINATOR),
        }
    }

    /// Writes an image where enough has changed, or `force`. Blocks on the disk.
    fn write_image(&self, force: bool) -> io::Result<()> {
        let mut imaged = lock(&self.imaged);
        let image = {
            let image = lock(&self.offsets);
            let changes = image.index.saturating_sub(*imaged);
            if changes == 0 || (changes < CHANGES_PER_IMAGE && !force) {
                return Ok(());
            }
            image.clone()
        };
        replace(&*self.disk, &self.dir, IMAGE, &serde_json::to_vec(&image)?)?;
        *imaged = image.index;
        if let Some(writer) = &*self.writer.read().unwrap_or_else(PoisonError::into_inner) {
            writer.purge(image.index);
        }
        Ok(())
    }

    pub(super) fn close(&self) {
        let writer = self.writer.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(error)) = writer.map(GroupCommit::close) {
            tracing::warn!(%error, "the log of committed positions was not closed in order");
        }
        if let Err(error) = self.write_image(true) {
            tracing::warn!(%error, "no image of the committed positions was written");
        }
    }
}

fn replay(log: &Log, image: &mut Image) -> Result<(), LogError> {
    let from = (image.index + 1).max(log.first_index());
    if from >= log.next_index() {
        return Ok(());
    }
    for record in log.read(from)? {
        let record = record?;
        match serde_json::from_slice(&record.payload) {
            Ok(change) if record.kind == CHANGE => image.apply(record.index, change),
            _ => {
                image.index = record.index;
                tracing::warn!(
                    index = record.index,
                    "a record of the group log is unknown and was skipped"
                );
            }
        }
    }
    Ok(())
}

/// Lets time pass for the groups: sleeps until the next deadline, or until it may have changed.
pub(super) async fn timers(broker: Arc<Broker>, shutdown: Shutdown) {
    let coordinator = &broker.groups;
    while !shutdown.is_requested() {
        let deadline = lock(&coordinator.core).groups.next_deadline();
        let pause = deadline.map_or(TICK_MAX, |deadline| {
            Duration::from_millis(u64::try_from(deadline - now_ms()).unwrap_or(0)).clamp(TICK_MIN, TICK_MAX)
        });
        tokio::select! {
            () = tokio::time::sleep(pause) => coordinator.step(|core| ((), core.groups.tick(now_ms()))),
            () = coordinator.changed.notified() => continue,
        }
        let broker = Arc::clone(&broker);
        let imaged = tokio::task::spawn_blocking(move || broker.groups.write_image(false)).await;
        if let Ok(Err(error)) = imaged {
            tracing::warn!(%error, "no image of the committed positions was written");
        }
    }
}
