//! The topics of this broker: the catalog on disk, and the open partitions it names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use disk::Disk;
use log_broker_wire::ErrorCode;
use log_broker_wire::compression::Codec;
use uuid::Uuid;

use super::partition::{Partition, Refused, lock};
use crate::catalog::{self, Catalog, TopicEntry};
use crate::log::{self, Log};
use crate::property::{BrokerProperties, TopicProperties};

/// A deleted topic's directories get this ending, and are removed; what a crash left of them at the next start.
const DELETED: &str = ".deleted";

/// A topic that is there.
#[derive(Debug, Clone)]
pub(super) struct Topic {
    pub(super) id: Uuid,
    pub(super) properties: TopicProperties,
    pub(super) limits: Limits,
    pub(super) partitions: Vec<Arc<Partition>>,
}

/// The properties that every produced batch is held against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) message_bytes_max: usize,
    pub(super) timestamp_before_ms_max: i64,
    pub(super) timestamp_after_ms_max: i64,
    /// The broker's clock is the records' time, whatever the producer says (`message.timestamp.type=LogAppendTime`).
    pub(super) is_log_append_time: bool,
    /// The topic is compacted: records without a key would be lost.
    pub(super) keys_required: bool,
    /// What batches are stored in, where that is not the producer's choice.
    pub(super) codec: Option<Codec>,
}

/// * Changes are made one at a time: under `changing` the catalog is written, then `topics` shows it.
#[derive(Debug)]
pub(super) struct Topics {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    broker: BrokerProperties,
    changing: Mutex<Catalog>,
    topics: RwLock<BTreeMap<String, Arc<Topic>>>,
    cluster_id: String,
    /// The epoch in which this broker leads the partitions that it opens.
    leader_epoch: i32,
    node_id: i32,
}

impl Topics {
    /// Reads the catalog, begins the next leader epoch, and opens every log. A log that cannot be opened takes its
    /// partition offline, not the broker.
    pub(super) fn open(disk: Arc<dyn Disk>, dir: &Path, broker: BrokerProperties) -> Result<Self, String> {
        let path = dir.join(catalog::FILE);
        let contents = log::read_optional(&*disk, dir, catalog::FILE).map_err(|error| error.to_string())?;
        let mut catalog = match contents {
            None => {
                check_is_empty(&*disk, dir)?;
                Catalog::new(Uuid::new_v4().simple().to_string()[..22].to_owned())
            }
            Some(contents) => serde_json::from_slice(&contents)
                .map_err(|error| format!("{} is damaged ({error}); restore it from a copy", path.display()))?,
        };
        catalog.leader_epoch += 1;
        write(&*disk, dir, &catalog).map_err(|refused| refused.message.unwrap_or_default())?;
        remove_deleted(&*disk, dir).map_err(|error| error.to_string())?;
        let topics = Self {
            cluster_id: catalog.cluster_id.clone(),
            leader_epoch: catalog.leader_epoch,
            node_id: broker.number("node.id") as i32,
            disk,
            dir: dir.to_owned(),
            broker,
            topics: RwLock::default(),
            changing: Mutex::new(Catalog::new(String::new())),
        };
        for (name, entry) in &catalog.topics {
            topics.show(name, topics.build(name, entry, &[]));
        }
        *lock(&topics.changing) = catalog;
        Ok(topics)
    }

