//! From the format before `__consumer_offsets` was a topic: an image (`offsets.json`) and a write-ahead log in a directory
//! of that name. Its contents are written to the topic once; then the directory goes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use disk::Disk;
use log_broker_wire::internal::consumer_offsets::Entry;
use raft::log::{Log, LogError, Options};
use serde::{Deserialize, Serialize};

use crate::group::{Committed, StoredGroup};
use crate::log::read_optional;

pub(super) const DIR: &str = "__consumer_offsets";
const IMAGE: &str = "offsets.json";
const SEGMENT_BYTES: u64 = 4 << 20;
/// Kind of a record that is a [`Change`].
const CHANGE: u8 = 1;

/// What was committed, up to and with the record of this index.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Image {
    index: u64,
    offsets: BTreeMap<String, BTreeMap<String, BTreeMap<i32, Committed>>>,
    #[serde(default)]
    groups: BTreeMap<String, StoredGroup>,
}

#[derive(Debug, Serialize, Deserialize)]
enum Change {
    Commit {
        group: String,
        positions: Vec<(String, i32, Committed)>,
    },
    Forget {
        group: String,
        partitions: Vec<(String, i32)>,
    },
    ForgetGroup {
        group: String,
    },
    ForgetTopic {
        topic: String,
    },
    Members {
        group: String,
        stored: Option<StoredGroup>,
    },
}

impl Image {
    fn apply(&mut self, change: Change) {
        match change {
            Change::Commit { group, positions } => {
                let topics = self.offsets.entry(group).or_default();
                for (topic, partition, committed) in positions {
                    topics.entry(topic).or_default().insert(partition, committed);
                }
            }
            Change::Forget { group, partitions } => {
                let topics = self.offsets.entry(group).or_default();
                for (topic, partition) in partitions {
                    topics.entry(topic).or_default().remove(&partition);
                }
            }
            Change::ForgetGroup { group } => {
                self.offsets.remove(&group);
            }
            Change::ForgetTopic { topic } => {
                for topics in self.offsets.values_mut() {
                    topics.remove(&topic);
                }
            }
            Change::Members { group, stored } => {
                match stored {
                    Some(stored) => self.groups.insert(group, stored),
                    None => self.groups.remove(&group),
                };
            }
        }
    }
}

/// The records of every group of the older format; `None` where there is none. Times of commits were not kept: they count
/// from now.
pub(super) fn read(
    disk: &Arc<dyn Disk>,
    data: &Path,
    now_ms: i64,
) -> Result<Option<BTreeMap<String, Vec<Entry>>>, String> {
    let dir = data.join(DIR);
    if !disk.exists(&dir).map_err(|error| error.to_string())? {
        return Ok(None);
    }
    let damaged = |error: &dyn std::fmt::Display| format!("{} is damaged ({error}); restore it", dir.display());
    let image = read_optional(&**disk, &dir, IMAGE).map_err(|error| error.to_string())?;
    let mut image: Image = match image {
        None => Image::default(),
        Some(contents) => serde_json::from_slice(&contents).map_err(|error| damaged(&error))?,
    };
    replay(disk, &dir, &mut image).map_err(|error| damaged(&error))?;
    let mut entries: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    for (group, topics) in image.offsets {
        for (topic, partitions) in topics {
            for (partition, committed) in partitions {
                let committed = Committed {
                    committed_at_ms: now_ms,
                    ..committed
                };
                let entry = committed.entry(&group, &topic, partition);
                entries.entry(group.clone()).or_default().push(entry);
            }
        }
    }
    for (group, stored) in image.groups {
        let entry = stored.entry(&group);
        entries.entry(group).or_default().push(entry);
    }
    Ok(Some(entries))
}

fn replay(disk: &Arc<dyn Disk>, dir: &Path, image: &mut Image) -> Result<(), LogError> {
    let options = Options {
        first_index: image.index + 1,
        segment_bytes: SEGMENT_BYTES,
    };
    let (log, _) = Log::open(Arc::clone(disk), dir.join("log"), options)?;
    let from = (image.index + 1).max(log.first_index());
    if from >= log.next_index() {
        return Ok(());
    }
    for record in log.read(from)? {
        let record = record?;
        match serde_json::from_slice(&record.payload) {
            Ok(change) if record.kind == CHANGE => image.apply(change),
            _ => tracing::warn!(
                index = record.index,
                "a record of the group log is unknown and was skipped"
            ),
        }
    }
    Ok(())
}

/// The older format, as it was written.
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "it is test code")]
pub(super) fn write_older(disk: &Arc<dyn Disk>, data: &Path) {
    let dir = data.join(DIR);
    disk.create_dir_all(&dir).unwrap();
    let image = r#"{"index":2,"offsets":{"g":{"t":{"0":{"offset":5,"leader_epoch":1,"metadata":"m"}}}}}"#;
    std::fs::write(dir.join(IMAGE), image).unwrap();
    let options = Options {
        first_index: 3,
        segment_bytes: SEGMENT_BYTES,
    };
    let (log, _) = Log::open(Arc::clone(disk), dir.join("log"), options).unwrap();
    let writer = raft::log::GroupCommit::start(log).unwrap();
    let committed = r#"{"offset":8,"leader_epoch":1,"metadata":""}"#;
    let members = r#"{"m-1":{"instance_id":null,"client_id":"c","client_host":"/h","session_timeout_ms":45000,
        "rebalance_timeout_ms":60000,"metadata":"0102","assignment":"03"}}"#;
    for change in [
        format!(r#"{{"Commit":{{"group":"h","positions":[["t",0,{committed}],["u",3,{committed}]]}}}}"#),
        r#"{"Forget":{"group":"h","partitions":[["u",3]]}}"#.to_owned(),
        format!(
            r#"{{"Members":{{"group":"h","stored":{{"protocol_type":"consumer","protocol":"range","generation":4,
            "leader":"m-1","members":{members}}}}}}}"#
        ),
    ] {
        writer.submit(CHANGE, bytes::Bytes::from(change), |written| {
            written.unwrap();
        });
    }
    writer.close().unwrap();
}

#[cfg(test)]
mod tests {
    use disk::RealDisk;

    use super::*;

    #[test]
    fn the_older_format_is_read_whole() {
        let dir = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        assert!(read(&disk, dir.path(), 7).unwrap().is_none());
        write_older(&disk, dir.path());
        let entries = read(&disk, dir.path(), 7).unwrap().unwrap();
        let committed = |offset, metadata: &str| Committed {
            offset,
            leader_epoch: 1,
            metadata: metadata.to_owned(),
            committed_at_ms: 7,
            expires_at_ms: None,
        };
        assert_eq!(entries["g"], [committed(5, "m").entry("g", "t", 0)]);
        assert_eq!(entries["h"][0], committed(8, "").entry("h", "t", 0));
        let Entry::GroupMetadata(_, Some(value)) = &entries["h"][1] else {
            panic!("{entries:?}");
        };
        assert_eq!((value.generation, &value.members[0].assignment[..]), (4, &[3][..]));
    }
}