    pub(super) fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, Arc<Topic>>> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, name: &str) -> Option<Arc<Topic>> {
        self.read().get(name).cloned()
    }

    pub(super) fn get_by_id(&self, id: Uuid) -> Option<(String, Arc<Topic>)> {
        self.read()
            .iter()
            .find(|(_, topic)| topic.id == id)
            .map(|(name, topic)| (name.clone(), Arc::clone(topic)))
    }

    pub(super) fn all(&self) -> Vec<(String, Arc<Topic>)> {
        self.read()
            .iter()
            .map(|(name, topic)| (name.clone(), Arc::clone(topic)))
            .collect()
    }

    pub(super) fn partition(&self, topic: &str, index: i32) -> Option<Arc<Partition>> {
        let place = usize::try_from(index).ok()?;
        self.read().get(topic)?.partitions.get(place).cloned()
    }

    /// Creates a topic. Blocks on the disk.
    pub(super) fn create(&self, name: &str, partitions: i32, properties: TopicProperties) -> Result<Uuid, Refused> {
        let mut catalog = lock(&self.changing);
        if catalog.topics.contains_key(name) {
            return Err(refused(
                ErrorCode::TOPIC_ALREADY_EXISTS,
                format!("Topic '{name}' already exists."),
            ));
        }
        let entry = TopicEntry {
            id: Uuid::new_v4(),
            partitions,
            properties,
        };
        self.put_leftovers_aside(name, 0, partitions)?;
        let topic = self.build(name, &entry, &[]);
        // What cannot be used from the beginning is not begun: the disk is full, most likely.
        if let Some(reason) = topic.partitions.iter().find_map(|partition| partition.failure()) {
            self.discard(name, 0, partitions);
            return Err(refused(ErrorCode::KAFKA_STORAGE_ERROR, reason));
        }
        let id = entry.id;
        if let Err(error) = self.change(&mut catalog, |catalog| {
            catalog.topics.insert(name.to_owned(), entry);
        }) {
            self.discard(name, 0, partitions);
            return Err(error);
        }
        self.show(name, topic);
        tracing::info!(topic = name, partitions, "created");
        Ok(id)
    }

    /// Deletes a topic with its records. Blocks on the disk.
    pub(super) fn delete(&self, name: &str) -> Result<(), Refused> {
        let mut catalog = lock(&self.changing);
        let partitions = match catalog.topics.get(name) {
            None => return Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.into()),
            Some(entry) => entry.partitions,
        };
        self.change(&mut catalog, |catalog| {
            catalog.topics.remove(name);
        })?;
        let topic = self.topics.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        for partition in topic.iter().flat_map(|topic| &topic.partitions) {
            partition.delete();
        }
        self.discard(name, 0, partitions);
        tracing::info!(topic = name, "deleted");
        Ok(())
    }

    /// Adds partitions up to `count`. Blocks on the disk.
    pub(super) fn grow(&self, name: &str, count: i32) -> Result<(), Refused> {
        let mut catalog = lock(&self.changing);
        let Some(mut entry) = catalog.topics.get(name).cloned() else {
            return Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.into());
        };
        let before = entry.partitions;
        entry.partitions = count;
        self.put_leftovers_aside(name, before, count)?;
        let kept = self.get(name).map(|topic| topic.partitions.clone()).unwrap_or_default();
        let topic = self.build(name, &entry, &kept);
        self.change(&mut catalog, |catalog| {
            catalog.topics.insert(name.to_owned(), entry);
        })
        .inspect_err(|_| self.discard(name, before, count))?;
        self.show(name, topic);
        Ok(())
    }

    /// Replaces a topic's properties. Blocks on the disk.
    pub(super) fn set_properties(&self, name: &str, properties: TopicProperties) -> Result<(), Refused> {
        let mut catalog = lock(&self.changing);
        let Some(mut entry) = catalog.topics.get(name).cloned() else {
            return Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.into());
        };
        entry.properties = properties;
        let kept = self.get(name).map(|topic| topic.partitions.clone()).unwrap_or_default();
        let topic = self.build(name, &entry, &kept);
        let options = self.options(&topic.properties);
        self.change(&mut catalog, |catalog| {
            catalog.topics.insert(name.to_owned(), entry);
        })?;
        for partition in &topic.partitions {
            let _offline = partition.with_log(|log| {
                log.set_options(options);
                Ok::<_, Refused>(())
            });
        }
        self.show(name, topic);
        Ok(())
    }

    /// A block of producer ids that nobody was ever given. Blocks on the disk.
    pub(super) fn reserve_producer_ids(&self) -> Result<std::ops::Range<i64>, Refused> {
        let mut catalog = lock(&self.changing);
        let mut block = 0..0;
        self.change(&mut catalog, |catalog| block = catalog.reserve_producer_ids())?;
        Ok(block)
    }

    /// Applies a change to the catalog once it is durable.
    fn change(&self, catalog: &mut Catalog, change: impl FnOnce(&mut Catalog)) -> Result<(), Refused> {
        let mut changed = catalog.clone();
        change(&mut changed);
        write(&*self.disk, &self.dir, &changed)?;
        *catalog = changed;
        Ok(())
    }

    fn show(&self, name: &str, topic: Topic) {
        self.topics
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned(), Arc::new(topic));
    }

    fn options(&self, properties: &TopicProperties) -> log::Options {
        let number = |name: &str| self.broker.topic_number(name, properties);
        let policies = self.broker.topic_text("cleanup.policy", properties);
        let has_policy = |policy: &str| policies.split(',').any(|one| one.trim() == policy);
        let ratio = self.broker.topic_text("min.cleanable.dirty.ratio", properties);
        let compaction = has_policy("compact").then(|| log::Compaction {
            dirty_per_mille_min: (ratio.parse().unwrap_or(0.5) * 1000.0) as u64,
            lag_ms_min: number("min.compaction.lag.ms"),
            lag_ms_max: number("max.compaction.lag.ms"),
            delete_retention_ms: number("delete.retention.ms"),
        });
        let deletes = has_policy("delete");
        log::Options {
            segment_bytes: number("segment.bytes").max(1) as u64,
            segment_ms: number("segment.ms"),
            index_interval_bytes: number("index.interval.bytes").max(0) as u64,
            retention_ms: if deletes { number("retention.ms") } else { -1 },
            retention_bytes: if deletes { number("retention.bytes") } else { -1 },
            compaction,
        }
    }

    /// A topic with its partitions: those that are `kept`, and the others opened.
    fn build(&self, name: &str, entry: &TopicEntry, kept: &[Arc<Partition>]) -> Topic {
        let options = self.options(&entry.properties);
        let shared: Arc<str> = Arc::from(name);
        let fresh = (kept.len() as i32..entry.partitions).map(|index| {
            let dir = self.dir.join(catalog::partition_dir(name, index));
            let log = Log::open(Arc::clone(&self.disk), &dir, options).map(|(log, _)| log);
            let topic = Arc::clone(&shared);
            Arc::new(Partition::new(topic, index, self.node_id, self.leader_epoch, log))
        });
        let number = |name: &str| self.broker.topic_number(name, &entry.properties);
        Topic {
            id: entry.id,
            properties: entry.properties.clone(),
            limits: Limits {
                message_bytes_max: usize::try_from(number("max.message.bytes")).unwrap_or(0),
                timestamp_before_ms_max: number("message.timestamp.before.max.ms"),
                timestamp_after_ms_max: number("message.timestamp.after.max.ms"),
                is_log_append_time: self.broker.topic_text("message.timestamp.type", &entry.properties)
                    == "LogAppendTime",
                keys_required: options.compaction.is_some(),
                codec: Codec::from_name(&self.broker.topic_text("compression.type", &entry.properties)),
            },
            partitions: kept.iter().cloned().chain(fresh).collect(),
        }
    }

    /// Removes partition directories. A rename first, so that a topic of the same name can be created at once.
    fn discard(&self, name: &str, from: i32, to: i32) {
        for index in from..to {
            let dir = self.dir.join(catalog::partition_dir(name, index));
            if let Err(error) = self
                .put_aside(&dir)
                .and_then(|doomed| self.disk.remove_dir_all(&doomed))
            {
                tracing::warn!(dir = %dir.display(), %error, "cannot remove a deleted log now");
            }
        }
    }

    /// Puts aside what is left of a deleted topic of the same name, if a crash or an error kept it from being removed:
    /// its records must not come back with the name.
    fn put_leftovers_aside(&self, name: &str, from: i32, to: i32) -> Result<(), Refused> {
        for index in from..to {
            let dir = self.dir.join(catalog::partition_dir(name, index));
            let put_aside = match self.disk.exists(&dir) {
                Ok(true) => self.put_aside(&dir).map(|_| ()),
                exists => exists.map(|_| ()),
            };
            put_aside.map_err(|error| {
                let message = format!("cannot put {} aside: {error}", dir.display());
                refused(ErrorCode::KAFKA_STORAGE_ERROR, message)
            })?;
        }
        Ok(())
    }

    /// Removes a directory of the data directory that is not a partition's.
    pub(super) fn put_aside_for_removal(&self, name: &str) -> std::io::Result<()> {
        let doomed = self.put_aside(&self.dir.join(name))?;
        self.disk.sync_dir(&self.dir)?;
        self.disk.remove_dir_all(&doomed)
    }

    fn put_aside(&self, dir: &Path) -> std::io::Result<PathBuf> {
        let doomed = self.dir.join(format!("{}{DELETED}", Uuid::new_v4().simple()));
        self.disk.rename(dir, &doomed)?;
        Ok(doomed)
    }
}

/// Without its catalog a broker would take its own logs for leftovers.
fn check_is_empty(disk: &dyn Disk, dir: &Path) -> Result<(), String> {
    let entries = disk.list(dir).map_err(|error| error.to_string())?;
    match entries.iter().find(|entry| entry.is_dir && entry.name != "lost+found") {
        None => Ok(()),
        Some(log) => Err(format!(
            "{} is missing beside {}: restore it from a copy, or give an empty directory",
            dir.join(catalog::FILE).display(),
            log.name
        )),
    }
}

fn remove_deleted(disk: &dyn Disk, dir: &Path) -> std::io::Result<()> {
    for entry in disk.list(dir)? {
        if entry.is_dir && entry.name.ends_with(DELETED) {
            disk.remove_dir_all(&dir.join(entry.name))?;
        }
    }
    Ok(())
}

fn write(disk: &dyn Disk, dir: &Path, catalog: &Catalog) -> Result<(), Refused> {
    let storage = |reason: String| refused(ErrorCode::KAFKA_STORAGE_ERROR, reason);
    let contents = serde_json::to_vec_pretty(catalog).map_err(|error| storage(error.to_string()))?;
    log::replace(disk, dir, catalog::FILE, &contents)
        .map_err(|error| storage(format!("cannot write {}: {error}", dir.join(catalog::FILE).display())))
}

pub(super) fn refused(code: ErrorCode, message: String) -> Refused {
    Refused {
        code,
        message: Some(message),
    }
}
